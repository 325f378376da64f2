//! A set of versions of a stream, as ranges: entries are added at the end, and mostly taken away all together.

use std::collections::BTreeMap;
use std::ops::Range;

/// Versions, in ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionSet {
    /// The end of each range (exclusive) by its start.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl VersionSet {
    pub const fn len(&self) -> u64 {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, version: u64) -> bool {
        self.range_of(version).is_some()
    }

    /// From the lowest version up.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// The lowest version that is not below this one.
    pub fn first_from(&self, version: u64) -> Option<u64> {
        match self.range_of(version) {
            Some(_) => Some(version),
            None => self.ranges.range(version..).next().map(|(&start, _)| start),
        }
    }

    /// Adds a version; false when it was in already.
    pub fn insert(&mut self, version: u64) -> bool {
        if self.contains(version) {
            return false;
        }
        let end = self.ranges.remove(&(version + 1)).unwrap_or(version + 1);
        match self.ranges.range_mut(..version).next_back() {
            Some((_, before)) if *before == version => *before = end,
            _ => {
                self.ranges.insert(version, end);
            }
        }
        self.len += 1;
        true
    }

    /// Takes a version away; false when it was not in.
    pub fn remove(&mut self, version: u64) -> bool {
        let Some(Range { start, end }) = self.range_of(version) else { return false };
        self.ranges.remove(&start);
        if start < version {
            self.ranges.insert(start, version);
        }
        if version + 1 < end {
            self.ranges.insert(version + 1, end);
        }
        self.len -= 1;
        true
    }

    /// Adds a whole range, which lies behind everything that is in.
    pub(super) fn push_range(&mut self, range: Range<u64>) {
        self.len += range.end - range.start;
        self.ranges.insert(range.start, range.end);
    }

    /// How many ranges there are.
    pub(super) fn ranges_len(&self) -> usize {
        self.ranges.len()
    }

    fn range_of(&self, version: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.ranges.range(..=version).next_back()?;
        (version < end).then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_holds_what_a_set_of_versions_does(
            steps in prop::collection::vec((any::<bool>(), 0_u64..24), 0..200),
        ) {
            let (mut set, mut model) = (VersionSet::default(), BTreeSet::new());
            for (add, version) in steps {
                if add {
                    prop_assert_eq!(set.insert(version), model.insert(version));
                } else {
                    prop_assert_eq!(set.remove(version), model.remove(&version));
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                let found: Vec<u64> = set.ranges().flatten().collect();
                prop_assert_eq!(found, model.iter().copied().collect::<Vec<_>>());
                for from in 0..26 {
                    prop_assert_eq!(set.first_from(from), model.range(from..).next().copied());
                }
                let ends: Vec<_> = set.ranges().collect();
                prop_assert!(ends.windows(2).all(|pair| pair[0].end < pair[1].start), "ranges touch");
            }
        }
    }
}
