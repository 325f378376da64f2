//! One client: sends what the workload asks, retries with the same ids, and tells certain answers from uncertain ones.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reckon_api::{Reason, v1};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use v1::streams_client::StreamsClient;

use crate::history::{
    Action, Condition, Expected, Freshness, Notice, Outcome, ParkedAt, Part, Removal, Seen,
};
use crate::network::SimulatedDial;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(1_200);
/// How often the same request is sent before its outcome is left unknown.
pub const ATTEMPTS: usize = 6;
/// The longest pause before a retry.
const RETRY_MS_MAX: u64 = 400;

/// A connection to every node, and chance.
#[derive(Debug)]
pub struct Client {
    dial: SimulatedDial,
    channels: BTreeMap<String, Channel>,
    pub nodes: Vec<String>,
    pub chance: StdRng,
}

/// One attempt's answer.
enum Answer {
    Certain(Outcome),
    /// Try again; `true`: this attempt may have taken effect.
    Again(bool),
}

impl Client {
    /// A client on a simulated host.
    pub fn new(host: &str, nodes: Vec<String>, chance: StdRng) -> Self {
        let dial = SimulatedDial::new(host);
        Self { dial, channels: BTreeMap::new(), nodes, chance }
    }

    fn pick(&mut self) -> StreamsClient<Channel> {
        let node = self.nodes[self.chance.random_range(0..self.nodes.len())].clone();
        let dial = &self.dial;
        let channel = self.channels.entry(node).or_insert_with_key(|node| dial.client_port(node));
        StreamsClient::new(channel.clone())
    }

    /// Does what is asked, with retries on any node, and gives what is certain of it, and whether attempts before the last
    /// one may have taken effect.
    pub async fn perform(&mut self, action: &Action) -> (Outcome, bool) {
        let reads = matches!(action, Action::ReadStream { .. } | Action::ReadAll { .. });
        // Only appends have ids by which a retry is known: a second removal could take what came after the first.
        let repeatable = reads || matches!(action, Action::Append { .. });
        let mut perhaps = false;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let pause = self.chance.random_range(1..=RETRY_MS_MAX);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let client = self.pick();
            let answer = match tokio::time::timeout(ATTEMPT, send(client, action)).await {
                Ok(answer) => answer,
                Err(_elapsed) => Answer::Again(true),
            };
            match answer {
                // A refusal of a retry says nothing of what an earlier attempt may still do.
                Answer::Certain(Outcome::Refused { .. }) if perhaps => {
                    return (Outcome::Unknown, true);
                }
                Answer::Certain(outcome) => return (outcome, perhaps),
                Answer::Again(effect) => perhaps |= effect,
            }
            if perhaps && !repeatable {
                break;
            }
        }
        let outcome = match (reads, perhaps) {
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Unknown,
            (false, false) => {
                Outcome::Refused { reason: Reason::NoQuorum, actual: None, position: None }
            }
        };
        (outcome, perhaps)
    }
}

