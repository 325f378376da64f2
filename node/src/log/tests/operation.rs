//! Rolling, purging, the cache, reads, and real files.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use openraft::storage::RaftLogStorageExt as _;

use super::disk::Survival;
use super::*;
use crate::log::READ_BYTES_MAX;
use crate::log::files::{Directory, Disk as _};
use crate::log::frame::ALIGNMENT;
use crate::offload::Offload;

async fn read_all(store: &LogStore) -> Vec<Entry> {
    store.clone().get_log_reader().await.try_get_log_entries(..).await.unwrap()
}

fn open_folder(folder: &Path, options: Options) -> Result<LogStore, OpenError> {
    LogStore::open(Arc::new(Directory::open(folder)?), options)
}

#[tokio::test]
async fn a_log_of_many_files_is_the_same_after_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    let options = Options {
        on_fsync: Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
        ..options()
    };
    let folder = dir.path().join("a/log");
    let mut store = open_folder(&folder, options.clone()).unwrap();
    for index in 1..=300 {
        store.blocking_append([group(1, index, 100)]).await.unwrap();
    }
    // Larger than a file.
    store.blocking_append([group(1, 301, 3 * FILE_BYTES_MIN as usize)]).await.unwrap();
    store.save_vote(&Vote::new(2, 3)).await.unwrap();
    assert!(syncs.load(Ordering::Relaxed) >= 302);
    let before = read_all(&store).await;
    assert_eq!(before.len(), 301);
    let files = std::fs::read_dir(&folder).unwrap().map(Result::unwrap);
    // But for the one that waits to be the next.
    let files = files.filter(|file| file.file_name() != "spare");
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(store.bytes_on_disk(), bytes);
    assert!(bytes > 10 * FILE_BYTES_MIN, "{bytes}");
    store.shutdown();

    let store = open_folder(&folder, options).unwrap();
    assert_eq!(read_all(&store).await, before);
    assert_eq!(vote(&store), Some(Vote::new(2, 3)));
    assert_eq!(store.bytes_on_disk(), bytes);
}

#[test]
fn files_made_ahead_are_of_zeroes_and_of_the_size_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Directory::open(dir.path()).unwrap();
    for (number, bytes) in [(1, 5000), (2, 5000), (3, 3_000_000), (4, 5000), (5, 5000)] {
        let file = disk.create(number, bytes).unwrap();
        assert_eq!(file.bytes().unwrap(), bytes, "file {number}");
        let mut read = vec![1; usize::try_from(bytes).unwrap()];
        file.read_at(0, &mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 0), "file {number}");
        file.write_at(0, b"used").unwrap();
    }
    assert_eq!(disk.list().unwrap(), [1, 2, 3, 4, 5]);
    assert!(disk.create(5, 5000).is_err(), "a file is never replaced");
    drop(disk);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        5,
        "nothing is left that was made ahead"
    );
}

#[tokio::test]
async fn a_log_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_folder(dir.path(), Options::default()).unwrap();
    let error = open_folder(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.retryable());
    // A reader that lives on does not hold the log.
    let reader = store.clone().get_log_reader().await;
    drop(store);
    open_folder(dir.path(), Options::default()).unwrap();
    drop(reader);
}

#[tokio::test]
async fn what_comes_after_the_end_is_refused() {
    let mut store = LogStore::open(Arc::new(ForgetfulDisk::default()), options()).unwrap();
    store.shutdown();
    store.shutdown();
    assert!(append(&store, vec![group(1, 1, 10)]).is_err());
    assert!(store.save_vote(&Vote::new(1, 1)).await.is_err());
}

#[tokio::test]
async fn a_task_can_take_the_place_of_the_thread() {
    let disk = ForgetfulDisk::default();
    let (mut store, driver) = open(&disk).unwrap();
    let task = tokio::spawn(driver.run_as_task(Offload::inline()));
    store.blocking_append([group(1, 1, 10), group(1, 2, 10)]).await.unwrap();
    store.save_vote(&Vote::new(1, 1)).await.unwrap();
    store.shutdown();
    task.await.unwrap();
    let (store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(read_all(&store).await, [group(1, 1, 10), group(1, 2, 10)]);
}

#[test]
fn a_dropped_driver_answers_whoever_waits() {
    let (store, driver) = open(&ForgetfulDisk::default()).unwrap();
    let flushed = append(&store, vec![group(1, 1, 10)]).unwrap();
    drop(driver);
    assert!(now(flushed).is_err(), "the callback is gone");
    assert!(append(&store, vec![group(1, 2, 10)]).is_err());
}

#[test]
fn purging_removes_whole_files_and_keeps_the_mark_and_the_vote() {
    let disk = ForgetfulDisk::default();
    let (mut store, mut driver) = open(&disk).unwrap();
    save_vote(&store, &mut driver, Vote::new(1, 1)).unwrap();
    append_durably(&store, &mut driver, (1..=200).map(|index| group(1, index, 100)).collect());
    let before = disk.files().len();
    drive(&mut driver, store.purge(log_id(1, 150))).unwrap();
    let after = disk.files().len();
    assert!(after < before / 2, "{before} files became {after}");
    assert_eq!(store.bytes_on_disk(), after as u64 * FILE_BYTES_MIN);

    let (mut store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    let state = now(store.get_log_state()).unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 150)));
    assert_eq!(state.last_log_id, Some(log_id(1, 200)));
    assert_eq!(log_ids(&store).first(), Some(&log_id(1, 151)));
    assert_eq!(vote(&store), Some(Vote::new(1, 1)));
}

