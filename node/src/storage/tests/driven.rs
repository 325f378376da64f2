//! A store that is sealed, merged and reclaimed, beside a model of what it must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ring::digest;
use uuid::Uuid;

use super::faulty::FaultyVolume;
use super::sample::{self, Feed};
use crate::event::StoredRecord;
use crate::storage::{
    Checkpoint, FileMeta, LogPosition, OpenError, Options, Reclaimed, SealInput, Store, StoreError,
};

/// What a store holds after a number of seals.
#[derive(Debug, Clone)]
pub struct Model {
    pub feed: Feed,
    pub seal: u64,
    pub records: Vec<StoredRecord>,
    pub index: BTreeMap<Vec<u8>, Vec<u8>>,
    pub digest: [u8; 32],
}

/// What is to be sealed next.
#[derive(Debug, Clone)]
pub struct Batch {
    pub seal: u64,
    pub start: u64,
    pub end: u64,
    pub records: Vec<StoredRecord>,
}

pub fn open(disk: &FaultyVolume) -> Result<Store, OpenError> {
    let options = Options { cache_bytes: 1 << 20 };
    Store::open(Arc::new(disk.clone()), &options, || Uuid::from_u128(7))
}

impl Model {
    pub fn new(streams: u64) -> Self {
        Self {
            feed: Feed::new(streams),
            seal: 0,
            records: Vec::new(),
            index: BTreeMap::new(),
            digest: [0; 32],
        }
    }

    /// The next seal's records; 0 for a seal of the state alone.
    pub fn batch(&mut self, count: u64) -> Batch {
        let start = self.feed.position;
        let records = self.feed.take(count);
        self.seal += 1;
        Batch { seal: self.seal, start, end: self.feed.position, records }
    }

    /// Takes a batch in as sealed.
    pub fn take(&mut self, batch: &Batch) {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.digest);
        for stored in &batch.records {
            let bytes = stored.record.bytes();
            let (position, version) = (stored.first_position, stored.first_version);
            for number in [position, version, stored.epoch_us, 0, bytes.len() as u64] {
                context.update(&number.to_le_bytes());
            }
            context.update(bytes);
        }
        context.update(&state(batch.seal));
        self.digest = context.finish().as_ref().try_into().unwrap();
        self.index.extend(sample::index(&batch.records));
        self.records.extend(batch.records.iter().cloned());
    }

    /// The store without the versions of a stream below one.
    pub fn reclaim(&mut self, stream: &str, first_version: u64) {
        self.records = std::mem::take(&mut self.records)
            .into_iter()
            .filter_map(|stored| {
                let first = stored.first_version + u64::from(stored.removed);
                if stored.record.stream_id() != stream || first >= first_version {
                    return Some(stored);
                }
                let removed = (first_version - first) as u32;
                let record = stored.record.without_leading(removed)?;
                Some(StoredRecord { record, removed: stored.removed + removed, ..stored })
            })
            .collect();
    }

    /// Whether the store is at this point; a store that is not may be at another one.
    pub fn is_at(&self, store: &Store) -> bool {
        let (checkpoint, sealed) = store.checkpoint_and_sealed();
        let files = sealed.layers.iter().flat_map(|layer| &layer.records);
        let records = files.flat_map(|file| file.reader.entries().unwrap().map(Result::unwrap));
        checkpoint.map_or(0, |checkpoint| checkpoint.seal) == self.seal
            && records.eq(self.records.iter().cloned())
    }

    /// Compares everything that can be read from the store.
    pub fn check(&self, store: &Store) {
        let (checkpoint, sealed) = store.checkpoint_and_sealed();
        if self.seal == 0 {
            assert_eq!(checkpoint, None);
            return;
        }
        let checkpoint = checkpoint.expect("something was sealed");
        assert_eq!((checkpoint.seal, checkpoint.end_position), (self.seal, self.feed.position));
        assert_eq!(checkpoint.state, state(self.seal));
        assert_eq!(checkpoint.digest, self.digest, "the contents' digest");
        assert_eq!(Checkpoint::decode(&checkpoint.encode()).unwrap(), *checkpoint);

        let mut index = BTreeMap::new();
        let mut records = Vec::new();
        let mut end = 0;
        for layer in &sealed.layers {
            assert_eq!(layer.positions.start, end, "layers follow each other");
            end = layer.positions.end;
            layer.run.verify().unwrap();
            for entry in layer.run.entries().unwrap() {
                let (key, value) = entry.unwrap();
                index.insert(key.to_vec(), value.to_vec());
            }
            for file in &layer.records {
                file.reader.verify().unwrap();
                records.extend(file.reader.entries().unwrap().map(Result::unwrap));
            }
        }
        assert_eq!(end, self.feed.position);
        assert_eq!(index, self.index, "the index");
        assert_eq!(records, self.records, "the records");
        for position in (0..self.feed.position).step_by(7) {
            let layer = sealed.layers.iter().find(|layer| layer.positions.contains(&position));
            let layer = layer.expect("layers cover all positions");
            let found = layer.record_at_or_after(position).unwrap();
            let expected = self.records.iter().find(|stored| stored.end_position() > position);
            let in_layer = |stored: &&StoredRecord| stored.first_position < layer.positions.end;
            assert_eq!(found.as_ref(), expected.filter(in_layer));
        }
    }
}

