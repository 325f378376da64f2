//! The checker against histories of which it is known whether an order explains them.

use std::time::Duration;

use reckon_api::Reason;
use uuid::Uuid;

use super::linearizable::{Step, StepAction, Verdict, check};
use crate::history::{Expected, Removal};

/// A test and its name.
pub type Test = (&'static str, fn());

/// All of them.
pub const TESTS: &[Test] = &[
    ("checker::takes_a_sequential_history", takes_a_sequential_history),
    ("checker::reorders_what_overlaps", reorders_what_overlaps),
    ("checker::refuses_a_stale_read", refuses_a_stale_read),
    ("checker::refuses_a_lost_append", refuses_a_lost_append),
    ("checker::refuses_two_winners_of_one_version", refuses_two_winners_of_one_version),
    ("checker::lets_the_unknown_happen_late_or_never", lets_the_unknown_happen_late_or_never),
    ("checker::refuses_what_was_seen_and_then_not", refuses_what_was_seen_and_then_not),
    ("checker::knows_the_life_of_a_stream", knows_the_life_of_a_stream),
    ("checker::finds_an_order_among_many_at_once", finds_an_order_among_many_at_once),
];

fn step(from: u64, to: u64, action: StepAction) -> Step {
    let completed = Some(Duration::from_millis(to));
    Step { invoked: Duration::from_millis(from), completed, action }
}

fn unknown(from: u64, action: StepAction) -> Step {
    Step { invoked: Duration::from_millis(from), completed: None, action }
}

fn event(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn append(expected: Expected, number: u128, last: u64) -> StepAction {
    StepAction::Append { expected, events: vec![event(number)], last: Some(last) }
}

fn read(numbers: &[u128]) -> StepAction {
    let events: Vec<_> = numbers.iter().map(|number| event(*number)).collect();
    let last = i64::try_from(events.len()).expect("a test is short") - 1;
    StepAction::Read { first: 0, last, events }
}

fn expect(verdict: Verdict, steps: &[Step]) {
    assert_eq!(check(steps), verdict, "{steps:#?}");
}

fn takes_a_sequential_history() {
    expect(Verdict::Linearizable, &[]);
    expect(
        Verdict::Linearizable,
        &[
            step(0, 1, StepAction::ReadNothing { reason: Reason::StreamNotFound }),
            step(2, 3, append(Expected::NoStream, 1, 0)),
            step(4, 5, read(&[1])),
            step(6, 7, append(Expected::Version(0), 2, 1)),
            step(
                8,
                9,
                StepAction::RefusedAppend { expected: Expected::Version(0), actual: Some(1) },
            ),
            step(10, 11, read(&[1, 2])),
        ],
    );
}

fn reorders_what_overlaps() {
    let overlapping = [
        step(0, 10, append(Expected::Any, 1, 1)),
        step(1, 9, append(Expected::Any, 2, 0)),
        step(2, 11, read(&[2])),
        step(12, 13, read(&[2, 1])),
    ];
    expect(Verdict::Linearizable, &overlapping);
    let mut contradicting = overlapping.to_vec();
    contradicting[3] = step(12, 13, read(&[1, 2]));
    expect(Verdict::NotLinearizable, &contradicting);
}

fn refuses_a_stale_read() {
    expect(
        Verdict::NotLinearizable,
        &[
            step(0, 1, append(Expected::Any, 1, 0)),
            step(2, 3, append(Expected::Any, 2, 1)),
            step(4, 5, read(&[1])),
        ],
    );
}

fn refuses_a_lost_append() {
    expect(
        Verdict::NotLinearizable,
        &[
            step(0, 1, append(Expected::Any, 1, 0)),
            step(2, 3, append(Expected::Any, 2, 0)),
            step(4, 5, read(&[2])),
        ],
    );
}

fn refuses_two_winners_of_one_version() {
    expect(
        Verdict::NotLinearizable,
        &[
            step(0, 10, append(Expected::NoStream, 1, 0)),
            step(1, 11, append(Expected::NoStream, 2, 0)),
        ],
    );
}

fn lets_the_unknown_happen_late_or_never() {
    let lost = StepAction::Append { expected: Expected::Any, events: vec![event(9)], last: None };
    let history = |seen: &[u128]| {
        vec![
            unknown(0, lost.clone()),
            step(2, 3, append(Expected::Any, 1, 0)),
            step(4, 5, read(&[1])),
            step(6, 7, read(seen)),
        ]
    };
    expect(Verdict::Linearizable, &history(&[1]));
    expect(Verdict::Linearizable, &history(&[1, 9]));
    expect(Verdict::NotLinearizable, &history(&[9, 1]));
}

fn refuses_what_was_seen_and_then_not() {
    let lost = StepAction::Append { expected: Expected::Any, events: vec![event(9)], last: None };
    expect(
        Verdict::NotLinearizable,
        &[
            step(0, 1, append(Expected::Any, 1, 0)),
            unknown(2, lost),
            step(4, 5, read(&[1, 9])),
            step(6, 7, read(&[1])),
        ],
    );
}

fn knows_the_life_of_a_stream() {
    let removal = |removal, first_version, last| StepAction::Remove {
        removal,
        expected: Expected::Any,
        first_version,
        last: Some(last),
    };
    let mut steps = vec![
        step(0, 1, append(Expected::NoStream, 1, 0)),
        step(2, 3, append(Expected::Any, 2, 1)),
        step(4, 5, removal(Removal::Truncated, Some(1), 1)),
        step(6, 7, StepAction::Read { first: 1, last: 1, events: vec![event(2)] }),
        step(8, 9, removal(Removal::Deleted, None, 1)),
        step(10, 11, StepAction::ReadNothing { reason: Reason::StreamDeleted }),
        step(12, 13, append(Expected::NoStream, 3, 2)),
        step(14, 15, StepAction::Read { first: 2, last: 2, events: vec![event(3)] }),
        step(16, 17, removal(Removal::Tombstoned, None, 2)),
        step(18, 19, StepAction::RefusedTombstoned),
    ];
    expect(Verdict::Linearizable, &steps);
    steps.push(step(20, 21, append(Expected::Any, 4, 3)));
    expect(Verdict::NotLinearizable, &steps);
}

fn finds_an_order_among_many_at_once() {
    // Thirty appends at the same time, whose answers leave one order only.
    let mut steps: Vec<_> =
        (0..30).map(|n| step(0, 100, append(Expected::Any, n, 29 - n as u64))).collect();
    let order: Vec<u128> = (0..30).rev().collect();
    steps.push(step(101, 102, read(&order)));
    expect(Verdict::Linearizable, &steps);
}
