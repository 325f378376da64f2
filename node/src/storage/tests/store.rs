//! Seals, merges, reclaims and installs without a fault.

use super::driven::{self, Model, named, paths};
use super::faulty::{FaultyVolume, Survival};
use crate::storage::{Store, StoreError};

/// A store after a number of seals, and what it holds.
fn sealed(seals: u64) -> (FaultyVolume, Store, Model) {
    let disk = FaultyVolume::default();
    let store = driven::open(&disk).unwrap();
    let mut model = Model::new(5);
    for _ in 0..seals {
        let batch = model.batch(20);
        driven::seal(&store, &batch).unwrap();
        model.take(&batch);
    }
    (disk, store, model)
}

#[test]
fn what_was_sealed_is_there_after_opening_again() {
    let (disk, store, mut model) = sealed(3);
    let batch = model.batch(0);
    driven::seal(&store, &batch).unwrap();
    model.take(&batch);
    model.check(&store);
    drop(store);
    let store = driven::open(&disk).unwrap();
    model.check(&store);
    assert_eq!(paths(&disk), named(&store));
}

#[test]
fn a_seal_that_does_not_follow_the_last_is_refused() {
    let (_disk, store, mut model) = sealed(2);
    let batch = model.batch(5);
    for wrong in [
        driven::Batch { seal: 2, ..batch.clone() },
        driven::Batch { start: batch.start + 1, ..batch.clone() },
        driven::Batch { start: 0, ..batch.clone() },
        driven::Batch { end: batch.end + 1, ..batch.clone() },
    ] {
        let error = driven::seal(&store, &wrong).unwrap_err();
        assert!(!error.retryable(), "{error}");
    }
    driven::seal(&store, &batch).unwrap();
    model.take(&batch);
    model.check(&store);
}

