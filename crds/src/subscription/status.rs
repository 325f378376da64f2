//! What the operator saw last of a subscription. All of it can be rebuilt by looking.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What the operator knows of a subscription. Numbers are as old as `lastRefreshed`, and lag is rounded: metrics
/// of the store are exact.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// The generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is true of the subscription now, one entry per type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The key that the store derived from the name; absent until the store has the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,

    /// What kind of selector it has.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,

    /// Events of its choice that are not done, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub lag_events: Option<u64>,

    /// Age of the oldest event that is not done, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub lag_seconds: Option<u64>,

    /// Events that are parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub parked: Option<u64>,

    /// Events that consumers hold unacknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub in_flight: Option<u64>,

    /// Consumers that are connected, those that stand by included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub consumers: Option<u64>,

    /// Events that the strategy dropped, ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub dropped: Option<u64>,

    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SubscriptionMode>,

    /// How far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<SubscriptionCheckpoint>,

    /// When the numbers above were taken. Until they are taken anew they were not seen to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_refreshed: Option<Time>,
}

/// What a subscription is doing.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// Nobody consumes.
    Idle,
    /// It delivers history.
    CatchingUp,
    /// It delivers what comes.
    Live,
}

/// How far a subscription has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionCheckpoint {
    /// Everything below this position is done, but for what is in flight.
    #[schemars(schema_with = "schema::position")]
    pub position: u64,

    /// When it was written; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time: Option<Time>,
}
