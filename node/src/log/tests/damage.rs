//! Damaged bytes: an error where they were durable, a cut where they never were, a panic or a wrong answer nowhere.

use super::disk::Survival;
use super::*;
use crate::log::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, VOTE_BYTES, frame_bytes};

/// A log of several files with everything in it, ended cleanly.
fn closed_log() -> (ForgetfulDisk, Vec<Entry>) {
    let disk = ForgetfulDisk::default();
    let (mut store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, (1..=40).map(|index| group(1, index, 37)).collect());
    drive(&mut driver, store.clone().purge(log_id(1, 3))).unwrap();
    save_vote(&store, &mut driver, Vote::new(2, 1)).unwrap();
    drive(&mut driver, store.clone().truncate_after(Some(log_id(1, 35)))).unwrap();
    append_durably(&store, &mut driver, (36..=60).map(|index| group(2, index, 61)).collect());
    save_vote(&store, &mut driver, Vote::new_committed(3, 2)).unwrap();
    append_durably(&store, &mut driver, vec![group(3, 61, 5)]);
    now(store.save_committed(Some(log_id(2, 50)))).unwrap();
    let entries = entries(&store);
    store.shutdown();
    driver.run();
    (disk.crash(Survival::Nothing), entries)
}

/// Where the last byte that is not zero is, exclusive.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_flipped_bit_in_what_was_durable_is_an_error_that_names_its_place() {
    let (disk, expected) = closed_log();
    let files = disk.files();
    assert!(files.len() >= 2, "{files:?}");
    let last_number = files.last().unwrap().0;
    let mut errors = 0;
    for (number, size) in files {
        let end = written(&disk.bytes(number)).next_multiple_of(8);
        // The last frame is the mark of the clean end; nothing says that it was durable, and nothing is lost with it.
        let mark = if number == last_number { end - FRAME_HEADER_BYTES } else { end };
        for offset in 0..size {
            let damaged = disk.crash(Survival::Nothing);
            damaged.damage(number, offset, 1 << (offset % 8));
            match open(&damaged) {
                Err(OpenError::Damaged { file, offset: reported, .. }) => {
                    assert!(offset < mark, "byte {offset} of file {number} mattered");
                    assert_eq!(file, format!("log/{number}"));
                    assert!(reported <= offset as u64, "{reported} is behind {offset}");
                    errors += 1;
                }
                Err(error) => panic!("byte {offset} of file {number}: {error}"),
                Ok((store, _)) => {
                    assert!(offset >= mark, "byte {offset} of file {number} was not noticed");
                    assert_eq!(entries(&store), expected);
                    assert_eq!(vote(&store), Some(Vote::new_committed(3, 2)));
                }
            }
        }
    }
    assert!(errors > 5000, "only {errors} errors");
}

#[test]
fn a_missing_file_is_an_error() {
    let (disk, _) = closed_log();
    let numbers: Vec<_> = disk.files().into_iter().map(|(number, _)| number).collect();
    for &number in &numbers[..numbers.len() - 1] {
        let damaged = disk.crash(Survival::Nothing);
        crate::log::files::Disk::remove(&damaged, number).unwrap();
        assert!(matches!(open(&damaged), Err(OpenError::Damaged { .. })), "file {number}");
    }
}

#[test]
fn damage_that_appears_while_the_log_is_open_is_an_error_for_the_reader() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, (1..=5).map(|index| group(1, index, 50)).collect());
    let offset = FILE_HEADER_BYTES as usize + FRAME_HEADER_BYTES + 30;
    disk.damage(1, offset, 1);
    let mut reader = now(store.clone().get_log_reader());
    let error = now(reader.try_get_log_entries(1..2)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("log/1"), "{error}");
    assert_eq!(now(reader.try_get_log_entries(2..3)).unwrap(), [group(1, 2, 50)]);
}

/// Of a group that was never synced, a frame is torn and the one behind it is whole.
#[test]
fn a_torn_end_is_cut_and_what_is_behind_it_never_comes_back() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, vec![group(1, 1, 50)]);
    let torn = written(&disk.bytes(1)).next_multiple_of(8);
    disk.fail_from(disk.operations() + 1);
    append(&store, vec![group(1, 2, 50), group(1, 3, 50), group(1, 4, 50)]).unwrap();
    driver.step();

    let disk = disk.crash(Survival::Everything);
    disk.damage(1, torn + FRAME_HEADER_BYTES + 20, 1);
    let (store, mut driver) = open(&disk).unwrap();
    assert_eq!(log_ids(&store), [log_id(1, 1)]);

    // The new frame has the place, the length and the sequence of the torn one.
    append_durably(&store, &mut driver, vec![group(2, 2, 50)]);
    let (store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(log_ids(&store), [log_id(1, 1), log_id(2, 2)]);
}

#[test]
fn a_file_whose_making_was_interrupted_is_made_again() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, vec![group(1, 1, 50)]);
    crate::log::files::Disk::create(&disk, 2, FILE_BYTES_MIN).unwrap();

    let disk = disk.crash(Survival::Everything);
    let (store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, (2..100).map(|index| group(1, index, 50)).collect());
    let (store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(store.last_log_id(), Some(log_id(1, 99)));
}

#[test]
fn a_frame_that_lands_in_another_place_is_not_read_there() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    save_vote(&store, &mut driver, Vote::new(1, 1)).unwrap();
    save_vote(&store, &mut driver, Vote::new(2, 1)).unwrap();
    let disk = disk.crash(Survival::Nothing);
    let start = FILE_HEADER_BYTES as usize;
    let frame = frame_bytes(VOTE_BYTES) as usize;
    let first = disk.bytes(1)[start..start + frame].to_vec();
    disk.overwrite(1, start + 2 * frame, &first);
    let (store, _driver) = open(&disk).unwrap();
    assert_eq!(vote(&store), Some(Vote::new(2, 1)));
}
