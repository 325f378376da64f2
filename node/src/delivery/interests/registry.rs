//! Who waits for what, by what it waits for.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use tokio::sync::Notify;

use super::Interest;
use crate::event::RecordView;

/// Those who wait, by streams, types and tags. The maps' hashes have a random seed: the names come from clients.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next_id: u64,
    len: usize,
    everything: Waiting,
    everything_with_system: Waiting,
    streams: ByName,
    types: ByName,
    tags: ByName,
}

/// Those who wait for one name, ascending by their ids.
type Waiting = Vec<(u64, Arc<Notify>)>;

type ByName = HashMap<Box<str>, Waiting, RandomState>;

/// Where one waits: for whatever comes, or for some names.
enum Place<'a> {
    Everybody(&'a mut Waiting),
    Named(&'a mut ByName, &'a [String]),
}

impl Registry {
    /// Adds one who waits, and gives the id by which it goes.
    pub fn add(&mut self, interest: &Interest, waker: &Arc<Notify>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.len += 1;
        let waiting = || (id, Arc::clone(waker));
        match self.place(interest) {
            Place::Everybody(everybody) => everybody.push(waiting()),
            Place::Named(by_name, names) => {
                for name in names {
                    add_named(by_name, name, waiting());
                }
            }
        }
        id
    }

    /// Takes out whom [`Self::add`] gave this id for the same interest.
    pub fn remove(&mut self, interest: &Interest, id: u64) {
        self.len -= 1;
        match self.place(interest) {
            Place::Everybody(everybody) => remove(everybody, id),
            Place::Named(by_name, names) => {
                for name in names {
                    remove_named(by_name, name, id);
                }
            }
        }
    }

    /// Where those with this interest wait.
    fn place<'a>(&'a mut self, interest: &'a Interest) -> Place<'a> {
        match interest {
            Interest::Everything { system: false } => Place::Everybody(&mut self.everything),
            Interest::Everything { system: true } => {
                Place::Everybody(&mut self.everything_with_system)
            }
            Interest::Stream(name) => Place::Named(&mut self.streams, std::slice::from_ref(name)),
            Interest::Types(names) => Place::Named(&mut self.types, names),
            Interest::Tags(names) => Place::Named(&mut self.tags, names),
        }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    /// How many names are waited for.
    #[cfg(test)]
    pub fn names(&self) -> usize {
        self.streams.len() + self.types.len() + self.tags.len()
    }

    /// Wakes those that are interested in the record.
    pub fn wake(&self, record: &RecordView) {
        wake(&self.everything_with_system);
        wake_named(&self.streams, record.stream_id());
        if record.is_system() {
            return;
        }
        wake(&self.everything);
        if self.types.is_empty() && self.tags.is_empty() {
            return;
        }
        let mut last_type = "";
        for event in record.events() {
            // Events of one append are often of one type.
            if event.event_type != last_type {
                last_type = event.event_type;
                wake_named(&self.types, event.event_type);
            }
            if !self.tags.is_empty() {
                for tag in event.tags.iter() {
                    wake_named(&self.tags, tag);
                }
            }
        }
    }

    /// In the order in which they came: who reads first is no matter of a map's seed.
    pub fn wake_everybody(&self) {
        let named = [&self.streams, &self.types, &self.tags].into_iter().flat_map(HashMap::values);
        let everybody = [&self.everything, &self.everything_with_system].into_iter().chain(named);
        let mut everybody: Vec<_> = everybody.flatten().collect();
        everybody.sort_unstable_by_key(|(id, _)| *id);
        for (_, waker) in everybody {
            waker.notify_one();
        }
    }
}

fn add_named(named: &mut ByName, name: &str, waiting: (u64, Arc<Notify>)) {
    match named.get_mut(name) {
        Some(others) => others.push(waiting),
        None => drop(named.insert(name.into(), vec![waiting])),
    }
}

fn remove_named(named: &mut ByName, name: &str, id: u64) {
    let Some(waiting) = named.get_mut(name) else { return };
    remove(waiting, id);
    if waiting.is_empty() {
        named.remove(name);
        shrink(named);
    }
}

/// Gives memory back when most have gone, as after a burst of followers.
fn shrink(named: &mut ByName) {
    if named.capacity() > 1_024 && named.len() < named.capacity() / 8 {
        named.shrink_to(2 * named.len());
    }
}

/// A name may be waited for twice by one: each time it stands there once.
fn remove(waiting: &mut Waiting, id: u64) {
    if let Ok(place) = waiting.binary_search_by_key(&id, |(id, _)| *id) {
        waiting.remove(place);
    }
    if waiting.capacity() > 64 && waiting.len() < waiting.capacity() / 8 {
        waiting.shrink_to(2 * waiting.len());
    }
}

/// A permit is left for whoever does not wait at the moment.
fn wake(waiting: &Waiting) {
    for (_, waker) in waiting {
        waker.notify_one();
    }
}

fn wake_named(named: &ByName, name: &str) {
    if let Some(waiting) = named.get(name) {
        wake(waiting);
    }
}
