//! Keeps the dispatcher of a node at work: without it nobody who waits for events would be woken.

use std::sync::Arc;

use crate::delivery::interests::{Interests, dispatch};
use crate::node::Node;
use crate::raft::Member;

/// Starts the dispatcher, which begins once the node is a member, and gives what it wakes for.
pub fn start(node: &Node) -> Interests {
    let interests = Interests::default();
    tokio::spawn(keep_dispatching(node.clone(), interests.clone()));
    interests
}

async fn keep_dispatching(node: Node, interests: Interests) {
    let Some(member) = joined(&node).await else { return };
    loop {
        let dispatching = dispatch(interests.clone(), member.reader(), member.applied());
        match tokio::spawn(dispatching).await {
            // Nothing is applied any more.
            Ok(()) => return,
            Err(error) if error.is_panic() => {
                // It begins by waking everybody, so nobody sleeps over what it missed.
                tracing::error!(%error, "the dispatcher of new events has failed and is started again");
            }
            Err(_runtime_ends) => return,
        }
    }
}

async fn joined(node: &Node) -> Option<Arc<Member>> {
    let mut members = node.watch_member();
    let member = members.wait_for(Option::is_some).await.ok()?;
    member.clone()
}
