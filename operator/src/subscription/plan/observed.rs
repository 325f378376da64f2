//! What the planner decides on: a subscription as its resource wants it and as its store has it, as plain data.
//!
//! Knows no client. Whoever fills these in vouches for two things: everything was read live, and a store's answer is
//! there only if it came from a node of the store that is meant.

use k8s_openapi::jiff::Timestamp;
use reckon_api::v1;
use reckon_crds::{DeletionPolicy, SubscriptionStatus};

use crate::subscription::definition;

/// A subscription, wanted and seen, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// When this was seen.
    pub now: Timestamp,
    /// What the user wants.
    pub desired: Desired,
    /// The status as it stood.
    pub status: SubscriptionStatus,
    /// The store, and what it says of the subscription.
    pub store: StoreView,
    /// Another resource that means the same subscription and was there first.
    pub rival: Option<String>,
    /// The deployment of the sink, if there is one.
    pub sink: Option<SinkView>,
}

/// What the user wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The name of the `EventStore`.
    pub store: String,
    /// The name of the subscription in it.
    pub name: String,
    /// The definition, or why there is none.
    pub definition: Result<v1::SubscriptionDefinition, definition::Error>,
    /// What the sink needs; `None` without a sink.
    pub sink: Option<SinkNeeds>,
    /// The resource is being deleted.
    pub deleting: bool,
    /// Our finalizer is on it.
    pub finalizer: bool,
    /// What becomes of the subscription in the store then.
    pub policy: DeletionPolicy,
}

/// What a sink needs beside its specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkNeeds {
    /// How many pods are wanted.
    pub replicas: u32,
    /// Secrets, or keys in them, that are not there, in words.
    pub missing: Vec<String>,
}

/// A store, and what it says of the subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreView {
    /// There is no `EventStore` of this name.
    Missing,
    /// It is being deleted.
    Deleting,
    /// It is there, but none of its nodes answered; why, in a sentence.
    Silent(String),
    /// It has no such subscription.
    Without,
    /// It has one.
    With(Box<Registration>),
}

/// A subscription as its store has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registration {
    /// The definition with what belongs to it.
    pub subscription: v1::Subscription,
    /// How it is doing, if the store said.
    pub health: Option<v1::SubscriptionHealth>,
}

/// The deployment of a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkView {
    /// It was made for this resource, and not by somebody else under the same name.
    pub ours: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// How many pods it is to have.
    pub replicas: u32,
    /// How many of them are of the newest template and available.
    pub available: u32,
    /// Its controller has seen the newest template, and no pod of an older one is left.
    pub rolled_out: bool,
    /// Why it does not get on, if its controller has given up.
    pub stuck: Option<String>,
}
