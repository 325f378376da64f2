//! Listings of streams in the order of their names' bytes: a merge of the heads of all layers, in which the
//! newest layer that has a name speaks for it.

use std::fmt;

use super::StateReader;
use crate::engine::error::ReadError;
use crate::engine::head::{Head, StreamStatus};
use crate::engine::layer::Layer;
use crate::engine::page::StreamPage;
use crate::event::{SYSTEM_PREFIX, is_system_stream};
use crate::limits::{LIST_PAGE_NAMES_MAX, LIST_PAGE_STREAMS_MAX};

/// The least name that is greater than every system stream's.
const AFTER_SYSTEM_STREAMS: &str = "%";
const _: () = assert!(SYSTEM_PREFIX as u8 + 1 == AFTER_SYSTEM_STREAMS.as_bytes()[0]);

/// Which streams are wanted.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    /// Only names behind this one.
    pub after: Option<&'a str>,
    /// Only names that start with this.
    pub prefix: &'a str,
    /// Also the server's own.
    pub include_system: bool,
    /// Also deleted and tombstoned ones.
    pub include_deleted: bool,
    /// Only names that this holds for; `None`: all.
    pub accepts: Option<&'a dyn Fn(&str) -> bool>,
    /// Most streams on the page.
    pub streams_max: usize,
}

impl fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("after", &self.after)
            .field("prefix", &self.prefix)
            .field("include_system", &self.include_system)
            .field("include_deleted", &self.include_deleted)
            .field("streams_max", &self.streams_max)
            .finish_non_exhaustive()
    }
}

impl Default for Listing<'_> {
    /// The first page of all streams that exist, without the server's own.
    fn default() -> Self {
        Self {
            after: None,
            prefix: "",
            include_system: false,
            include_deleted: false,
            accepts: None,
            streams_max: LIST_PAGE_STREAMS_MAX,
        }
    }
}

impl Listing<'_> {
    /// The least name that may be wanted.
    fn start(&self) -> String {
        match self.after {
            Some(after) if after >= self.prefix => successor(after),
            _ => self.prefix.to_owned(),
        }
    }

    fn wants(&self, name: &str, head: &Head) -> bool {
        let exists = head.status == StreamStatus::Live && head.next_version > 0;
        (exists || self.include_deleted) && self.accepts.is_none_or(|accepts| accepts(name))
    }
}

impl StateReader {
    /// A page of streams in the order of their names' bytes. A call looks at a bounded number of names.
    pub fn list_streams(&self, listing: &Listing<'_>) -> Result<StreamPage, ReadError> {
        if !listing.include_system && is_system_stream(listing.prefix) {
            return Ok(StreamPage::default());
        }
        let start = listing.start();
        let engine = self.engine.read();
        // Enough of the active overlay for the whole call, so that it is looked at only once.
        let active = engine.active.heads_from(&start, listing.include_system, LIST_PAGE_NAMES_MAX);
        let view = engine.view();
        drop(engine);

        let mut merge = Merge::new(active, view.layers.newest_first(), &start)?;
        let mut page = StreamPage::default();
        for _ in 0..LIST_PAGE_NAMES_MAX {
            let next = merge.next()?.filter(|(name, _)| name.starts_with(listing.prefix));
            let Some((name, head)) = next else {
                page.next_after = None;
                return Ok(page);
            };
            if !listing.include_system && is_system_stream(&name) {
                merge.skip_to(AFTER_SYSTEM_STREAMS)?;
                continue;
            }
            if listing.wants(&name, &head) {
                if page.streams.len() >= listing.streams_max.max(1) {
                    return Ok(page);
                }
                page.streams.push(head.summary(&name));
            }
            page.next_after = Some(name);
        }
        Ok(page)
    }
}

/// The least name above this one: names hold no control characters.
fn successor(name: &str) -> String {
    format!("{name}\0")
}

/// Names with their heads in ascending order, each once.
struct Merge<'a> {
    /// Newest first.
    sources: Vec<Source<'a>>,
}

/// The names of a layer, and the one that is next.
struct Source<'a> {
    names: Names<'a>,
    next: Option<(String, Head)>,
}

enum Names<'a> {
    /// What was copied of the active overlay, ascending.
    Copied(std::vec::IntoIter<(String, Head)>),
    Layer(&'a dyn Layer),
}

impl<'a> Merge<'a> {
    fn new(
        active: Vec<(String, Head)>,
        layers: impl Iterator<Item = &'a dyn Layer>,
        start: &str,
    ) -> Result<Self, ReadError> {
        let names = [Names::Copied(active.into_iter())].into_iter();
        let names = names.chain(layers.map(Names::Layer));
        let sources =
            names.map(|names| Source::starting_at(names, start)).collect::<Result<_, _>>()?;
        Ok(Self { sources })
    }

    fn next(&mut self) -> Result<Option<(String, Head)>, ReadError> {
        let names = self.sources.iter().filter_map(|source| source.next.as_ref());
        let Some(name) = names.map(|(name, _)| name).min().cloned() else { return Ok(None) };
        let mut newest = None;
        for source in &mut self.sources {
            if source.next.as_ref().is_some_and(|(next, _)| *next == name) {
                let head = source.advance()?;
                newest = newest.or(head);
            }
        }
        Ok(newest.map(|head| (name, head)))
    }

    /// Passes over all names below this one.
    fn skip_to(&mut self, name: &str) -> Result<(), ReadError> {
        self.sources.iter_mut().try_for_each(|source| source.skip_to(name))
    }
}

impl<'a> Source<'a> {
    fn starting_at(mut names: Names<'a>, start: &str) -> Result<Self, ReadError> {
        let next = match &mut names {
            Names::Copied(copied) => copied.next(),
            Names::Layer(layer) => layer.head_from(start)?,
        };
        Ok(Self { names, next })
    }

    /// The head of the next name, which is passed.
    fn advance(&mut self) -> Result<Option<Head>, ReadError> {
        let Some((name, head)) = self.next.take() else { return Ok(None) };
        self.next = match &mut self.names {
            Names::Copied(copied) => copied.next(),
            Names::Layer(layer) => layer.head_from(&successor(&name))?,
        };
        Ok(Some(head))
    }

    fn skip_to(&mut self, name: &str) -> Result<(), ReadError> {
        let below = |next: &(String, Head)| next.0.as_str() < name;
        if !self.next.as_ref().is_some_and(below) {
            return Ok(());
        }
        self.next = match &mut self.names {
            Names::Copied(copied) => copied.find(|next| !below(next)),
            Names::Layer(layer) => layer.head_from(name)?,
        };
        Ok(())
    }
}
