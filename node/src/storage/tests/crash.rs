//! Whatever moment a crash chooses and whatever it leaves of what was not synced: the store is as it was before the
//! change that was under way, or as it is after it.

use super::driven::{self, Model};
use super::faulty::{Calls, FaultyVolume, Image, Survival};
use crate::storage::Store;

/// Everything a crash may leave, for one image.
fn survivals(number: u64) -> [Survival; 6] {
    [
        Survival::Nothing,
        Survival::Everything,
        Survival::Some(number),
        Survival::Some(number + 1_000_000),
        Survival::Some(number + 2_000_000),
        Survival::Torn(number),
    ]
}

/// Opens what every crash leaves and compares with the model before and after the change that was under way.
fn check(images: &[Image], models: &[Model]) {
    for (number, image) in (0..).zip(images) {
        for survival in survivals(number) {
            let disk = image.crash(survival);
            let store = driven::open(&disk).unwrap_or_else(|error| {
                panic!("image {number} of {} with {survival:?}: {error}", images.len())
            });
            let before = image.mark as usize;
            let candidates = models[before..].iter().take(2);
            let Some(model) = candidates.into_iter().find(|model| model.is_at(&store)) else {
                panic!("image {number} with {survival:?} is not as after change {before}");
            };
            model.check(&store);
            let left = driven::paths(&disk);
            let left: Vec<_> = left.iter().filter(|path| !path.starts_with("staging/")).collect();
            assert!(left.iter().copied().eq(&driven::named(&store)), "nothing else is left");
            if number % 8 == 0 {
                go_on(&store, model.clone());
            }
        }
    }
}

fn go_on(store: &Store, mut model: Model) {
    let batch = model.batch(3);
    driven::seal(store, &batch).unwrap();
    model.take(&batch);
    driven::merge_all(store).unwrap();
    model.check(store);
}

/// Seals, merges and a reclaim; the mark of an image is how many of the models had been reached.
fn worked(calls: Calls, seals: u64) -> (Vec<Image>, Vec<Model>) {
    let disk = FaultyVolume::default();
    let store = driven::open(&disk).unwrap();
    let mut models = vec![Model::new(4)];
    disk.record_before(calls);
    for number in 1..=seals {
        let mut model = models.last().unwrap().clone();
        let batch = model.batch(if number % 5 == 0 { 0 } else { 12 });
        driven::seal(&store, &batch).unwrap();
        model.take(&batch);
        models.push(model);
        disk.mark(models.len() as u64 - 1);
        driven::merge_all(&store).unwrap();
        if number == 8 {
            let mut model = models.last().unwrap().clone();
            let reclaimed = driven::reclaim(&store, &model, "stream-2", 11).unwrap();
            assert_eq!(reclaimed.files, 1, "one change, so that there is nothing in between");
            model.reclaim("stream-2", 11);
            models.push(model);
            disk.mark(models.len() as u64 - 1);
        }
    }
    models.last().unwrap().check(&store);
    let mut images = disk.take_images();
    images.push(disk.image());
    disk.freeze();
    (images, models)
}

#[test]
fn a_crash_at_any_sync_loses_nothing_and_adds_nothing() {
    let (images, models) = worked(Calls::Syncs, 17);
    assert!(images.len() > 100, "{} images", images.len());
    check(&images, &models);
}

#[test]
fn a_crash_at_any_change_loses_nothing_and_adds_nothing() {
    let (images, models) = worked(Calls::Changes, 9);
    check(&images, &models);
}

#[test]
fn a_crash_while_receiving_or_installing_leaves_the_old_state_or_the_new() {
    let sender = driven::open(&FaultyVolume::default()).unwrap();
    let disk = FaultyVolume::default();
    let receiver = driven::open(&disk).unwrap();
    let mut models = vec![Model::new(4)];
    disk.record_before(Calls::Changes);
    for seals in [3, 8] {
        let mut model = models.last().unwrap().clone();
        for _ in 0..seals {
            let batch = model.batch(12);
            driven::seal(&sender, &batch).unwrap();
            model.take(&batch);
        }
        driven::merge_all(&sender).unwrap();
        let checkpoint = sender.checkpoint().unwrap();
        driven::receive(&sender, &receiver, &checkpoint).unwrap();
        receiver.install(&checkpoint).unwrap();
        models.push(model);
        disk.mark(models.len() as u64 - 1);
    }
    models.last().unwrap().check(&receiver);
    let mut images = disk.take_images();
    images.push(disk.image());
    disk.freeze();
    check(&images, &models);
}

#[test]
fn what_still_runs_on_a_frozen_volume_changes_nothing() {
    let disk = FaultyVolume::default();
    let store = driven::open(&disk).unwrap();
    let mut model = Model::new(4);
    let batch = model.batch(5);
    driven::seal(&store, &batch).unwrap();
    model.take(&batch);
    disk.freeze();
    assert!(driven::seal(&store, &model.clone().batch(5)).is_err());
    drop(store);
    for survival in survivals(1) {
        model.check(&driven::open(&disk.crash(survival)).unwrap());
    }
}
