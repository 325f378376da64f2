//! Reclaiming: records files are written again without the events that were removed, so that their space comes back.

use super::super::checkpoint::RecordsMeta;
use super::super::names;
use super::super::records::{RecordsReader, RecordsWriter};
use super::merge::replace;
use super::output::Output;
use super::seal::ENTRIES_BETWEEN_LOOKS;
use super::{Store, StoreError};
use crate::event::StoredRecord;

/// What a reclaim came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Files that were written again.
    pub files: u64,
    /// Events whose bytes are gone.
    pub events: u64,
    /// Bytes of the files before.
    pub bytes_before: u64,
    /// Bytes of the files now.
    pub bytes_after: u64,
}

impl Store {
    /// Writes the records files again that hold a record at one of `positions` (ascending), without the events of which
    /// `keep` (stream, version) says no: whole records go, a removed beginning becomes [`StoredRecord::removed`]. An
    /// event behind one that is kept stays. Each file is a change of its own, so an error leaves those before it done.
    pub fn reclaim(
        &self,
        positions: &[u64],
        keep: &dyn Fn(&str, u64) -> bool,
    ) -> Result<Reclaimed, StoreError> {
        let _one_at_a_time = self.shared.rewriting.lock();
        let mut reclaimed = Reclaimed::default();
        let Some(checkpoint) = self.checkpoint() else { return Ok(reclaimed) };
        for meta in &checkpoint.records {
            let next = positions.partition_point(|position| *position < meta.positions.start);
            if positions.get(next).is_some_and(|position| *position < meta.positions.end) {
                self.reclaim_file(meta, keep, &mut reclaimed)?;
            }
        }
        Ok(reclaimed)
    }

    fn reclaim_file(
        &self,
        meta: &RecordsMeta,
        keep: &dyn Fn(&str, u64) -> bool,
        reclaimed: &mut Reclaimed,
    ) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let reader = RecordsReader::new(&shared.files, &meta.file.name, meta.file.bytes);
        let mut output = Output::new(shared);
        let (file, (summary, events)) = output.write(&names::records(&meta.positions), |path| {
            let mut events = 0;
            let mut writer = RecordsWriter::create(&shared.volume, path)?;
            for (count, stored) in reader.entries()?.enumerate() {
                if count % ENTRIES_BETWEEN_LOOKS == 0 {
                    shared.check_running()?;
                }
                let stored = stored?;
                let removed = removed_events(&stored, keep);
                events += u64::from(removed);
                if let Some(rest) = without_leading(stored, removed) {
                    writer.push(&rest)?;
                }
            }
            let summary = writer.finish()?;
            Ok((summary.file.clone(), (summary, events)))
        })?;
        if events == 0 {
            return Ok(());
        }
        let bytes_after = if summary.positions.is_empty() { 0 } else { file.bytes };
        let new = (!summary.positions.is_empty()).then_some(RecordsMeta {
            file,
            positions: summary.positions,
            epochs_us: summary.epochs_us.0..=summary.epochs_us.1,
        });
        // An empty file is no part of the state and goes with the old one.
        let output = match &new {
            Some(_) => output,
            None => Output::new(shared),
        };
        shared.commit(output, |now| {
            let mut next = now.ok_or(StoreError::Superseded)?.clone();
            replace(&mut next.records, std::slice::from_ref(meta), new.into_iter().collect())?;
            Ok(next)
        })?;
        reclaimed.files += 1;
        reclaimed.events += events;
        reclaimed.bytes_before += meta.file.bytes;
        reclaimed.bytes_after += bytes_after;
        Ok(())
    }
}

/// How many leading events of those that are there may go.
fn removed_events(stored: &StoredRecord, keep: &dyn Fn(&str, u64) -> bool) -> u32 {
    let stream = stored.record.stream_id();
    let first = stored.first_version + u64::from(stored.removed);
    let kept =
        (0..stored.record.events_len()).find(|index| keep(stream, first + u64::from(*index)));
    kept.unwrap_or(stored.record.events_len())
}

/// The record without its first `removed` events; `None` when none is left.
fn without_leading(stored: StoredRecord, removed: u32) -> Option<StoredRecord> {
    if removed == 0 {
        return Some(stored);
    }
    let record = stored.record.without_leading(removed)?;
    Some(StoredRecord { record, removed: stored.removed + removed, ..stored })
}