#[test]
fn merging_changes_files_and_nothing_that_is_read() {
    let (disk, store, mut model) = sealed(1);
    for _ in 1..70 {
        let batch = model.batch(6);
        driven::seal(&store, &batch).unwrap();
        model.take(&batch);
        driven::merge_all(&store).unwrap();
    }
    model.check(&store);
    let checkpoint = store.checkpoint().unwrap();
    let levels: Vec<_> = checkpoint.runs.iter().map(|run| run.level).collect();
    assert_eq!(levels, [2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(checkpoint.records.len(), 7, "small files were joined");
    assert_eq!(paths(&disk), named(&store), "what was merged is gone");
    assert!(driven::open(&disk).is_ok());
}

#[test]
fn the_digest_does_not_depend_on_merging_or_reclaiming() {
    let (_disk, store, mut model) = sealed(8);
    let before = store.checkpoint().unwrap();
    driven::merge_all(&store).unwrap();
    driven::reclaim(&store, &model, "stream-1", 4).unwrap();
    model.reclaim("stream-1", 4);
    let after = store.checkpoint().unwrap();
    assert_ne!(before.runs, after.runs);
    assert_eq!(before.digest, after.digest);
    model.check(&store);
}

#[test]
fn files_that_are_read_or_pinned_stay_until_they_are_not() {
    let (disk, store, _model) = sealed(8);
    let before = named(&store);
    let reader = store.sealed();
    let pin = store.pin();
    driven::merge_all(&store).unwrap();
    store.remove_obsolete();
    assert!(before.iter().all(|name| paths(&disk).contains(name)));
    assert!(store.bytes().unwrap()["obsolete"] > 0);
    let meta = pin.checkpoint().unwrap().records[0].file.clone();
    assert!(store.open_for_sending(&meta).unwrap().is_some(), "what is pinned can be sent");
    drop(pin);
    store.remove_obsolete();
    assert!(before.iter().all(|name| paths(&disk).contains(name)));
    for layer in &reader.layers {
        layer.run.verify().unwrap();
    }
    drop(reader);
    store.remove_obsolete();
    assert_eq!(paths(&disk), named(&store));
    assert_eq!(store.bytes().unwrap()["obsolete"], 0);
    assert!(store.open_for_sending(&meta).unwrap().is_none());
}

#[test]
fn what_was_removed_is_reclaimed_and_keeps_its_positions_and_versions() {
    let (disk, store, mut model) = sealed(4);
    let used = disk.used_bytes();
    let reclaimed = driven::reclaim(&store, &model, "stream-2", 11).unwrap();
    assert!(reclaimed.files > 0 && reclaimed.bytes_after < reclaimed.bytes_before);
    assert!(disk.used_bytes() < used);
    model.reclaim("stream-2", 11);
    model.check(&store);
    let again = driven::reclaim(&store, &model, "stream-2", 11).unwrap();
    assert_eq!((again.files, again.events), (0, 0), "there is nothing left to reclaim");

    // Also when a file has nothing left.
    for stream in 0..5 {
        let stream = format!("stream-{stream}");
        driven::reclaim(&store, &model, &stream, u64::MAX).unwrap();
        model.reclaim(&stream, u64::MAX);
    }
    assert!(store.checkpoint().unwrap().records.is_empty());
    model.check(&store);
    drop(store);
    model.check(&driven::open(&disk).unwrap());
}

#[test]
fn an_installed_checkpoint_is_the_sender_s_state() {
    let (_disk, sender, mut model) = sealed(3);
    let disk = FaultyVolume::default();
    let receiver = driven::open(&disk).unwrap();
    let first = sender.checkpoint().unwrap();
    assert_eq!(driven::receive(&sender, &receiver, &first).unwrap().len(), 6);
    assert!(receiver.missing(&first).is_empty());
    receiver.install(&first).unwrap();
    model.check(&receiver);

    let batch = model.batch(9);
    driven::seal(&sender, &batch).unwrap();
    model.take(&batch);
    let second = sender.checkpoint().unwrap();
    assert!(matches!(receiver.install(&second).unwrap_err(), StoreError::NotStaged { .. }));
    let fetched = driven::receive(&sender, &receiver, &second).unwrap();
    assert_eq!(fetched.len(), 2, "only what is missing is fetched");
    receiver.install(&second).unwrap();
    model.check(&receiver);
    assert!(matches!(receiver.install(&first).unwrap_err(), StoreError::OutOfOrder { .. }));
    assert_eq!(paths(&disk), named(&receiver));
    drop(receiver);
    model.check(&driven::open(&disk).unwrap());
}

#[test]
fn a_file_that_was_cut_off_is_received_from_where_it_ended() {
    let (_disk, sender, model) = sealed(1);
    let disk = FaultyVolume::default();
    let receiver = driven::open(&disk).unwrap();
    let checkpoint = sender.checkpoint().unwrap();
    let meta = checkpoint.records[0].file.clone();
    let mut bytes = vec![0; meta.bytes as usize];
    sender.open_for_sending(&meta).unwrap().unwrap().read_at(0, &mut bytes).unwrap();
    let mut staged = receiver.stage(&meta).unwrap();
    staged.write(&bytes[..100]).unwrap();
    assert!(matches!(staged.finish().unwrap_err(), StoreError::NotStaged { .. }));
    drop(receiver);

    let receiver = driven::open(&disk).unwrap();
    assert_eq!(receiver.stage(&meta).unwrap().received(), 100);
    driven::receive(&sender, &receiver, &checkpoint).unwrap();
    receiver.install(&checkpoint).unwrap();
    model.check(&receiver);
}

#[test]
fn a_file_with_other_contents_is_not_taken() {
    let (_disk, sender, _model) = sealed(1);
    let receiver = driven::open(&FaultyVolume::default()).unwrap();
    let checkpoint = sender.checkpoint().unwrap();
    let meta = checkpoint.runs[0].file.clone();
    let mut staged = receiver.stage(&meta).unwrap();
    assert!(staged.write(&vec![0; meta.bytes as usize + 1]).is_err());
    staged.write(&vec![0; meta.bytes as usize]).unwrap();
    assert!(matches!(staged.finish().unwrap_err(), StoreError::Contents { .. }));
    assert_eq!(receiver.stage(&meta).unwrap().received(), 0, "it begins anew");
    assert!(receiver.missing(&checkpoint).contains(&meta));
}

#[test]
fn a_damaged_file_is_fenced_fetched_again_and_whole() {
    let (_disk, sender, model) = sealed(8);
    let (disk, store, _model) = sealed(8);
    let run = store.checkpoint().unwrap().runs[3].file.clone();
    disk.overwrite(&run.name, 100, &[0xaa; 64]);
    let error = store.sealed().layers[3].run.verify().unwrap_err();
    assert_eq!(error.file(), run.name);
    let plan = store.merge_due().unwrap();
    let error = store.merge(&plan).unwrap_err();
    assert_eq!(error.damaged_file(), Some(run.name.as_str()));
    assert!(store.fence(&run.name));
    assert!(!store.fence("runs/no-such"));
    assert_eq!(store.merge_due(), None, "a damaged run is not merged");
    assert!(store.open_for_sending(&run).unwrap().is_none(), "nor sent");
    assert_eq!(store.fenced(), std::slice::from_ref(&run));

    driven::receive(&sender, &store, &sender.checkpoint().unwrap()).unwrap();
    store.replace_files(&sender.checkpoint().unwrap(), || ()).unwrap();
    assert!(store.fenced().is_empty());
    model.check(&store);
    driven::merge_all(&store).unwrap();
    model.check(&store);
}

#[test]
fn a_file_that_is_missing_at_the_start_is_fenced_then() {
    use crate::storage::volume::Volume as _;
    let (disk, store, model) = sealed(2);
    let (_other, sender, _model) = sealed(2);
    let records = store.checkpoint().unwrap().records[1].file.clone();
    drop(store);
    disk.remove(&records.name).unwrap();
    let store = driven::open(&disk).unwrap();
    assert_eq!(store.fenced(), std::slice::from_ref(&records));
    assert!(store.sealed().layers[1].record_at_or_after(0).is_err());
    driven::receive(&sender, &store, &sender.checkpoint().unwrap()).unwrap();
    store.replace_files(&sender.checkpoint().unwrap(), || ()).unwrap();
    model.check(&store);
}

#[test]
fn a_file_that_was_set_aside_stays_fenced_over_a_restart_and_what_is_left_of_it_is_kept_until_it_is_whole()
 {
    let (disk, store, model) = sealed(2);
    let (_other, sender, _model) = sealed(2);
    let run = store.checkpoint().unwrap().runs[0].file.clone();
    assert!(!store.set_aside("runs/no-such").unwrap());
    assert!(store.set_aside(&run.name).unwrap());
    assert!(store.set_aside(&run.name).unwrap(), "again changes nothing");
    drop(store);
    let disk = disk.crash(Survival::Nothing);
    let store = driven::open(&disk).unwrap();
    assert_eq!(store.fenced(), std::slice::from_ref(&run));
    let aside = |disk: &FaultyVolume| {
        disk.files().into_iter().filter(|(path, _)| path.starts_with("damaged/")).count()
    };
    assert_eq!(aside(&disk), 1);
    driven::receive(&sender, &store, &sender.checkpoint().unwrap()).unwrap();
    store.replace_files(&sender.checkpoint().unwrap(), || ()).unwrap();
    assert_eq!(aside(&disk), 0);
    model.check(&store);
}

#[test]
fn replicas_make_the_same_files() {
    let (one, store, _model) = sealed(8);
    let (other, peer, _model) = sealed(8);
    driven::merge_all(&store).unwrap();
    driven::merge_all(&peer).unwrap();
    assert_eq!(store.checkpoint(), peer.checkpoint());
    assert_eq!(paths(&one), paths(&other));
    assert!(peer.missing(&store.checkpoint().unwrap()).is_empty());
}

#[test]
fn a_stopped_store_ends_long_work_and_keeps_its_state() {
    let (_disk, store, model) = sealed(8);
    let plan = store.merge_due().unwrap();
    store.stop();
    assert!(matches!(store.merge(&plan).unwrap_err(), StoreError::Stopped));
    model.check(&store);
}

#[test]
fn an_install_puts_fetched_files_in_the_place_of_fenced_ones() {
    let from = driven::open(&FaultyVolume::default()).unwrap();
    let disk = FaultyVolume::default();
    let to = driven::open(&disk).unwrap();
    let mut model = Model::new(4);
    for number in 0..3 {
        let batch = model.batch(10);
        driven::seal(&from, &batch).unwrap();
        if number < 2 {
            driven::seal(&to, &batch).unwrap();
        }
        model.take(&batch);
    }
    let damaged = to.checkpoint().unwrap().records[0].file.clone();
    disk.overwrite(&damaged.name, 20, &[0x5a; 64]);
    assert!(to.fence(&damaged.name));
    let checkpoint = from.checkpoint().unwrap();
    let received = driven::receive(&from, &to, &checkpoint).unwrap();
    assert!(received.contains(&damaged), "what is fenced is fetched");
    to.install(&checkpoint).unwrap();
    assert_eq!(to.fenced(), []);
    model.check(&to);
    assert_eq!(driven::paths(&disk), driven::named(&to));
    drop(to);
    model.check(&driven::open(&disk).unwrap());
}

#[test]
fn what_was_received_for_an_older_checkpoint_goes_with_an_install() {
    let (_, from, mut model) = sealed(7);
    let disk = FaultyVolume::default();
    let to = driven::open(&disk).unwrap();
    let older = from.checkpoint().unwrap();
    driven::receive(&from, &to, &older).unwrap();
    let batch = model.batch(20);
    driven::seal(&from, &batch).unwrap();
    model.take(&batch);
    driven::merge_all(&from).unwrap();
    let newer = from.checkpoint().unwrap();
    assert!(!older.files().any(|file| newer.files().any(|other| other == file)));
    driven::receive(&from, &to, &newer).unwrap();
    to.install(&newer).unwrap();
    model.check(&to);
    assert_eq!(paths(&disk), named(&to), "the staging folder is empty");
}
