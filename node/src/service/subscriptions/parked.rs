//! Parked events: listed, delivered again, forgotten.

use std::collections::BTreeSet;

use reckon_api::{Reason, v1};
use tonic::Status;

use super::SubscriptionsService;
use super::definitions::{FoundSubscription, find, page_size};
use super::on_leader::Leading;
use crate::engine::{JournalEntry, Outcome, SubscriptionCommand, Unpark, UnparkedEntry};
use crate::limits;
use crate::service::{admission, wire};

impl SubscriptionsService {
    pub(super) async fn list_parked_here(
        &self,
        leading: Leading,
        request: v1::ListParkedRequest,
    ) -> Result<v1::ListParkedResponse, Status> {
        let page_size = page_size(request.page_size)?;
        let from = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_not_a_number| {
                Reason::InvalidArgument.status(
                    "page_token is not from an earlier answer",
                    [("field", "page_token"), ("value", token)],
                )
            })?,
        };
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let entries = entries(&leading, &found, from, page_size).await?;
        let next = entries.last().and_then(|last| found.state.parked.first_from(last.version + 1));
        Ok(v1::ListParkedResponse {
            next_page_token: next.map(|next| next.to_string()).unwrap_or_default(),
            parked: found.state.parked.len(),
            events: entries.into_iter().map(parked_event).collect(),
        })
    }

    pub(super) async fn replay_parked_here(
        &self,
        leading: Leading,
        request: v1::ReplayParkedRequest,
    ) -> Result<v1::ReplayParkedResponse, Status> {
        let positions = (!request.positions.is_empty()).then_some(request.positions);
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let replayed = self.unpark(&leading, &found, positions, true).await?;
        Ok(v1::ReplayParkedResponse { replayed })
    }

    pub(super) async fn discard_parked_here(
        &self,
        leading: Leading,
        request: v1::DiscardParkedRequest,
    ) -> Result<v1::DiscardParkedResponse, Status> {
        if request.positions.is_empty() && !request.all {
            return Err(Reason::InvalidArgument.status(
                "positions is empty; name what is to be forgotten, or say `all`",
                [("field", "positions"), ("value", "")],
            ));
        }
        let positions = (!request.all).then_some(request.positions);
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let discarded = self.unpark(&leading, &found, positions, false).await?;
        Ok(v1::DiscardParkedResponse { discarded })
    }

    /// Takes events out of those that are parked as this begins, `None` all of them, a page at a time.
    async fn unpark(
        &self,
        leading: &Leading,
        found: &FoundSubscription,
        positions: Option<Vec<u64>>,
        replay: bool,
    ) -> Result<u64, Status> {
        let wanted: Option<BTreeSet<u64>> = positions.map(|all| all.into_iter().collect());
        let mut unparked = 0;
        let mut from = Some(0);
        while let Some(at) = from {
            let page = entries(leading, found, at, limits::SUBSCRIPTIONS_PAGE_MAX as usize).await?;
            from = page.last().and_then(|last| found.state.parked.first_from(last.version + 1));
            let chosen = page
                .into_iter()
                .filter(|it| wanted.as_ref().is_none_or(|all| all.contains(&it.parked.position)));
            let entries: Vec<_> = chosen
                .map(|it| UnparkedEntry {
                    journal_version: it.version,
                    position: it.parked.position,
                    held_key: it.parked.holds_key.then_some(it.parked.key),
                })
                .collect();
            if entries.is_empty() {
                continue;
            }
            let asked = entries.len() as u64;
            let unpark = Unpark { target: found.target(), replay, entries };
            match self.change(leading, &found.name, SubscriptionCommand::Unpark(unpark)).await? {
                Outcome::Unparked { events } => {
                    unparked += events;
                    // As many are under way as may be.
                    if replay && events < asked {
                        break;
                    }
                }
                _ => return Err(wire::not_its_answer()),
            }
        }
        Ok(unparked)
    }
}

/// What is parked, from a version of the journal on.
async fn entries(
    leading: &Leading,
    found: &FoundSubscription,
    from: u64,
    entries_max: usize,
) -> Result<Vec<JournalEntry>, Status> {
    let found = found.clone();
    admission::look(&leading.member, leading.deadline, move |reader| {
        reader.parked_entries(&found.name, &found.state.parked, from, entries_max)
    })
    .await
}

fn parked_event(entry: JournalEntry) -> v1::ParkedEvent {
    let parked = entry.parked;
    v1::ParkedEvent {
        position: parked.position,
        stream_id: parked.stream_id,
        version: parked.version,
        event_type: parked.event_type,
        key: parked.key,
        reason: parked.reason,
        attempts: parked.attempts,
        parked_at_us: entry.epoch_us,
    }
}
