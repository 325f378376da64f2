//! Each answer of a read against the one order: a reader sees a prefix of it, as it was at its head.

use super::Violation;
use super::known::{Known, Order};
use crate::history::{Action, Freshness, Operation, Outcome, Seen};

/// Checks one read; other operations pass.
pub fn check(
    order: &Order,
    contents: &[Seen],
    operation: &Operation,
    violations: &mut Vec<Violation>,
) {
    let (stream, from, freshness) = match &operation.action {
        Action::ReadStream { stream, freshness } => (Some(stream.as_str()), 0, freshness),
        Action::ReadAll { from, freshness } => (None, *from, freshness),
        _ => return,
    };
    let (Outcome::Stream { next_position: head, events, .. }
    | Outcome::All { next_position: head, events }) = &operation.outcome
    else {
        return;
    };
    if let Freshness::AtLeast(position) = freshness
        && head <= position
    {
        violations.push(Violation::new(
            "fresh-enough",
            format!("a read of at least position {position} was answered from below {head}"),
        ));
    }
    let mut last = None;
    for seen in events {
        if seen.position >= *head || seen.position < from || last >= Some(seen.position) {
            violations.push(Violation::new(
                "readers-see-a-prefix",
                format!("a read of [{from}, {head}) delivered {} after {last:?}", seen.position),
            ));
        }
        last = Some(seen.position);
        let known = Known { id: seen.id, stream: seen.stream.clone(), version: seen.version };
        if let Some(notice) = order.removed(seen.position, &known, *head) {
            violations.push(Violation::new(
                "removed-is-gone",
                format!("a read as of {head} delivered {known:?}, which was removed at {notice}"),
            ));
        }
    }
    let delivered =
        |position: u64| events.binary_search_by_key(&position, |seen| seen.position).is_ok();
    let missing = contents.iter().find(|seen| {
        (from..*head).contains(&seen.position)
            && stream.is_none_or(|stream| seen.stream == stream)
            && !seen.stream.starts_with('$')
            && !delivered(seen.position)
    });
    if let Some(seen) = missing {
        violations.push(Violation::new(
            "readers-see-a-prefix",
            format!("a read of [{from}, {head}) did not deliver {seen:?}"),
        ));
    }
}
