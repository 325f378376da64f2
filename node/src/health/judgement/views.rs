//! Who answered as the member that was asked, who did not, and who is somebody that must not be.

use std::collections::{BTreeMap, BTreeSet};

use reckon_api::v1;

/// Who judges: what it knows of itself counts as what the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observer {
    pub node_id: u64,
    pub cluster_id: String,
    pub epoch: u64,
}

/// A member that was asked, and what it said.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// As the committed membership knows it.
    pub member: v1::Member,
    /// Its status, or why there is none.
    pub answer: Result<v1::StatusResponse, String>,
}

/// The answers, sorted.
#[derive(Debug)]
pub(super) struct Views<'a> {
    /// How many members were asked.
    pub asked: usize,
    /// What those said who answered as who they should be.
    pub answered: Vec<&'a v1::StatusResponse>,
    pub failed: Vec<v1::FailedMember>,
    /// Sentences about what cannot be in one store.
    pub contradictions: Vec<String>,
}

impl<'a> Views<'a> {
    pub fn sort(observer: &Observer, asked: &'a [Asked]) -> Self {
        let mut views = Self {
            asked: asked.len(),
            answered: Vec::new(),
            failed: Vec::new(),
            contradictions: Vec::new(),
        };
        for Asked { member, answer } in asked {
            let counted = match answer {
                Ok(status) => views.identify(observer, member, status).map(|()| status),
                Err(why) => Err(why.clone()),
            };
            match counted {
                Ok(status) => views.answered.push(status),
                Err(error) => {
                    let (node_id, name) = (member.node_id, member.name.clone());
                    views.failed.push(v1::FailedMember { node_id, name, error });
                }
            }
        }
        views.look_for_twins(observer, asked);
        views
    }

    /// Whether an answer is the member's own; otherwise why not.
    fn identify(
        &mut self,
        observer: &Observer,
        member: &v1::Member,
        status: &v1::StatusResponse,
    ) -> Result<(), String> {
        let id = member.node_id;
        if status.cluster_id.is_empty() {
            return Err("the node at its address belongs to no store".to_owned());
        }
        if status.cluster_id != observer.cluster_id {
            let (theirs, own) = (&status.cluster_id, &observer.cluster_id);
            self.contradictions.push(format!(
                "the node at the address of member {id} belongs to the store {theirs}, not to {own}"
            ));
            return Err(format!("the node at its address belongs to the store {theirs}"));
        }
        if status.epoch != observer.epoch {
            let (theirs, own) = (status.epoch, observer.epoch);
            self.contradictions.push(format!(
                "the node at the address of member {id} is in epoch {theirs} of the store, not in {own}"
            ));
            return Err(format!("it is in epoch {theirs} of the store"));
        }
        if status.node_id != id {
            return Err(format!("the node at its address is member {}", status.node_id));
        }
        if !member.volume_id.is_empty() && status.volume_id != member.volume_id {
            self.contradictions.push(format!(
                "member {id} runs on volume {}, and was given its id for volume {}",
                status.volume_id, member.volume_id
            ));
        }
        Ok(())
    }

    /// One id must not be spoken under by two nodes, wherever they were met.
    fn look_for_twins(&mut self, observer: &Observer, asked: &[Asked]) {
        let mut places: BTreeMap<u64, BTreeSet<(&str, &str)>> = BTreeMap::new();
        let statuses = asked.iter().filter_map(|asked| asked.answer.as_ref().ok());
        let own = statuses.filter(|status| {
            status.cluster_id == observer.cluster_id && status.epoch == observer.epoch
        });
        for status in own {
            let place = (status.volume_id.as_str(), status.peer_address.as_str());
            places.entry(status.node_id).or_default().insert(place);
        }
        for (node_id, places) in places {
            if places.len() > 1 {
                let places: Vec<_> = places
                    .iter()
                    .map(|(volume, address)| format!("volume {volume} at {address}"))
                    .collect();
                let places = places.join(" and ");
                self.contradictions.push(format!("node id {node_id} is used twice: {places}"));
            }
        }
    }

    /// The committed memberships that members know, the newest first.
    pub fn memberships(&self) -> Vec<v1::MembershipView> {
        let mut known: Vec<v1::MembershipView> = Vec::new();
        for status in &self.answered {
            let membership = status.membership.clone().unwrap_or_default();
            let ids = |voters: bool| {
                let members = membership.members.iter().filter(move |it| it.voter == voters);
                let mut ids: Vec<u64> = members.map(|member| member.node_id).collect();
                ids.sort_unstable();
                ids
            };
            let view = v1::MembershipView {
                log_term: membership.log_term,
                log_index: membership.log_index,
                voters: ids(true),
                learners: ids(false),
                seen_by: Vec::new(),
            };
            let same = |other: &&mut v1::MembershipView| {
                let unseen = v1::MembershipView { seen_by: Vec::new(), ..(**other).clone() };
                unseen == view
            };
            match known.iter_mut().find(same) {
                Some(other) => other.seen_by.push(status.node_id),
                None => known.push(v1::MembershipView { seen_by: vec![status.node_id], ..view }),
            }
        }
        // The first membership of a store stands where none at all does.
        let place = |view: &v1::MembershipView| (view.log_term, view.log_index, view.voters.len());
        known.sort_by_key(|view| std::cmp::Reverse(place(view)));
        known
    }

    /// What the leader of the newest term knows of each member's progress; empty when it did not answer.
    pub fn progress(&self) -> Vec<v1::Member> {
        let leaders = self.answered.iter().filter(|view| view.role() == v1::Role::Leader);
        let leader = leaders.max_by_key(|view| view.term);
        let membership = leader.and_then(|leader| leader.membership.clone());
        membership.map(|membership| membership.members).unwrap_or_default()
    }
}

/// Members in a sentence.
pub(super) fn named(ids: &[u64]) -> String {
    let members = if ids.len() == 1 { "member" } else { "members" };
    format!("{members} {}", listed(ids))
}

/// Ids in a sentence.
pub(super) fn listed(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(", ")
}
