//! Sealing: an overlay that takes no more becomes a records file and a run.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ring::digest;

use super::super::checkpoint::{Checkpoint, LogPosition, RecordsMeta, RunMeta};
use super::super::names;
use super::super::records::RecordsWriter;
use super::super::run::RunWriter;
use super::output::Output;
use super::{Shared, Store, StoreError};
use crate::event::StoredRecord;

/// How many entries are written between two looks at whether the store is stopping.
pub(super) const ENTRIES_BETWEEN_LOOKS: usize = 4096;

/// What is sealed.
#[derive(Debug)]
pub struct SealInput<R, I> {
    /// The number of the seal, above that of the last.
    pub seal: u64,
    /// The positions that the records take, from the end of the last seal on; empty when only the state changed.
    pub positions: Range<u64>,
    /// The last log entry whose effect is part of the seal.
    pub applied: LogPosition,
    /// The membership in force then, encoded by Raft's side.
    pub membership: Bytes,
    /// The engine's small state.
    pub state: Bytes,
    /// What the engine keeps besides, and what may differ between replicas.
    pub local_state: Bytes,
    /// The records, ascending by position.
    pub records: R,
    /// Keys and values of the run, ascending by key; see [`super::super::keys`].
    pub index: I,
}

impl Store {
    /// Makes a seal part of the state, on stable storage when this returns. After an error nothing has changed; a
    /// retryable one, when the disk was full, can be tried again with the same input.
    pub fn seal<R, I, K, V>(&self, input: SealInput<R, I>) -> Result<Arc<Checkpoint>, StoreError>
    where
        R: IntoIterator<Item = StoredRecord>,
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let shared = &*self.shared;
        let _one_at_a_time = shared.sealing.lock();
        let SealInput { seal, positions, applied, membership, state, local_state, .. } = input;
        let before = self.checkpoint();
        check_order(before.as_deref(), seal, &positions)?;

        let mut digest = ContentDigest::after(before.as_deref());
        let mut output = Output::new(shared);
        let files = if positions.is_empty() {
            None
        } else {
            let records =
                write_records(shared, &mut output, &positions, input.records, &mut digest)?;
            let run = write_run(shared, &mut output, seal, &positions, input.index)?;
            Some((records, run))
        };
        let digest = digest.finish(&state);
        shared.commit(output, |now| {
            check_order(now, seal, &positions)?;
            let (mut records, mut runs) =
                now.map_or_else(Default::default, |now| (now.records.clone(), now.runs.clone()));
            if let Some((new_records, new_run)) = files {
                records.push(new_records);
                runs.push(new_run);
            }
            let end_position = positions.end;
            Ok(Checkpoint {
                seal,
                end_position,
                applied,
                membership,
                state,
                local_state,
                digest,
                records,
                runs,
            })
        })
    }
}

fn check_order(
    now: Option<&Checkpoint>,
    seal: u64,
    positions: &Range<u64>,
) -> Result<(), StoreError> {
    let (last_seal, end_position) = now.map_or((0, 0), |now| (now.seal, now.end_position));
    if seal > last_seal && positions.start == end_position && positions.end >= end_position {
        return Ok(());
    }
    Err(StoreError::OutOfOrder { seal, position: positions.start, last_seal, end_position })
}

fn write_records(
    shared: &Shared,
    output: &mut Output<'_>,
    positions: &Range<u64>,
    records: impl IntoIterator<Item = StoredRecord>,
    digest: &mut ContentDigest,
) -> Result<RecordsMeta, StoreError> {
    let (file, summary) = output.write(&names::records(positions), |path| {
        let mut writer = RecordsWriter::create(&shared.volume, path)?;
        for (count, stored) in records.into_iter().enumerate() {
            if count % ENTRIES_BETWEEN_LOOKS == 0 {
                shared.check_running()?;
            }
            digest.add(&stored);
            writer.push(&stored)?;
        }
        let summary = writer.finish()?;
        Ok((summary.file.clone(), summary))
    })?;
    if summary.positions != *positions {
        let (expected, found) = (positions.clone(), summary.positions);
        return Err(StoreError::Incomplete { expected, found });
    }
    Ok(RecordsMeta {
        file,
        positions: summary.positions,
        epochs_us: summary.epochs_us.0..=summary.epochs_us.1,
    })
}

fn write_run(
    shared: &Shared,
    output: &mut Output<'_>,
    seal: u64,
    positions: &Range<u64>,
    index: impl IntoIterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
) -> Result<RunMeta, StoreError> {
    let (level, seals) = (0, seal..=seal);
    let (file, ()) = output.write(&names::run(level, &seals), |path| {
        let mut writer = RunWriter::create(&shared.volume, path)?;
        for (count, (key, value)) in index.into_iter().enumerate() {
            if count % ENTRIES_BETWEEN_LOOKS == 0 {
                shared.check_running()?;
            }
            writer.push(key.as_ref(), value.as_ref())?;
        }
        Ok((writer.finish()?, ()))
    })?;
    Ok(RunMeta { file, level, seals, positions: positions.clone() })
}

/// SHA-256 over what was sealed: the digest before, each record with its place, the state.
struct ContentDigest(digest::Context);

impl ContentDigest {
    fn after(before: Option<&Checkpoint>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&before.map_or([0; 32], |before| before.digest));
        Self(context)
    }

    fn add(&mut self, stored: &StoredRecord) {
        let bytes = stored.record.bytes();
        let mut place = [0; 5 * size_of::<u64>()];
        let numbers = [
            stored.first_position,
            stored.first_version,
            stored.epoch_us,
            u64::from(stored.removed),
            bytes.len() as u64,
        ];
        for (slot, number) in place.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *slot = number.to_le_bytes();
        }
        self.0.update(&place);
        self.0.update(bytes);
    }

    fn finish(mut self, state: &[u8]) -> [u8; 32] {
        self.0.update(state);
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}
