//! Replicas against each other: equal contents, and equal digests at equal seals.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::Seen;

/// What one node has in the end.
#[derive(Debug, Clone)]
pub struct Replica {
    pub node: String,
    /// Every position below this one is readable.
    pub next_position: u64,
    pub events: Vec<Seen>,
    /// The last seal, and the digest of the contents there.
    pub seal: (u64, String),
}

/// Compares replicas, and digests with those that were seen during the run.
pub fn check(replicas: &[Replica], seals: &[(u64, String)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let Some(first) = replicas.first() else { return violations };
    for other in &replicas[1..] {
        let difference = first.events.iter().zip(&other.events).find(|(one, two)| one != two);
        let lengths = (first.events.len(), other.events.len());
        if difference.is_some()
            || lengths.0 != lengths.1
            || first.next_position != other.next_position
        {
            violations.push(Violation::new(
                "replicas-are-equal",
                format!(
                    "{} has {} events up to {}, {} has {} up to {}; first difference: {difference:?}",
                    first.node, lengths.0, first.next_position,
                    other.node, lengths.1, other.next_position,
                ),
            ));
        }
    }
    let mut digests: BTreeMap<u64, &str> = BTreeMap::new();
    let told = replicas.iter().map(|replica| &replica.seal).chain(seals);
    for (seal, digest) in told.filter(|(seal, _)| *seal > 0) {
        let known = digests.entry(*seal).or_insert(digest);
        if *known != digest {
            violations.push(Violation::new(
                "digests-are-equal",
                format!("at seal {seal} one replica has digest {known}, another {digest}"),
            ));
        }
    }
    violations
}
