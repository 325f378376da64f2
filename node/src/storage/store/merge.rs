//! Merging: eight runs of a level become one of the next, so that a look-up meets few runs however many seals there
//! were. Which ones is a function of the seals' numbers, so that all replicas make the same files.

use std::ops::{Range, RangeInclusive};

use super::super::checkpoint::{Checkpoint, FileMeta, RecordsMeta, RunMeta};
use super::super::names;
use super::super::records::{RecordsJoiner, RecordsReader};
use super::super::run::{MergedEntries, RunReader, RunWriter};
use super::output::Output;
use super::seal::ENTRIES_BETWEEN_LOOKS;
use super::{Shared, Store, StoreError};
use crate::limits;

/// How many runs of a level become one of the next.
const FAN_IN: u64 = 8;

/// A merge that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    /// The level of the run that is made.
    pub level: u32,
    /// The seals whose runs are merged.
    pub seals: RangeInclusive<u64>,
    /// The runs, oldest first; at least one.
    pub runs: Vec<RunMeta>,
    /// Groups of neighbouring records files that are joined, each of at least two.
    pub joins: Vec<Vec<RecordsMeta>>,
}

impl MergePlan {
    /// Bytes that are read, and about as many that are written, more than the merge will take in the end.
    pub fn bytes(&self) -> u64 {
        let runs = if self.runs.len() > 1 { self.runs.as_slice() } else { &[] };
        let runs: u64 = runs.iter().map(|run| run.file.bytes).sum();
        let records = self.joins.iter().flatten().map(|records| records.file.bytes);
        runs + records.sum::<u64>()
    }

    /// The lowest and oldest merge that the checkpoint is due for.
    fn of(checkpoint: &Checkpoint) -> Option<Self> {
        for level in 0.. {
            let group = FAN_IN.checked_pow(level + 1)?;
            if group > checkpoint.seal {
                return None;
            }
            let mut runs = checkpoint.runs.iter();
            let first = runs.find(|run| {
                run.level == level && (*run.seals.end()).next_multiple_of(group) <= checkpoint.seal
            });
            let Some(first) = first else { continue };
            let last_seal = first.seals.end().next_multiple_of(group);
            let seals = last_seal - group + 1..=last_seal;
            let runs: Vec<_> = checkpoint
                .runs
                .iter()
                .filter(|run| seals.contains(run.seals.start()))
                .cloned()
                .collect();
            let positions = runs.first()?.positions.start..runs.last()?.positions.end;
            let joins = joins(&checkpoint.records, &positions);
            return Some(Self { level: level + 1, seals, runs, joins });
        }
        None
    }

    fn files(&self) -> impl Iterator<Item = &FileMeta> {
        let records = self.joins.iter().flatten().map(|records| &records.file);
        records.chain(self.runs.iter().map(|run| &run.file))
    }
}

/// Neighbours that fit one file together, from the oldest on.
fn joins(records: &[RecordsMeta], positions: &Range<u64>) -> Vec<Vec<RecordsMeta>> {
    let mut joins: Vec<Vec<RecordsMeta>> = Vec::new();
    let mut bytes = u64::MAX;
    for meta in records {
        if meta.positions.start < positions.start || meta.positions.end > positions.end {
            continue;
        }
        bytes = bytes.saturating_add(meta.file.bytes);
        match joins.last_mut() {
            Some(join) if bytes <= limits::RECORDS_FILE_BYTES => join.push(meta.clone()),
            _ => {
                bytes = meta.file.bytes;
                joins.push(vec![meta.clone()]);
            }
        }
    }
    joins.retain(|join| join.len() > 1);
    joins
}

impl Store {
    /// The next merge to do; `None` when there is none, or when a file that it would read is fenced.
    pub fn merge_due(&self) -> Option<MergePlan> {
        let plan = MergePlan::of(&*self.checkpoint()?)?;
        let changes = self.shared.changes.lock();
        let fenced = plan.files().any(|file| changes.fenced.contains_key(&file.name));
        (!fenced).then_some(plan)
    }

    /// Does a merge. After an error nothing has changed; a retryable one can be tried again.
    pub fn merge(&self, plan: &MergePlan) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let _one_at_a_time = shared.rewriting.lock();
        let mut output = Output::new(shared);
        let mut joined = Vec::with_capacity(plan.joins.len());
        for join in &plan.joins {
            joined.push(join_records(shared, &mut output, join)?);
        }
        let run = merge_runs(shared, &mut output, plan)?;
        shared.commit(output, |now| {
            let now = now.ok_or(StoreError::Superseded)?;
            let mut next = now.clone();
            replace(&mut next.runs, &plan.runs, vec![run])?;
            for (join, joined) in plan.joins.iter().zip(joined) {
                replace(&mut next.records, join, vec![joined])?;
            }
            Ok(next)
        })?;
        Ok(())
    }
}

/// Puts `new` in the place of neighbouring items.
pub(super) fn replace<T: PartialEq>(
    items: &mut Vec<T>,
    old: &[T],
    new: Vec<T>,
) -> Result<(), StoreError> {
    let start = items.iter().position(|item| old.first() == Some(item));
    let start = start.ok_or(StoreError::Superseded)?;
    let range = start..start + old.len();
    if items.get(range.clone()) != Some(old) {
        return Err(StoreError::Superseded);
    }
    items.splice(range, new);
    Ok(())
}

