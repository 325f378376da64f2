//! When the overlay is frozen, and what is read of it then.

use super::*;
use crate::storage::LogPosition;

#[test]
fn a_seal_takes_effect_at_the_end_of_its_group() {
    let mut tested = Tested::with_two_streams();
    let append = |id| Command::Append {
        appends: vec![part(Expectation::Any, "c", &[(id, "")])],
        condition: None,
    };
    let outcomes = tested.group(5, &[append(8), Command::Seal, append(9), Command::Seal]);
    let sealed = Outcome::Sealed { seal: 1, position: 6 };
    assert_eq!([&outcomes[1], &outcomes[3]], [&sealed, &sealed]);
    let sealing = tested.shared.write().take_sealing().unwrap();
    assert_eq!((sealing.seal, sealing.positions.clone()), (1, 0..6));
    assert_eq!(sealing.applied, LogPosition { term: 1, index: 3 });
    assert_eq!(sealing.records().count(), 4);
    assert!(tested.shared.write().take_sealing().is_none());
    assert_eq!(tested.all_ids(), [1, 2, 3, 4, 8, 9]);
}

#[test]
fn nothing_is_frozen_when_nothing_was_decided_since() {
    let mut tested = Tested::with_two_streams();
    let first = tested.command(Command::Seal);
    assert_eq!(tested.command(Command::Seal), first);
    assert!(tested.shared.write().take_sealing().is_some());
    assert!(tested.shared.write().take_sealing().is_none());
    // The log grew, so there has to be a newer checkpoint for it to be cut.
    tested.append(vec![part(Expectation::Exact(77), "a", &[(9, "")])]);
    assert_eq!(tested.command(Command::Seal), Outcome::Sealed { seal: 2, position: 4 });
    let sealing = tested.shared.write().take_sealing().unwrap();
    assert_eq!(sealing.positions, 4..4);
    assert_eq!(sealing.index().count(), 0);
}

#[test]
fn several_frozen_overlays_are_read_as_one_store() {
    let mut tested = Tested::with_two_streams();
    tested.command(Command::Seal);
    tested.append(vec![part(Expectation::Exact(2), "a", &[(5, "5")])]);
    tested.truncate("a", 1);
    tested.command(Command::Seal);
    tested.append(vec![part(Expectation::Exact(3), "a", &[(6, "6")])]);
    assert_eq!(tested.stream_ids("a"), [2, 3, 5, 6]);
    assert_eq!(tested.all_ids(), [2, 3, 4, 5, 6]);
    let retry = tested.append(vec![part(Expectation::Any, "a", &[(3, "3")])]);
    assert_eq!(retry, appended(&[2], 2, 2));
    let engine = tested.shared.read();
    assert!(engine.active_bytes() > 0 && engine.overlay_bytes() > 2 * engine.active_bytes());
}

#[test]
fn the_keys_of_a_run_are_strictly_ascending() {
    let mut tested = Tested::with_two_streams();
    let tags = ["zebra", "ant"];
    for (id, stream) in (10..).zip(["b", "ab", "a", "b"]) {
        let given = Given { tags: &tags, ..event(id, "") };
        tested.append(vec![part_of(Expectation::Any, stream, &[given])]);
    }
    tested.delete("ab");
    tested.command(Command::Seal);
    let sealing = tested.shared.write().take_sealing().unwrap();
    let keys: Vec<_> = sealing.index().map(|(key, _)| key).collect();
    assert!(keys.is_sorted_by(|one, other| one < other));
    // Heads: a, b, ab, $streams; ids: 4 + 4 + 1; one removal; creations: a, b, ab, $streams.
    let count = |kind: u8| keys.iter().filter(|key| key[0] == kind).count();
    assert_eq!([b'H', b'I', b'D', b'L'].map(count), [4, 9, 1, 4]);
    assert_eq!([b'V', b'G'].map(count), [7, 8]);
}

#[test]
fn the_estimate_of_memory_is_on_the_high_side() {
    let mut tested = Tested::default();
    let given = Given { tags: &["customer", "order"], ..event(1, "{}") };
    tested.append(vec![part_of(Expectation::Any, "orders-1", &[given])]);
    let bytes = tested.shared.read().overlay_bytes();
    assert!((200..4_000).contains(&bytes), "{bytes}");
}
