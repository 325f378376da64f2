//! Refusals inside a stream of answers, where a gRPC status has to be a message.

use tonic::{Code, Status};

use crate::v1;

impl From<&Status> for v1::Failure {
    fn from(status: &Status) -> Self {
        Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: bytes::Bytes::copy_from_slice(status.details()),
        }
    }
}

impl From<v1::Failure> for Status {
    fn from(failure: v1::Failure) -> Self {
        Self::with_details(Code::from_i32(failure.code), failure.message, failure.details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn a_refusal_is_the_same_after_it_was_a_message() {
        let status = Reason::DiskFull.status("no room", [("minimum", "7")]);
        let back = Status::from(v1::Failure::from(&status));
        assert_eq!((back.code(), back.message()), (status.code(), status.message()));
        assert_eq!(back.details(), status.details());
        assert_eq!(Reason::of(&back), Some(Reason::DiskFull));
    }
}
