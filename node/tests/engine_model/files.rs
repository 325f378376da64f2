//! What a node's files can do to its engine: be damaged, and be changed while they are read.

use std::sync::atomic::{AtomicBool, Ordering};

use reckon_node::engine::{
    AllRead, ApplyError, Command, Direction, Expectation, Outcome, ReadError, StateReader,
    StreamAppend, StreamRead, encode_group,
};
use reckon_node::event::{EventDraft, encode_record};
use uuid::Uuid;

use crate::history::Group;
use crate::node::Node;

const STREAMS: u64 = 5;

/// One event for one of the streams, which goes at `position` if all are appended in order.
fn append(position: u64) -> Command {
    let data = format!("{{\"number\":{position}}}");
    let id = Uuid::from_u128(u128::from(position) + 1);
    let mut draft = EventDraft::new(id, "numbered", data.as_bytes());
    draft.set_tags(["tag"]);
    let record = encode_record(&stream(position), &[draft]).unwrap();
    let appends = vec![StreamAppend { expectation: Expectation::Any, record }];
    Command::Append { appends, condition: None }
}

fn stream(position: u64) -> String {
    format!("stream-{}", position % STREAMS)
}

fn group(commands: &[Command]) -> Group {
    let commands: Vec<_> = commands.iter().map(Command::encode).collect();
    Group { bytes: encode_group(1_000, &commands), expected: Vec::new() }
}

/// A node with so many seals of so many events each, all of them in files.
fn sealed(seals: u64, events: u64) -> Node {
    let mut node = Node::new();
    for seal in 0..seals {
        let mut commands: Vec<_> = (0..events).map(|n| append(seal * events + n)).collect();
        commands.push(Command::Seal);
        node.apply(group(&commands));
        node.write();
    }
    node
}

/// Reads everything in one direction.
fn everything(reader: &StateReader, direction: Direction) -> Result<Vec<u64>, ReadError> {
    let mut positions = Vec::new();
    let start = if direction == Direction::Forward { 0 } else { u64::MAX };
    let mut next = Some(start);
    while let Some(from) = next {
        let page = reader.read_all(&AllRead { from, direction, ..AllRead::default() })?;
        positions.extend(page.events.iter().map(|event| event.position));
        next = page.next;
    }
    Ok(positions)
}

/// Whether the error is about this file.
fn names(error: &ReadError, file: &str) -> bool {
    error.damaged_file() == Some(file)
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_and_never_a_wrong_answer() {
    let whole = sealed(9, 40);
    let end = whole.reader.next_position();
    let mut errors = 0;
    for (file, bytes) in whole.sealed_files() {
        for at in (0..bytes.saturating_sub(64)).step_by((bytes / 12).max(1)) {
            let mut node = whole.with_damage(&file, at);
            let mut told = |error: &ReadError| {
                assert!(names(error, &file), "{file} at {at}: {error}");
                errors += 1;
            };
            match everything(&node.reader, Direction::Forward) {
                Ok(positions) => assert!(positions.iter().copied().eq(0..end), "{file} at {at}"),
                Err(error) => told(&error),
            }
            for position in (0..end).step_by(7) {
                match node.reader.event(Uuid::from_u128(u128::from(position) + 1)) {
                    Ok(found) => assert_eq!(found.map(|event| event.position), Some(position)),
                    Err(error) => told(&error),
                }
            }
            for first in 0..STREAMS {
                let stream_id = stream(first);
                let read = StreamRead { from: 3, ..StreamRead::of(&stream_id) };
                match node.reader.read_stream(&read) {
                    Ok(page) => assert_eq!(page.events.len() as u64, end / STREAMS - 3),
                    Err(error) => told(&error),
                }
            }
            // A retry of the first append, which is found only in the oldest run.
            match node.try_apply(&group(&[append(0)])) {
                Ok(outcomes) => {
                    let Outcome::Appended(first) = &outcomes[0] else { panic!("{outcomes:?}") };
                    assert_eq!((first.first_position, first.last_position), (0, 0));
                }
                Err(ApplyError::Read { index: 0, source }) => {
                    told(&source);
                    let again = node.try_apply(&group(&[append(end)]));
                    assert!(matches!(again, Err(ApplyError::Poisoned)), "{again:?}");
                }
                Err(error) => panic!("{file} at {at}: {error}"),
            }
        }
    }
    assert!(errors > 1_000, "only {errors} errors");
}

#[test]
fn reads_see_a_prefix_without_holes_whatever_is_sealed_and_merged_meanwhile() {
    let mut node = Node::new();
    let reader = node.reader.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for direction in [Direction::Forward, Direction::Backward] {
            let (reader, done) = (&reader, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let before = reader.next_position();
                    let mut positions = everything(reader, direction).unwrap();
                    let after = reader.next_position();
                    if direction == Direction::Backward {
                        positions.reverse();
                    }
                    let end = positions.len() as u64;
                    assert!((before..=after).contains(&end), "{before} {end} {after}");
                    assert!(positions.into_iter().eq(0..end), "a hole or a repetition");
                }
            });
        }
        for round in 0..120 {
            let mut commands: Vec<_> = (0..20).map(|n| append(round * 20 + n)).collect();
            if round % 3 == 0 {
                commands.push(Command::Seal);
            }
            node.apply(group(&commands));
            if round % 4 == 0 {
                node.write();
                node.merge();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
