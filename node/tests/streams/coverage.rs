//! What every call must have been seen to answer: one line per call and kind of refusal. The calls are those of the
//! protocol, so that a new one without a line here fails the run.

#![allow(clippy::print_stderr, reason = "it says what is missing")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use reckon_api::Reason::{
    self, AppendConditionFailed, Damaged, DeadlineExceeded, EventIdReused, EventNotFound,
    InvalidArgument, InvalidExpression, InvalidPattern, LimitExceeded, MemoryPressure, NoQuorum,
    NotActivated, NotInitialised, NotLeader, NotReady, OutcomeUnknown, StreamDeleted,
    StreamNotFound, StreamTombstoned, TooManyRequests, WrongExpectedVersion,
};
use reckon_api::v1;

use crate::calls;

/// Every node that cannot serve says why.
const UNABLE: &[Reason] = &[NotInitialised, NotActivated, NotReady];

/// What the leader alone can do.
const DECIDED: &[Reason] =
    &[NoQuorum, NotLeader, OutcomeUnknown, DeadlineExceeded, TooManyRequests];

/// What waits until a node is fresh enough.
const FRESH: &[Reason] = &[NoQuorum, DeadlineExceeded, TooManyRequests];

/// What reads sealed files.
const SEALED: &[Reason] = &[Damaged];

const APPENDED: &[Reason] = &[
    WrongExpectedVersion,
    AppendConditionFailed,
    EventIdReused,
    StreamTombstoned,
    InvalidArgument,
    LimitExceeded,
    MemoryPressure,
];

const ENDED: &[Reason] = &[WrongExpectedVersion, InvalidArgument, LimitExceeded];

const SELECTED: &[Reason] = &[InvalidArgument, LimitExceeded, InvalidPattern, InvalidExpression];

/// A call and everything that it has to be seen refusing, besides its good case. `INTERNAL` is not here: it is a
/// fault, and nobody can ask for one. `DISK_FULL` has its test in `sealed_state`, on a disk that is full.
const CALLS: &[(&str, &[&[Reason]])] = &[
    ("Append", &[UNABLE, DECIDED, APPENDED]),
    ("AppendBatch", &[UNABLE, DECIDED, APPENDED]),
    (
        "Read",
        &[
            UNABLE,
            FRESH,
            SEALED,
            &[StreamNotFound, StreamDeleted, StreamTombstoned, InvalidArgument, LimitExceeded],
        ],
    ),
    ("ReadAll", &[UNABLE, FRESH, SEALED, SELECTED]),
    ("Count", &[UNABLE, FRESH, SEALED, SELECTED]),
    ("Any", &[UNABLE, FRESH, SEALED, SELECTED]),
    ("CheckExpression", &[&[InvalidExpression, LimitExceeded]]),
    ("GetStream", &[UNABLE, FRESH, SEALED, &[InvalidArgument, LimitExceeded]]),
    ("ListStreams", &[UNABLE, FRESH, SEALED, &[InvalidPattern, LimitExceeded]]),
    (
        "VersionAt",
        &[
            UNABLE,
            FRESH,
            SEALED,
            &[StreamNotFound, StreamDeleted, StreamTombstoned, InvalidArgument, LimitExceeded],
        ],
    ),
    ("HasEvents", &[UNABLE, FRESH]),
    ("GetEvent", &[UNABLE, FRESH, SEALED, &[EventNotFound, InvalidArgument]]),
    ("Delete", &[UNABLE, DECIDED, ENDED, &[StreamNotFound, StreamTombstoned]]),
    ("Tombstone", &[UNABLE, DECIDED, ENDED]),
    ("Truncate", &[UNABLE, DECIDED, ENDED, &[StreamNotFound, StreamDeleted, StreamTombstoned]]),
    ("Watch", &[UNABLE, FRESH, SEALED, &[InvalidArgument]]),
];

/// Whether every call was seen to answer everything that it must; says what is missing.
pub fn is_complete() -> bool {
    let seen = calls::seen();
    let table: BTreeMap<_, _> = CALLS.iter().copied().collect();
    let mut missing = Vec::new();
    for method in methods() {
        let Some(reasons) = table.get(method.as_str()) else {
            missing.push(format!("{method} has no line in the table of calls"));
            continue;
        };
        let saw = |reason: Option<&'static str>| {
            seen.iter().any(|(name, answered)| *name == method && *answered == reason)
        };
        if !saw(None) {
            missing.push(format!("{method} was never seen to do what it is for"));
        }
        for reason in reasons.iter().copied().flatten() {
            if !saw(Some(reason.as_str())) {
                missing.push(format!("{method} was never seen refusing with {}", reason.as_str()));
            }
        }
    }
    for line in &missing {
        eprintln!("coverage: {line}");
    }
    missing.is_empty()
}

/// The methods of the service, as the protocol defines it.
fn methods() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(v1::FILE_DESCRIPTOR_SET).expect("the build made it");
    let services = set.file.iter().flat_map(|file| &file.service);
    services
        .filter(|service| service.name() == "Streams")
        .flat_map(|service| &service.method)
        .map(|method| method.name().to_owned())
        .collect()
}
