//! What a user asks for, with every default and every rule in the schema.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Selector, Sink, SubscriptionStatus};
use crate::schema;

/// Longest name of a `Subscription`: its sink is named after it with five characters more, and a label ends at 63.
pub const SUBSCRIPTION_NAME_LENGTH_MAX: usize = 58;

/// A subscription of a store: which events, how they are delivered, and where to.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "reckon.dev",
    version = "v1alpha1",
    kind = "Subscription",
    plural = "subscriptions",
    shortname = "rsub",
    category = "reckon",
    namespaced,
    status = "SubscriptionStatus",
    derive = "PartialEq",
    doc = "A subscription of a store: its events, as they come, to the consumers that ask for them or to an HTTP endpoint.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Store", type_ = "string", json_path = ".spec.storeRef.name"),
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Lag",
        type_ = "integer",
        json_path = ".status.lagEvents",
        description = "Events that are not done, rounded"
    ),
    printcolumn(
        name = "Parked",
        type_ = "integer",
        json_path = ".status.parked",
        description = "Events that were given up for now"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".status.mode",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    cel,
    validation = Rule::new("size(self.metadata.name) <= 58")
        .message("metadata.name must have at most 58 characters: labels and the sink are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)")
        .message("name is immutable: make another Subscription"),
    validation = Rule::new("has(self.startFrom) == has(oldSelf.startFrom) && (!has(self.startFrom) || self.startFrom == oldSelf.startFrom)")
        .message("startFrom is immutable: it counts only once, and a reset moves the checkpoint"),
    validation = Rule::new("has(self.partition) == has(oldSelf.partition) && (!has(self.partition) || self.partition == oldSelf.partition)")
        .message("partition is immutable: make another Subscription"),
    validation = Rule::new("has(self.keyExpression) == has(oldSelf.keyExpression) && (!has(self.keyExpression) || self.keyExpression == oldSelf.keyExpression)")
        .message("keyExpression is immutable: make another Subscription"),
    validation = Rule::new("!has(self.type) || self.type.replace('by_', '') == (has(self.selector.all) ? 'all' : has(self.selector.stream) ? 'stream' : has(self.selector.eventType) ? 'event_type' : has(self.selector.eventPattern) ? 'event_pattern' : has(self.selector.eventPayload) ? 'event_payload' : 'tags')")
        .message("type must be that of the selector, and is as immutable"),
    validation = Rule::new("!has(self.startFrom) || !has(self.startFrom.version) || has(self.selector.stream)")
        .message("startFrom.version is only for a selector of one stream"),
    validation = Rule::new("duration(self.ackTimeout) >= duration('100ms') && duration(self.ackTimeout) <= duration('12h')")
        .message("ackTimeout must be from 100ms to 12h")
)]
pub struct SubscriptionSpec {
    /// The store, in the subscription's own namespace. Not in another: a subscription hands a store's events to
    /// whomever its sink names, so whoever may not touch a namespace's store must not be able to name it.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("storeRef is immutable: make another Subscription")
    )]
    pub store_ref: StoreRef,

    /// The name in the store; immutable. Absent: the name of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        validation = Rule::new("size(bytes(self)) <= 256")
            .message("name must have at most 256 bytes of UTF-8"),
        validation = Rule::new("self.matches('^\\\\P{Cc}*$')")
            .message("name must not have control characters")
    )]
    pub name: Option<String>,

    /// What the selector makes of it anyway, for those who like to say so; also with `by_` in front.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::subscription_type")]
    pub type_: Option<String>,

    /// Which events; immutable.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("selector is immutable: make another Subscription")
    )]
    pub selector: Selector,

    /// Where to begin; immutable. Absent: at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_from: Option<StartFrom>,

    /// Consumers served in parallel; further ones stand by.
    #[serde(default = "pool_size_default")]
    #[schemars(range(min = 1, max = 1024), extend("format" = "int32"))]
    pub pool_size: u32,

    /// A CEL expression over `event` that gives the text by which events are kept in order; immutable. Absent: the
    /// stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub key_expression: Option<String>,

    /// Only this share of the streams; immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,

    /// How long a consumer may take for the next event of a key; then it is taken from the consumer and tried again.
    /// From 100 ms to 12 h.
    #[serde(default = "ack_timeout_default")]
    #[schemars(schema_with = "schema::duration")]
    pub ack_timeout: Duration,

    /// Failed tries after which an event is tried no more, but parked; with 0 it is parked when it fails first.
    #[serde(default = "max_retries_default")]
    #[schemars(range(min = 0, max = 2_147_483_647), extend("format" = "int32"))]
    pub max_retries: u32,

    /// The time between two tries.
    #[serde(default)]
    pub retry_backoff: RetryBackoff,

    /// Most events that consumers hold unacknowledged at once.
    #[serde(default = "max_in_flight_default")]
    #[schemars(range(min = 1, max = 100_000), extend("format" = "int32"))]
    pub max_in_flight: u32,

    /// Most events that are read ahead of the consumers.
    #[serde(default = "buffer_size_default")]
    #[schemars(range(min = 1, max = 100_000), extend("format" = "int32"))]
    pub buffer_size: u32,

    /// What happens when the consumers are slower than the store.
    #[serde(default)]
    pub strategy: Strategy,

    /// Share of the buffer above which a warning is shown.
    #[serde(default = "buffer_warning_percent_default")]
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub buffer_warning_percent: u32,

    /// Whether a parked event holds its key back: later events of the key are parked behind it.
    #[serde(default)]
    pub hold_key: bool,

    /// Where the events are delivered to. Absent: to the consumers that connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,

    /// What becomes of the subscription in the store, with its checkpoint and its list of parked events, when the
    /// resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn pool_size_default() -> u32 {
    1
}

