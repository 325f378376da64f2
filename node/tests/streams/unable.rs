//! Stores of their own that cannot serve: not yet, not now, not without the others, not so much.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use reckon_api::{Reason, v1};
use reckon_node::limits;
use tonic::Status;
use uuid::Uuid;

use crate::calls::Calls;
use crate::messages::{
    append, at_least, event, events_to, filter, in_batch, of_prefix, refused, stale, stream, unique,
};
use crate::processes::{NodeProcess, Store, eventually};

/// Longer than any refusal takes, so that it is never the deadline that answers.
const PATIENT: Duration = Duration::from_secs(30);

/// Short, and long enough that the answer to it is not late on a busy machine.
pub const BRIEF: Duration = Duration::from_millis(400);

/// What every change answers, by its call.
async fn changes(calls: &Calls) -> Vec<(&'static str, Result<(), Status>)> {
    let name = unique("s");
    let stream_id = || name.clone();
    let batch = async {
        let answers = calls.append_batch(vec![in_batch(events_to(&name, 1))]).await;
        answers.into_iter().next().expect("an append is answered").map(drop)
    };
    let delete = v1::DeleteRequest { stream_id: stream_id(), expectation: None };
    let tombstone = v1::TombstoneRequest { stream_id: stream_id(), expectation: None };
    let truncate =
        v1::TruncateRequest { stream_id: stream_id(), before_version: 0, expectation: None };
    let (append, batch, delete, tombstone, truncate) = tokio::join!(
        calls.append(events_to(&name, 1)),
        batch,
        calls.delete(delete),
        calls.tombstone(tombstone),
        calls.truncate(truncate),
    );
    vec![
        ("Append", append.map(drop)),
        ("AppendBatch", batch),
        ("Delete", delete.map(drop)),
        ("Tombstone", tombstone.map(drop)),
        ("Truncate", truncate.map(drop)),
    ]
}

/// What every read answers, by its call.
async fn reads(
    calls: &Calls,
    stream_id: &str,
    event_id: &str,
    consistency: Option<v1::Consistency>,
) -> Vec<(&'static str, Result<(), Status>)> {
    let named = || stream_id.to_owned();
    let read = v1::ReadRequest { stream_id: named(), consistency, ..Default::default() };
    let read_all = v1::ReadAllRequest { consistency, ..Default::default() };
    // How many there are in all is known without a look at any file.
    let filter = filter(vec![of_prefix(stream_id)]);
    let count = v1::CountRequest { consistency, filter, ..Default::default() };
    let any = v1::AnyRequest { consistency, ..Default::default() };
    let get_stream = v1::GetStreamRequest { stream_id: named(), consistency };
    let list = v1::ListStreamsRequest { consistency, ..Default::default() };
    let at = v1::VersionAtRequest { stream_id: named(), time_us: u64::MAX, consistency };
    let get = v1::GetEventRequest { event_id: event_id.to_owned(), consistency };
    let watch = v1::WatchRequest { consistency, from_position: Some(0), ..Default::default() };
    // A watch that opens well may still end at the first page of its history.
    let watching = async {
        let (_, mut watch) = calls.watch(watch).await?;
        watch.next().await.map(drop)
    };
    vec![
        ("Read", calls.read(read).await.map(drop)),
        ("ReadAll", calls.read_all(read_all).await.map(drop)),
        ("Count", calls.count(count).await.map(drop)),
        ("Any", calls.any(any).await.map(drop)),
        ("GetStream", calls.get_stream(get_stream).await.map(drop)),
        ("ListStreams", calls.list_streams(list).await.map(drop)),
        ("VersionAt", calls.version_at(at).await.map(drop)),
        ("GetEvent", calls.get_event(get).await.map(drop)),
        ("Watch", watching.await),
    ]
}

async fn has_events(calls: &Calls, consistency: Option<v1::Consistency>) -> Result<bool, Status> {
    let request = v1::HasEventsRequest { consistency, include_system: false };
    calls.has_events(request).await.map(|answer| answer.has_events)
}

