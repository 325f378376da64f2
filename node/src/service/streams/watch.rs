//! `Watch`: what happened to streams and subscriptions, from a position on, then live.
//!
//! History and live are one walk over the index of notices, which goes on whenever more was applied. So there is no
//! seam between them at which something could be lost.

use std::sync::Arc;

use reckon_api::v1;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::Status;
use v1::watch_response::Message;

use super::StreamsService;
use crate::limits;
use crate::node::Node;
use crate::raft::Member;
use crate::service::admission;
use crate::service::answer::{Answer, Pages, Unread};
use crate::service::{consistency, wire};

/// A watch under way.
struct Watch {
    _slot: OwnedSemaphorePermit,
    node: Node,
    member: Arc<Member>,
    include_system: bool,
    features: Vec<i32>,
    /// Every notice below this position was handed on.
    next: u64,
}

/// Why a watch ends.
enum End {
    Unread(Unread),
    Failed(Status),
}

impl StreamsService {
    pub(super) async fn watch_streams(
        &self,
        request: v1::WatchRequest,
        deadline: Instant,
    ) -> Result<Pages<v1::WatchResponse>, Status> {
        wire::check_features(&request.features)?;
        let slot = self.watches.enter()?;
        let member = self.admission.open_store()?;
        consistency::ensure(&member, request.consistency, deadline).await?;
        admission::check_activated(&member)?;
        let next = request.from_position.unwrap_or_else(|| member.reader().next_position());
        let include_system = request.include_system;
        let features = request.features;
        let watch = Watch {
            _slot: slot,
            node: self.admission.node.clone(),
            member,
            include_system,
            features,
            next,
        };
        let (answer, pages) = Answer::new(limits::WATCH_MESSAGES_AHEAD_MAX);
        tokio::spawn(async move {
            match watch.run(&answer).await {
                End::Unread(unread) => answer.fail_unread(unread),
                End::Failed(status) => answer.fail(status),
            }
        });
        Ok(pages)
    }
}

impl Watch {
    async fn run(mut self, answer: &Answer<v1::WatchResponse>) -> End {
        let header = v1::WatchHeader { from_position: self.next };
        if let Err(unread) = answer.send(wrap(Message::Header(header))).await {
            return End::Unread(unread);
        }
        let mut applied = self.member.applied();
        // Said at the first end of what there is, and at every one that something was delivered before.
        let mut caught_up = false;
        loop {
            if let Err(end) = self.catch_up(answer, &mut caught_up).await {
                return end;
            }
            let more = applied.wait_for(|now| now.next_position > self.next);
            tokio::select! {
                biased;
                () = answer.unheard() => return End::Unread(Unread),
                () = self.node.drained() => return End::Failed(admission::stopping()),
                more = more => if more.is_err() {
                    return End::Failed(admission::stopping());
                },
            }
            // A store under load applies thousands of groups a second; they are looked through together.
            tokio::time::sleep(limits::WATCH_PAUSE).await;
        }
    }

    /// Hands on every notice that there is.
    async fn catch_up(
        &mut self,
        answer: &Answer<v1::WatchResponse>,
        caught_up: &mut bool,
    ) -> Result<(), End> {
        loop {
            let (reader, from, include_system) =
                (self.member.reader(), self.next, self.include_system);
            let page = self
                .member
                .offload()
                .run(move || reader.notices(from, include_system, limits::NOTICES_PAGE_MAX));
            let page = page.await.map_err(|error| End::Failed(wire::read_failed(error)))?;
            self.next = self.next.max(page.next);
            let wanted = |notice: &v1::Notice| {
                self.features.is_empty() || self.features.contains(&notice.feature)
            };
            for notice in page.notices.iter().map(wire::notice).filter(wanted) {
                *caught_up = false;
                answer.send(wrap(Message::Notice(notice))).await.map_err(End::Unread)?;
            }
            if !page.more {
                break;
            }
        }
        if !*caught_up {
            *caught_up = true;
            let message = Message::CaughtUp(v1::CaughtUp { next_position: self.next });
            answer.send(wrap(message)).await.map_err(End::Unread)?;
        }
        Ok(())
    }
}

fn wrap(message: Message) -> v1::WatchResponse {
    v1::WatchResponse { message: Some(message) }
}