async fn send(mut client: StreamsClient<Channel>, action: &Action) -> Answer {
    let answered = match action {
        Action::Append { parts, condition } => {
            let request = append_request(parts, condition.as_ref());
            client.append(timed(request)).await.map(|answer| {
                let answer = answer.into_inner();
                Outcome::Appended {
                    first: answer.first_position,
                    last: answer.last_position,
                    last_versions: answer.streams.iter().map(|part| part.last_version).collect(),
                    epoch_us: answer.epoch_us,
                }
            })
        }
        Action::Delete { stream, expected } => {
            let request = v1::DeleteRequest {
                stream_id: stream.clone(),
                expectation: expectation(*expected),
            };
            client.delete(timed(request)).await.map(|answer| {
                let v1::DeleteResponse { last_version, position } = answer.into_inner();
                Outcome::Removed { first_version: None, last_version, position }
            })
        }
        Action::Tombstone { stream } => {
            let request = v1::TombstoneRequest { stream_id: stream.clone(), expectation: None };
            client.tombstone(timed(request)).await.map(|answer| {
                let v1::TombstoneResponse { last_version, position } = answer.into_inner();
                Outcome::Removed { first_version: None, last_version, position }
            })
        }
        Action::Truncate { stream, before } => {
            let request = v1::TruncateRequest {
                stream_id: stream.clone(),
                before_version: *before,
                expectation: None,
            };
            client.truncate(timed(request)).await.map(|answer| {
                let v1::TruncateResponse { first_version, last_version, position } =
                    answer.into_inner();
                Outcome::Removed { first_version: Some(first_version), last_version, position }
            })
        }
        Action::ReadStream { stream, freshness } => {
            let request = v1::ReadRequest {
                stream_id: stream.clone(),
                consistency: Some(consistency(*freshness)),
                ..v1::ReadRequest::default()
            };
            match client.read(timed(request)).await {
                Ok(answer) => read_stream(answer.into_inner()).await,
                Err(status) => Err(status),
            }
        }
        Action::ReadAll { from, freshness } => {
            let request = v1::ReadAllRequest {
                from: Some(v1::ReadFrom { kind: Some(v1::read_from::Kind::At(*from)) }),
                consistency: Some(consistency(*freshness)),
                ..v1::ReadAllRequest::default()
            };
            match client.read_all(timed(request)).await {
                Ok(answer) => read_all(answer.into_inner()).await,
                Err(status) => Err(status),
            }
        }
    };
    answered.map_or_else(|status| refused(&status), Answer::Certain)
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ATTEMPT);
    request
}

/// Sorts a refusal: certain, passing, or uncertain.
fn refused(status: &Status) -> Answer {
    let Some(reason) = Reason::of(status) else { return Answer::Again(true) };
    match reason {
        Reason::WrongExpectedVersion
        | Reason::AppendConditionFailed
        | Reason::StreamNotFound
        | Reason::StreamDeleted
        | Reason::StreamTombstoned
        | Reason::EventIdReused
        | Reason::InvalidArgument => {
            let details = status.get_details_error_info().map(|info| info.metadata);
            let details = details.unwrap_or_default();
            let number = |field: &str| details.get(field).and_then(|text| text.parse().ok());
            let position = details.get("position").and_then(|text| text.parse().ok());
            Answer::Certain(Outcome::Refused { reason, actual: number("actual"), position })
        }
        _ => Answer::Again(
            matches!(status.code(), Code::Internal | Code::DeadlineExceeded)
                || reason == Reason::OutcomeUnknown,
        ),
    }
}

async fn read_stream(mut pages: Streaming<v1::ReadResponse>) -> Result<Outcome, Status> {
    use v1::read_response::Message;
    let (mut header, mut events) = (None, Vec::new());
    while let Some(message) = pages.message().await? {
        match message.message {
            Some(Message::Header(seen)) => header = Some(seen),
            Some(Message::Events(batch)) => events.extend(batch.events.iter().map(seen)),
            None => {}
        }
    }
    let header = header.ok_or_else(|| Status::unknown("the answer has no header"))?;
    Ok(Outcome::Stream {
        first: header.first_version,
        last: header.last_version,
        next_position: header.next_position,
        events,
    })
}

/// Collects the answer of a `ReadAll`.
pub async fn read_all(mut pages: Streaming<v1::ReadAllResponse>) -> Result<Outcome, Status> {
    use v1::read_all_response::Message;
    let (mut next_position, mut events) = (None, Vec::new());
    while let Some(message) = pages.message().await? {
        match message.message {
            Some(Message::Header(header)) => next_position = Some(header.next_position),
            Some(Message::Events(batch)) => events.extend(batch.events.iter().map(seen)),
            None => {}
        }
    }
    let next_position = next_position.ok_or_else(|| Status::unknown("the answer has no header"))?;
    Ok(Outcome::All { next_position, events })
}

/// The types that events have.
pub const EVENT_TYPES: [&str; 2] = ["Happened", "Changed"];

