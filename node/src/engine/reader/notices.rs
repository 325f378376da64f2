//! Notices of what happened to streams and subscriptions, in the order of positions.

use super::StateReader;
use crate::engine::error::ReadError;
use crate::engine::layer::{Layer, Posting, record_at};
use crate::engine::notice::{NOTICE_TYPES, NOTICES_STREAM, Notice, StreamNotice};
use crate::engine::page::RecordedEvent;
use crate::engine::removals::Removals;
use crate::engine::subscriptions::{
    SUBSCRIPTION_NOTICE_TYPES, SUBSCRIPTIONS_STREAM, SubscriptionNotice,
};
use crate::event::is_system_stream;
use crate::limits::NOTICES_PAGE_MAX;

/// Some notices, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoticePage {
    /// In the order of positions.
    pub notices: Vec<Notice>,
    /// Every notice below this position was given or passed over: where the next page begins.
    pub next: u64,
    /// Whether more may follow at once; otherwise these are all that there were.
    pub more: bool,
}

impl StateReader {
    /// What happened to streams and subscriptions from a position on. That a stream was created is told for as long as the record
    /// that did it is kept. A page may hold one notice more than `notices_max`. Without `include_system` the server's own streams are left out. A call looks at a
    /// bounded number of notices.
    pub fn notices(
        &self,
        from: u64,
        include_system: bool,
        notices_max: usize,
    ) -> Result<NoticePage, ReadError> {
        let notices_max = notices_max.clamp(1, NOTICES_PAGE_MAX);
        let engine = self.engine.read();
        let mut page = NoticePage { next: from, ..NoticePage::default() };
        if engine.active.start() <= from {
            page.gather(&engine.active, &engine.removals, include_system, notices_max)?;
            return Ok(page);
        }
        let view = engine.view();
        drop(engine);
        for layer in view.layers.ascending().filter(|layer| layer.positions().end > from) {
            page.gather(layer, &view.removals, include_system, notices_max)?;
            if page.more {
                return Ok(page);
            }
        }
        // The active overlay is for the next page: it may have become another one.
        page.more = true;
        Ok(page)
    }
}

impl NoticePage {
    /// Takes the notices of one layer, until `notices_max` were looked at.
    fn gather(
        &mut self,
        layer: &dyn Layer,
        removals: &Removals,
        include_system: bool,
        notices_max: usize,
    ) -> Result<(), ReadError> {
        let created = (Posting::Created, layer.posting_from(Posting::Created, self.next)?);
        let mut sources = vec![created];
        for name in NOTICE_TYPES.into_iter().chain(SUBSCRIPTION_NOTICE_TYPES) {
            let posting = Posting::Type(name);
            sources.push((posting, layer.posting_from(posting, self.next)?));
        }
        let mut looked_at = self.notices.len();
        let mut at_last = None;
        loop {
            let next =
                sources.iter_mut().filter_map(|(posting, at)| (*at).zip(Some((posting, at))));
            let Some((position, (posting, at))) = next.min_by_key(|(position, _)| *position) else {
                self.next = self.next.max(layer.positions().end);
                return Ok(());
            };
            // Two may stand at one position: the first notice of all also creates the stream that it is in.
            if looked_at >= notices_max && at_last != Some(position) {
                self.next = position;
                self.more = true;
                return Ok(());
            }
            looked_at += 1;
            at_last = Some(position);
            let created = *posting == Posting::Created;
            *at = layer.posting_from(*posting, position + 1)?;
            let Some(stored) = record_at(layer, position)? else { continue };
            let told = |notice: fn(&RecordedEvent) -> Option<Notice>| {
                let readable = removals.first_readable(&stored).is_some();
                RecordedEvent::of(&stored).find_map(|event| notice(&event)).filter(|_| readable)
            };
            let notice = match stored.record.stream_id() {
                _ if created => Some(Notice::Stream(StreamNotice::of_creation(&stored))),
                NOTICES_STREAM => told(|event| StreamNotice::of_event(event).map(Notice::Stream)),
                SUBSCRIPTIONS_STREAM => {
                    told(|event| SubscriptionNotice::of_event(event).map(Notice::Subscription))
                }
                _ => None,
            };
            let wanted = |notice: &Notice| match notice {
                Notice::Stream(notice) => {
                    include_system || !is_system_stream(&notice.stream.stream_id)
                }
                Notice::Subscription(_) => true,
            };
            self.notices.extend(notice.filter(wanted));
        }
    }
}
