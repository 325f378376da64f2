//! Between what was and what comes nothing is lost, nothing comes twice, and nothing comes out of order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reckon_api::v1;
use v1::selector::Kind;

use crate::calls::{Calls, following};
use crate::messages::{append, stream, tagged, unique, versions};

const RUNS: usize = 100;
const WRITERS: usize = 4;

/// Appends at full speed to a stream of its own, and says how many there were in the end.
async fn write(calls: Calls, name: String, tag: String, stop: Arc<AtomicBool>) -> u64 {
    let mut appended = 0;
    while !stop.load(Ordering::Relaxed) {
        let event = tagged(&tag, &[&tag]);
        calls.append(append(vec![stream(&name, vec![event])])).await;
        appended += 1;
    }
    appended
}

pub async fn nothing_is_lost_doubled_or_out_of_order_at_the_seam(calls: Calls) {
    let prefix = unique("seam");
    let stop = Arc::new(AtomicBool::new(false));
    let name = |writer: usize| format!("{prefix}-{writer}");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (tag, stop) = (prefix.clone(), Arc::clone(&stop));
            tokio::spawn(write(calls.clone(), name(writer), tag, stop))
        })
        .collect();
    let tag = v1::Tags { tags: vec![prefix.clone()], all: false };
    let pattern = v1::event_pattern::Kind::Stream(format!("{prefix}-*"));
    let kinds = [
        Kind::Stream(name(0)),
        Kind::Tags(tag),
        Kind::EventType(prefix.clone()),
        Kind::EventPattern(v1::EventPattern { kind: Some(pattern) }),
    ];
    // All of them stay open, so that each is overtaken by the writers in its own way.
    let mut open = Vec::new();
    for run in 0..RUNS {
        let kind = kinds[run % kinds.len()].clone();
        let (_, mut followed) = calls.follow(following(kind.clone(), None)).await.unwrap();
        // Somewhere between its first event and its end.
        let events = followed.events(1 + run).await;
        open.push((kind, followed, events));
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    for (kind, followed, events) in &mut open {
        let of_one = matches!(kind, Kind::Stream(_));
        let expected = if of_one { written[0] } else { written.iter().sum() };
        let left = usize::try_from(expected).unwrap() - events.len();
        events.extend(followed.events(left).await);
        assert_eq!(events.len() as u64, expected, "{kind:?}");
        assert!(events.is_sorted_by(|one, other| one.position < other.position), "{kind:?}");
        for (writer, count) in written.iter().enumerate().take(if of_one { 1 } else { WRITERS }) {
            let own: Vec<_> =
                events.iter().filter(|event| event.stream_id == name(writer)).cloned().collect();
            assert_eq!(versions(&own), (0..*count).collect::<Vec<_>>(), "{kind:?}");
        }
    }
}
