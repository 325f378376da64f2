//! Where a subscription's events are delivered to.

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Resources, schema};

/// An HTTP endpoint that the subscription's events are sent to, as CloudEvents 1.0. The operator runs the pods
/// that send them, beside the store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.url) != has(self.service)")
        .message("sink must have exactly one of url and service"),
    validation = Rule::new("!has(self.url) || self.url.matches('^https?://[^/?#\\\\s]+[^\\\\s]*$')")
        .message("sink.url must be an absolute http:// or https:// URL"),
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('12h')")
        .message("sink.timeout must be from 1ms to 12h"),
    validation = Rule::new("!has(self.headers) || !has(self.headersFrom) || self.headersFrom.all(from, !(from.name in self.headers))")
        .message("sink.headersFrom must not name a header that is in sink.headers")
)]
pub struct Sink {
    /// `http://…` or `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,

    /// A Service of the subscription's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,

    /// How an event becomes a request.
    #[serde(default)]
    pub mode: SinkMode,

    /// Events in one request; above 1 always in the structured batch format.
    #[serde(default = "batch_max_default")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub batch_max: u32,

    /// How long a request may take, at most 12 h.
    #[serde(default = "timeout_default")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Duration,

    /// Requests at once.
    #[serde(default = "concurrency_default")]
    #[schemars(range(min = 1, max = 256), extend("format" = "int32"))]
    pub concurrency: u32,

    /// Sent with every request. Secrets do not belong here, they would be in the store's log: see `headersFrom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(max = 4096)))]
    pub headers: BTreeMap<String, String>,

    /// Sent with every request, each with a value from a Secret of the subscription's own namespace. Only the pods
    /// of the sink are given the values. A changed Secret restarts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    pub headers_from: Vec<HeaderFrom>,

    /// How many pods deliver. As many as `poolSize` are served, further ones stand by; with 0 nothing is delivered.
    #[serde(default = "replicas_default")]
    #[schemars(range(min = 0, max = 1024), extend("format" = "int32"))]
    pub replicas: u32,

    /// What each pod may use of CPU and memory.
    #[serde(default = "Resources::of_a_sink")]
    pub resources: Resources,

    /// The image of the pods. Absent: that of the store's nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

fn batch_max_default() -> u32 {
    1
}

fn timeout_default() -> Duration {
    std::time::Duration::from_secs(10).into()
}

fn concurrency_default() -> u32 {
    8
}

fn replicas_default() -> u32 {
    1
}

impl Resources {
    /// What delivering a few hundred events a second needs.
    pub fn of_a_sink() -> Self {
        Self::requesting("10m", "32Mi")
    }
}

/// A Service, and the path behind it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// The Service's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// The Service's port. Absent: that of the scheme, 80 or 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: Option<u16>,

    /// The path.
    #[serde(default = "path_default")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^\s#]*$"))]
    pub path: String,

    /// Whether the Service speaks TLS.
    #[serde(default)]
    pub scheme: UrlScheme,
}

fn path_default() -> String {
    "/".to_owned()
}

/// The scheme of a URL.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UrlScheme {
    /// Plain text.
    #[default]
    Http,
    /// TLS.
    Https,
}

impl UrlScheme {
    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How an event becomes a request.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkMode {
    /// Attributes in headers, the data as it is in the body.
    #[default]
    Binary,
    /// One JSON object with everything in it.
    Structured,
}

/// A header whose value is in a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeaderFrom {
    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"))]
    pub name: String,

    /// Where its value is.
    pub secret_key_ref: SecretKeyRef,
}

/// One value of a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