/// Fails unless every call that needs a store is refused for this reason.
async fn all_refused(calls: &Calls, consistency: Option<v1::Consistency>, reason: Reason) {
    changes_refused(calls, reason).await;
    reads_refused(calls, consistency, reason).await;
}

async fn changes_refused(calls: &Calls, reason: Reason) {
    for (call, answer) in changes(calls).await {
        refused(answer.map(|()| call), reason);
    }
}

async fn reads_refused(calls: &Calls, consistency: Option<v1::Consistency>, reason: Reason) {
    let id = Uuid::now_v7().to_string();
    for (call, answer) in reads(calls, "s", &id, consistency).await {
        refused(answer.map(|()| call), reason);
    }
    refused(has_events(calls, consistency).await, reason);
}

/// A node that waits to be told what to do, once it answers.
async fn unformed() -> (Store, v1::StatusResponse) {
    let mut store = Store::prepare(1, 1, &["formation.mode=operator"]);
    store.nodes[0].start();
    let status = eventually("the node answers", || async { store.nodes[0].status().await.ok() });
    let status = status.await;
    (store, status)
}

pub async fn a_node_without_a_store_serves_nothing() {
    let (store, _) = unformed().await;
    all_refused(&Calls::of(&store.nodes[0]), stale(), Reason::NotInitialised).await;
}

pub async fn a_store_that_is_not_open_serves_nothing() {
    let (store, status) = unformed().await;
    let request = v1::InitialiseRequest {
        cluster_id: Uuid::new_v4().to_string(),
        volume_id: status.volume_id,
        ..v1::InitialiseRequest::default()
    };
    store.nodes[0].cluster().initialise(request).await.unwrap();
    eventually("the node leads", || async {
        let status = store.nodes[0].status().await.ok()?;
        (status.ready && status.leader_id != 0).then_some(())
    })
    .await;
    all_refused(&Calls::of(&store.nodes[0]), stale(), Reason::NotActivated).await;
}

pub async fn a_node_that_replays_its_log_is_not_ready() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    Calls::of(&store.nodes[leader]).append(events_to("some", 1)).await.unwrap();
    store.nodes.iter_mut().for_each(NodeProcess::kill);
    // Alone it cannot learn what of its log is committed.
    store.nodes[leader].start();
    eventually("the node answers", || async { store.nodes[leader].status().await.ok() }).await;
    all_refused(&Calls::of(&store.nodes[leader]), stale(), Reason::NotReady).await;
}

pub async fn an_empty_store_has_no_events() {
    let store = Store::start(1);
    store.ready().await;
    let calls = Calls::of(&store.nodes[0]);
    assert!(!has_events(&calls, None).await.unwrap());
    calls.append(events_to("s", 1)).await.unwrap();
    assert!(has_events(&calls, None).await.unwrap());
    let delete = v1::DeleteRequest { stream_id: "s".to_owned(), expectation: None };
    calls.delete(delete).await.unwrap();
    assert!(!has_events(&calls, None).await.unwrap(), "the notice of it is the server's own");
    let request = v1::HasEventsRequest { consistency: None, include_system: true };
    assert!(calls.has_events(request).await.unwrap().has_events);
}

pub async fn without_a_quorum_only_stale_reads_are_served() {
    let mut store = Store::start(3);
    let leader = store.ready().await;
    let known = event("A");
    let id = known.event_id().to_owned();
    let calls = Calls::of(&store.nodes[leader]);
    calls.append(append(vec![stream("s", vec![known])])).await.unwrap();
    // Read through every node, so that every node has applied it.
    for node in &store.nodes {
        assert!(has_events(&Calls::of(node), None).await.unwrap());
    }
    let left = (leader + 1) % 3;
    store.nodes[leader].kill();
    store.nodes[(leader + 2) % 3].kill();
    let calls = Calls::of(&store.nodes[left]).within(PATIENT);
    // What was sent over the connection to the old leader when that was killed is unknown; nothing later is.
    eventually("the survivor knows that it is alone", || async {
        let answer = calls.append(events_to(&unique("s"), 1)).await;
        (answer.err().as_ref().and_then(Reason::of) == Some(Reason::NoQuorum)).then_some(())
    })
    .await;
    changes_refused(&calls, Reason::NoQuorum).await;
    reads_refused(&calls, None, Reason::NoQuorum).await;
    for (call, answer) in reads(&calls, "s", &id, stale()).await {
        answer.unwrap_or_else(|status| panic!("{call} is stale and must go on: {status:?}"));
    }
    assert!(has_events(&calls, stale()).await.unwrap());
}

