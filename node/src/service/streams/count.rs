//! `Count`, `Any` and `HasEvents`: answers about events without the events.

use std::sync::Arc;

use reckon_api::v1;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use super::scan::Scan;
use crate::limits;
use crate::metrics::ReadKind;
use crate::raft::Member;
use crate::service::admission;
use crate::service::wire::{self, Positions, Times};

/// What a count and the question for any event have in common.
struct Asked {
    positions: Positions,
    times: Times,
    filter: Option<v1::Filter>,
    include_system: bool,
    consistency: Option<v1::Consistency>,
}

/// A scan that has begun.
struct Begun {
    _slot: OwnedSemaphorePermit,
    member: Arc<Member>,
    scan: Arc<Scan>,
    next_position: u64,
    /// How many events there are, if the engine knows without a look at them.
    known: Option<u64>,
}

impl StreamsService {
    pub(super) async fn count_events(
        &self,
        request: v1::CountRequest,
        deadline: Instant,
    ) -> Result<v1::CountResponse, Status> {
        let asked = Asked {
            positions: wire::positions(request.from_position, request.to_position)?,
            times: wire::times(request.since_us, request.until_us)?,
            filter: request.filter,
            include_system: request.include_system,
            consistency: request.consistency,
        };
        let observed = self.admission.read_begins(ReadKind::Count, asked.consistency.as_ref());
        let answer = self.count(asked, deadline).await;
        observed.ends(&answer);
        answer
    }

    async fn count(&self, asked: Asked, deadline: Instant) -> Result<v1::CountResponse, Status> {
        let begun = self.begin(asked, deadline).await?;
        let next_position = begun.next_position;
        if let Some(events) = begun.known {
            return Ok(v1::CountResponse { events, next_position });
        }
        let mut events = 0;
        let mut cursor = begun.scan.first();
        while let Some(from) = cursor {
            let scan = Arc::clone(&begun.scan);
            let counted = admission::look(&begun.member, deadline, move |reader| {
                reader.count(&scan.read(from, limits::READ_PAGE_EVENTS_MAX))
            });
            let counted = counted.await?;
            events += counted.events;
            cursor = counted.next;
        }
        Ok(v1::CountResponse { events, next_position })
    }

    pub(super) async fn find_any(
        &self,
        request: v1::AnyRequest,
        deadline: Instant,
    ) -> Result<v1::AnyResponse, Status> {
        let asked = Asked {
            positions: wire::positions(request.from_position, request.to_position)?,
            times: wire::times(request.since_us, request.until_us)?,
            filter: request.filter,
            include_system: request.include_system,
            consistency: request.consistency,
        };
        let observed = self.admission.read_begins(ReadKind::Any, asked.consistency.as_ref());
        let answer = self.find(asked, deadline).await;
        observed.ends(&answer);
        answer
    }

    async fn find(&self, asked: Asked, deadline: Instant) -> Result<v1::AnyResponse, Status> {
        let begun = self.begin(asked, deadline).await?;
        let mut position = None;
        let mut cursor = begun.scan.first();
        while let Some(from) = cursor {
            let scan = Arc::clone(&begun.scan);
            let found = admission::look(&begun.member, deadline, move |reader| {
                reader.any(&scan.read(from, 1))
            });
            let found = found.await?;
            position = found.position;
            cursor = found.next;
        }
        let next_position = begun.next_position;
        Ok(v1::AnyResponse { any: position.is_some(), position, next_position })
    }

    async fn begin(&self, asked: Asked, deadline: Instant) -> Result<Begun, Status> {
        let filter = self.admission.compiled(asked.filter).await?;
        let (slot, member) = self.admission.fresh(asked.consistency, deadline).await?;
        let Asked { positions, times, include_system, .. } = asked;
        let (scan, next_position, known) = admission::look(&member, deadline, move |reader| {
            let totals = reader.totals();
            let everything = filter.is_none()
                && positions == Positions::default()
                && times == Times::default()
                && !include_system;
            let mut scan = Scan::new(reader, totals.next_position, positions, times)?;
            scan.include_system = include_system;
            scan.filter = filter;
            Ok((scan, totals.next_position, everything.then_some(totals.events)))
        })
        .await?;
        Ok(Begun { _slot: slot, member, scan: Arc::new(scan), next_position, known })
    }

    pub(super) async fn says_whether_it_has_events(
        &self,
        request: v1::HasEventsRequest,
        deadline: Instant,
    ) -> Result<v1::HasEventsResponse, Status> {
        let observed =
            self.admission.read_begins(ReadKind::HasEvents, request.consistency.as_ref());
        let answer =
            self.admission.fresh(request.consistency, deadline).await.map(|(_slot, member)| {
                // The engine keeps count: no file is looked at.
                let has_events = member.reader().has_events(request.include_system);
                v1::HasEventsResponse { has_events }
            });
        observed.ends(&answer);
        answer
    }
}