fn join_records(
    shared: &Shared,
    output: &mut Output<'_>,
    join: &[RecordsMeta],
) -> Result<RecordsMeta, StoreError> {
    let (Some(first), Some(last)) = (join.first(), join.last()) else {
        return Err(StoreError::Superseded);
    };
    let positions = first.positions.start..last.positions.end;
    let (file, ()) = output.write(&names::records(&positions), |path| {
        let mut joiner = RecordsJoiner::create(&shared.volume, path)?;
        for meta in join {
            let reader = RecordsReader::new(&shared.files, &meta.file.name, meta.file.bytes);
            let mut entries = reader.entries()?;
            while joiner.copy_next(&mut entries)? {
                shared.check_running()?;
            }
        }
        Ok((joiner.finish()?, ()))
    })?;
    let epochs_us = *first.epochs_us.start()..=*last.epochs_us.end();
    Ok(RecordsMeta { file, positions, epochs_us })
}

fn merge_runs(
    shared: &Shared,
    output: &mut Output<'_>,
    plan: &MergePlan,
) -> Result<RunMeta, StoreError> {
    let (Some(first), Some(last)) = (plan.runs.first(), plan.runs.last()) else {
        return Err(StoreError::Superseded);
    };
    let positions = first.positions.start..last.positions.end;
    let (level, seals) = (plan.level, plan.seals.clone());
    if plan.runs.len() == 1 {
        // The other seals had no records; the file is what a merge would make.
        return Ok(RunMeta { file: first.file.clone(), level, seals, positions });
    }
    let (file, ()) = output.write(&names::run(level, &seals), |path| {
        let mut writer = RunWriter::create(&shared.volume, path)?;
        let mut sources = Vec::with_capacity(plan.runs.len());
        for run in &plan.runs {
            let reader = RunReader::new(&shared.files, &run.file.name, run.file.bytes);
            sources.push(reader.entries()?);
        }
        let mut merged = MergedEntries::new(sources)?;
        for count in 0_usize.. {
            if count.is_multiple_of(ENTRIES_BETWEEN_LOOKS) {
                shared.check_running()?;
            }
            let Some((key, value)) = merged.entry() else { break };
            writer.push(key, value)?;
            merged.advance()?;
        }
        Ok((writer.finish()?, ()))
    })?;
    Ok(RunMeta { file, level, seals, positions })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::storage::LogPosition;

    /// A checkpoint with runs of these levels and seals.
    fn checkpoint(seal: u64, runs: &[(u32, RangeInclusive<u64>)]) -> Checkpoint {
        let runs: Vec<_> = runs
            .iter()
            .map(|(level, seals)| RunMeta {
                file: FileMeta { name: String::new(), bytes: 1, digest: [0; 32] },
                level: *level,
                seals: seals.clone(),
                positions: seals.start() - 1..*seals.end(),
            })
            .collect();
        Checkpoint {
            seal,
            end_position: seal,
            applied: LogPosition::default(),
            membership: bytes::Bytes::new(),
            state: bytes::Bytes::new(),
            local_state: bytes::Bytes::new(),
            digest: [0; 32],
            records: Vec::new(),
            runs,
        }
    }

    #[test]
    fn runs_are_merged_eight_by_eight_and_level_by_level() {
        let mut runs: Vec<(u32, RangeInclusive<u64>)> = Vec::new();
        for seal in 1..=600 {
            runs.push((0, seal..=seal));
            while let Some(plan) = MergePlan::of(&checkpoint(seal, &runs)) {
                assert!(plan.runs.len() == 8 && *plan.seals.end() == seal, "{plan:?}");
                runs.retain(|(_, seals)| !plan.seals.contains(seals.start()));
                runs.push((plan.level, plan.seals));
            }
            let levels: Vec<_> = runs.iter().map(|(level, _)| *level).collect();
            assert!(levels.is_sorted_by(|one, other| one >= other), "{levels:?}");
            assert!(runs.len() <= 7 * 4, "{levels:?}");
        }
        assert_eq!(runs.first().unwrap(), &(3, 1..=512));
    }

    #[test]
    fn a_seal_without_records_leaves_fewer_runs_to_merge() {
        let runs = [(0, 2..=2), (0, 7..=7), (0, 9..=9)];
        let plan = MergePlan::of(&checkpoint(9, &runs)).unwrap();
        assert_eq!((plan.level, plan.seals, plan.runs.len()), (1, 1..=8, 2));
        assert_eq!(MergePlan::of(&checkpoint(7, &runs[..2])), None);
    }

    #[test]
    fn neighbours_are_joined_as_far_as_they_fit_a_file() {
        let size = limits::RECORDS_FILE_BYTES / 5;
        let meta = |number: u64, bytes| RecordsMeta {
            file: FileMeta { name: number.to_string(), bytes, digest: [0; 32] },
            positions: number * 10..number * 10 + 10,
            epochs_us: 0..=0,
        };
        let mut all: Vec<_> = (0..8).map(|number| meta(number, size)).collect();
        all.push(meta(8, limits::RECORDS_FILE_BYTES));
        let lens = |positions| joins(&all, &positions).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lens(0..90), [5, 3]);
        assert_eq!(lens(20..40), [2]);
        assert_eq!(lens(80..90), [0; 0]);
    }
}
