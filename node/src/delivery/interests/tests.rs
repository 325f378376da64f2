//! Who is woken, and that nobody is left asleep.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::engine::{
    Command, Expectation, LogPosition, SharedEngine, StateReader, StreamAppend, encode_group,
};
use crate::event::{EventDraft, encode_record};
use crate::limits;
use crate::raft::state_machine::Applied;

/// One event, by its type and tags.
type Event = (&'static str, Vec<&'static str>);

fn record(stream_id: &str, events: &[Event]) -> RecordView {
    let drafts: Vec<_> = events
        .iter()
        .map(|(event_type, tags)| {
            let mut draft = EventDraft::new(Uuid::now_v7(), event_type, b"{}");
            draft.set_tags(tags.iter().copied());
            draft
        })
        .collect();
    encode_record(stream_id, &drafts).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Whether there was anything new; nothing is then.
fn was_woken(registered: &Registered) -> bool {
    registered.woken().now_or_never().is_some()
}

#[test]
fn those_are_woken_who_want_a_record() {
    let interests = Interests::default();
    let register = |interest| interests.register(interest);
    let everything = register(Interest::Everything { system: false });
    let with_system = register(Interest::Everything { system: true });
    let stream = register(Interest::Stream("a".to_owned()));
    let other = register(Interest::Stream("b".to_owned()));
    let notices = register(Interest::Stream("$streams".to_owned()));
    let types = register(Interest::Types(names(&["t", "u"])));
    let tags = register(Interest::Tags(names(&["x", "y"])));
    let all = [&everything, &with_system, &stream, &other, &notices, &types, &tags];
    let woken = |records: &[RecordView]| {
        interests.wake(records);
        all.map(was_woken)
    };
    assert_eq!(
        woken(&[record("a", &[("v", vec![])])]),
        [true, true, true, false, false, false, false]
    );
    assert_eq!(
        woken(&[record("c", &[("v", vec!["z"]), ("u", vec!["y", "z"])])]),
        [true, true, false, false, false, true, true]
    );
    assert_eq!(
        woken(&[record("$streams", &[("t", vec!["x"])])]),
        [false, true, false, false, true, false, false]
    );
    assert_eq!(
        woken(&[record("a", &[("v", vec![])]), record("b", &[("t", vec![])])]),
        [true, true, true, true, false, true, false]
    );
    assert_eq!(woken(&[]), [false; 7]);
    interests.wake_everybody();
    assert_eq!(all.map(was_woken), [true; 7]);
}

#[test]
fn whoever_is_gone_leaves_nothing_behind() {
    let interests = Interests::default();
    let kept = interests.register(Interest::Stream("a".to_owned()));
    for interest in [
        Interest::Everything { system: false },
        Interest::Everything { system: true },
        Interest::Stream("a".to_owned()),
        Interest::Types(names(&["t", "t", "u"])),
        Interest::Tags(names(&["x", "y"])),
    ] {
        drop(interests.register(interest));
    }
    assert_eq!(interests.len(), 1);
    assert_eq!(interests.0.lock().names(), 1);
    interests.wake(&[record("a", &[("t", vec!["x"])])]);
    assert!(was_woken(&kept));
    drop(kept);
    assert!(interests.is_empty());
}

/// An engine, what watches it, and how far its log is.
#[derive(Debug)]
struct Store {
    engine: SharedEngine,
    progress: watch::Sender<Applied>,
    index: u64,
}

impl Store {
    fn new() -> Self {
        let engine = SharedEngine::default();
        Self { engine, progress: watch::Sender::default(), index: 0 }
    }

    fn reader(&self) -> StateReader {
        StateReader::new(Arc::clone(&self.engine))
    }

    fn append(&mut self, records: Vec<RecordView>) {
        let append = |record| StreamAppend { expectation: Expectation::Any, record };
        let appends = records.into_iter().map(append).collect();
        let command = Command::Append { appends, condition: None }.encode();
        self.index += 1;
        let applied = LogPosition { term: 1, index: self.index };
        let group = encode_group(1_000, &[command]);
        self.engine.write().apply_group(&group, applied).unwrap();
        self.announce();
    }

    fn announce(&self) {
        let next_position = self.engine.read().next_position();
        self.progress.send_replace(Applied { next_index: self.index + 1, next_position });
    }
}

#[tokio::test(start_paused = true)]
async fn the_dispatcher_wakes_for_what_is_applied_and_at_its_end() {
    let mut store = Store::new();
    let interests = Interests::default();
    let (reader, applied) = (store.reader(), store.progress.subscribe());
    let dispatching = tokio::spawn(dispatch(interests.clone(), reader, applied));
    let wanted = interests.register(Interest::Stream("a".to_owned()));
    let other = interests.register(Interest::Stream("b".to_owned()));
    // The dispatcher begins by waking everybody.
    wanted.woken().await;
    other.woken().await;
    for _ in 0..3 {
        store.append(vec![record("a", &[("t", vec![])])]);
        wanted.woken().await;
    }
    // More than one look takes.
    let many = 3 * limits::WAKE_RECORDS_MAX;
    for _ in 0..many {
        store.append(vec![record("c", &[("t", vec![])])]);
    }
    store.append(vec![record("a", &[("t", vec![])])]);
    wanted.woken().await;
    assert!(!was_woken(&other));
    drop(store);
    dispatching.await.unwrap();
    assert!(was_woken(&wanted) && was_woken(&other));
}

/// Streams, types and tags that records and interests are made of.
const STREAMS: [&str; 4] = ["a", "b", "$a", "$b"];
const NAMES: [&str; 3] = ["x", "y", "z"];

fn some_names() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..3)
}

