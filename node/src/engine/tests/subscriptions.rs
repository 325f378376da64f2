//! Subscriptions as the log has them.

use std::collections::BTreeSet;

use super::*;
use crate::engine::{
    Advance, Dropped, Parked, Pending, Progress, SUBSCRIPTIONS_STREAM, SubscriptionCommand,
    SubscriptionState, SubscriptionTarget, Unpark, UnparkedEntry, journal_stream,
};

fn create(name: &str, definition: &'static str) -> Command {
    let definition = definition.into();
    Command::Subscription(SubscriptionCommand::Create { name: name.to_owned(), definition })
}

fn target(name: &str, state: &SubscriptionState) -> SubscriptionTarget {
    SubscriptionTarget { name: name.to_owned(), id: state.id }
}

fn advance_of(name: &str, state: &SubscriptionState) -> Advance {
    Advance {
        target: target(name, state),
        generation: state.generation,
        term: 1,
        progress: None,
        parked: Vec::new(),
        dropped: Vec::new(),
        replayed: BTreeSet::new(),
    }
}

fn advance(advances: Vec<Advance>) -> Command {
    Command::Subscription(SubscriptionCommand::Advance { advances })
}

fn parked(position: u64, holds_key: bool) -> Parked {
    Parked {
        position,
        stream_id: "orders-1".to_owned(),
        version: position,
        event_type: "placed".to_owned(),
        key: "orders-1".to_owned(),
        reason: "it is broken".to_owned(),
        attempts: 3,
        holds_key,
    }
}

impl Tested {
    fn created(&mut self, name: &str, definition: &'static str) -> Arc<SubscriptionState> {
        match self.command(create(name, definition)) {
            Outcome::Subscription { state, .. } => state,
            other => panic!("not created: {other:?}"),
        }
    }

    fn known(&self, name: &str) -> Arc<SubscriptionState> {
        self.reader.subscription(name).expect("the subscription")
    }
}

#[test]
fn the_same_definition_again_changes_nothing_and_another_one_is_refused() {
    let mut tested = Tested::default();
    let state = tested.created("mail", "all");
    assert_eq!(
        tested.command(create("mail", "all")),
        Outcome::Subscription { state: Arc::clone(&state), changed: false }
    );
    let refused = Refusal::SubscriptionExists { name: "mail".to_owned() };
    assert_eq!(tested.command(create("mail", "some")), Outcome::Refused(refused));
    assert_eq!(tested.known("mail"), state);
    assert_eq!(tested.reader.stream(SUBSCRIPTIONS_STREAM).unwrap().summary().unwrap().events, 1);
}

#[test]
fn a_definition_is_changed_only_by_whoever_saw_the_one_in_force() {
    let mut tested = Tested::default();
    let state = tested.created("mail", "all");
    let update = |revision, definition: &'static str| {
        let (target, definition) = (target("mail", &state), definition.into());
        Command::Subscription(SubscriptionCommand::Update { target, revision, definition })
    };
    assert!(matches!(
        tested.command(update(1, "some")),
        Outcome::Subscription { state, changed: true } if state.revision == 2
    ));
    let refused = Refusal::SubscriptionChanged { name: "mail".to_owned() };
    assert_eq!(tested.command(update(1, "others")), Outcome::Refused(refused));
    assert_eq!(tested.known("mail").definition, "some");
}

#[test]
fn what_is_reported_of_a_subscription_that_was_deleted_or_reset_or_has_a_later_leader_is_passed_over()
 {
    let mut tested = Tested::default();
    let old = tested.created("mail", "all");
    let report = |state: &SubscriptionState, term, position| {
        let progress = Some(Progress::upto(position));
        advance(vec![Advance { term, progress, ..advance_of("mail", state) }])
    };
    let position = |tested: &Tested| {
        tested.known("mail").progress.as_ref().map(|progress| progress.next_position)
    };
    tested.command(report(&old, 1, 5));
    assert_eq!(position(&tested), Some(5));
    tested.command(report(&old, 1, 3));
    assert_eq!(position(&tested), Some(5), "it went backward");

    let reset = SubscriptionCommand::Reset { target: target("mail", &old), next_position: 2 };
    tested.command(Command::Subscription(reset));
    tested.command(report(&old, 1, 9));
    assert_eq!(position(&tested), Some(2), "reported before the reset");
    let now = tested.known("mail");
    tested.command(report(&now, 3, 4));
    tested.command(report(&now, 2, 8));
    assert_eq!(position(&tested), Some(4), "reported by an earlier leader");

    let delete = SubscriptionCommand::Delete { target: target("mail", &old) };
    tested.command(Command::Subscription(delete.clone()));
    tested.created("mail", "all");
    tested.command(report(&now, 3, 9));
    assert_eq!(position(&tested), None, "reported of the one before");
    let refused = Refusal::SubscriptionNotFound { name: "mail".to_owned() };
    assert_eq!(tested.command(Command::Subscription(delete)), Outcome::Refused(refused));
}