fn append_request(parts: &[Part], condition: Option<&Condition>) -> v1::AppendRequest {
    let appends = parts.iter().map(|part| v1::StreamAppend {
        stream_id: part.stream.clone(),
        expectation: expectation(part.expected),
        events: part.events.iter().map(|id| new_event(*id, part.tag.as_deref())).collect(),
    });
    let condition = condition.map(|condition| v1::AppendCondition {
        query: Some(v1::Query {
            items: vec![v1::QueryItem { types: vec![], tags: vec![condition.tag.clone()] }],
        }),
        after_position: condition.after,
    });
    v1::AppendRequest { appends: appends.collect(), condition }
}

fn new_event(id: Uuid, tag: Option<&str>) -> v1::NewEvent {
    v1::NewEvent {
        event_id: Some(id.to_string()),
        event_type: type_of(id).to_owned(),
        data: data(id).into(),
        tags: tag.iter().map(ToString::to_string).collect(),
        ..v1::NewEvent::default()
    }
}

/// The type of an event follows from its id.
pub fn type_of(id: Uuid) -> &'static str {
    EVENT_TYPES[usize::from(id.as_bytes()[14].is_multiple_of(3))]
}

/// The data of an event follows from its id, and so does their length.
fn data(id: Uuid) -> Vec<u8> {
    id.as_bytes().repeat(1 + usize::from(id.as_bytes()[15] % 12))
}

/// What a reader sees of an event.
pub fn seen(event: &v1::Event) -> Seen {
    let id = Uuid::parse_str(&event.event_id).unwrap_or_default();
    Seen {
        id,
        stream: event.stream_id.clone(),
        version: event.version,
        position: event.position,
        epoch_us: event.epoch_us,
        intact: event.event_type == type_of(id) && event.data == data(id),
        notice: notice(event),
        parked: parked(event),
    }
}

/// What a system event says happened to a stream.
fn notice(event: &v1::Event) -> Option<Notice> {
    let removed = match event.event_type.as_str() {
        "$StreamDeleted" => Removal::Deleted,
        "$StreamTombstoned" => Removal::Tombstoned,
        "$StreamTruncated" => Removal::Truncated,
        _ => return None,
    };
    let data: serde_json::Value = serde_json::from_slice(&event.data).ok()?;
    let stream = data.get("stream_id")?.as_str()?.to_owned();
    let first_version = match removed {
        // Everything up to the last version is gone; null when there never was one.
        Removal::Deleted | Removal::Tombstoned => {
            data.get("last_version")?.as_i64().map_or(0, |last| last + 1)
        }
        Removal::Truncated => data.get("first_version")?.as_i64()?,
    };
    Some(Notice { stream, first_version: u64::try_from(first_version).ok()?, removal: removed })
}

/// What an event of a journal says was parked.
fn parked(event: &v1::Event) -> Option<ParkedAt> {
    let subscription = event.stream_id.strip_prefix("$subscription:")?.to_owned();
    if event.event_type != "$EventParked" {
        return None;
    }
    let data: serde_json::Value = serde_json::from_slice(&event.data).ok()?;
    Some(ParkedAt { subscription, position: data.get("position")?.as_u64()? })
}

fn expectation(expected: Expected) -> Option<v1::Expectation> {
    use v1::expectation::Kind;
    let kind = match expected {
        Expected::Any => return None,
        Expected::NoStream => Kind::Version(-1),
        Expected::Exists => Kind::StreamExists(true),
        Expected::Version(version) => Kind::Version(version.cast_signed()),
    };
    Some(v1::Expectation { kind: Some(kind) })
}

fn consistency(freshness: Freshness) -> v1::Consistency {
    use v1::consistency::Kind;
    let kind = match freshness {
        Freshness::Linearizable => Kind::Linearizable(true),
        Freshness::Stale => Kind::Stale(true),
        Freshness::AtLeast(position) => Kind::AtLeastPosition(position),
    };
    v1::Consistency { kind: Some(kind) }
}
