//! A store without pods: everything that it is stays on its volumes and in its objects.

use super::verdict::{Verdict, reason};
use super::{Observed, Plan, Shape};

/// Lets all pods go, at once: whoever is left alone first gives up nothing that its log does not keep.
pub fn plan(observed: &Observed) -> Plan {
    let gone =
        observed.pods.is_empty() && observed.set.as_ref().is_none_or(|set| set.replicas == 0);
    let verdict = if gone {
        Verdict::as_wanted(
            reason::HIBERNATED,
            "spec.hibernate is set: there are no pods; volumes, configuration and identity are kept.",
        )
    } else {
        let pods: Vec<&str> = observed.pods.iter().map(|pod| pod.name.as_str()).collect();
        Verdict::working(
            reason::HIBERNATING,
            format!("The pods of the store are stopping: {}.", pods.join(", ")),
        )
    };
    Plan {
        shape: Some(Shape { replicas: 0, available_min: 0 }),
        actions: Vec::new(),
        operation: observed.status.operation.clone(),
        verdict: verdict.with_quorum(false),
    }
}
