//! One probe of one member: is somebody there, is it this member, can it read what it has.

use std::time::Duration;

use reckon_api::v1;
use tokio::time::{Instant, timeout};

use super::roster::Outcome;
use crate::environment::Environment;
use crate::limits;
use crate::raft::network::Connections;
use crate::storage::Identity;

/// Makes probes.
#[derive(Debug, Clone)]
pub struct Probes {
    pub connections: Connections,
    pub environment: Environment,
}

impl Probes {
    /// Probes a member of the store that `own` belongs to.
    pub async fn probe(
        &self,
        own: &Identity,
        member: &v1::Member,
        kind: v1::ProbeType,
        limit: Duration,
    ) -> Outcome {
        let at_us = (self.environment.clock)();
        let began = Instant::now();
        let asked = timeout(limit, self.ask(own, member, kind)).await;
        let answer = asked.unwrap_or_else(|_elapsed| {
            Err(format!("it did not answer within {} ms", limit.as_millis()))
        });
        if answer.is_err() {
            // The name is resolved again next time: pods keep their name and change their address.
            self.connections.drop_control(&member.peer_address);
        }
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Outcome { at_us, took_us, answer: answer.map_err(shortened) }
    }

    async fn ask(
        &self,
        own: &Identity,
        member: &v1::Member,
        kind: v1::ProbeType,
    ) -> Result<(), String> {
        let address = &member.peer_address;
        let store = match kind {
            v1::ProbeType::Ping => {
                return self
                    .environment
                    .dial
                    .reach(address)
                    .await
                    .map_err(|error| error.to_string());
            }
            v1::ProbeType::Rpc | v1::ProbeType::Unspecified => false,
            v1::ProbeType::Store => true,
        };
        let mut peer =
            self.connections.control(address).map_err(|status| status.message().to_owned())?;
        let answer = peer.probe(v1::ProbeRequest { store }).await;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        identify(own, member, &answer)
    }
}

/// Whether the one who answered is the member that was meant.
fn identify(own: &Identity, member: &v1::Member, answer: &v1::ProbeResponse) -> Result<(), String> {
    if answer.cluster_id.is_empty() {
        return Err("the node at its address belongs to no store".to_owned());
    }
    if answer.cluster_id != own.cluster_id {
        let other = &answer.cluster_id;
        return Err(format!("the node at its address belongs to another store, {other}"));
    }
    if answer.node_id != member.node_id {
        return Err(format!("the node at its address is member {}", answer.node_id));
    }
    Ok(())
}

fn shortened(mut why: String) -> String {
    let end = (0..=limits::PROBE_ERROR_BYTES_MAX).rev().find(|end| why.is_char_boundary(*end));
    if why.len() > limits::PROBE_ERROR_BYTES_MAX {
        why.truncate(end.unwrap_or_default());
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_member_that_was_meant_counts_as_having_answered() {
        let own = Identity {
            node_id: 1,
            cluster_id: "orders".to_owned(),
            epoch: 1,
            format_version: crate::storage::FORMAT_VERSION,
        };
        let member = v1::Member { node_id: 2, ..v1::Member::default() };
        for (cluster_id, node_id, expect) in [
            ("orders", 2, None),
            ("orders", 5, Some("is member 5")),
            ("billing", 2, Some("another store, billing")),
            ("", 0, Some("belongs to no store")),
        ] {
            let cluster_id = cluster_id.to_owned();
            let answer = v1::ProbeResponse { cluster_id, node_id, ..v1::ProbeResponse::default() };
            let found = identify(&own, &member, &answer).err();
            match expect {
                None => assert_eq!(found, None),
                Some(part) => {
                    assert!(found.as_ref().is_some_and(|why| why.contains(part)), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let long = "ä".repeat(limits::PROBE_ERROR_BYTES_MAX);
        let cut = shortened(long);
        assert_eq!(cut.len(), limits::PROBE_ERROR_BYTES_MAX);
        assert_eq!(shortened(format!("a{cut}")).len(), limits::PROBE_ERROR_BYTES_MAX - 1);
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
