//! Runs and records files give back what was written, whatever is asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::faulty::FaultyVolume;
use super::sample;
use crate::event::StoredRecord;
use crate::storage::records::RecordsJoiner;
use crate::storage::run::MergedEntries;
use crate::storage::{Files, RecordsReader, RecordsWriter, RunReader, RunWriter, WriteError, keys};

const CACHE_BYTES: u64 = 1 << 20;

fn files() -> Files {
    Files::new(Arc::new(FaultyVolume::default()), CACHE_BYTES)
}

fn run(files: &Files, index: &BTreeMap<Vec<u8>, Vec<u8>>) -> RunReader {
    let mut writer = RunWriter::create(files.volume(), "run").unwrap();
    for (key, value) in index {
        writer.push(key, value).unwrap();
    }
    let summary = writer.finish().unwrap();
    assert_eq!(summary.entries, index.len() as u64);
    RunReader::new(files, "run", summary.bytes)
}

fn records(files: &Files, records: &[StoredRecord]) -> RecordsReader {
    let (reader, _bytes) = records_file(files, "records", records);
    reader
}

/// A records file and its size.
fn records_file(files: &Files, path: &str, records: &[StoredRecord]) -> (RecordsReader, u64) {
    let mut writer = RecordsWriter::create(files.volume(), path).unwrap();
    for stored in records {
        writer.push(stored).unwrap();
    }
    let bytes = writer.finish().unwrap().file.bytes;
    (RecordsReader::new(files, path, bytes), bytes)
}

/// Asks a run for everything around a key, and compares with a map.
fn check_around(
    run: &RunReader,
    model: &BTreeMap<Vec<u8>, Vec<u8>>,
    key: &[u8],
) -> Result<(), TestCaseError> {
    let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    let found = |found: Option<(bytes::Bytes, bytes::Bytes)>| {
        found.map(|(key, value)| (key.to_vec(), value.to_vec()))
    };
    prop_assert_eq!(run.get(key).unwrap().map(|value| value.to_vec()), model.get(key).cloned());
    prop_assert_eq!(found(run.seek(key).unwrap()), model.range(key.to_vec()..).next().map(pair));
    prop_assert_eq!(
        found(run.seek_back(key).unwrap()),
        model.range(..=key.to_vec()).next_back().map(pair)
    );
    if model.contains_key(key) {
        prop_assert!(run.may_contain(keys::filter_key(key)).unwrap());
    }
    Ok(())
}

#[test]
fn a_joined_file_has_every_record_and_few_blocks_however_small_the_files_were() {
    for (files_count, records_per_file) in [(3, 2_000), (200, 1)] {
        let all = sample::records(0, files_count * records_per_file, 5);
        let files = files();
        let mut joiner = RecordsJoiner::create(files.volume(), "joined").unwrap();
        let mut bytes_before = 0;
        for (number, part) in all.chunks(records_per_file as usize).enumerate() {
            let (reader, bytes) = records_file(&files, &format!("part{number}"), part);
            let mut entries = reader.entries().unwrap();
            while joiner.copy_next(&mut entries).unwrap() {}
            bytes_before += bytes;
        }
        let bytes = joiner.finish().unwrap().bytes;
        if records_per_file == 1 {
            assert!(bytes < bytes_before / 4, "{bytes} of {bytes_before}");
        }
        let read_back = RecordsReader::new(&files, "joined", bytes);
        read_back.verify().unwrap();
        assert!(read_back.entries().unwrap().map(Result::unwrap).eq(all.iter().cloned()));
        for stored in &all {
            let found = read_back.at_or_after(stored.first_position).unwrap();
            assert_eq!(found.as_ref(), Some(stored));
            assert_eq!(read_back.at_time(stored.epoch_us).unwrap().as_ref(), Some(stored));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn runs_read_as_one_give_every_key_once_and_the_newest_value(
        maps in prop::collection::vec(prop::collection::btree_map(0_u8..40, any::<u8>(), 0..30), 1..6),
    ) {
        let files = files();
        let mut expected = BTreeMap::new();
        let mut entries = Vec::new();
        for (number, map) in maps.iter().enumerate() {
            let path = format!("run{number}");
            let mut writer = RunWriter::create(files.volume(), &path).unwrap();
            for (key, value) in map {
                writer.push(&[*key], &[*value]).unwrap();
                expected.insert(vec![*key], vec![*value]);
            }
            let summary = writer.finish().unwrap();
            entries.push(RunReader::new(&files, path, summary.bytes).entries().unwrap());
        }
        let mut merged = MergedEntries::new(entries).unwrap();
        let mut found = Vec::new();
        while let Some((key, value)) = merged.entry() {
            found.push((key.to_vec(), value.to_vec()));
            merged.advance().unwrap();
        }
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_run_answers_as_a_sorted_map_would(
        model in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..600),
            0..400,
        ),
        probes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 1..40),
    ) {
        let files = files();
        let run = run(&files, &model);
        for key in model.keys().chain(&probes) {
            check_around(&run, &model, key)?;
        }
        let all: BTreeMap<_, _> = run
            .entries()
            .unwrap()
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
            .collect();
        prop_assert_eq!(all, model);
        run.verify().unwrap();
    }

    #[test]
    fn records_are_found_by_position_and_by_time(
        start in 0_u64..1000,
        lens in prop::collection::vec((1_u64..5, 0_u64..3, 1_usize..3000), 1..120),
    ) {
        let files = files();
        let mut position = start;
        let mut all = Vec::new();
        for (events, gap, data_bytes) in lens {
            all.push(sample::record_of("s", position, position, events, data_bytes));
            position += events + gap;
        }
        let reader = records(&files, &all);
        for position in start.saturating_sub(2)..position + 2 {
            let after = all.iter().find(|stored| stored.end_position() > position);
            prop_assert_eq!(reader.at_or_after(position).unwrap(), after.cloned());
            let before = all.iter().rev().find(|stored| stored.first_position <= position);
            prop_assert_eq!(reader.at_or_before(position).unwrap(), before.cloned());
        }
        for epoch_us in all.iter().flat_map(|stored| [stored.epoch_us, stored.epoch_us + 1]) {
            let at = all.iter().find(|stored| stored.epoch_us >= epoch_us);
            prop_assert_eq!(reader.at_time(epoch_us).unwrap(), at.cloned());
        }
        let read: Vec<_> = reader.entries().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read, all);
        reader.verify().unwrap();
    }
}

