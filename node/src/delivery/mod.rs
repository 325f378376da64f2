//! Delivery: from the committed events to whoever follows or consumes them. Which events somebody wants, where they are
//! read, who is woken when there are more, and how they are handed to the consumers of a subscription.

pub mod definition;
pub mod dispatch;
pub mod emitter;
pub mod emitters;
pub mod health;
pub mod interests;
pub mod key;
pub mod monitor;
mod recorder;
pub mod selector;
pub mod source;