#[test]
fn purging_beyond_the_end_leaves_one_file_that_goes_on_there() {
    let disk = ForgetfulDisk::default();
    let (mut store, mut driver) = open(&disk).unwrap();
    save_vote(&store, &mut driver, Vote::new(4, 2)).unwrap();
    append_durably(&store, &mut driver, (1..=100).map(|index| group(1, index, 100)).collect());
    drive(&mut driver, store.purge(log_id(3, 500))).unwrap();
    assert_eq!(disk.files().len(), 1);
    assert!(append(&store, vec![group(4, 101, 10)]).is_err(), "that would be a hole");
    append_durably(&store, &mut driver, vec![group(4, 501, 10)]);

    let (store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(log_ids(&store), [log_id(4, 501)]);
    assert_eq!(vote(&store), Some(Vote::new(4, 2)));
}

/// Whichever frame a file begins with: one for each way in which the last file can be filled.
#[test]
fn whatever_is_written_first_into_a_new_file_the_log_can_be_opened_again() {
    for fill in (0..FILE_BYTES_MIN as usize).step_by(ALIGNMENT) {
        let disk = ForgetfulDisk::default();
        let (mut store, mut driver) = open(&disk).unwrap();
        append_durably(&store, &mut driver, vec![group(1, 1, 10), group(1, 2, fill)]);
        drive(&mut driver, store.purge(log_id(1, 1))).unwrap();
        save_vote(&store, &mut driver, Vote::new(2, 1)).unwrap();
        append_durably(&store, &mut driver, vec![group(1, 3, 10)]);
        drive(&mut driver, store.truncate_after(Some(log_id(1, 2)))).unwrap();
        append_durably(&store, &mut driver, vec![group(2, 3, 10)]);

        let (mut store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
        let state = now(store.get_log_state()).unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 1)), "{fill} bytes");
        assert_eq!(log_ids(&store), [log_id(1, 2), log_id(2, 3)], "{fill} bytes");
        assert_eq!(vote(&store), Some(Vote::new(2, 1)), "{fill} bytes");
    }
}

#[test]
fn a_truncated_tail_is_gone_once_the_call_returns() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, (1..=100).map(|index| group(1, index, 100)).collect());
    drive(&mut driver, store.clone().truncate_after(Some(log_id(1, 20)))).unwrap();
    let (store, mut driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(store.last_log_id(), Some(log_id(1, 20)));
    append_durably(&store, &mut driver, vec![group(2, 21, 10)]);
    drive(&mut driver, store.clone().truncate_after(None)).unwrap();
    assert_eq!(store.last_log_id(), None);
}

#[test]
fn one_read_for_a_peer_is_bounded_but_never_empty() {
    let (store, mut driver) = open(&ForgetfulDisk::default()).unwrap();
    let large = READ_BYTES_MAX as usize + 1;
    let half = READ_BYTES_MAX as usize / 2 - 100;
    let sizes = [large, half, half, half, 10];
    let all = (1..).zip(sizes).map(|(index, bytes)| group(1, index, bytes)).collect();
    append_durably(&store, &mut driver, all);
    let mut reader = now(store.clone().get_log_reader());
    let mut read = |start, end| now(reader.limited_get_log_entries(start, end)).unwrap().len();
    assert_eq!(read(1, 6), 1);
    assert_eq!(read(2, 6), 2);
    assert_eq!(read(4, 6), 2);
    assert_eq!(read(5, 100), 1);
    assert_eq!(read(6, 100), 0);
    assert_eq!(read(3, 3), 0);
}

#[test]
fn a_stream_reads_the_whole_range_in_pieces() {
    let (store, mut driver) = open(&ForgetfulDisk::default()).unwrap();
    append_durably(&store, &mut driver, (1..=200).map(|index| group(1, index, 20_000)).collect());
    let mut reader = now(store.clone().get_log_reader());
    let stream = now(reader.entries_stream(3..=190));
    let read: Vec<_> = now(stream.collect::<Vec<_>>());
    let read: Vec<u64> = read.into_iter().map(|entry| entry.unwrap().log_id.index).collect();
    assert_eq!(read, (3..=190).collect::<Vec<_>>());
}

#[test]
fn the_cache_keeps_what_is_unflushed_or_unapplied_and_then_no_more_than_its_bound() {
    let disk = ForgetfulDisk::default();
    let bounded = Options { cache_bytes: 1000, ..options() };
    let (store, mut driver) = LogStore::open_driven(Arc::new(disk), bounded).unwrap();
    store.set_applied(0);
    let flushed = append(&store, (1..=50).map(|index| group(1, index, 100)).collect()).unwrap();
    let all = store.cached_bytes();
    assert_eq!(all, store.bytes_behind(None));
    store.set_applied(10);
    assert_eq!(store.cached_bytes(), all, "nothing is flushed");
    drive(&mut driver, flushed).unwrap().unwrap();
    assert_eq!(store.cached_bytes(), store.bytes_behind(10), "the rest is not applied");
    store.set_applied(50);
    assert!(store.cached_bytes() <= 1000);
    assert_eq!(entries(&store), (1..=50).map(|index| group(1, index, 100)).collect::<Vec<_>>());
}

#[test]
fn the_lag_in_bytes_counts_the_entries_behind() {
    let (store, mut driver) = open(&ForgetfulDisk::default()).unwrap();
    append_durably(&store, &mut driver, (1..=10).map(|index| group(1, index, 82)).collect());
    assert_eq!(store.bytes_behind(None), 1000);
    assert_eq!(store.bytes_behind(7), 300);
    assert_eq!(store.bytes_behind(10), 0);
    assert_eq!(store.bytes_behind(99), 0);
    drive(&mut driver, store.clone().purge(log_id(1, 4))).unwrap();
    assert_eq!(store.bytes_behind(2), 600);
}
