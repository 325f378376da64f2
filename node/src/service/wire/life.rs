//! Commands about the life of streams, checked.

use bytes::Bytes;
use reckon_api::v1;
use tonic::Status;

use super::append::{check_not_system, expectation};
use super::check_stream_id;
use crate::engine::{Command, Expectation};

/// Checks a deletion and encodes it for the proposer.
pub fn delete_command(request: &v1::DeleteRequest) -> Result<Bytes, Status> {
    let expectation = checked(&request.stream_id, request.expectation.as_ref())?;
    Ok(Command::Delete { stream_id: request.stream_id.clone(), expectation }.encode())
}

/// Checks a tombstone and encodes it for the proposer.
pub fn tombstone_command(request: &v1::TombstoneRequest) -> Result<Bytes, Status> {
    let expectation = checked(&request.stream_id, request.expectation.as_ref())?;
    Ok(Command::Tombstone { stream_id: request.stream_id.clone(), expectation }.encode())
}

/// Checks a truncation and encodes it for the proposer.
pub fn truncate_command(request: &v1::TruncateRequest) -> Result<Bytes, Status> {
    let expectation = checked(&request.stream_id, request.expectation.as_ref())?;
    let stream_id = request.stream_id.clone();
    let before_version = request.before_version;
    Ok(Command::Truncate { stream_id, before_version, expectation }.encode())
}

/// The expectation about a stream whose life a caller may end.
fn checked(stream_id: &str, expected: Option<&v1::Expectation>) -> Result<Expectation, Status> {
    check_stream_id(stream_id)?;
    check_not_system(|| "stream_id".to_owned(), stream_id)?;
    expectation("expectation", expected)
}
