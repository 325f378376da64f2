//! Between the messages of `reckon.v1` and the engine's own types: what a caller may send, and how answers and
//! refusals read. Pure: knows neither the state of the store nor Raft, and takes new ids from outside.

mod answer;
mod append;
mod filter;
mod life;
mod metadata;
mod range;
mod refusal;
mod selector;
mod subscription;
#[cfg(test)]
mod tests;

use reckon_api::v1;
use tonic::Status;
use uuid::Uuid;

pub use answer::{append_response, event, list_response, not_its_answer, notice, stream_info};
pub use append::{append_command, no_append};
pub use filter::{checked_expression, filter, stream_names};
pub use life::{delete_command, tombstone_command, truncate_command};
pub use range::{Positions, Start, Times, ambiguous, direction, limit, positions, start, times};
pub use refusal::{event_not_found, live, read_failed, refusal_status, subscription_not_found};
pub use selector::{key_refused, selector_refused};
pub use subscription::{
    check_consumer, decode_definition, definition, definition_status, start_from, subscription,
    subscription_checkpoint, subscription_key, subscription_type, unchangeable_difference,
};

use crate::limits::STREAM_ID_BYTES_MAX;
use refusal::{Limit, check_name, check_text, invalid_field};

const STREAM_ID: Limit = Limit { name: "stream_id_bytes_max", maximum: STREAM_ID_BYTES_MAX };

/// Whether a stream may be asked for by this name; the server's own may.
pub fn check_stream_id(stream_id: &str) -> Result<(), Status> {
    check_name(|| "stream_id".to_owned(), stream_id, STREAM_ID)
}

/// After which name a listing goes on; `None`: it begins.
pub fn page_token(token: &str) -> Result<Option<String>, Status> {
    check_text(|| "page_token".to_owned(), token, STREAM_ID)?;
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

/// The id of an event to look for.
pub fn event_id(text: &str) -> Result<Uuid, Status> {
    Uuid::try_parse(text).map_err(|_not_a_uuid| invalid_field("event_id", text, "is not a UUID"))
}

/// Whether a watch asks for features that there are; none is all.
pub fn check_features(features: &[i32]) -> Result<(), Status> {
    let is_unknown = |feature: &&i32| !matches!(v1::Feature::try_from(**feature), Ok(feature) if feature != v1::Feature::Unspecified);
    match features.iter().find(is_unknown) {
        None => Ok(()),
        Some(unknown) => {
            let what = "is no feature that can be watched: 1 is streams, 2 is subscriptions";
            Err(invalid_field("features", &unknown.to_string(), what))
        }
    }
}
