//! What readers see of subscriptions.

use std::sync::Arc;

use super::{StateReader, StreamRead};
use crate::engine::error::ReadError;
use crate::engine::subscriptions::{
    JournalEntry, SubscriptionState, Subscriptions, VersionSet, journal_stream,
};

impl StateReader {
    /// One subscription.
    pub fn subscription(&self, name: &str) -> Option<Arc<SubscriptionState>> {
        self.engine.read().subscriptions().get(name).cloned()
    }

    /// All of them, as they are now.
    pub fn subscriptions(&self) -> Subscriptions {
        self.engine.read().subscriptions().clone()
    }

    /// Raised by everything that happens to subscriptions but their progress.
    pub fn subscription_changes(&self) -> u64 {
        self.engine.read().subscriptions().changes()
    }

    /// What a subscription's journal says of parked events, from a version of it on, in the order of versions.
    pub fn parked_entries(
        &self,
        name: &str,
        parked: &VersionSet,
        from: u64,
        entries_max: usize,
    ) -> Result<Vec<JournalEntry>, ReadError> {
        let stream_id = journal_stream(name);
        let mut entries = Vec::new();
        let mut next = parked.first_from(from);
        while let Some(version) = next {
            let page = self.read_stream(&StreamRead {
                from: version,
                events_max: entries_max,
                ..StreamRead::of(&stream_id)
            })?;
            for event in &page.events {
                if entries.len() == entries_max {
                    return Ok(entries);
                }
                if parked.contains(event.version) {
                    entries.extend(JournalEntry::of_event(event));
                }
            }
            next = page.next.and_then(|next| parked.first_from(next));
        }
        Ok(entries)
    }
}