pub async fn a_request_that_was_forwarded_is_not_forwarded_again() {
    let store = Store::start(3);
    let leader = store.ready().await;
    let follower = Calls::of(&store.nodes[(leader + 1) % 3]).forwarded();
    changes_refused(&follower, Reason::NotLeader).await;
}

pub async fn an_answer_that_is_lost_with_the_leader_leaves_the_outcome_unknown() {
    let store = Store::start(3);
    let leader = store.ready().await;
    let follower = Calls::of(&store.nodes[(leader + 1) % 3]).within(PATIENT);
    // The follower has a connection to the leader before that falls silent.
    follower.append(events_to("before", 1)).await.unwrap();
    store.nodes[leader].pause();
    changes_refused(&follower, Reason::OutcomeUnknown).await;
    store.nodes[leader].resume();
}

pub async fn what_cannot_be_committed_in_time_is_told_so() {
    let store = Store::start(3);
    let leader = store.ready().await;
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        store.nodes[other].pause();
    }
    let calls = Calls::of(&store.nodes[leader]);
    let brief = calls.within(BRIEF);
    // Over a stream every append has its own time.
    let append = v1::AppendBatchRequest { append: Some(events_to("late", 1)), timeout_ms: 400 };
    let answer = calls.append_batch(vec![append]).await.remove(0);
    refused(answer, Reason::DeadlineExceeded);
    for (call, answer) in changes(&brief).await {
        if call != "AppendBatch" {
            refused(answer.map(|()| call), Reason::DeadlineExceeded);
        }
    }
    store.nodes.iter().for_each(NodeProcess::resume);
}

pub async fn too_many_appends_at_once_are_refused() {
    let mut store = Store::prepare(3, 3, &["limits.appends_in_flight_max=1"]);
    store.nodes.iter_mut().for_each(NodeProcess::start);
    let leader = store.ready().await;
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        store.nodes[other].pause();
    }
    let calls = Calls::of(&store.nodes[leader]).within(PATIENT);
    let logged = async || Some(store.nodes[leader].status().await.ok()?.last_log_index);
    let before = logged().await.unwrap();
    // An append that waits for the others' acknowledgement holds the only slot.
    let held = {
        let calls = calls.clone();
        tokio::spawn(async move { calls.append(events_to("held", 1)).await })
    };
    eventually("the slot is taken", || async { logged().await.filter(|last| *last > before) })
        .await;
    changes_refused(&calls, Reason::TooManyRequests).await;
    store.nodes.iter().for_each(NodeProcess::resume);
    held.abort();
}

pub async fn a_request_that_names_no_time_gets_that_of_the_store() {
    let mut store = Store::prepare(1, 1, &["limits.request_timeout_ms=300"]);
    store.nodes[0].start();
    store.ready().await;
    let consistency = at_least(u64::MAX - 1);
    let request = v1::GetStreamRequest { stream_id: "s".to_owned(), consistency };
    let calls = Calls::of(&store.nodes[0]);
    let answer = tokio::time::timeout(PATIENT, calls.get_stream(request)).await;
    refused(answer.expect("the store gives it up by itself"), Reason::DeadlineExceeded);
}

