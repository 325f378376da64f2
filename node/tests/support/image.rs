//! What a crash makes of a volume.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Contents, FaultyVolume, FileId, Image, Names, State, Survival, parent};

/// A sector is written whole or not at all.
const SECTOR_BYTES: usize = 512;

impl Image {
    /// The volume as it is found after a crash at this moment.
    pub fn crash(&self, survival: Survival) -> FaultyVolume {
        let mut chance = StdRng::seed_from_u64(match survival {
            Survival::Some(seed) | Survival::Torn(seed) => seed,
            Survival::Nothing | Survival::Everything => 0,
        });
        let State { live, durable, .. } = &self.state;
        let keep = |chance: &mut StdRng| match survival {
            Survival::Nothing => false,
            Survival::Everything | Survival::Torn(_) => true,
            Survival::Some(_) => chance.random(),
        };
        let mut names = Names::default();
        for folder in live.folders.union(&durable.folders) {
            if durable.folders.contains(folder) || keep(&mut chance) {
                names.folders.insert(folder.clone());
            }
        }
        let paths: BTreeSet<_> = live.files.keys().chain(durable.files.keys()).collect();
        for path in paths {
            let (new, old) = (live.files.get(path), durable.files.get(path));
            let file = if new == old || keep(&mut chance) { new } else { old };
            let folder = parent(path);
            if let Some(file) = file
                && (folder.is_empty() || names.folders.contains(folder))
            {
                names.files.insert(path.clone(), *file);
            }
        }
        let mut files = BTreeMap::new();
        for file in names.files.values() {
            let contents = &self.state.files[file];
            let bytes = match survival {
                Survival::Torn(_) => self.torn(*file, &mut chance),
                _ => survivors(contents, || keep(&mut chance)),
            };
            files.insert(*file, Contents { live: Arc::clone(&bytes), durable: bytes });
        }
        let state = State {
            files,
            live: names.clone(),
            durable: names,
            next_file: self.state.next_file,
            capacity: self.state.capacity,
            ..State::default()
        };
        FaultyVolume { state: Arc::new(Mutex::new(state)) }
    }

    fn torn(&self, file: FileId, chance: &mut StdRng) -> Arc<Vec<u8>> {
        let live = &self.state.files[&file].live;
        let Some(last) = self.state.last_write.as_ref().filter(|last| last.file == file) else {
            return Arc::clone(live);
        };
        let kept = chance.random_range(0..=last.bytes);
        let mut bytes = last.before.to_vec();
        bytes.resize(bytes.len().max(last.offset + kept), 0);
        bytes[last.offset..last.offset + kept]
            .copy_from_slice(&live[last.offset..last.offset + kept]);
        Arc::new(bytes)
    }
}

fn survivors(contents: &Contents, mut keep: impl FnMut() -> bool) -> Arc<Vec<u8>> {
    let Contents { live, durable } = contents;
    if Arc::ptr_eq(live, durable) {
        return Arc::clone(live);
    }
    let mut bytes = durable.to_vec();
    if bytes.len() != live.len() && keep() {
        bytes.resize(live.len(), 0);
    }
    for (old, new) in bytes.chunks_mut(SECTOR_BYTES).zip(live.chunks(SECTOR_BYTES)) {
        let shared = old.len().min(new.len());
        if old[..shared] != new[..shared] && keep() {
            old[..shared].copy_from_slice(&new[..shared]);
        }
    }
    Arc::new(bytes)
}
