//! What a subscription handed out, compared with what it was to hand out.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Result, bail, ensure};
use reckon_api::v1::Event;
use serde::Serialize;

/// What arrived, event by event in the order of arrival. Shared by all who take events.
#[derive(Debug, Default)]
pub struct Arrivals {
    ids: Mutex<Vec<String>>,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Events that arrived, each counted once.
    pub delivered: u64,
    /// How often events arrived again.
    pub redelivered: u64,
    /// Events that never arrived.
    pub missing: u64,
}

impl Arrivals {
    /// Notes that the event of this id is here.
    pub fn note(&self, id: String) {
        self.ids().push(id);
    }

    /// Compares with the events that were to arrive, in the store's order. Fails when another event arrived, or one of a
    /// stream for the first time after one that stands behind it.
    pub fn check<'a>(&self, expected: impl IntoIterator<Item = &'a Event>) -> Result<Delivered> {
        let ids = self.ids().clone();
        compare(ids.iter().map(String::as_str), expected)
    }

    fn ids(&self) -> MutexGuard<'_, Vec<String>> {
        // Every id is whole at any time.
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromIterator<String> for Arrivals {
    fn from_iter<T: IntoIterator<Item = String>>(ids: T) -> Self {
        Self { ids: Mutex::new(ids.into_iter().collect()) }
    }
}

fn compare<'a, 'b>(
    arrivals: impl Iterator<Item = &'b str>,
    expected: impl IntoIterator<Item = &'a Event>,
) -> Result<Delivered> {
    /// An event that is to arrive, and whether it did.
    struct Awaited<'a> {
        event: &'a Event,
        arrived: bool,
    }

    let mut awaited: HashMap<&str, Awaited<'a>> = expected
        .into_iter()
        .map(|event| (event.event_id.as_str(), Awaited { event, arrived: false }))
        .collect();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut found = Delivered::default();
    for id in arrivals {
        let Some(Awaited { event, arrived }) = awaited.get_mut(id) else {
            bail!("event {id} arrived, which was not to");
        };
        if std::mem::replace(arrived, true) {
            found.redelivered += 1;
            continue;
        }
        found.delivered += 1;
        let (stream, version) = (event.stream_id.as_str(), event.version);
        if let Some(before) = newest.insert(stream, version) {
            ensure!(
                before < version,
                "{stream}: version {version} arrived for the first time after version {before}"
            );
        }
    }
    found.missing = awaited.values().filter(|it| !it.arrived).count() as u64;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events called by their stream and version: `a0`.
    fn events(names: &[&str]) -> Vec<Event> {
        names
            .iter()
            .map(|name| Event {
                event_id: (*name).to_owned(),
                stream_id: name[..1].to_owned(),
                version: name[1..].parse().unwrap(),
                ..Event::default()
            })
            .collect()
    }

    fn check(arrivals: &[&str]) -> Result<Delivered> {
        let expected = events(&["a0", "b0", "a1", "a2", "b1"]);
        let arrivals: Arrivals = arrivals.iter().map(|id| (*id).to_owned()).collect();
        arrivals.check(&expected)
    }

    #[test]
    fn what_comes_again_and_what_never_comes_is_counted() {
        let check = |arrivals: &[&str], delivered, redelivered, missing| {
            let expected = Delivered { delivered, redelivered, missing };
            assert_eq!(check(arrivals).unwrap(), expected, "{arrivals:?}");
        };
        check(&["b0", "b1", "a0", "a1", "a2"], 5, 0, 0);
        check(&["a0", "a1", "a0", "a1", "a2", "b0"], 4, 2, 1);
        check(&["a0", "a2"], 2, 0, 3);
        check(&[], 0, 0, 5);
    }

    #[test]
    fn what_comes_out_of_order_or_was_not_to_come_is_refused() {
        let refused = |arrivals: &[&str], complaint: &str| {
            let error = check(arrivals).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        };
        refused(&["a0", "a2", "a1"], "version 1 arrived for the first time after version 2");
        refused(&["a0", "c0"], "event c0 arrived");
    }
}
