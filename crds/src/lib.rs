//! The API types of Reckon, `reckon.dev/v1alpha1`, their validation rules, and the definitions
//! (`CustomResourceDefinition`) made from them.
//!
//! Knows neither the node nor the operator: these are the words both the user and the operator speak.

mod event_store;
mod schema;
mod status;
mod subscription;

pub use event_store::{
    AntiAffinity, EventStore, EventStoreSpec, NAME_LENGTH_MAX, NetworkAccess, PodMetadata,
    REPLICAS_DEFAULT, ReclaimPolicy, Resources, Scheduling, Services, Storage,
};
pub use status::{
    Consistency, EventStoreStatus, InitialisationIntent, MemberRole, MemberStatus, Operation,
    OperationKind, condition,
};
pub use subscription::{
    DeletionPolicy, EventPattern, EventPayload, HeaderFrom, Partition, PayloadCondition,
    PayloadOperator, RetryBackoff, SUBSCRIPTION_NAME_LENGTH_MAX, SecretKeyRef, Selector,
    ServiceRef, Sink, SinkMode, StartFrom, StoreRef, Strategy, Subscription,
    SubscriptionCheckpoint, SubscriptionMode, SubscriptionSpec, SubscriptionStatus, Tags,
    UrlScheme,
};

/// The API group of every Reckon resource.
pub const GROUP: &str = "reckon.dev";

/// The API version of every resource in this crate.
pub const VERSION: &str = "v1alpha1";
