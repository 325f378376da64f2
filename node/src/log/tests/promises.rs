//! What openraft relies on: each test breaks when one promise of the log does.

use futures::FutureExt as _;
use openraft::StorageHelper;
use openraft::storage::RaftLogStorage as _;

use super::disk::Survival;
use super::suite::Trivial;
use super::*;

#[test]
fn a_vote_is_saved_only_after_every_earlier_append_is_durable() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, (1..=9).map(|index| group(1, index, 10)).collect());
    let mut flushed = append(&store, (10..=14).map(|index| group(1, index, 10)).collect()).unwrap();
    assert!((&mut flushed).now_or_never().is_none(), "nothing was synced");

    save_vote(&store, &mut driver, Vote::new(2, 1)).unwrap();

    let (after, _) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(after.last_log_id(), Some(log_id(1, 14)));
    assert_eq!(vote(&after), Some(Vote::new(2, 1)));
}

#[tokio::test]
async fn a_vote_waits_as_long_as_the_disk_does() {
    let disk = ForgetfulDisk::default();
    let mut store = LogStore::open(Arc::new(disk.clone()), options()).unwrap();
    disk.hold_syncs();
    let mut flushed = append(&store, (1..=5).map(|index| group(1, index, 10)).collect()).unwrap();
    disk.wait_for_held_sync();
    {
        let vote = Vote::new(2, 1);
        let mut saving = pin!(store.save_vote(&vote));
        assert!(futures::poll!(&mut saving).is_pending(), "the append before it is not durable");
        assert!((&mut flushed).now_or_never().is_none(), "the append is not durable");
        disk.release_syncs();
        saving.await.unwrap();
    }
    flushed.await.unwrap().unwrap();
    store.shutdown();
}

/// openraft saves the mark before the entries are flushed, and refuses for ever to start from a mark beyond the log.
#[tokio::test]
async fn a_commit_mark_beyond_the_durable_log_does_not_keep_a_node_from_starting() {
    let mut marks_beyond = 0;
    for seed in 0..60 {
        let disk = ForgetfulDisk::default();
        let wide = || Options { file_bytes: 1 << 16, ..options() };
        let (mut store, mut driver) =
            LogStore::open_driven(Arc::new(disk.clone()), wide()).unwrap();
        append_durably(&store, &mut driver, (0..=5).map(|index| group(1, index, 10)).collect());
        append(&store, (6..=8).map(|index| group(1, index, 1500)).collect()).unwrap();
        store.save_committed(Some(log_id(1, 8))).await.unwrap();
        // The frames are written, and the machine dies before they are synced.
        disk.fail_from(disk.operations() + 1);
        driver.step();

        let disk = Arc::new(disk.crash(Survival::Some(seed)));
        let (mut store, _driver) = LogStore::open_driven(disk, wide()).unwrap();
        let last = store.last_log_id();
        let committed = store.read_committed().await.unwrap();
        assert!(committed <= last, "{committed:?} is beyond {last:?}");
        if last > Some(log_id(1, 5)) && last < Some(log_id(1, 8)) {
            assert_eq!(committed, last, "a frame of the entry carries the mark");
            marks_beyond += 1;
        }
        let mut machine = Trivial::default();
        let state =
            StorageHelper::new(&mut store, &mut machine).with_id(1).get_initial_state().await;
        state.expect("the node can start");
    }
    assert!(marks_beyond > 0, "no crash left a mark beyond the log: the test has lost its case");
}

#[test]
fn the_commit_mark_survives_a_clean_end_without_a_frame_after_it() {
    let disk = ForgetfulDisk::default();
    let (mut store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, (1..=5).map(|index| group(1, index, 10)).collect());
    now(store.save_committed(Some(log_id(1, 4)))).unwrap();
    store.shutdown();
    driver.run();

    let (mut store, _driver) = open(&disk.crash(Survival::Nothing)).unwrap();
    assert_eq!(now(store.read_committed()).unwrap(), Some(log_id(1, 4)));
}

#[test]
fn a_callback_waits_for_the_sync() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    // The write succeeds and the sync does not.
    disk.fail_from(disk.operations() + 1);
    let flushed = append(&store, vec![group(1, 1, 10)]).unwrap();
    assert!(drive(&mut driver, flushed).unwrap().is_err());
}

#[test]
fn after_a_failed_sync_nothing_succeeds_any_more() {
    let disk = ForgetfulDisk::default();
    let (mut store, mut driver) = open(&disk).unwrap();
    append_durably(&store, &mut driver, vec![group(1, 1, 10)]);
    disk.fail_from(disk.operations() + 1);
    let first = append(&store, vec![group(1, 2, 10)]).unwrap();
    let second = append(&store, vec![group(1, 3, 10)]).unwrap();
    assert!(drive(&mut driver, first).unwrap().is_err());
    assert!(drive(&mut driver, second).unwrap().is_err());

    // The disk is well again, but nobody knows what the failed sync left.
    disk.fail_from(u64::MAX);
    assert!(append(&store, vec![group(1, 4, 10)]).is_err());
    assert!(save_vote(&store, &mut driver, Vote::new(2, 1)).is_err());
    assert!(drive(&mut driver, store.clone().truncate_after(None)).is_err());
    assert!(drive(&mut driver, store.clone().purge(log_id(1, 1))).is_err());
    assert!(now(store.save_committed(Some(log_id(1, 1)))).is_err());
    assert!(now(store.get_log_state()).is_err());
    assert!(now(async { store.get_log_reader().await.try_get_log_entries(..).await }).is_err());
}

#[test]
fn a_group_costs_one_sync_whatever_is_in_it() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    let before = disk.syncs();
    let flushed: Vec<_> =
        (1..=20).map(|index| append(&store, vec![group(1, index, 10)]).unwrap()).collect();
    save_vote(&store, &mut driver, Vote::new(2, 1)).unwrap();
    assert_eq!(disk.syncs() - before, 1);
    for flushed in flushed {
        drive(&mut driver, flushed).unwrap().unwrap();
    }
}

#[test]
fn what_is_appended_can_be_read_before_it_is_written() {
    let disk = ForgetfulDisk::default();
    let (store, mut driver) = open(&disk).unwrap();
    let mut reader = now(store.clone().get_log_reader());
    append(&store, vec![group(1, 1, 10), group(1, 2, 10)]).unwrap();
    let read = now(reader.try_get_log_entries(1..3)).unwrap();
    assert_eq!(read, vec![group(1, 1, 10), group(1, 2, 10)]);
    driver.step();
    assert_eq!(now(reader.try_get_log_entries(1..3)).unwrap(), read);
}

#[test]
fn a_hole_is_refused() {
    let (store, mut driver) = open(&ForgetfulDisk::default()).unwrap();
    append_durably(&store, &mut driver, vec![group(1, 1, 10)]);
    assert!(append(&store, vec![group(1, 3, 10)]).is_err());
    assert!(append(&store, vec![group(1, 2, 10), group(1, 4, 10)]).is_err());
    assert_eq!(log_ids(&store), [log_id(1, 1)]);
}
