//! Delivery: from the committed events to whoever follows or consumes them. Which events somebody wants, where they are
//! read, who is woken when there are more, and how they are handed to the consumers of a subscription.

pub mod definition;
pub mod dispatch;
pub mod emitter;
pub mod emitters;
pub mod health;
pub mod interests;
pub mod key;
mod recorder;
pub mod selector;
pub mod source;

use std::sync::Arc;

use emitters::Emitters;
use interests::Interests;

use crate::node::Node;
use crate::raft::Member;

/// What delivers from one member.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub interests: Interests,
    pub emitters: Emitters,
}

impl Deliveries {
    /// Starts on the current runtime.
    pub fn start(node: &Node, member: &Arc<Member>) -> Self {
        let interests = Interests::default();
        tokio::spawn(interests::dispatch(interests.clone(), member.reader(), member.applied()));
        let emitters = Emitters::start(node.clone(), Arc::clone(member), interests.clone());
        Self { interests, emitters }
    }
}
