//! The resource `Subscription`: a subscription of a store, what it chooses, how it is delivered, and where to.
//!
//! Every number is the protocol's (`node/proto/reckon/v1/subscription.proto`); every default stands in the schema.

mod selector;
mod sink;
mod spec;
mod status;

pub use selector::{EventPattern, EventPayload, PayloadCondition, PayloadOperator, Selector, Tags};
pub use sink::{HeaderFrom, SecretKeyRef, ServiceRef, Sink, SinkMode, UrlScheme};
pub use spec::{
    DeletionPolicy, Partition, RetryBackoff, SUBSCRIPTION_NAME_LENGTH_MAX, StartFrom, StoreRef,
    Strategy, Subscription, SubscriptionSpec,
};
pub use status::{SubscriptionCheckpoint, SubscriptionMode, SubscriptionStatus};
