//! Crashes at every operation of a workload, over several lives of the same disk, against a simple model.
//!
//! The model is the list of states that the log went through, one per entry, vote, truncation and purge. After a
//! crash the log must be one of them: none older than the newest that was reported as durable, so nothing reported is
//! lost and nothing truncated comes back; and nothing else, so no stale byte is ever read.

use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::disk::Survival;
use super::*;

/// How many times the disk is opened again after a crash.
const LIVES: usize = 3;
const WORKLOAD_STEPS: usize = 40;

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    purged: Option<LogId>,
    vote: Option<Vote>,
    entries: Vec<Entry>,
}

impl Model {
    fn of(store: &mut LogStore) -> Self {
        Self {
            purged: now(store.get_log_state()).unwrap().last_purged_log_id,
            vote: vote(store),
            entries: entries(store),
        }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }
}

/// One life: what the log went through, and up to where that is known to be durable.
struct Life {
    store: LogStore,
    driver: Driver,
    chance: StdRng,
    history: Vec<Model>,
    durable: usize,
    waiting: Vec<(usize, Flushed)>,
    term: u64,
    committed: Option<LogId>,
}

impl Life {
    fn now(&self) -> &Model {
        self.history.last().expect("it begins with a state")
    }

    fn change(&mut self, change: impl FnOnce(&mut Model)) {
        let mut model = self.now().clone();
        change(&mut model);
        self.history.push(model);
    }

