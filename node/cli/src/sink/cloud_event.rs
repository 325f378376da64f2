//! An event by CloudEvents 1.0: what it is called there, and how it is written into a request.
//!
//! By <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md> and the JSON event
//! format beside it. Numbers are texts: integers have 32 bits there, and positions do not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use reckon_api::v1;
use serde::Serialize;
use serde_json::value::RawValue;

const SPEC_VERSION: &str = "1.0";

/// What a header's value cannot hold as it is, by section 3.1.3.2 of the binding; besides all that is not ASCII.
const HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// What a segment of a URI cannot hold as it is: all but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How events are written into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, the data as it is; one event.
    Binary,
    /// One JSON object; one event.
    Structured,
    /// A JSON array of such objects.
    Batch,
}

impl Mode {
    /// The mode for one event in a request.
    pub const fn of(mode: v1::SinkMode) -> Self {
        match mode {
            v1::SinkMode::Unspecified | v1::SinkMode::Binary => Self::Binary,
            v1::SinkMode::Structured => Self::Structured,
        }
    }

    /// The headers and the body of a request with these events; in the modes for one event, of the first.
    pub fn write(self, events: &[CloudEvent<'_>]) -> (HeaderMap, Bytes) {
        let (content_type, body) = match (self, events) {
            (Self::Binary, [event, ..]) => return event.binary(),
            (Self::Structured, [event, ..]) => ("application/cloudevents+json", json(event)),
            (_, events) => ("application/cloudevents-batch+json", json(events)),
        };
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        (headers.into_iter().collect(), body)
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Bytes {
    serde_json::to_vec(value).expect("texts can be written as JSON").into()
}

/// An event by the names of CloudEvents.
#[derive(Debug, Serialize)]
pub struct CloudEvent<'a> {
    #[serde(flatten)]
    attributes: Attributes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip)]
    bytes: &'a Bytes,
}

#[derive(Debug, Serialize)]
struct Attributes<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    datacontenttype: &'a str,
    reckonposition: String,
    reckonversion: String,
    reckonattempt: String,
    partitionkey: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
}

impl<'a> CloudEvent<'a> {
    /// The event of a delivery from this store.
    pub fn new(store: &str, delivery: &'a v1::Delivery, event: &'a v1::Event) -> Self {
        let time = i64::try_from(event.epoch_us)
            .ok()
            .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
            .map(|time| time.to_string());
        let attributes = Attributes {
            specversion: SPEC_VERSION,
            id: &event.event_id,
            source: format!(
                "reckon/{}/{}",
                utf8_percent_encode(store, SEGMENT),
                utf8_percent_encode(&event.stream_id, SEGMENT)
            ),
            kind: &event.event_type,
            subject: &event.stream_id,
            time,
            datacontenttype: &event.data_content_type,
            reckonposition: event.position.to_string(),
            reckonversion: event.version.to_string(),
            reckonattempt: delivery.attempt.to_string(),
            partitionkey: if delivery.key.is_empty() { &event.stream_id } else { &delivery.key },
            correlationid: event.correlation_id.as_deref(),
            causationid: event.causation_id.as_deref(),
        };
        let data = is_json(&event.data_content_type)
            .then(|| serde_json::from_slice(&event.data).ok())
            .flatten();
        let data_base64 =
            (data.is_none() && !event.data.is_empty()).then(|| STANDARD.encode(&event.data));
        Self { attributes, data, data_base64, bytes: &event.data }
    }

