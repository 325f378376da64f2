//! Damage to a sealed file is always an error: never a panic, never a wrong answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::driven::{self, Model};
use super::faulty::{FaultyVolume, Survival};
use crate::event::StoredRecord;
use crate::storage::{Checkpoint, Files, ReadError, RecordsReader, RunReader, keys};

const PLACES: usize = 1000;
const DAMAGED_BYTES: usize = 64;

/// Files of every kind: with several levels of index, with a filter of several pages, merged and not.
fn sealed() -> (FaultyVolume, Arc<Checkpoint>) {
    let disk = FaultyVolume::default();
    let store = driven::open(&disk).unwrap();
    let mut model = Model::new(300);
    for number in 1..=10 {
        let batch = model.batch(if number == 9 { 2000 } else { 150 });
        driven::seal(&store, &batch).unwrap();
        model.take(&batch);
        driven::merge_all(&store).unwrap();
    }
    (disk, store.checkpoint().unwrap())
}

/// What a file answers, when it is whole.
#[derive(Debug)]
enum Answers {
    Run(BTreeMap<Vec<u8>, Vec<u8>>),
    Records(Vec<StoredRecord>),
}

/// Asks a file everything; how many look-ups failed. Panics at a wrong answer.
fn ask(disk: &FaultyVolume, path: &str, bytes: u64, answers: &Answers) -> usize {
    let files = Files::new(Arc::new(disk.clone()), 1 << 20);
    let mut errors = 0;
    let mut met = |error: ReadError| {
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        assert_eq!(error.file(), path);
        errors += 1;
    };
    match answers {
        Answers::Run(expected) => {
            let run = RunReader::new(&files, path, bytes);
            for (key, value) in expected.iter().step_by(41) {
                match run.get(key) {
                    Ok(found) => assert_eq!(found.as_deref(), Some(value.as_slice())),
                    Err(error) => met(error),
                }
                match run.may_contain(keys::filter_key(key)) {
                    Ok(may) => assert!(may),
                    Err(error) => met(error),
                }
                match run.seek_back(key) {
                    Ok(found) => assert_eq!(found.unwrap().0, key),
                    Err(error) => met(error),
                }
            }
            let verified = run.verify();
            assert!(verified.is_err(), "every byte of {path} is checked");
        }
        Answers::Records(expected) => {
            let reader = RecordsReader::new(&files, path, bytes);
            for stored in expected.iter().step_by(17) {
                for found in [
                    reader.at_or_after(stored.first_position),
                    reader.at_or_before(stored.first_position),
                    reader.at_time(stored.epoch_us),
                ] {
                    match found {
                        Ok(found) => assert_eq!(found.as_ref(), Some(stored)),
                        Err(error) => met(error),
                    }
                }
            }
            assert!(reader.verify().is_err(), "every byte of {path} is checked");
        }
    }
    errors
}

#[test]
fn sixty_four_damaged_bytes_at_a_thousand_places_are_a_thousand_errors() {
    let (disk, checkpoint) = sealed();
    let whole = Files::new(Arc::new(disk.clone()), 1 << 20);
    let mut answers = Vec::new();
    for run in &checkpoint.runs {
        let reader = RunReader::new(&whole, &run.file.name, run.file.bytes);
        let entries = reader.entries().unwrap().map(Result::unwrap);
        let all = entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        answers.push((&run.file, Answers::Run(all)));
    }
    for records in &checkpoint.records {
        let reader = RecordsReader::new(&whole, &records.file.name, records.file.bytes);
        let all = reader.entries().unwrap().map(Result::unwrap).collect();
        answers.push((&records.file, Answers::Records(all)));
    }
    let total: u64 = answers.iter().map(|(file, _)| file.bytes).sum();
    let mut chance = StdRng::seed_from_u64(4);
    let mut look_ups_failed = 0;
    for _ in 0..PLACES {
        // Every byte of every file is as likely as any other.
        let mut at = chance.random_range(0..total);
        let (file, expected) = answers
            .iter()
            .find(|(file, _)| match at.checked_sub(file.bytes) {
                Some(rest) => {
                    at = rest;
                    false
                }
                None => true,
            })
            .unwrap();
        let damaged = disk.crash(Survival::Everything);
        let before = damaged.contents(&file.name);
        let noise: Vec<u8> = before[at as usize..]
            .iter()
            .take(DAMAGED_BYTES)
            .map(|byte| byte ^ chance.random_range(1..=255_u8))
            .collect();
        damaged.overwrite(&file.name, at as usize, &noise);
        look_ups_failed += usize::from(ask(&damaged, &file.name, file.bytes, expected) > 0);
    }
    assert!(look_ups_failed > PLACES / 2, "{look_ups_failed} of {PLACES} were met by a look-up");
}

#[test]
fn one_flipped_bit_anywhere_in_a_small_file_is_an_error() {
    let disk = FaultyVolume::default();
    let store = driven::open(&disk).unwrap();
    let batch = Model::new(3).batch(4);
    driven::seal(&store, &batch).unwrap();
    let checkpoint = store.checkpoint().unwrap();
    let files: Vec<_> = checkpoint.files().collect();
    for meta in files {
        for at in 0..meta.bytes as usize {
            let damaged = disk.crash(Survival::Everything);
            let byte = damaged.contents(&meta.name)[at];
            damaged.overwrite(&meta.name, at, &[byte ^ (1 << (at % 8))]);
            let files = Files::new(Arc::new(damaged), 1 << 20);
            let verified = if meta.name.starts_with("runs/") {
                RunReader::new(&files, &meta.name, meta.bytes).verify()
            } else {
                RecordsReader::new(&files, &meta.name, meta.bytes).verify()
            };
            assert!(matches!(verified, Err(ReadError::Damaged { .. })), "{} at {at}", meta.name);
        }
    }
}

#[test]
fn damage_to_a_manifest_is_an_error() {
    let (_disk, checkpoint) = sealed();
    let bytes = checkpoint.encode();
    assert_eq!(Checkpoint::decode(&bytes).unwrap(), *checkpoint);
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (at % 8);
        assert!(Checkpoint::decode(&damaged).is_err());
        assert!(Checkpoint::decode(&bytes[..at]).is_err());
    }
}

#[test]
fn a_manifest_that_names_other_files_is_refused() {
    let (_disk, checkpoint) = sealed();
    for name in ["records/../store.redb", "/etc/passwd", "records/", "runs/a/b", "store.redb", ""] {
        let mut forged = (*checkpoint).clone();
        forged.records[0].file.name = name.to_owned();
        assert!(Checkpoint::decode(&forged.encode()).is_err(), "{name}");
        let mut forged = (*checkpoint).clone();
        forged.runs[0].file.name = name.to_owned();
        assert!(Checkpoint::decode(&forged.encode()).is_err(), "{name}");
    }
}
