//! What a follower was told against the contents: every event of its choice, once and in order.

use super::Violation;
use crate::delivery::Followed;
use crate::delivery::ledger::FollowerNote as Note;
use crate::history::Seen;

/// Checks one follower. Events that are not there in the end it may have been told or not.
pub fn check(followed: &Followed, contents: &[Seen]) -> Vec<Violation> {
    let Followed { planned, ledger, .. } = followed;
    let who = format!("a follower of {:?} from {}", planned.choice, planned.from);
    let there: Vec<u64> =
        contents.iter().filter(|seen| planned.takes(seen)).map(|it| it.position).collect();
    let mut violations = Vec::new();
    // Everything of its choice below this position was told.
    let mut next = 0;
    let mut skipped = |next: u64, end: u64, why: String| {
        let missing: Vec<_> = there.iter().filter(|&at| (next..end).contains(at)).collect();
        if !missing.is_empty() {
            let what = format!("{who} {why}, and was never told {missing:?}");
            violations.push(Violation::new("followers-miss-nothing", what));
        }
    };
    let mut wrong = Vec::new();
    for note in ledger.notes().iter() {
        match note {
            Note::Opened { from_position } => {
                skipped(next, *from_position, format!("goes on at {from_position}"));
            }
            Note::Told(seen) => {
                if seen.position < next {
                    let what = format!("{who} was told {seen:?} after all below {next}");
                    wrong.push(Violation::new("followers-see-each-once-in-order", what));
                }
                if !planned.takes(seen) {
                    let what = format!("{who} was told {seen:?}, which is none of its choice");
                    wrong.push(Violation::new("deliveries-are-chosen", what));
                }
                skipped(next, seen.position, format!("was told {}", seen.position));
                next = next.max(seen.position + 1);
            }
            Note::CaughtUp { next_position } => {
                skipped(next, *next_position, format!("was told it has all below {next_position}"));
                next = next.max(*next_position);
            }
            Note::Quiet { .. } => {}
        }
    }
    let quiet = ledger.notes().iter().rev().find_map(|note| match note {
        Note::Quiet { head } => Some(*head),
        _ => None,
    });
    skipped(next, quiet.unwrap_or_default(), "ended".to_owned());
    violations.extend(wrong);
    violations
}