pub fn state(seal: u64) -> Bytes {
    format!("state after seal {seal}").into()
}

pub fn seal(store: &Store, batch: &Batch) -> Result<Arc<Checkpoint>, StoreError> {
    store.seal(SealInput {
        seal: batch.seal,
        positions: batch.start..batch.end,
        applied: LogPosition { term: 1, index: batch.seal * 10 },
        membership: Bytes::from_static(b"membership"),
        state: state(batch.seal),
        local_state: Bytes::from_static(b"local"),
        records: batch.records.iter().cloned(),
        index: sample::index(&batch.records),
    })
}

/// Does every merge that is due.
pub fn merge_all(store: &Store) -> Result<u64, StoreError> {
    let mut merges = 0;
    while let Some(plan) = store.merge_due() {
        store.merge(&plan)?;
        merges += 1;
    }
    Ok(merges)
}

/// Reclaims the versions of a stream below one.
pub fn reclaim(
    store: &Store,
    model: &Model,
    stream: &str,
    first_version: u64,
) -> Result<Reclaimed, StoreError> {
    let removed = model.records.iter().filter(|stored| {
        stored.record.stream_id() == stream && stored.first_version < first_version
    });
    let positions: Vec<u64> = removed.map(|stored| stored.first_position).collect();
    store.reclaim(&positions, &|name, version| name != stream || version >= first_version)
}

/// The paths of all files but the catalogue's.
pub fn paths(disk: &FaultyVolume) -> Vec<String> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path != "store.redb").collect()
}

/// The names of the state's files, sorted.
pub fn named(store: &Store) -> Vec<String> {
    let checkpoint = store.checkpoint();
    let files = checkpoint.iter().flat_map(|checkpoint| checkpoint.files());
    let mut names: Vec<_> = files.map(|file| file.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Receives everything that a checkpoint names and this store lacks.
pub fn receive(
    from: &Store,
    to: &Store,
    checkpoint: &Checkpoint,
) -> Result<Vec<FileMeta>, StoreError> {
    let missing = to.missing(checkpoint);
    for meta in &missing {
        let file = from.open_for_sending(meta)?.expect("the sender has it");
        let mut staged = to.stage(meta)?;
        let mut rest = vec![0; (meta.bytes - staged.received()) as usize];
        file.read_at(staged.received(), &mut rest)?;
        for piece in rest.chunks(1000) {
            staged.write(piece)?;
        }
        staged.finish()?;
    }
    Ok(missing)
}
