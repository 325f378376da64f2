//! The gRPC services: one file per service, thin. They check, hand over, and translate the answer.

pub mod admission;
mod answer;
pub mod cluster;
pub mod consistency;
pub mod deadline;
mod decide;
pub mod forward;
mod health;
mod in_flight;
pub mod peer;
pub mod server;
pub mod snapshots;
pub mod streams;
pub mod subscriptions;
pub mod wire;

use reckon_api::Reason;
use tonic::Status;

use crate::engine::Outcome;
use crate::raft::intake::Full;
use crate::raft::proposer::ProposeError;

/// What the proposer's answer means to a caller.
pub fn proposed(answer: Result<Outcome, ProposeError>) -> Result<Outcome, Status> {
    let error = match answer {
        Ok(Outcome::Refused(refusal)) => return Err(wire::refusal_status(&refusal)),
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    let message = error.to_string();
    Err(match error {
        ProposeError::NotLeader => Reason::NotLeader.plain("the leadership moved; try again"),
        ProposeError::Full(Full::Memory { unsealed_bytes, maximum }) => Reason::MemoryPressure
            .status(
                format!("{message}; appends are refused until it is sealed"),
                [
                    ("limit", "limits.unsealed_bytes_max".to_owned()),
                    ("value", unsealed_bytes.to_string()),
                    ("maximum", maximum.to_string()),
                ],
            ),
        ProposeError::Full(Full::Disk { available, reserve }) => Reason::DiskFull.status(
            format!("{message}; appends go on when there is room again, reads go on now"),
            [("value", available.to_string()), ("minimum", reserve.to_string())],
        ),
        ProposeError::Full(Full::Followers { full, voters }) => Reason::DiskFull.status(
            format!("{message}; appends go on when there is room again, reads go on now"),
            [("value", full.to_string()), ("maximum", ((voters - 1) / 2).to_string())],
        ),
        ProposeError::NoQuorum => Reason::NoQuorum
            .plain("too few voters answer; the append was not taken, stale reads still work"),
        ProposeError::TooManyRequests => Reason::TooManyRequests.plain(message),
        ProposeError::Unknown => Reason::OutcomeUnknown
            .plain("the answer was lost in a change of leaders; retry with the same event ids"),
    })
}
