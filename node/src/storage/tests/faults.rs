//! A disk that fails or is full at any call: the store keeps its state, says what is to be done, and goes on when it
//! can.

use super::driven::{self, Model};
use super::faulty::{Calls, Fault, FaultyVolume, Image, Survival};
use crate::storage::{Store, StoreError};

/// A disk with seven seals, so that one more is due for a merge, and what it holds.
fn prepared() -> (Image, Model) {
    let disk = FaultyVolume::default();
    let store = driven::open(&disk).unwrap();
    let mut model = Model::new(4);
    for _ in 0..7 {
        let batch = model.batch(12);
        driven::seal(&store, &batch).unwrap();
        model.take(&batch);
    }
    (disk.image(), model)
}

fn work(store: &Store, batch: &driven::Batch, model: &Model) -> Result<(), StoreError> {
    if store.checkpoint().is_none_or(|checkpoint| checkpoint.seal < batch.seal) {
        driven::seal(store, batch)?;
    }
    driven::merge_all(store)?;
    driven::reclaim(store, model, "stream-2", 11)?;
    Ok(())
}

/// What the store holds before and after the work.
fn models(before: &Model) -> (driven::Batch, Model, Model) {
    let mut sealed = before.clone();
    let batch = sealed.batch(12);
    sealed.take(&batch);
    let mut reclaimed = sealed.clone();
    reclaimed.reclaim("stream-2", 11);
    (batch, sealed, reclaimed)
}

/// Does the work with a fault at the `n`-th call, for every `n`, until the work is done without meeting it. Returns how
/// often it was met.
fn at_every_call(
    calls: Calls,
    fault: Fault,
    times: u64,
    mut check: impl FnMut(&FaultyVolume, &Store, Result<(), StoreError>),
) -> u64 {
    let (image, model) = prepared();
    let (batch, sealed, _) = models(&model);
    for n in 0.. {
        let disk = image.crash(Survival::Everything);
        let store = driven::open(&disk).unwrap();
        disk.fail(calls, n, times, fault);
        let worked = work(&store, &batch, &sealed);
        if disk.heal() == 0 {
            worked.unwrap();
            return n;
        }
        check(&disk, &store, worked);
    }
    unreachable!("the loop ends when no fault is met");
}

#[test]
fn a_full_disk_at_any_call_changes_nothing_and_the_work_is_done_when_there_is_space() {
    let (_, model) = prepared();
    let (batch, sealed, reclaimed) = models(&model);
    for times in [1, u64::MAX] {
        let met = at_every_call(Calls::Growth, Fault::Enospc, times, |disk, store, worked| {
            if let Err(error) = worked {
                assert!(error.retryable(), "{error}");
            }
            assert!(store.poison().is_none());
            let now = [&model, &sealed, &reclaimed].into_iter().find(|model| model.is_at(store));
            now.expect("the state is one of those on the way").check(store);
            store.remove_obsolete();
            // While the disk stays full the outcome of a commit may not be seen; its files are kept until it is.
            if times == 1 {
                assert_eq!(driven::paths(disk), driven::named(store), "no partial file is left");
            }
            work(store, &batch, &sealed).unwrap();
            reclaimed.check(store);
            assert_eq!(driven::paths(disk), driven::named(store));
            reclaimed.check(&driven::open(&disk.crash(Survival::Nothing)).unwrap());
        });
        assert!(met > 20, "{met}");
    }
}

#[test]
fn after_a_failed_sync_nothing_is_written_and_a_restart_finds_a_whole_state() {
    let (_, model) = prepared();
    let (batch, sealed, reclaimed) = models(&model);
    let met = at_every_call(Calls::Syncs, Fault::Eio, 1, |disk, store, worked| {
        let error = worked.unwrap_err();
        assert!(!error.retryable(), "{error}");
        assert!(error.to_string().contains("has to stop"), "{error}");
        assert!(store.poison().is_some());
        let changes = disk.changes();
        assert!(work(store, &batch, &sealed).is_err());
        assert_eq!(disk.changes(), changes, "nothing reaches the disk any more");
        disk.freeze();
        for survival in [Survival::Nothing, Survival::Everything, Survival::Some(changes)] {
            let store = driven::open(&disk.crash(survival)).unwrap();
            let now = [&model, &sealed, &reclaimed].into_iter().find(|model| model.is_at(&store));
            now.expect("the state is one of those on the way").check(&store);
        }
    });
    assert!(met > 10, "{met}");
}

#[test]
fn a_failed_change_at_any_call_leaves_a_state_that_a_restart_goes_on_from() {
    let (_, model) = prepared();
    let (batch, sealed, reclaimed) = models(&model);
    at_every_call(Calls::Changes, Fault::Eio, u64::MAX, |disk, store, worked| {
        if worked.is_ok() {
            // Only the removal of what is no longer needed failed.
            reclaimed.check(store);
        }
        disk.freeze();
        for survival in [Survival::Nothing, Survival::Everything] {
            let disk = disk.crash(survival);
            let store = driven::open(&disk).unwrap();
            work(&store, &batch, &sealed).unwrap();
            reclaimed.check(&store);
            assert_eq!(driven::paths(&disk), driven::named(&store));
        }
    });
}

#[test]
fn a_read_that_fails_fails_the_work_and_not_the_store() {
    let (_, model) = prepared();
    let (batch, sealed, reclaimed) = models(&model);
    at_every_call(Calls::Reads, Fault::Eio, 1, |disk, store, worked| {
        if let Err(error) = worked {
            assert!(error.damaged_file().is_none(), "{error}");
        }
        assert!(store.poison().is_none());
        work(store, &batch, &sealed).unwrap();
        reclaimed.check(store);
        assert_eq!(driven::paths(disk), driven::named(store));
    });
}

#[test]
fn a_seal_that_does_not_fit_leaves_no_byte_behind_and_fits_later() {
    let (image, model) = prepared();
    let (batch, sealed, _) = models(&model);
    let disk = image.crash(Survival::Everything);
    let store = driven::open(&disk).unwrap();
    let used = disk.used_bytes();
    for room in [0, 1, 500, 1000] {
        disk.set_capacity(Some(used + room));
        let error = driven::seal(&store, &batch).unwrap_err();
        assert!(error.retryable(), "{error}");
        assert_eq!(disk.used_bytes(), used);
        model.check(&store);
    }
    assert_eq!(store.available_bytes().unwrap(), 1000);
    disk.set_capacity(None);
    driven::seal(&store, &batch).unwrap();
    sealed.check(&store);
}
