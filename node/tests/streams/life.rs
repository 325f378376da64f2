//! `Delete`, `Tombstone` and `Truncate`.

use reckon_api::{Reason, v1};

use crate::calls::Calls;
use crate::messages::{
    events_to, refused, refused_field, stream_exists, unique, value, version, versions,
};

fn delete(stream_id: &str) -> v1::DeleteRequest {
    v1::DeleteRequest { stream_id: stream_id.to_owned(), expectation: None }
}

fn tombstone(stream_id: &str) -> v1::TombstoneRequest {
    v1::TombstoneRequest { stream_id: stream_id.to_owned(), expectation: None }
}

fn truncate(stream_id: &str, before_version: u64) -> v1::TruncateRequest {
    v1::TruncateRequest { stream_id: stream_id.to_owned(), before_version, expectation: None }
}

async fn read(calls: &Calls, stream_id: &str) -> Vec<u64> {
    let request = v1::ReadRequest { stream_id: stream_id.to_owned(), ..Default::default() };
    versions(&calls.read(request).await.unwrap().1)
}

pub async fn a_deleted_stream_is_gone_and_an_append_opens_it_again(calls: Calls) {
    let name = unique("deleted");
    refused(calls.delete(delete(&name)).await, Reason::StreamNotFound);
    let appended = calls.append(events_to(&name, 3)).await.unwrap();
    let answer = calls.delete(delete(&name)).await.unwrap();
    assert_eq!(answer.last_version, 2);
    assert!(answer.position > appended.last_position, "the notice has a position of its own");
    let answer = calls.append(events_to(&name, 1)).await.unwrap();
    assert_eq!(answer.streams[0].last_version, 3, "versions go on");
    assert_eq!(read(&calls, &name).await, [3]);
}

pub async fn a_tombstoned_name_is_never_used_again(calls: Calls) {
    let name = unique("tombstoned");
    calls.append(events_to(&name, 2)).await.unwrap();
    assert_eq!(calls.tombstone(tombstone(&name)).await.unwrap().last_version, 1);
    for status in [
        refused(calls.append(events_to(&name, 1)).await, Reason::StreamTombstoned),
        refused(calls.delete(delete(&name)).await, Reason::StreamTombstoned),
        refused(calls.truncate(truncate(&name, 1)).await, Reason::StreamTombstoned),
    ] {
        assert_eq!(value(&status, "stream"), name);
    }
    let unused = unique("never-used");
    assert_eq!(calls.tombstone(tombstone(&unused)).await.unwrap().last_version, -1);
    refused(calls.append(events_to(&unused, 1)).await, Reason::StreamTombstoned);
}

pub async fn a_truncated_stream_begins_later(calls: Calls) {
    let name = unique("truncated");
    refused(calls.truncate(truncate(&name, 0)).await, Reason::StreamNotFound);
    calls.append(events_to(&name, 4)).await.unwrap();
    let answer = calls.truncate(truncate(&name, 2)).await.unwrap();
    assert_eq!((answer.first_version, answer.last_version), (2, 3));
    assert_eq!(read(&calls, &name).await, [2, 3]);
    refused_field(
        calls.truncate(truncate(&name, 5)).await,
        Reason::InvalidArgument,
        "before_version",
    );
    let answer = calls.truncate(truncate(&name, 4)).await.unwrap();
    assert_eq!((answer.first_version, answer.last_version), (4, 3), "nothing is left");
    assert_eq!(read(&calls, &name).await, [0_u64; 0], "but it still exists");
    calls.append(events_to(&name, 1)).await.unwrap();
    assert_eq!(read(&calls, &name).await, [4]);
    calls.delete(delete(&name)).await.unwrap();
    refused(calls.truncate(truncate(&name, 5)).await, Reason::StreamDeleted);
}

pub async fn an_end_of_life_takes_an_expectation(calls: Calls) {
    let name = unique("expected");
    calls.append(events_to(&name, 2)).await.unwrap();
    for (expectation, actual) in [(version(0), "1"), (version(-1), "1")] {
        let expectation = Some(expectation);
        let status = refused(
            calls.delete(v1::DeleteRequest { expectation, ..delete(&name) }).await,
            Reason::WrongExpectedVersion,
        );
        assert_eq!(value(&status, "actual"), actual);
        refused(
            calls.tombstone(v1::TombstoneRequest { expectation, ..tombstone(&name) }).await,
            Reason::WrongExpectedVersion,
        );
        refused(
            calls.truncate(v1::TruncateRequest { expectation, ..truncate(&name, 1) }).await,
            Reason::WrongExpectedVersion,
        );
    }
    let expectation = Some(version(1));
    calls.truncate(v1::TruncateRequest { expectation, ..truncate(&name, 1) }).await.unwrap();
    let expectation = Some(stream_exists());
    calls.delete(v1::DeleteRequest { expectation, ..delete(&name) }).await.unwrap();
    calls.append(events_to(&name, 1)).await.unwrap();
    let expectation = Some(version(2));
    calls.tombstone(v1::TombstoneRequest { expectation, ..tombstone(&name) }).await.unwrap();
}

pub async fn an_end_of_life_sent_again_is_answered_alike(calls: Calls) {
    let name = unique("again");
    calls.append(events_to(&name, 2)).await.unwrap();
    let first = calls.truncate(truncate(&name, 1)).await.unwrap();
    assert_eq!(calls.truncate(truncate(&name, 1)).await.unwrap(), first);
    let first = calls.delete(delete(&name)).await.unwrap();
    assert_eq!(calls.delete(delete(&name)).await.unwrap(), first);
    let first = calls.tombstone(tombstone(&name)).await.unwrap();
    assert_eq!(calls.tombstone(tombstone(&name)).await.unwrap(), first);
}

pub async fn malformed_ends_are_refused(calls: Calls) {
    use Reason::{InvalidArgument, LimitExceeded};
    for (name, reason) in
        [("", InvalidArgument), ("$streams", InvalidArgument), (&"s".repeat(513), LimitExceeded)]
    {
        refused_field(calls.delete(delete(name)).await, reason, "stream_id");
        refused_field(calls.tombstone(tombstone(name)).await, reason, "stream_id");
        refused_field(calls.truncate(truncate(name, 0)).await, reason, "stream_id");
    }
    let expectation = Some(version(-3));
    refused_field(
        calls.delete(v1::DeleteRequest { expectation, ..delete("s") }).await,
        InvalidArgument,
        "expectation.version",
    );
}
