//! Which role each pod is labelled with: the leader Service selects by it, the disruption budget too.

use super::{Action, Observed, PodView};

/// What a pod's node does, as its label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Orders the appends.
    Leader,
    /// Votes.
    Follower,
    /// Follows without a vote.
    Learner,
    /// Not a member, or not yet.
    Outsider,
}

impl Role {
    /// The value of the label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Outsider => "none",
        }
    }
}

/// The labels that are wrong. Those that take the leader's role away come first, so that the leader Service
/// never has two.
pub fn plan(observed: &Observed) -> Vec<Action> {
    let leader = observed.leader();
    let mut changes: Vec<(&PodView, Role)> = observed
        .pods
        .iter()
        .filter(|pod| !pod.deleting)
        .filter_map(|pod| Some((pod, role(observed, pod, leader)?)))
        .filter(|(pod, role)| pod.role_label.as_deref() != Some(role.label()))
        .collect();
    changes.sort_by_key(|(pod, role)| (*role == Role::Leader, pod.ordinal));
    changes
        .into_iter()
        .map(|(pod, role)| Action::Label { pod: pod.name.clone(), uid: pod.uid.clone(), role })
        .collect()
}

/// The role of a pod, or `None` if nothing new is known of it.
fn role(observed: &Observed, pod: &PodView, leader: Option<&PodView>) -> Option<Role> {
    if leader.is_some_and(|leader| leader.uid == pod.uid) {
        return Some(Role::Leader);
    }
    let wore_the_crown = pod.role_label.as_deref() == Some(Role::Leader.label());
    let Some(node) = &pod.node else {
        // A silent node keeps its label, unless another has taken over from it.
        return (wore_the_crown && leader.is_some()).then_some(Role::Follower);
    };
    if node.node_id == 0 {
        return Some(Role::Outsider);
    }
    match &observed.membership {
        Some(membership) => Some(match membership.member(node.node_id) {
            Some(member) if member.voter => Role::Follower,
            Some(_) => Role::Learner,
            None => Role::Outsider,
        }),
        None => wore_the_crown.then_some(Role::Follower),
    }
}