    /// In the binary mode: attributes in headers, but for the content type, which has one of its own.
    fn binary(&self) -> (HeaderMap, Bytes) {
        let Attributes {
            specversion,
            id,
            source,
            kind,
            subject,
            time,
            datacontenttype,
            reckonposition,
            reckonversion,
            reckonattempt,
            partitionkey,
            correlationid,
            causationid,
        } = &self.attributes;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", Some(*specversion)),
            ("ce-id", Some(*id)),
            ("ce-source", Some(source.as_str())),
            ("ce-type", Some(*kind)),
            ("ce-subject", Some(*subject)),
            ("ce-time", time.as_deref()),
            ("ce-reckonposition", Some(reckonposition)),
            ("ce-reckonversion", Some(reckonversion)),
            ("ce-reckonattempt", Some(reckonattempt)),
            ("ce-partitionkey", Some(*partitionkey)),
            ("ce-correlationid", *correlationid),
            ("ce-causationid", *causationid),
        ] {
            if let Some(value) = value {
                let value = utf8_percent_encode(value, HEADER).to_string();
                let value =
                    HeaderValue::try_from(value).expect("what a header cannot hold was encoded");
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        // A content type that is none has to be left out; what is no JSON then is guessed by whoever gets it.
        if let Ok(content_type) = HeaderValue::try_from(*datacontenttype)
            && !content_type.is_empty()
        {
            headers.insert(CONTENT_TYPE, content_type);
        }
        (headers, self.bytes.clone())
    }
}

/// Whether a content type says that data is JSON: `application/json`, or a type that is built on it (RFC 6839).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(data: &str, content_type: &str) -> v1::Delivery {
        let event = v1::Event {
            event_id: "0190163d-8694-739b-aea5-966c26f8ad91".to_owned(),
            stream_id: "order s/ü".to_owned(),
            event_type: "Placed \"now\" 100%".to_owned(),
            version: 3,
            position: u64::MAX,
            data: data.as_bytes().to_vec().into(),
            data_content_type: content_type.to_owned(),
            correlation_id: Some("c".to_owned()),
            epoch_us: 1_700_000_000_123_456,
            ..v1::Event::default()
        };
        v1::Delivery { event: Some(event), attempt: 2, ..v1::Delivery::default() }
    }

    fn written(mode: Mode, delivery: &v1::Delivery) -> (HeaderMap, Bytes) {
        let event = CloudEvent::new("shop", delivery, delivery.event.as_ref().unwrap());
        mode.write(&[event])
    }

    #[test]
    fn in_the_binary_mode_attributes_are_headers_and_the_data_is_the_body() {
        let (headers, body) = written(Mode::Binary, &delivery("{\"a\": 1}", "application/json"));
        let expected = [
            ("ce-specversion", "1.0"),
            ("ce-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
            ("ce-source", "reckon/shop/order%2520s%252F%25C3%25BC"),
            ("ce-type", "Placed%20%22now%22%20100%25"),
            ("ce-subject", "order%20s/%C3%BC"),
            ("ce-time", "2023-11-14T22:13:20.123456Z"),
            ("ce-reckonposition", "18446744073709551615"),
            ("ce-reckonversion", "3"),
            ("ce-reckonattempt", "2"),
            ("ce-partitionkey", "order%20s/%C3%BC"),
            ("ce-correlationid", "c"),
            ("content-type", "application/json"),
        ];
        for (name, value) in expected {
            assert_eq!(headers[name], value, "{name}");
        }
        assert_eq!(headers.len(), expected.len());
        assert_eq!(body, "{\"a\": 1}");
    }

    #[test]
    fn in_the_structured_mode_all_of_it_is_one_object() {
        let (headers, body) =
            written(Mode::Structured, &delivery("{\"a\": 1}", "application/json"));
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        let object: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(object["specversion"], "1.0");
        assert_eq!(object["source"], "reckon/shop/order%20s%2F%C3%BC");
        assert_eq!(object["type"], "Placed \"now\" 100%");
        assert_eq!(object["data"]["a"], 1);
        assert_eq!(object["reckonposition"], "18446744073709551615");
        assert_eq!(object["partitionkey"], "order s/ü");
        assert!(object.get("causationid").is_none() && object.get("data_base64").is_none());
        for name in object.as_object().unwrap().keys() {
            assert!(
                name == "data" || name.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{name} is no name of an attribute"
            );
        }
    }

    #[test]
    fn data_that_is_no_json_stands_in_base64() {
        for (data, content_type) in
            [("{oops", "application/json"), ("{}", "text/plain"), ("\u{1}", "application/x")]
        {
            let (_, body) = written(Mode::Structured, &delivery(data, content_type));
            let object: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(object["data_base64"], STANDARD.encode(data), "{data}");
            assert!(object.get("data").is_none());
        }
        let (_, body) = written(Mode::Structured, &delivery("", "application/json"));
        assert!(!String::from_utf8(body.to_vec()).unwrap().contains("data_base64"));
    }

    #[test]
    fn json_has_many_content_types() {
        for text in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            assert!(is_json(text), "{text}");
        }
        assert!(!is_json("application/jsonl") && !is_json(""));
    }
}
