//! What a node does around its engine: it keeps the log, writes what is frozen, merges, reclaims, starts again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use reckon_node::engine::{
    ApplyError, Engine, LogPosition, Outcome, Sealing, SharedEngine, StateReader,
};
use reckon_node::storage::{Options, SealInput, Store};
use uuid::Uuid;

use crate::history::Group;
use crate::support::{Calls, Fault, FaultyVolume, Survival};

#[derive(Debug)]
pub struct Node {
    pub engine: SharedEngine,
    pub reader: StateReader,
    volume: FaultyVolume,
    store: Store,
    pub log: Vec<Group>,
    frozen: VecDeque<Sealing>,
    /// The contents of every seal, as they were frozen first.
    pub seals: Vec<Contents>,
    /// Whether bytes of removed events may be gone.
    pub reclaimed: bool,
}

/// What a seal holds; the same on every replica, whatever it has in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    state: Bytes,
    records: Vec<Bytes>,
    index: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    fn of(sealing: &Sealing) -> Self {
        Self {
            state: sealing.state.clone(),
            records: sealing.records().map(|stored| stored.record.bytes().clone()).collect(),
            index: sealing.index().collect(),
        }
    }
}

fn open(volume: &FaultyVolume) -> Store {
    // A few blocks only, so that reads meet the files.
    let options = Options { cache_bytes: 64 << 10 };
    Store::open(Arc::new(volume.clone()), &options, || Uuid::from_u128(1)).unwrap()
}

impl Node {
    pub fn new() -> Self {
        let volume = FaultyVolume::default();
        let engine = SharedEngine::default();
        Self {
            reader: StateReader::new(Arc::clone(&engine)),
            engine,
            store: open(&volume),
            volume,
            log: Vec::new(),
            frozen: VecDeque::new(),
            seals: Vec::new(),
            reclaimed: false,
        }
    }

    /// Applies a group that is new.
    pub fn apply(&mut self, group: Group) -> Vec<Outcome> {
        self.log.push(group);
        self.apply_at(self.log.len() - 1)
    }

    fn apply_at(&mut self, index: usize) -> Vec<Outcome> {
        // The bytes come from another place each time: nothing may hang on where they lie.
        let bytes = Bytes::copy_from_slice(&self.log[index].bytes);
        let applied = LogPosition { term: 1, index: index as u64 + 1 };
        reckon_node::engine::prefetch(&bytes, &self.reader);
        let mut engine = self.engine.write();
        let outcomes = engine.apply_group(&bytes, applied).unwrap();
        while let Some(sealing) = engine.take_sealing() {
            let contents = Contents::of(&sealing);
            match self.seals.get(sealing.seal as usize - 1) {
                None => self.seals.push(contents),
                Some(first) => assert_eq!(*first, contents, "a seal is the same each time"),
            }
            self.frozen.push_back(sealing);
        }
        outcomes
    }

    /// Writes the oldest frozen overlay; says whether there was one.
    pub fn write(&mut self) -> bool {
        let Some(sealing) = self.frozen.pop_front() else { return false };
        self.store
            .seal(SealInput {
                seal: sealing.seal,
                positions: sealing.positions.clone(),
                applied: sealing.applied,
                membership: Bytes::new(),
                state: sealing.state.clone(),
                local_state: sealing.removals.clone(),
                records: sealing.records(),
                index: sealing.index(),
            })
            .unwrap();
        self.engine.write().take_files(self.store.sealed());
        true
    }

    /// Merges as far as it is due; says whether anything was.
    pub fn merge(&mut self) -> bool {
        let mut merged = false;
        while let Some(plan) = self.store.merge_due() {
            self.store.merge(&plan).unwrap();
            self.engine.write().take_files(self.store.sealed());
            merged = true;
        }
        merged
    }

    /// Rewrites files without removed events; says whether any were gone.
    pub fn reclaim(&mut self) -> bool {
        let Some(removals) = self.engine.read().removals_to_reclaim() else { return false };
        let positions = removals.positions(&self.store.sealed()).unwrap();
        let keep = |stream: &str, version| removals.keeps(stream, version);
        let reclaimed = self.store.reclaim(&positions, &keep).unwrap();
        let mut engine = self.engine.write();
        engine.take_files(self.store.sealed());
        engine.reclaimed(&removals);
        self.reclaimed |= reclaimed.events > 0;
        reclaimed.events > 0
    }

    /// Applies a group that need not be taken.
    pub fn try_apply(&mut self, group: &Group) -> Result<Vec<Outcome>, ApplyError> {
        let applied = LogPosition { term: 1, index: self.log.len() as u64 + 1 };
        self.engine.write().apply_group(&group.bytes, applied)
    }

    /// Does something while no file can be read.
    pub fn without_files<T>(&self, act: impl FnOnce() -> T) -> T {
        self.volume.fail(Calls::Reads, 0, u64::MAX, Fault::Eio);
        let done = act();
        self.volume.heal();
        done
    }

    /// The sealed files with their sizes in bytes.
    pub fn sealed_files(&self) -> Vec<(String, usize)> {
        let sealed = |path: &str| path.starts_with("records/") || path.starts_with("runs/");
        self.volume.files().into_iter().filter(|(path, _)| sealed(path)).collect()
    }

    /// A node with the same files but for 64 bytes of one, before it has applied anything again.
    pub fn with_damage(&self, path: &str, at: usize) -> Self {
        let mut other = Self::new();
        other.volume = self.volume.crash(Survival::Everything);
        let damage: Vec<u8> =
            other.volume.contents(path)[at..at + 64].iter().map(|byte| !byte).collect();
        other.volume.overwrite(path, at, &damage);
        other.reopen();
        other
    }

    /// Starts again from the files, and replays the log behind them.
    pub fn reopen(&mut self) {
        self.frozen.clear();
        *self.engine.write() = Engine::default();
        // Readers keep files open, and two stores on one volume would remove each other's.
        self.store = open(&FaultyVolume::default());
        self.store = open(&self.volume);
        let mut next = 0;
        if let Some(checkpoint) = self.store.checkpoint() {
            let (state, removals) = (&checkpoint.state, &checkpoint.local_state);
            *self.engine.write() = Engine::continued(state, removals, self.store.sealed()).unwrap();
            next = usize::try_from(checkpoint.applied.index).unwrap();
        }
        for index in next..self.log.len() {
            let outcomes = self.apply_at(index);
            assert_eq!(outcomes, self.log[index].expected, "a replay decides alike");
        }
    }
}
