//! `Append`: one append, decided here or by the leader.

use reckon_api::v1;
use tonic::Status;

use super::StreamsService;
use crate::engine::Outcome;
use crate::service::decide::{Arrival, Decision};
use crate::service::wire;

impl StreamsService {
    /// Answers one append.
    pub(super) async fn append_one(
        &self,
        request: v1::AppendRequest,
        arrival: Arrival,
    ) -> Result<v1::AppendResponse, Status> {
        let observed = self.admission.metrics.append_begins(&request.appends);
        let answer = self.decide_append(request, arrival).await;
        observed.ends(&answer);
        answer
    }

    pub(super) async fn decide_append(
        &self,
        request: v1::AppendRequest,
        arrival: Arrival,
    ) -> Result<v1::AppendResponse, Status> {
        let command = wire::append_command(&request, &*self.admission.node.environment().new_id)?;
        self.admission
            .decided(
                Decision { request, command },
                arrival,
                |leader, request| async move { super::client(leader).append(request).await },
                |request, outcome| match outcome {
                    Outcome::Appended(appended) => Some(wire::append_response(request, &appended)),
                    _ => None,
                },
            )
            .await
    }
}