fn interest() -> impl Strategy<Value = Interest> {
    prop_oneof![
        any::<bool>().prop_map(|system| Interest::Everything { system }),
        prop::sample::select(STREAMS.to_vec()).prop_map(|name| Interest::Stream(name.to_owned())),
        some_names().prop_map(|some| Interest::Types(names(&some))),
        some_names().prop_map(|some| Interest::Tags(names(&some))),
    ]
}

fn appended() -> impl Strategy<Value = (&'static str, Vec<Event>)> {
    let event = (prop::sample::select(NAMES.to_vec()), some_names());
    let events = prop::collection::vec(event, 1..4);
    (prop::sample::select(STREAMS.to_vec()), events)
}

fn wants(interest: &Interest, stream_id: &str, events: &[Event]) -> bool {
    let system = stream_id.starts_with('$');
    match interest {
        Interest::Everything { system: with_system } => *with_system || !system,
        Interest::Stream(name) => name == stream_id,
        Interest::Types(types) => {
            !system && events.iter().any(|(of_type, _)| types.iter().any(|name| name == of_type))
        }
        Interest::Tags(tags) => {
            let carried: BTreeSet<_> = events.iter().flat_map(|(_, tags)| tags).collect();
            !system && tags.iter().any(|tag| carried.contains(&tag.as_str()))
        }
    }
}

proptest! {
    #[test]
    fn exactly_those_are_woken_who_a_look_at_everything_would_wake(
        wanted in prop::collection::vec((interest(), any::<bool>()), 1..20),
        appends in prop::collection::vec(appended(), 0..10),
    ) {
        let interests = Interests::default();
        let mut registered: Vec<_> = wanted
            .iter()
            .map(|(interest, stays)| (interests.register(interest.clone()), interest, *stays))
            .collect();
        // Others that have gone must not take anybody with them.
        registered.retain(|(_, _, stays)| *stays);
        let records: Vec<_> =
            appends.iter().map(|(stream_id, events)| record(stream_id, events)).collect();
        interests.wake(&records);
        for (registered, interest, _) in &registered {
            let expected =
                appends.iter().any(|(stream_id, events)| wants(interest, stream_id, events));
            prop_assert_eq!(was_woken(registered), expected, "{:?}", interest);
        }
    }
}

/// Threads register, read and wait while others append: whoever waits for its record is woken for it.
#[test]
fn nobody_sleeps_over_a_record_that_it_wants() {
    const READERS: usize = 8;
    const APPENDS: u64 = 300;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut store = Store::new();
        let interests = Interests::default();
        let (reader, applied) = (store.reader(), store.progress.subscribe());
        tokio::spawn(dispatch(interests.clone(), reader, applied));
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (interests, reader) = (interests.clone(), store.reader());
                tokio::spawn(async move {
                    let stream = format!("s-{}", number % 4);
                    // As followers that come and go, each of which goes on where the last one was.
                    let mut seen = 0;
                    while seen < APPENDS {
                        let registered = interests.register(Interest::Stream(stream.clone()));
                        for _ in 0..3 {
                            let summary = reader.stream(&stream).unwrap();
                            seen = summary.summary().map_or(0, |it| it.last_version.unwrap() + 1);
                            if seen == APPENDS {
                                break;
                            }
                            registered.woken().await;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..APPENDS {
            for stream in 0..4 {
                store.append(vec![record(&format!("s-{stream}"), &[("t", vec![])])]);
            }
            tokio::task::yield_now().await;
        }
        for reader in readers {
            tokio::time::timeout(std::time::Duration::from_mins(1), reader)
                .await
                .expect("everybody is woken")
                .unwrap();
        }
    });
}
