//! The overlay's indexes as the keys and values of a run, in their order.

use super::{HashMap, IdPlace, Overlay, Postings};
use crate::storage::keys;

/// A key of a run and its value.
pub type IndexEntry = (Vec<u8>, Vec<u8>);

impl Overlay {
    /// Every key of the run that this overlay becomes, strictly ascending. Each kind is sorted when it is come to,
    /// so that not all of them are in memory twice.
    pub fn index(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        // In the order of the letters that keys begin with.
        lazily(|| self.postings(keys::Posting::Causation, &self.causations))
            .chain(lazily(|| self.removed()))
            .chain(lazily(|| self.postings(keys::Posting::Tag, &self.tags)))
            .chain(lazily(|| self.heads()))
            .chain(lazily(|| self.event_ids()))
            .chain(lazily(|| self.creations()))
            .chain(lazily(|| self.postings(keys::Posting::Correlation, &self.correlations)))
            .chain(lazily(|| self.postings(keys::Posting::Type, &self.types)))
            .chain(lazily(|| self.versions()))
    }

    fn heads(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.names.iter().filter_map(|name| {
            let head = self.head_here(name)?;
            Some((keys::head(name), head.encode().to_vec()))
        })
    }

    /// What was removed of streams while this overlay was the active one.
    fn removed(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.names.iter().filter_map(|name| {
            let removal = self.removal_here(name)?;
            Some((keys::removed(name), removal.encode().to_vec()))
        })
    }

    fn versions(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.names.iter().flat_map(|name| {
            self.stream_records(name).iter().map(|&place| {
                let stored = self.record(place);
                let key = keys::version(name, stored.first_version);
                (key, keys::position_value(stored.first_position))
            })
        })
    }

    fn event_ids(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        sorted(&self.ids).into_iter().map(|(id, &IdPlace { record, index })| {
            let position = self.record(record).first_position;
            let place = keys::EventPlace { position, index };
            (keys::event_id(id), keys::place_value(place))
        })
    }

    fn creations(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.created
            .iter()
            .map(|&place| (keys::created(self.record(place).first_position), Vec::new()))
    }

    fn postings<'a>(
        &'a self,
        kind: keys::Posting,
        postings: &'a Postings,
    ) -> impl Iterator<Item = IndexEntry> + 'a {
        sorted(postings).into_iter().flat_map(move |(key, places)| {
            places.as_slice().iter().map(move |&place| {
                let position = self.record(place).first_position;
                (keys::posting(kind, key, position), Vec::new())
            })
        })
    }
}

fn lazily<I: Iterator>(make: impl FnOnce() -> I) -> impl Iterator<Item = I::Item> {
    std::iter::once_with(make).flatten()
}

/// The entries of a map in the order of their keys.
fn sorted<K: Ord, V>(map: &HashMap<K, V>) -> Vec<(&K, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by(|one, other| one.0.cmp(other.0));
    entries
}
