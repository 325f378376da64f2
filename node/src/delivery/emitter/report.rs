//! Reporting: what was done is written to the log, together with what other subscriptions did, a few times a second.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Emitter, End};
use crate::delivery::dispatch::{Dispatch, ParkedEvent, Reported};
use crate::engine::{Advance, Parked, Progress, RecordedEvent};
use crate::limits;
use crate::raft::proposer::ProposeError;

/// What is being written, and what was.
#[derive(Debug)]
pub(super) struct Reporting {
    under_way: Option<UnderWay>,
    /// How it ended, once it has.
    ended: Option<Result<(), ProposeError>>,
    /// What was written last.
    written: Progress,
    begun_at: Option<Instant>,
    /// Whether the last report failed: the next one waits a little.
    failed: bool,
}

#[derive(Debug)]
struct UnderWay {
    reported: Reported<RecordedEvent>,
    written: oneshot::Receiver<Result<(), ProposeError>>,
}

impl Reporting {
    /// Nothing is under way, and this stands written.
    pub const fn new(written: Progress) -> Self {
        Self { under_way: None, ended: None, written, begun_at: None, failed: false }
    }

    /// Returns when what is under way has ended; never when nothing is.
    pub async fn done(&mut self) {
        if self.ended.is_some() {
            return;
        }
        match &mut self.under_way {
            None => std::future::pending().await,
            Some(UnderWay { written, .. }) => {
                self.ended = Some(written.await.unwrap_or(Err(ProposeError::Unknown)));
            }
        }
    }

    /// Whether the end of an event's replay is being written.
    pub fn is_writing(&self, position: u64) -> bool {
        self.under_way.as_ref().is_some_and(|UnderWay { reported, .. }| {
            reported.replayed.contains(&position)
                || reported.parked.iter().any(|parked| parked.position == position)
        })
    }

    /// Looks whether what was under way has ended, and takes back what could not be written; whether it was written.
    fn take_if_done(&mut self, dispatch: &mut Dispatch<RecordedEvent>) -> bool {
        if self.ended.is_none()
            && let Some(UnderWay { written, .. }) = &mut self.under_way
        {
            self.ended = match written.try_recv() {
                Ok(ended) => Some(ended),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(ProposeError::Unknown)),
            };
        }
        let Some(ended) = self.ended.take() else { return false };
        let Some(UnderWay { reported, .. }) = self.under_way.take() else { return false };
        self.failed = ended.is_err();
        match ended {
            Ok(()) => self.written = reported.progress,
            // Reported again it changes nothing that was written although the answer was lost.
            Err(error) => {
                tracing::debug!(%error, "a subscription's progress could not be written");
                dispatch.unreported(reported);
            }
        }
        !self.failed
    }
}

impl Emitter {
    /// Whether there is something to be written that is not, and is not on its way.
    pub(super) fn has_unreported(&self) -> bool {
        self.reporting.under_way.is_some() || self.is_dirty()
    }

    fn is_dirty(&self) -> bool {
        let written = &self.reporting.written;
        // Where nothing was delivered there is little to lose: that others' events went by is written once in a while.
        self.dispatch.has_unreported()
            || self.dispatch.unreported_events() > 0
            || self.dispatch.passed_over(written) >= limits::SUBSCRIPTION_PASSED_OVER_MAX
    }

    /// When the next report is due, if there is something to be written.
    pub(super) fn report_at(&self) -> Option<Instant> {
        if self.reporting.under_way.is_some() || !self.is_dirty() {
            return None;
        }
        let urgent = !self.leaving.is_empty() || !self.acked.is_empty();
        let pause = match (self.reporting.failed, urgent) {
            (true, _) => REPORT_RETRY,
            (false, true) => Duration::ZERO,
            (false, false) => limits::SUBSCRIPTION_REPORT_INTERVAL,
        };
        let before = self.reporting.begun_at.unwrap_or(self.started);
        Some(before + pause)
    }

    /// Begins to write what is to be written, if that is due. What waits for it goes at once when there is nothing.
    pub(super) fn begin_report(&mut self) {
        if self.reporting.under_way.is_some() {
            return;
        }
        let Some(due) = self.report_at() else {
            self.let_go();
            return;
        };
        let now = Instant::now();
        if now < due && self.dispatch.unreported_events() < limits::SUBSCRIPTION_REPORT_EVENTS {
            return;
        }
        let reported = self.dispatch.report();
        let advance = Advance {
            target: self.target.clone(),
            generation: self.generation,
            term: self.around.term,
            progress: Some(reported.progress.clone()),
            parked: reported.parked.iter().map(parked).collect(),
            dropped: reported.dropped.clone(),
            replayed: reported.replayed.clone(),
        };
        let (answer, written) = oneshot::channel();
        let recorder = self.around.recorder.clone();
        tokio::spawn(async move {
            // The emitter may be gone.
            let _ = answer.send(recorder.write(advance).await);
        });
        self.reporting.under_way = Some(UnderWay { reported, written });
        self.reporting.begun_at = Some(now);
    }

    /// Looks whether a report has ended: what it wrote may be what others waited for, and what the store has of held keys
    /// and of events that are to be delivered again.
    pub(super) async fn take_report(&mut self) -> Result<(), End> {
        if !self.reporting.take_if_done(&mut self.dispatch) {
            return Ok(());
        }
        let state = self.around.reader.subscription(&self.target.name);
        if let Some(state) = state.filter(|it| it.id == self.target.id)
            && state.generation == self.generation
        {
            self.take_replays_in(&state).await.map_err(End::Failed)?;
            self.dispatch.set_held(super::held_keys(&state));
        }
        if !self.is_dirty() {
            self.let_go();
        }
        Ok(())
    }

    /// Everything is written down.
    fn let_go(&mut self) {
        self.leaving.clear();
        for answer in self.acked.drain(..) {
            let _ = answer.send(Ok(()));
        }
    }
}

/// Between two tries to write.
const REPORT_RETRY: Duration = Duration::from_millis(200);

fn parked(parked: &ParkedEvent<RecordedEvent>) -> Parked {
    let event = parked.event.event();
    let mut reason = parked.reason.clone();
    reason.truncate(reason.floor_char_boundary(limits::PARK_REASON_BYTES_MAX));
    Parked {
        position: parked.position,
        stream_id: parked.event.stream_id().to_owned(),
        version: parked.event.version,
        event_type: event.event_type.to_owned(),
        key: parked.key.to_string(),
        reason,
        attempts: parked.attempts,
        holds_key: parked.holds_key,
    }
}