    /// Does something by chance; an error when the disk fails.
    fn step(&mut self) -> io::Result<()> {
        match self.chance.random_range(0..20) {
            0..10 => self.append(),
            10..14 => {
                self.driver.step();
                self.collect();
                Ok(())
            }
            14..16 => {
                self.term += 1;
                let vote = Vote::new(self.term, 1);
                self.change(|model| model.vote = Some(vote));
                let saved = save_vote(&self.store, &mut self.driver, vote);
                self.reported(saved)
            }
            16 => self.truncate(),
            17 => self.purge(),
            _ => {
                self.committed = self.now().last();
                now(self.store.save_committed(self.committed))
            }
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let next = self.now().last().map_or(1, |last| last.index + 1);
        let count = self.chance.random_range(1..5);
        let mut added = Vec::new();
        for index in next..next + count {
            let bytes = match self.chance.random_range(0..20) {
                0 => 6000,
                1..5 => 1000,
                _ => self.chance.random_range(0..100),
            };
            let entry = group(self.term, index, bytes);
            self.change(|model| model.entries.push(entry.clone()));
            added.push(entry);
        }
        let flushed = append(&self.store, added)?;
        self.waiting.push((self.history.len() - 1, flushed));
        Ok(())
    }

    /// Drops a part of what is not committed, as a new leader would.
    fn truncate(&mut self) -> io::Result<()> {
        let model = self.now();
        let kept =
            model.entries.iter().filter(|entry| Some(entry.log_id) <= self.committed).count();
        if kept == model.entries.len() {
            return Ok(());
        }
        let kept = self.chance.random_range(kept..model.entries.len());
        self.term += 1;
        self.change(|model| model.entries.truncate(kept));
        let after = self.now().last();
        let truncated = drive(&mut self.driver, self.store.clone().truncate_after(after));
        self.reported(truncated)
    }

    /// Purges what is committed, or everything, as an installed snapshot does.
    fn purge(&mut self) -> io::Result<()> {
        let last = self.now().last().map_or(0, |last| last.index);
        let upto = match self.committed {
            Some(committed) if self.chance.random() => committed,
            _ => {
                self.committed = Some(log_id(self.term, last + self.chance.random_range(0..10)));
                self.committed.expect("it was just set")
            }
        };
        if self.now().purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        self.change(|model| {
            model.purged = Some(upto);
            model.entries.retain(|entry| entry.log_id.index > upto.index);
        });
        let purged = drive(&mut self.driver, self.store.clone().purge(upto));
        self.reported(purged)
    }

    fn reported(&mut self, result: io::Result<()>) -> io::Result<()> {
        if result.is_ok() {
            self.durable = self.history.len() - 1;
        }
        self.collect();
        result
    }

    fn collect(&mut self) {
        for (state, mut flushed) in std::mem::take(&mut self.waiting) {
            match (&mut flushed).now_or_never() {
                None => self.waiting.push((state, flushed)),
                Some(Ok(Ok(()))) => self.durable = self.durable.max(state),
                Some(_) => {}
            }
        }
    }
}

/// Lives on `disk` until the workload ends or its `fail_from`-th operation fails; returns the disk after the crash
/// and the states that it may be in.
fn live(
    disk: &ForgetfulDisk,
    allowed: &[Model],
    seed: u64,
    fail_from: u64,
    survival: Survival,
) -> Result<(ForgetfulDisk, Vec<Model>), String> {
    disk.fail_from(fail_from);
    let (mut store, driver) = match open(disk) {
        Ok(opened) => opened,
        // The disk failed while the log was being opened: nothing was promised.
        Err(OpenError::Io { .. }) => return Ok((disk.crash(survival), allowed.to_vec())),
        Err(error) => return Err(error.to_string()),
    };
    let found = Model::of(&mut store);
    if !allowed.contains(&found) {
        return Err(format!(
            "purged {:?}, last {:?}, {:?} is not one of {} allowed states from last {:?} to {:?}",
            found.purged,
            found.last(),
            found.vote,
            allowed.len(),
            allowed.first().and_then(Model::last),
            allowed.last().and_then(Model::last),
        ));
    }
    let committed = now(store.read_committed()).unwrap();
    if committed > found.last() {
        return Err(format!("the commit mark {committed:?} is beyond {:?}", found.last()));
    }
    let term = found.vote.map_or(0, |vote| vote.leader_id.term);
    let term = term.max(found.last().map_or(0, |last| last.committed_leader_id().term)) + 1;
    let mut life = Life {
        store,
        driver,
        chance: StdRng::seed_from_u64(seed),
        history: vec![found],
        durable: 0,
        waiting: Vec::new(),
        term,
        committed,
    };
    for _ in 0..WORKLOAD_STEPS {
        if life.step().is_err() {
            break;
        }
    }
    life.collect();
    let after = disk.crash(survival);
    Ok((after, life.history.split_off(life.durable)))
}

/// Crashes a workload at every one of its operations, then lives on with what is left. `prepare` may plant a bug.
fn crash_everywhere(prepare: impl Fn(&ForgetfulDisk)) -> Result<u64, String> {
    let mut crashes = 0;
    for seed in 0..3 {
        let whole = ForgetfulDisk::default();
        live(&whole, &[Model::default()], seed, u64::MAX, Survival::Everything)?;
        let operations = whole.operations();
        assert!(whole.files().last().is_some_and(|(number, _)| *number > 3), "the workload rolls");
        for fail_from in 0..=operations {
            let chances = (0..3).map(|chance| [Survival::Some(fail_from * 3 + chance); LIVES]);
            let sure = [
                [Survival::Nothing; LIVES],
                [Survival::Everything; LIVES],
                // The process is killed, its successor starts, and then the machine loses power.
                [Survival::Process, Survival::Nothing, Survival::Process],
            ];
            for survivals in sure.into_iter().chain(chances) {
                let mut disk = ForgetfulDisk::default();
                let mut allowed = vec![Model::default()];
                for (life, survival) in survivals.into_iter().enumerate() {
                    prepare(&disk);
                    // Later lives are shorter, each by another length.
                    let fail_from = fail_from / (life as u64 + 1);
                    let seed = seed + life as u64 * 1000;
                    (disk, allowed) = live(&disk, &allowed, seed, fail_from, survival).map_err(|error| {
                        format!("seed {seed}, life {life}, operation {fail_from}, {survival:?}: {error}")
                    })?;
                    crashes += 1;
                }
                live(&disk, &allowed, 0, u64::MAX, Survival::Nothing)?;
            }
        }
    }
    Ok(crashes)
}

#[test]
fn no_crash_loses_what_was_reported_or_brings_back_what_was_truncated() {
    let crashes = crash_everywhere(|_| ()).unwrap();
    assert!(crashes > 1000, "only {crashes} crashes");
}

/// The test above can see a report before the sync: a disk whose syncs do nothing is the same bug one floor down.
#[test]
fn a_sync_that_does_nothing_is_noticed() {
    let error = crash_everywhere(ForgetfulDisk::lie_about_syncs).unwrap_err();
    assert!(error.contains("is not one of"), "{error}");
}
