//! Schemas of Kubernetes' own types, kept as small as our resources need them.
//!
//! The full generated schemas of these types would make the definition ten times as long; what is left
//! open here is checked by the API server when the operator applies the objects that carry it.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A Kubernetes quantity: `10Gi`, `500m`, `2`.
pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "pattern": QUANTITY_PATTERN,
        "x-kubernetes-int-or-string": true,
    })
}

/// A map of resource names (`cpu`, `memory`) to quantities.
pub fn quantities(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": quantity(generator) })
}

/// The size of a volume: a quantity written as a string, short enough for the rule about shrinking to be
/// affordable.
pub fn volume_size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": QUANTITY_PATTERN,
        "minLength": 1,
        "maxLength": VOLUME_SIZE_LENGTH_MAX,
    })
}

/// An object whose fields are somebody else's to define.
pub fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of `core/v1` tolerations.
pub fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "effect": {
                    "type": "string",
                    "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                },
                "key": { "type": "string" },
                "operator": { "type": "string", "enum": ["Exists", "Equal", "Lt", "Gt"] },
                "tolerationSeconds": { "type": "integer", "format": "int64" },
                "value": { "type": "string" },
            },
        },
    })
}

/// A list of `core/v1` topology spread constraints.
pub fn topology_spread_constraints(_: &mut SchemaGenerator) -> Schema {
    let policy = json_schema!({ "type": "string", "enum": ["Honor", "Ignore"] });
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["maxSkew", "topologyKey", "whenUnsatisfiable"],
            "properties": {
                "labelSelector": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                "matchLabelKeys": { "type": "array", "items": { "type": "string" } },
                "maxSkew": { "type": "integer", "format": "int32", "minimum": 1 },
                "minDomains": { "type": "integer", "format": "int32", "minimum": 1 },
                "nodeAffinityPolicy": policy,
                "nodeTaintsPolicy": policy,
                "topologyKey": { "type": "string", "minLength": 1 },
                "whenUnsatisfiable": {
                    "type": "string",
                    "enum": ["DoNotSchedule", "ScheduleAnyway"],
                },
            },
        },
    })
}

/// A list of `networking.k8s.io/v1` peers.
pub fn network_peers(_: &mut SchemaGenerator) -> Schema {
    let labels = json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "ipBlock": {
                    "type": "object",
                    "required": ["cidr"],
                    "properties": {
                        "cidr": { "type": "string" },
                        "except": { "type": "array", "items": { "type": "string" } },
                    },
                },
                "namespaceSelector": labels,
                "podSelector": labels,
            },
        },
    })
}

/// A list of `meta/v1` conditions, merged by type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What is true now, one entry per type.",
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
                "message": { "type": "string", "maxLength": 32_768 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            },
        },
    })
}

/// A moment, RFC 3339.
pub fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// A node id. Kubernetes has no unsigned integers, and ids never come near the sign.
pub fn node_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 1 })
}

/// A position in the store, or a version of a stream, from 0. Kubernetes has no unsigned integers.
pub fn position(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0 })
}

/// A count or an age in the status, from 0.
pub fn count(generator: &mut SchemaGenerator) -> Schema {
    position(generator)
}

/// The types of subscriptions, each with its alias.
pub fn subscription_type(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": [
            "all", "stream", "event_type", "event_pattern", "event_payload", "tags",
            "by_all", "by_stream", "by_event_type", "by_event_pattern", "by_event_payload", "by_tags",
        ],
    })
}

/// A duration as Kubernetes' own APIs write it (GEP-2257): `500ms`, `30s`, `1h30m`. The bounds are rules of
/// the fields.
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        "minLength": 2,
        "maxLength": DURATION_LENGTH_MAX,
    })
}

/// Any JSON value. Rules can compare it, and nothing else.
pub fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

/// What Kubernetes accepts as a quantity that is not negative.
const QUANTITY_PATTERN: &str =
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?$";

/// Longest text of a volume's size; the longest sensible quantity has a third of it.
const VOLUME_SIZE_LENGTH_MAX: u32 = 32;

/// Longest text of a duration: what its pattern allows, four numbers of five digits with their units.
const DURATION_LENGTH_MAX: u32 = 28;