fn ack_timeout_default() -> Duration {
    std::time::Duration::from_secs(30).into()
}

fn max_retries_default() -> u32 {
    10
}

fn max_in_flight_default() -> u32 {
    1_000
}

fn buffer_size_default() -> u32 {
    1_000
}

fn buffer_warning_percent_default() -> u32 {
    80
}

/// A store of the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StoreRef {
    /// The name of the `EventStore`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Where a subscription begins, inclusive: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("[has(self.beginning), has(self.end), has(self.position), has(self.time), has(self.version)].filter(given, given).size() == 1")
        .message("startFrom must have exactly one of beginning, end, position, time and version"),
    validation = Rule::new("!has(self.beginning) || self.beginning")
        .message("startFrom.beginning can only be true: to begin elsewhere, say where"),
    validation = Rule::new("!has(self.end) || self.end")
        .message("startFrom.end can only be true: to begin elsewhere, say where")
)]
pub struct StartFrom {
    /// At the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beginning: Option<bool>,

    /// Behind the last event that there is when the subscription is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<bool>,

    /// At a position of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::position")]
    pub position: Option<u64>,

    /// At the first event that is not older, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time: Option<MicroTime>,

    /// At a version; only for a selector of one stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::position")]
    pub version: Option<u64>,
}

/// A share of the streams, by a hash of their ids.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("self.index < self.count")
        .message("partition.index must be less than partition.count: it counts from 0")
)]
pub struct Partition {
    /// Which share, from 0.
    #[schemars(range(min = 0, max = 2_147_483_647), extend("format" = "int32"))]
    pub index: u32,

    /// How many shares there are.
    #[schemars(range(min = 1, max = 2_147_483_647), extend("format" = "int32"))]
    pub count: u32,
}

/// The time between two tries: from `min`, doubled with each, at most `max`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("duration(self.min) > duration('0s') && duration(self.max) <= duration('12h')")
        .message("retryBackoff.min must be at least 1ms, and retryBackoff.max at most 12h"),
    validation = Rule::new("duration(self.min) <= duration(self.max)")
        .message("retryBackoff.min must not be longer than retryBackoff.max, which is 30s unless it is given")
)]
pub struct RetryBackoff {
    /// After the first try.
    #[serde(default = "retry_backoff_min_default")]
    #[schemars(schema_with = "schema::duration")]
    pub min: Duration,

    /// At most.
    #[serde(default = "retry_backoff_max_default")]
    #[schemars(schema_with = "schema::duration")]
    pub max: Duration,
}

impl Default for RetryBackoff {
    fn default() -> Self {
        Self { min: retry_backoff_min_default(), max: retry_backoff_max_default() }
    }
}

fn retry_backoff_min_default() -> Duration {
    std::time::Duration::from_millis(100).into()
}

fn retry_backoff_max_default() -> Duration {
    std::time::Duration::from_secs(30).into()
}

/// What happens when the consumers are slower than the store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The store's events wait; none is dropped.
    #[default]
    Block,
    /// Events that come live and have not been delivered yet are dropped, the oldest first.
    DropOldest,
    /// What comes live while the buffer is full is dropped.
    DropNewest,
    /// The consumers are told and disconnected; the checkpoint stays.
    Error,
}

/// What becomes of a subscription in its store when its resource is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is deleted, with its checkpoint.
    #[default]
    Delete,
    /// It stays; a resource that asks for the same adopts it.
    Retain,
}
