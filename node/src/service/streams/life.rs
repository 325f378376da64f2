//! `Delete`, `Tombstone` and `Truncate`: the ends of a stream's life, decided here or by the leader.

use reckon_api::v1;
use tonic::Status;

use super::StreamsService;
use crate::engine::{Outcome, Removed};
use crate::service::decide::{Arrival, Decision};
use crate::service::wire;

impl StreamsService {
    pub(super) async fn delete_stream(
        &self,
        request: v1::DeleteRequest,
        arrival: Arrival,
    ) -> Result<v1::DeleteResponse, Status> {
        let command = wire::delete_command(&request)?;
        let answer = self.admission.decided(
            Decision { request, command },
            arrival,
            |leader, request| async move { super::client(leader).delete(request).await },
            |_request, outcome| match outcome {
                Outcome::Deleted(removed) => Some(v1::DeleteResponse {
                    last_version: last_version(removed),
                    position: removed.position,
                }),
                _ => None,
            },
        );
        self.admission.observed_refusal(answer.await)
    }

    pub(super) async fn tombstone_stream(
        &self,
        request: v1::TombstoneRequest,
        arrival: Arrival,
    ) -> Result<v1::TombstoneResponse, Status> {
        let command = wire::tombstone_command(&request)?;
        let answer = self.admission.decided(
            Decision { request, command },
            arrival,
            |leader, request| async move { super::client(leader).tombstone(request).await },
            |_request, outcome| match outcome {
                Outcome::Tombstoned(removed) => Some(v1::TombstoneResponse {
                    last_version: last_version(removed),
                    position: removed.position,
                }),
                _ => None,
            },
        );
        self.admission.observed_refusal(answer.await)
    }

    pub(super) async fn truncate_stream(
        &self,
        request: v1::TruncateRequest,
        arrival: Arrival,
    ) -> Result<v1::TruncateResponse, Status> {
        let command = wire::truncate_command(&request)?;
        let answer = self.admission.decided(
            Decision { request, command },
            arrival,
            |leader, request| async move { super::client(leader).truncate(request).await },
            |_request, outcome| match outcome {
                Outcome::Truncated(removed) => Some(v1::TruncateResponse {
                    first_version: removed.first_version,
                    last_version: last_version(removed),
                    position: removed.position,
                }),
                _ => None,
            },
        );
        self.admission.observed_refusal(answer.await)
    }
}

fn last_version(removed: Removed) -> i64 {
    removed.last_version.map_or(-1, u64::cast_signed)
}