#[test]
fn a_report_that_comes_twice_parks_and_drops_once() {
    let mut tested = Tested::default();
    let state = tested.created("mail", "all");
    let report = advance(vec![Advance {
        progress: Some(Progress {
            next_position: 8,
            pending: vec![Pending { position: 4, failures: 1 }],
            at_us: 0,
        }),
        parked: vec![parked(5, true), parked(6, true)],
        dropped: vec![Dropped { first_position: 1, last_position: 3, events: 2 }],
        ..advance_of("mail", &state)
    }]);
    tested.command(report.clone());
    tested.command(report);
    let now = tested.known("mail");
    assert_eq!((now.parked.len(), now.dropped), (2, 2));
    assert_eq!(now.held.get("orders-1"), Some(&2));
    let progress = now.progress.as_ref().unwrap();
    let done: Vec<u64> = (0..10).filter(|&position| progress.is_done(position)).collect();
    assert_eq!(done, [0, 1, 2, 3, 5, 6, 7]);
    let entries = tested.reader.parked_entries("mail", &now.parked, 0, 10).unwrap();
    assert_eq!(entries.iter().map(|it| it.parked.position).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(entries[0].parked, parked(5, true));
}

#[test]
fn parked_events_are_replayed_or_discarded_and_then_let_their_key_go() {
    let mut tested = Tested::default();
    let state = tested.created("mail", "all");
    let report = Advance {
        progress: Some(Progress::upto(8)),
        parked: vec![parked(5, true), parked(6, true), parked(7, true)],
        ..advance_of("mail", &state)
    };
    tested.command(advance(vec![report]));
    let unpark = |tested: &Tested, replay, positions: &[u64]| {
        let now = tested.known("mail");
        let entries = tested.reader.parked_entries("mail", &now.parked, 0, 10).unwrap();
        let entries = entries.iter().filter(|it| positions.contains(&it.parked.position));
        let entries = entries.map(|it| UnparkedEntry {
            journal_version: it.version,
            position: it.parked.position,
            held_key: Some(it.parked.key.clone()),
        });
        let target = target("mail", &state);
        let unpark = Unpark { target, replay, entries: entries.collect() };
        Command::Subscription(SubscriptionCommand::Unpark(unpark))
    };
    let discard = unpark(&tested, false, &[6]);
    assert_eq!(tested.command(discard.clone()), Outcome::Unparked { events: 1 });
    assert_eq!(tested.command(discard), Outcome::Unparked { events: 0 });
    let replay = unpark(&tested, true, &[5, 7]);
    assert_eq!(tested.command(replay), Outcome::Unparked { events: 2 });
    let now = tested.known("mail");
    assert_eq!((now.parked.len(), now.held.len()), (0, 0));
    assert_eq!(now.replaying.iter().copied().collect::<Vec<_>>(), [5, 7]);

    // One is done, the other one is parked again.
    let again = Advance {
        replayed: [5].into(),
        parked: vec![parked(7, false)],
        ..advance_of("mail", &now)
    };
    tested.command(advance(vec![again]));
    let now = tested.known("mail");
    assert_eq!((now.parked.len(), now.replaying.len()), (1, 0));
}

#[test]
fn a_subscription_that_is_deleted_takes_its_journal_along() {
    let mut tested = Tested::default();
    let state = tested.created("mail", "all");
    let report = Advance { parked: vec![parked(5, false)], ..advance_of("mail", &state) };
    tested.command(advance(vec![report]));
    let delete = SubscriptionCommand::Delete { target: target("mail", &state) };
    tested.command(Command::Subscription(delete));
    assert!(tested.reader.subscription("mail").is_none());
    let journal = tested.reader.stream(&journal_stream("mail")).unwrap();
    assert_eq!(journal.summary().map(|it| it.events), Some(0));
}

#[test]
fn subscriptions_stand_in_the_small_state_and_a_state_without_them_is_as_it_always_was() {
    let mut tested = Tested::default();
    assert_eq!(tested.shared.read().state.encode()[0], 1);
    let state = tested.created("mail", "all");
    let report = Advance {
        progress: Some(Progress {
            next_position: 8,
            pending: vec![
                Pending { position: 4, failures: 3 },
                Pending { position: 6, failures: 0 },
            ],
            at_us: 0,
        }),
        parked: vec![parked(5, true)],
        dropped: vec![Dropped { first_position: 1, last_position: 3, events: 2 }],
        ..advance_of("mail", &state)
    };
    tested.command(advance(vec![report]));
    tested.created("other", "some");
    let engine = tested.shared.read();
    let encoded = engine.state.encode();
    let decoded = crate::engine::small_state::SmallState::decode(&encoded).unwrap();
    assert_eq!(decoded, engine.state);
    for end in 0..encoded.len() {
        assert!(crate::engine::small_state::SmallState::decode(&encoded[..end]).is_err());
    }
}

#[test]
fn commands_are_read_as_they_were_written() {
    let target = SubscriptionTarget { name: "mail".to_owned(), id: 300 };
    let all = [
        SubscriptionCommand::Create { name: "mail".to_owned(), definition: "all".into() },
        SubscriptionCommand::Update {
            target: target.clone(),
            revision: 7,
            definition: "some".into(),
        },
        SubscriptionCommand::Delete { target: target.clone() },
        SubscriptionCommand::Reset { target: target.clone(), next_position: u64::MAX },
        SubscriptionCommand::Advance {
            advances: vec![Advance {
                target: target.clone(),
                generation: 1,
                term: 9,
                progress: Some(Progress {
                    next_position: 1 << 40,
                    pending: vec![Pending { position: 12, failures: 2 }],
                    at_us: 3,
                }),
                parked: vec![parked(5, true)],
                dropped: vec![Dropped { first_position: 1, last_position: 3, events: 2 }],
                replayed: [9, 4].into(),
            }],
        },
        SubscriptionCommand::Unpark(Unpark {
            target,
            replay: true,
            entries: vec![UnparkedEntry {
                journal_version: 3,
                position: 5,
                held_key: Some("k".to_owned()),
            }],
        }),
    ];
    for command in all {
        let command = Command::Subscription(command);
        let encoded = command.encode();
        assert_eq!(Command::decode(&encoded), Ok(command));
        for end in 0..encoded.len() {
            assert!(Command::decode(&encoded.slice(..end)).is_err());
        }
    }
}