pub async fn too_many_reads_at_once_are_refused() {
    let mut store = Store::prepare(1, 1, &["limits.reads_in_flight_max=1"]);
    store.nodes[0].start();
    store.ready().await;
    let calls = Calls::of(&store.nodes[0]).within(PATIENT);
    let held = {
        let calls = calls.clone();
        let consistency = at_least(u64::MAX - 1);
        let request = v1::GetStreamRequest { stream_id: "held".to_owned(), consistency };
        // One of the reads below may have the slot when this one asks for it first.
        tokio::spawn(async move {
            while let Err(status) = calls.get_stream(request.clone()).await {
                assert_eq!(Reason::of(&status), Some(Reason::TooManyRequests), "{status}");
            }
        })
    };
    eventually("the slot is taken", || async {
        let answer = has_events(&calls, stale()).await;
        (answer.err().as_ref().and_then(Reason::of) == Some(Reason::TooManyRequests)).then_some(())
    })
    .await;
    let id = Uuid::now_v7().to_string();
    for (call, answer) in reads(&calls, "s", &id, stale()).await {
        // Watches are counted apart: they stay.
        if call != "Watch" {
            refused(answer.map(|()| call), Reason::TooManyRequests);
        }
    }
    refused(has_events(&calls, stale()).await, Reason::TooManyRequests);
    held.abort();
}

pub async fn too_many_watches_at_once_are_refused() {
    let store = Store::start(1);
    store.ready().await;
    let mut watches = Vec::new();
    let status = loop {
        assert!(watches.len() <= limits::WATCHES_MAX, "there is no end to watches");
        // A connection carries only so many calls.
        let calls = Calls::of(&store.nodes[0]);
        let opening = (0..limits::CONNECTION_STREAMS_MAX / 2)
            .map(|_| calls.watch(v1::WatchRequest::default()));
        let mut refusal = None;
        for opened in join_all(opening).await {
            match opened {
                Ok((_, watch)) => watches.push(watch),
                Err(status) => refusal = Some(status),
            }
        }
        if let Some(status) = refusal {
            break status;
        }
    };
    refused(Err::<(), _>(status), Reason::TooManyRequests);
    assert_eq!(watches.len(), limits::WATCHES_MAX);
}

pub async fn a_node_that_holds_too_much_in_memory_takes_no_appends() {
    let settings = [
        "limits.unsealed_bytes_max=16777216",
        "storage.seal_bytes=1073741824",
        "storage.checkpoint_interval_ms=86400000",
    ];
    let mut store = Store::prepare(1, 1, &settings);
    store.nodes[0].start();
    store.ready().await;
    let calls = Calls::of(&store.nodes[0]);
    let large = || v1::NewEvent { data: vec![b'x'; 1_000_000].into(), ..event("A") };
    let full = async || {
        for _ in 0..50 {
            if let Err(status) = calls.append(append(vec![stream("s", vec![large()])])).await {
                return status;
            }
        }
        panic!("50 MB are taken where 16 MiB are allowed")
    };
    refused(Err::<(), _>(full().await), Reason::MemoryPressure);
    let answers = calls.append_batch(vec![in_batch(events_to("s", 1))]).await;
    refused(answers.into_iter().next().unwrap(), Reason::MemoryPressure);
    assert!(has_events(&calls, None).await.unwrap(), "reads go on");
}

pub async fn damaged_files_are_told_and_never_read() {
    let mut store = Store::start(1);
    store.ready().await;
    let calls = Calls::of(&store.nodes[0]);
    let known = event("A");
    let id = known.event_id().to_owned();
    calls.append(append(vec![stream("s", vec![known])])).await.unwrap();
    let checkpoint = v1::CheckpointRequest { wait: true };
    store.nodes[0].cluster().checkpoint(checkpoint).await.unwrap();
    // Nothing stays in memory over a restart but what the files say.
    store.nodes[0].kill();
    for folder in ["records", "runs"] {
        damage_all(&store.nodes[0].data.join(folder));
    }
    store.nodes[0].start();
    store.ready().await;
    let calls = Calls::of(&store.nodes[0]);
    for (call, answer) in reads(&calls, "s", &id, None).await {
        refused(answer.map(|()| call), Reason::Damaged);
    }
}

/// Overwrites every file of a folder but its last bytes, which say what the file is.
fn damage_all(folder: &Path) {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "there is something to damage in {}", folder.display());
    for path in files {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
        file.write_all_at(&vec![0xa5; bytes.saturating_sub(64)], 0).unwrap();
    }
}
