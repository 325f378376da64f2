//! What is news, and how little of what moves is.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

const REFRESH: Duration = Duration::from_secs(15);

fn seen() -> SubscriptionStatus {
    let ready = condition_since(&[], at(0), condition::READY, "True", "Registered", "It is there.");
    SubscriptionStatus {
        observed_generation: Some(1),
        conditions: vec![ready],
        key: Some("key".to_owned()),
        lag_events: Some(7),
        last_refreshed: Some(whole_seconds(at(0))),
        ..SubscriptionStatus::default()
    }
}

#[test]
fn numbers_are_written_once_in_an_interval_and_everything_else_at_once() {
    let old = seen();
    let refreshed = Some(whole_seconds(at(1)));
    let moved = SubscriptionStatus {
        lag_events: Some(8),
        last_refreshed: refreshed.clone(),
        ..old.clone()
    };
    assert!(!is_due(&old, &moved, at(1), REFRESH));
    assert!(!is_due(&old, &moved, at(14), REFRESH));
    assert!(is_due(&old, &moved, at(15), REFRESH));

    let same = SubscriptionStatus { last_refreshed: refreshed, ..old.clone() };
    assert!(!is_due(&old, &same, at(1_000), REFRESH), "a moment alone is no news");

    let mut unready = same.clone();
    unready.conditions[0].status = "False".to_owned();
    assert!(is_due(&old, &unready, at(1), REFRESH));
    let generation = SubscriptionStatus { observed_generation: Some(2), ..same.clone() };
    assert!(is_due(&old, &generation, at(1), REFRESH));
    let registered = SubscriptionStatus { key: None, ..same };
    assert!(is_due(&old, &registered, at(1), REFRESH));
}

#[test]
fn whether_it_delivers_counts_among_the_numbers() {
    let old = seen();
    let mut idle = old.clone();
    let delivering = condition::DELIVERING;
    idle.conditions.push(condition_since(&[], at(1), delivering, "False", "NoConsumers", ""));
    assert!(!is_due(&old, &idle, at(1), REFRESH));
    assert!(is_due(&old, &idle, at(15), REFRESH));
}

#[test]
fn lag_has_two_digits_and_is_nothing_only_if_there_is_none() {
    for (lag, shown) in [
        (0, 0),
        (1, 1),
        (99, 99),
        (100, 100),
        (101, 100),
        (1_987, 1_900),
        (u64::MAX, 18 * 10_u64.pow(18)),
    ] {
        assert_eq!(rounded(lag), shown, "{lag}");
    }
}
