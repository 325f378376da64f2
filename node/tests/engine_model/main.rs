//! The engine against a model that is too simple to be wrong: one list of events, searched from end to end.
//! Random histories of appends, conditions, retries, removals and groups must be decided and read alike by both,
//! whatever of it lies in memory and whatever in files that were merged, rewritten and opened again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;
mod files;
mod history;
mod model;
mod node;
mod plan;
mod sources;
#[path = "../support/volume.rs"]
mod support;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use reckon_node::engine::{Command, Engine, LogPosition};

use crate::checks::{Look, check_notices};
use crate::history::{History, items_of};
use crate::node::Node;
use crate::plan::{Step, command, query, step};
use crate::sources::{Followed, wanted};

fn look() -> impl Strategy<Value = Look> {
    let items = prop::option::weighted(0.8, query());
    let indexes = (any::<Index>(), any::<Index>(), any::<Index>());
    (indexes, items, any::<bool>(), 1_usize..6, 0_usize..200).prop_map(
        |((from, first, last), items, with_candidates, page, bytes_max)| Look {
            from,
            first,
            last,
            items: items.as_ref().map(items_of),
            with_candidates,
            page,
            bytes_max,
        },
    )
}

/// Plays steps on a node and checks every outcome.
fn play(node: &mut Node, history: &mut History, steps: &[Step]) -> Result<(), TestCaseError> {
    let end = Step::EndGroup { clock_moves_us: 0 };
    for step in steps.iter().chain([&end]) {
        match step {
            Step::Write => drop(node.write()),
            Step::Merge => drop(node.merge()),
            Step::Reclaim => drop(node.reclaim()),
            Step::Reopen => node.reopen(),
            step => {
                if let Some(group) = history.step(step) {
                    let expected = group.expected.clone();
                    prop_assert_eq!(node.apply(group), expected);
                }
            }
        }
    }
    Ok(())
}

fn check(node: &Node, history: &History, look: &Look) -> Result<(), TestCaseError> {
    look.check(&node.reader, history)?;
    let from = look.from.index(history.model.events.len() + 2) as u64;
    check_notices(&node.reader, &history.model, (from, look.page), node.reclaimed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_and_reads_like_the_model(
        steps in prop::collection::vec(command(), 1..80),
        look in look(),
    ) {
        let mut history = History::new();
        let mut node = Node::new();
        play(&mut node, &mut history, &steps)?;
        check(&node, &history, &look)?;
    }

    #[test]
    fn files_change_nothing_that_is_decided_or_read(
        steps in prop::collection::vec(step(), 1..160),
        looks in prop::array::uniform3(look()),
    ) {
        let mut history = History::new();
        let mut node = Node::new();
        let part = steps.len().div_ceil(looks.len());
        for (steps, look) in steps.chunks(part).zip(&looks) {
            play(&mut node, &mut history, steps)?;
            check(&node, &history, look)?;
        }
    }

    #[test]
    fn sources_hand_out_what_the_model_holds_whatever_happens_meanwhile(
        parts in prop::collection::vec(prop::collection::vec(step(), 0..30), 1..8),
        wanted in prop::collection::vec((wanted(), 0_usize..4), 1..12),
    ) {
        let mut history = History::new();
        let mut node = Node::new();
        let mut followed: Vec<Followed> = Vec::new();
        for (number, steps) in parts.iter().enumerate() {
            play(&mut node, &mut history, steps)?;
            let new = wanted.iter().filter(|(_, begins)| *begins == number);
            followed.extend(new.map(|(wanted, _)| Followed::begin(wanted, &node, &history.model)));
            for followed in &mut followed {
                followed.go_on(&node, &history.model)?;
            }
        }
    }

    /// What replicas rely on, which write, merge and reclaim each in its own time.
    #[test]
    fn the_same_groups_make_the_same_seals(steps in prop::collection::vec(step(), 1..120)) {
        let mut history = History::new();
        let mut first = Node::new();
        play(&mut first, &mut history, &steps)?;
        let mut second = Node::new();
        for group in first.log.clone() {
            let expected = group.expected.clone();
            prop_assert_eq!(second.apply(group), expected);
        }
        prop_assert_eq!(&second.seals, &first.seals);
    }

    #[test]
    fn damaged_groups_are_refused_and_never_panic(
        steps in prop::collection::vec(command(), 1..20),
        at in any::<Index>(),
        flip in 1_u8..,
    ) {
        let mut history = History::new();
        let groups: Vec<_> = steps.iter().filter_map(|step| history.step(step)).collect();
        let group = groups.first().cloned().unwrap_or_else(|| history.end_group(0)).bytes;
        let mut damaged = group.to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        let mut engine = Engine::default();
        let applied = LogPosition { term: 1, index: 1 };
        engine.apply_group(&Bytes::from(damaged), applied).unwrap_err();
        engine.apply_group(&group.slice(..at), applied).unwrap_err();
        prop_assert_eq!(engine.next_position(), 0);
        prop_assert_eq!(engine.overlay_bytes(), 0);
    }

    #[test]
    fn random_bytes_are_no_command(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Behind the version and the kind of an append the decoder is reached more often.
        for kind in [1, 4, 5, 7] {
            let mut command = vec![1, kind];
            command.extend(&bytes);
            let _ = Command::decode(&Bytes::from(command));
        }
        let _ = Command::decode(&Bytes::from(bytes));
    }
}

/// Enough seals for two levels of runs, and removals all over them.
#[test]
fn merged_and_reclaimed_files_answer_like_the_model() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut history = History::new();
    let mut node = Node::new();
    let (mut merged, mut reclaimed) = (false, false);
    let parts = prop::collection::vec(command(), 6);
    for round in 0..70 {
        let mut steps = parts.new_tree(&mut runner).unwrap().current();
        steps.push(Step::Seal);
        play(&mut node, &mut history, &steps).unwrap();
        node.write();
        merged |= node.merge();
        if round % 9 == 8 {
            reclaimed |= node.reclaim();
            node.reopen();
            let look = look().new_tree(&mut runner).unwrap().current();
            check(&node, &history, &look).unwrap();
        }
    }
    assert!(merged && reclaimed);
    assert!(history.model.seals > 64, "{} seals", history.model.seals);
}
