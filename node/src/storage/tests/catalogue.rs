//! The promises of the catalogue: an id and an identity that never change, and damage that is always noticed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, TableDefinition};
use uuid::Uuid;

use super::faulty::{FaultyVolume, Survival};
use crate::storage::volume::Volume as _;
use crate::storage::{CatalogueError, FORMAT_VERSION, Identity, OpenError, Options, Store};

const FILE_NAME: &str = "store.redb";

fn volume(number: u128) -> impl FnOnce() -> Uuid {
    move || Uuid::from_u128(number)
}

fn identity() -> Identity {
    Identity { node_id: 3, cluster_id: "5f1c".to_owned(), epoch: 1, format_version: FORMAT_VERSION }
}

fn open(path: &Path, number: u128) -> Result<Store, OpenError> {
    Store::open_folder(path, &Options::default(), volume(number))
}

fn open_volume(disk: &FaultyVolume, number: u128) -> Result<Store, OpenError> {
    Store::open(Arc::new(disk.clone()), &Options::default(), volume(number))
}

#[test]
fn a_new_volume_has_an_id_and_no_identity() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("deep/data"), 7).unwrap();
    assert_eq!(store.volume_id(), Uuid::from_u128(7));
    assert_eq!(store.identity(), None);
    assert_eq!(store.checkpoint(), None);
}

#[test]
fn volume_id_and_identity_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 7).unwrap().assign(identity()).unwrap();
    let store = open(folder.path(), 8).unwrap();
    assert_eq!(store.volume_id(), Uuid::from_u128(7));
    assert_eq!(store.identity(), Some(identity()));
}

#[test]
fn what_was_assigned_is_in_the_file_when_assign_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 7).unwrap();
    store.assign(identity()).unwrap();
    // A copy of the file while the store is open is what a killed process would leave.
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
    let after = open(copy.path(), 8).unwrap();
    assert_eq!(after.volume_id(), Uuid::from_u128(7));
    assert_eq!(after.identity(), Some(identity()));
}

#[test]
fn assigning_the_same_again_changes_nothing_and_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 7).unwrap();
    store.assign(identity()).unwrap();
    store.assign(identity()).unwrap();
    for other in [
        Identity { node_id: 4, ..identity() },
        Identity { cluster_id: "other".to_owned(), ..identity() },
        Identity { epoch: 2, ..identity() },
    ] {
        let error = store.assign(other).unwrap_err();
        assert!(matches!(error, CatalogueError::AlreadyAssigned { .. }), "{error}");
        assert!(!error.retryable());
    }
    assert_eq!(store.identity(), Some(identity()));
}

#[test]
fn a_folder_in_use_is_refused_by_name_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), 7).unwrap();
    let error = open(folder.path(), 8).unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    assert!(error.retryable());
    drop(first);
    open(folder.path(), 8).unwrap();
}

#[test]
fn an_unknown_format_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), 7).unwrap());
    let database = Database::open(folder.path().join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = TableDefinition::<&str, &[u8]>::new("catalogue");
    let newer = (FORMAT_VERSION + 1).to_string();
    transaction.open_table(table).unwrap().insert("format_version", newer.as_bytes()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(folder.path(), 8).unwrap_err();
    assert!(error.to_string().contains(&format!("format version {newer}")), "{error}");
}

#[test]
fn a_file_that_is_no_catalogue_is_an_error_and_stays_as_it_is() {
    for contents in ["not a catalogue, but somebody's file", ""] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, contents).unwrap();
        let error = open(folder.path(), 7).unwrap_err();
        assert!(matches!(error, OpenError::Catalogue(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
    }
}

#[test]
fn a_missing_catalogue_beside_sealed_files_is_an_error() {
    let disk = FaultyVolume::default();
    drop(open_volume(&disk, 7).unwrap());
    disk.create("runs/0-1").unwrap();
    disk.remove(FILE_NAME).unwrap();
    let error = open_volume(&disk, 8).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_volume_whose_making_was_cut_short_is_made_again() {
    let disk = FaultyVolume::default();
    disk.record();
    open_volume(&disk, 7).unwrap().assign(identity()).unwrap();
    let images = disk.take_images();
    for (number, image) in (0..).zip(&images) {
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::Some(number),
            Survival::Some(number + 1_000_000),
            Survival::Torn(number),
        ] {
            let after = image.crash(survival);
            let store = open_volume(&after, 9).unwrap_or_else(|error| {
                panic!("after change {number} of {} with {survival:?}: {error}", images.len())
            });
            let id = store.volume_id().as_u128();
            assert!(id == 7 || id == 9 && store.identity().is_none());
        }
    }
}

#[test]
fn damage_is_an_error_or_changes_nothing_and_never_a_panic() {
    let disk = FaultyVolume::default();
    open_volume(&disk, 7).unwrap().assign(identity()).unwrap();
    let bytes = disk.contents(FILE_NAME).len();
    let mut errors = 0;
    for number in 0..300 {
        let damaged = disk.crash(Survival::Everything);
        let offset = number * 7919 % bytes;
        let noise: Vec<u8> = (0..64).map(|byte| (number * 31 + byte * 17) as u8).collect();
        damaged.overwrite(FILE_NAME, offset, &noise);
        match open_volume(&damaged, 9) {
            Ok(store) => {
                assert_eq!(store.volume_id(), Uuid::from_u128(7), "damage at {offset}");
                assert_eq!(store.identity(), Some(identity()), "damage at {offset}");
            }
            Err(_) => errors += 1,
        }
    }
    assert!(errors > 0, "some of the damage is met");
}
