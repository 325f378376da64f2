//! Keeps the dispatcher of a node at work: without it nobody who waits for events would be woken.

use std::sync::Arc;

use crate::delivery::interests::{Interests, dispatch};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::raft::Member;
use crate::supervise::supervise;

/// Starts the dispatcher, which begins once the node is a member, and gives what it wakes for.
pub fn start(node: &Node, metrics: Metrics) -> Interests {
    let interests = Interests::default();
    tokio::spawn(keep_dispatching(node.clone(), interests.clone(), metrics));
    interests
}

async fn keep_dispatching(node: Node, interests: Interests, metrics: Metrics) {
    let Some(member) = joined(&node).await else { return };
    // It begins by waking everybody, so nobody sleeps over what one that failed has missed.
    let begin = move || dispatch(interests.clone(), member.reader(), member.applied());
    supervise("dispatcher", metrics, begin).await;
}

async fn joined(node: &Node) -> Option<Arc<Member>> {
    let mut members = node.watch_member();
    let member = members.wait_for(Option::is_some).await.ok()?;
    member.clone()
}
