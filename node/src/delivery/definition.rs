//! A subscription's definition, ready to be used.

use std::sync::Arc;

use prost::Message as _;
use reckon_api::v1;

use super::dispatch::{Key, Overflow, Settings};
use super::key::KeyExpression;
use super::selector::{Selector, SelectorError};
use super::source::Start;
use crate::engine::{RecordedEvent, SubscriptionState};
use crate::filter::FilterError;

/// What a subscription asks for.
#[derive(Debug)]
pub struct Definition {
    /// With every default filled in.
    pub message: v1::SubscriptionDefinition,
    pub selector: Arc<Selector>,
    key: Option<KeyExpression>,
}

/// Why a definition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    #[error("the definition cannot be read: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// In the expression for the key.
    #[error(transparent)]
    Key(FilterError),
}

impl DefinitionError {
    /// Never: the same definition stays as it is.
    pub const fn retryable(&self) -> bool {
        false
    }
}

impl Definition {
    /// Compiles a definition with every default filled in. Parsing expressions takes a while: not for a thread that
    /// drives requests.
    pub fn compile(message: v1::SubscriptionDefinition) -> Result<Self, DefinitionError> {
        let selector =
            Selector::compile(&message.r#type, message.selector.as_ref(), message.partition, None)?;
        let key = match message.key_expression.as_str() {
            "" => None,
            text => Some(KeyExpression::compile(text).map_err(DefinitionError::Key)?),
        };
        Ok(Self { message, selector: Arc::new(selector), key })
    }

    /// Reads and compiles a definition as the log keeps it.
    pub fn of(state: &SubscriptionState) -> Result<Self, DefinitionError> {
        Self::compile(v1::SubscriptionDefinition::decode(state.definition.clone())?)
    }

    /// How its events are handed out.
    pub fn settings(&self) -> Settings {
        let message = &self.message;
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Settings {
            pool_size: size(message.pool_size),
            ack_timeout_ms: message.ack_timeout_ms,
            max_retries: message.max_retries(),
            backoff_ms_min: message.retry_backoff_ms_min,
            backoff_ms_max: message.retry_backoff_ms_max,
            max_in_flight: size(message.max_in_flight),
            buffer_size: size(message.buffer_size),
            strategy: match message.strategy() {
                v1::BufferStrategy::Unspecified | v1::BufferStrategy::Block => Overflow::Block,
                v1::BufferStrategy::DropOldest => Overflow::DropOldest,
                v1::BufferStrategy::DropNewest => Overflow::DropNewest,
                v1::BufferStrategy::Error => Overflow::Error,
            },
            hold_key: message.hold_key,
        }
    }

    /// Where events are read from on when nothing was delivered yet.
    pub fn start(&self, state: &SubscriptionState) -> Start {
        use v1::start_from::Kind;
        match self.message.start_from.and_then(|start| start.kind) {
            None | Some(Kind::Beginning(_)) => Start::Beginning,
            // Everything below was there when the subscription was created.
            Some(Kind::End(_)) => Start::Position(state.id),
            Some(Kind::Position(position)) => Start::Position(position),
            Some(Kind::TimeUs(time_us)) => Start::Time(time_us),
            Some(Kind::Version(version)) => Start::Version(version),
        }
    }

    /// By what an event is kept in order.
    pub fn key(&self, event: &RecordedEvent) -> Key {
        match &self.key {
            None => event.stream_id().into(),
            Some(expression) => expression.key(event).into(),
        }
    }
}