#[test]
fn a_run_with_several_levels_of_index_and_pages_of_filter_finds_every_key() {
    let files = files();
    let index = sample::index(&sample::records(0, 60_000, 5_000));
    let run = run(&files, &index);
    let mut passed = 0;
    for (number, key) in index.keys().enumerate() {
        assert!(run.may_contain(keys::filter_key(key)).unwrap());
        if number % 97 == 0 {
            assert_eq!(run.get(key).unwrap().unwrap(), index[key]);
        }
    }
    for number in 0..10_000_u128 {
        let absent = keys::event_id(&(u128::MAX - number * 0x1234_5678_9abc_def0).to_be_bytes());
        passed += u32::from(run.may_contain(&absent).unwrap());
    }
    assert!(passed < 300, "{passed} of 10000 keys that are not there passed");
    run.verify().unwrap();
    assert!(files.cache().bytes() <= CACHE_BYTES, "the cache keeps its budget");
}

#[test]
fn events_of_the_same_time_are_found_at_the_first_of_them_over_blocks() {
    let files = files();
    let all: Vec<_> = (0..600)
        .map(|number| StoredRecord {
            epoch_us: 100 + number / 500,
            ..sample::record_of("s", number, number, 1, 1000)
        })
        .collect();
    let reader = records(&files, &all);
    let position = |epoch_us| reader.at_time(epoch_us).unwrap().map(|stored| stored.first_position);
    assert_eq!(position(0), Some(0));
    assert_eq!(position(100), Some(0));
    assert_eq!(position(101), Some(500));
    assert_eq!(position(102), None);
}

#[test]
fn an_empty_table_answers_nothing() {
    let files = files();
    let run = run(&files, &BTreeMap::new());
    assert_eq!(run.get(b"k").unwrap(), None);
    assert_eq!(run.seek(b"").unwrap(), None);
    assert_eq!(run.seek_back(b"k").unwrap(), None);
    let records = records(&files, &[]);
    assert_eq!(records.at_or_after(0).unwrap(), None);
    assert_eq!(records.at_time(0).unwrap(), None);
}

#[test]
fn what_is_out_of_order_is_refused() {
    let files = files();
    let mut writer = RunWriter::create(files.volume(), "run").unwrap();
    writer.push(b"b", b"").unwrap();
    for key in [b"b", b"a"] {
        assert!(matches!(writer.push(key, b"").unwrap_err(), WriteError::Unordered { .. }));
    }
    let mut writer = RecordsWriter::create(files.volume(), "records").unwrap();
    writer.push(&sample::record("s", 0, 0, 3)).unwrap();
    let overlapping = sample::record("s", 2, 3, 1);
    assert!(matches!(writer.push(&overlapping).unwrap_err(), WriteError::Unordered { .. }));
}

#[test]
fn a_file_that_is_missing_or_cut_is_damage() {
    let files = files();
    let absent = RunReader::new(&files, "absent", 1000);
    assert!(absent.get(b"k").unwrap_err().to_string().contains("missing"));
    let reader = records(&files, &sample::records(0, 100, 3));
    let bytes = files.volume().open("records").unwrap().bytes().unwrap();
    files.volume().open("records").unwrap().set_bytes(bytes - 1).unwrap();
    let error = reader.at_or_after(0).unwrap_err();
    assert!(!error.retryable(), "{error}");
    assert_eq!(error.file(), "records");
}
