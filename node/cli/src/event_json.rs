//! Events as lines of JSON, out and in. What `read` and `read-all` print, `append` takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reckon_api::v1;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The content type that a store assumes.
pub const JSON: &str = "application/json";

/// A recorded event as it is printed. Bytes that are JSON stand as such; others in base64.
#[derive(Debug, Serialize)]
pub struct Printed<'a> {
    event_id: &'a str,
    stream: &'a str,
    version: u64,
    position: u64,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    data_content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata_content_type: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<&'a str>,
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at_us: Option<i64>,
    epoch_us: u64,
}

impl<'a> From<&'a v1::Event> for Printed<'a> {
    fn from(event: &'a v1::Event) -> Self {
        let (data, data_base64) = inline(&event.data);
        let (metadata, metadata_base64) = inline(&event.metadata);
        Self {
            event_id: &event.event_id,
            stream: &event.stream_id,
            version: event.version,
            position: event.position,
            event_type: &event.event_type,
            data,
            data_base64,
            data_content_type: &event.data_content_type,
            metadata,
            metadata_base64,
            metadata_content_type: if event.metadata.is_empty() {
                ""
            } else {
                &event.metadata_content_type
            },
            tags: &event.tags,
            causation_id: event.causation_id.as_deref(),
            correlation_id: event.correlation_id.as_deref(),
            actor_id: event.actor_id.as_deref(),
            schema_version: event.schema_version,
            occurred_at_us: event.occurred_at_us,
            epoch_us: event.epoch_us,
        }
    }
}

/// The JSON that the bytes are, or else their base64; neither for no bytes.
fn inline(bytes: &[u8]) -> (Option<Box<RawValue>>, Option<String>) {
    if bytes.is_empty() {
        return (None, None);
    }
    // Line breaks stand between tokens only: inside of strings JSON writes them as escapes.
    let raw = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| RawValue::from_string(text.replace(['\n', '\r'], " ")).ok())
        // On its way back a null could not be told from no data at all.
        .filter(|raw| raw.get().trim() != "null");
    match raw {
        Some(raw) => (Some(raw), None),
        None => (None, Some(STANDARD.encode(bytes))),
    }
}

/// One line of input. Lines that were printed are taken back: what the store alone assigns is left aside.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub stream: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default, alias = "id")]
    event_id: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    data_base64: Option<String>,
    #[serde(default, alias = "content_type")]
    data_content_type: Option<String>,
    #[serde(default)]
    metadata: Option<Box<RawValue>>,
    #[serde(default)]
    metadata_base64: Option<String>,
    #[serde(default)]
    metadata_content_type: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    causation_id: Option<String>,
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(default)]
    actor_id: Option<String>,
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    occurred_at_us: Option<i64>,
    #[serde(default, rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(default, rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(default, rename = "epoch_us")]
    _epoch_us: Option<IgnoredAny>,
}

impl Line {
    /// Reads one line; the error is a sentence.
    pub fn parse(line: &str) -> Result<(String, v1::NewEvent), String> {
        let line: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let event = v1::NewEvent {
            event_id: line.event_id,
            event_type: line.event_type,
            data: bytes("data", line.data, line.data_base64)?,
            data_content_type: line.data_content_type.unwrap_or_default(),
            metadata: bytes("metadata", line.metadata, line.metadata_base64)?,
            metadata_content_type: line.metadata_content_type.unwrap_or_default(),
            tags: line.tags,
            causation_id: line.causation_id,
            correlation_id: line.correlation_id,
            actor_id: line.actor_id,
            schema_version: line.schema_version,
            occurred_at_us: line.occurred_at_us,
        };
        Ok((line.stream, event))
    }
}

fn bytes<B: From<Vec<u8>>>(
    name: &str,
    json: Option<Box<RawValue>>,
    base64: Option<String>,
) -> Result<B, String> {
    let bytes = match (json, base64) {
        (Some(_), Some(_)) => {
            return Err(format!("`{name}` and `{name}_base64` exclude each other"));
        }
        (Some(json), None) => json.get().as_bytes().to_vec(),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|error| format!("`{name}_base64` is not base64: {error}"))?,
        (None, None) => Vec::new(),
    };
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str, content_type: &str) -> v1::Event {
        v1::Event {
            event_id: "0190163d-8694-739b-aea5-966c26f8ad91".to_owned(),
            stream_id: "orders-1".to_owned(),
            version: 3,
            position: 17,
            event_type: "OrderPlaced".to_owned(),
            data: data.as_bytes().to_vec().into(),
            data_content_type: content_type.to_owned(),
            schema_version: 1,
            epoch_us: 1_700_000_000_123_456,
            ..Default::default()
        }
    }

    fn printed(event: &v1::Event) -> String {
        serde_json::to_string(&Printed::from(event)).unwrap()
    }

    #[test]
    fn json_data_stands_as_it_was_written_on_one_line() {
        let line = printed(&event("{\"b\": 1,\n \"a\": 12345678901234567890123}", JSON));
        assert_eq!(
            line,
            "{\"event_id\":\"0190163d-8694-739b-aea5-966c26f8ad91\",\"stream\":\"orders-1\",\
             \"version\":3,\"position\":17,\"type\":\"OrderPlaced\",\
             \"data\":{\"b\": 1,  \"a\": 12345678901234567890123},\
             \"data_content_type\":\"application/json\",\"schema_version\":1,\
             \"epoch_us\":1700000000123456}"
        );
    }

    #[test]
    fn data_that_is_not_json_stands_in_base64() {
        let line = printed(&event("not json", "text/plain"));
        assert!(line.contains("\"data_base64\":\"bm90IGpzb24=\""), "{line}");
        assert!(!line.contains("\"data\":"), "{line}");
    }

    #[test]
    fn what_is_printed_is_taken_back() {
        for (data, content_type) in
            [("{\"a\": [1, 2]}", JSON), ("\u{0}\u{1}", "application/x"), ("", JSON), ("null", JSON)]
        {
            let original = event(data, content_type);
            let (stream, back) = Line::parse(&printed(&original)).unwrap();
            assert_eq!(stream, original.stream_id);
            assert_eq!(back.event_id(), original.event_id);
            assert_eq!(back.data, original.data);
            assert_eq!(back.data_content_type, original.data_content_type);
        }
    }

    #[test]
    fn a_line_with_a_mistake_is_refused_with_its_name() {
        for (line, expected) in [
            ("{\"type\": \"T\"}", "stream"),
            ("{\"stream\": \"s\"}", "type"),
            ("{\"stream\": \"s\", \"type\": \"T\", \"dta\": 1}", "dta"),
            ("{\"stream\": \"s\", \"type\": \"T\", \"data\": 1, \"data_base64\": \"\"}", "exclude"),
            ("{\"stream\": \"s\", \"type\": \"T\", \"data_base64\": \"*\"}", "base64"),
            ("[]", "expected"),
        ] {
            let error = Line::parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
