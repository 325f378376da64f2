//! `Ack`: everything up to an event is done.

use reckon_api::{Reason, v1};
use tokio::sync::oneshot;
use tonic::Status;

use super::SubscriptionsService;
use super::definitions::find;
use super::on_leader::Leading;
use crate::delivery::emitter::Order;
use crate::engine::{Direction, StreamRead};
use crate::service::forward::deadline_exceeded;
use crate::service::{admission, wire};

impl SubscriptionsService {
    /// Has the subscription's emitter do it, also when nobody consumes: one place knows what is done.
    pub(super) async fn ack_here(
        &self,
        leading: Leading,
        request: v1::AckRequest,
    ) -> Result<v1::AckResponse, Status> {
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let position = position(&leading, request.upto).await?;
        let next_position = leading.member.reader().next_position();
        if position >= next_position {
            return Err(Reason::InvalidArgument.status(
                format!(
                    "position {position} is not there yet; the store's next one is {next_position}"
                ),
                [("field", "position".to_owned()), ("value", position.to_string())],
            ));
        }
        let emitters = self.emitters(&leading.member);
        let emitter = emitters.get(&found.name, leading.term).await?;
        let (answer, written) = oneshot::channel();
        let moved = || Reason::NotLeader.plain("the leadership moved; try again");
        let told = emitter.tell(Order::AckUpto { position, answer }).await;
        told.map_err(|_ended| moved())?;
        tokio::time::timeout_at(leading.deadline, written)
            .await
            .map_err(|_elapsed| deadline_exceeded())?
            .map_err(|_ended| moved())??;
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let checkpoint = Some(wire::subscription_checkpoint(&found.state));
        Ok(v1::AckResponse { checkpoint })
    }
}

/// The position of the event that is named.
async fn position(leading: &Leading, upto: Option<v1::ack_request::Upto>) -> Result<u64, Status> {
    use v1::ack_request::Upto;
    match upto {
        None => Err(Reason::InvalidArgument.status(
            "upto is empty; name a position, or a stream and a version",
            [("field", "upto"), ("value", "")],
        )),
        Some(Upto::Position(position)) => Ok(position),
        Some(Upto::StreamVersion(v1::StreamVersion { stream_id, version })) => {
            wire::check_stream_id(&stream_id)?;
            admission::look(&leading.member, leading.deadline, move |reader| {
                let state = reader.stream(&stream_id)?;
                if let Err(status) = wire::live(&stream_id, &state) {
                    return Ok(Err(status));
                }
                let page = reader.read_stream(&StreamRead {
                    from: version,
                    direction: Direction::Backward,
                    events_max: 1,
                    ..StreamRead::of(&stream_id)
                })?;
                let found = page.events.first().filter(|event| event.version == version);
                Ok(found.map(|event| event.position).ok_or_else(|| {
                    Reason::EventNotFound.status(
                        format!("stream {stream_id:?} has no event of version {version} that can be read"),
                        [("stream", stream_id.clone()), ("version", version.to_string())],
                    )
                }))
            })
            .await
            .flatten()
        }
    }
}
