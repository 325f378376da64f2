//! Several runs read as one: every key once, ascending, with the value of the newest run that has it.

use std::cmp::Ordering;

use super::super::error::ReadError;
use super::reader::RunEntries;

/// The entries of several runs in one order. After an error nothing more may be asked of it.
#[derive(Debug)]
pub struct MergedEntries {
    /// Those that have not ended, by the key that they stand at; of equal keys the newest run's is first.
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    entries: RunEntries,
    /// The run's place in the order of runs: greater for newer ones.
    rank: usize,
}

impl MergedEntries {
    /// Moves to the first key of runs that are given from the oldest to the newest, none of them read yet.
    pub fn new(runs: Vec<RunEntries>) -> Result<Self, ReadError> {
        let mut sources = Vec::with_capacity(runs.len());
        for (rank, mut entries) in runs.into_iter().enumerate() {
            if entries.advance()? {
                sources.push(Source { entries, rank });
            }
        }
        sources.sort_by(Source::order);
        Ok(Self { sources })
    }

    /// The key and the value that was moved to; `None` after the last.
    pub fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.sources.first().and_then(|source| source.entries.entry())
    }

    /// Moves to the next key.
    pub fn advance(&mut self) -> Result<(), ReadError> {
        // Older values of the same key stand just behind.
        while let [first, second, ..] = self.sources.as_slice()
            && first.key() == second.key()
        {
            self.advance_source(1)?;
        }
        if self.sources.is_empty() { Ok(()) } else { self.advance_source(0) }
    }

    /// Moves one source on, and to where it then belongs. Neighbouring keys often come from one run, so that is looked
    /// for from its place on.
    fn advance_source(&mut self, place: usize) -> Result<(), ReadError> {
        if !self.sources[place].entries.advance()? {
            self.sources.remove(place);
            return Ok(());
        }
        let (moved, behind) = (&self.sources[place], &self.sources[place + 1..]);
        let passed = behind.iter().take_while(|other| Source::order(other, moved).is_lt()).count();
        self.sources[place..=place + passed].rotate_left(1);
        Ok(())
    }
}

impl Source {
    fn key(&self) -> Option<&[u8]> {
        self.entries.entry().map(|(key, _)| key)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key()).then(other.rank.cmp(&self.rank))
    }
}
