//! Sealed state between real processes: members that were away for longer than the log reaches back, new members,
//! damaged files, full disks.

mod processes;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use processes::{NodeProcess, Store, eventually, read_all};
use reckon_api::{Reason, v1};
use uuid::Uuid;

/// Seals often, and keeps no log behind a seal: whoever was away needs the checkpoint.
const SMALL: [&str; 3] =
    ["storage.seal_bytes=65536", "log.retain_bytes=0", "storage.checkpoint_interval_ms=1000"];

/// Events of one append of [`fill`].
const EVENTS: u64 = 20;

/// Appends through a node until it has sealed so many more times; returns how many events that took.
async fn fill(node: &NodeProcess, stream: &str, seals: u64) -> u64 {
    let goal = node.status().await.expect("a status").seal + seals;
    let mut events = 0;
    while node.status().await.expect("a status").seal < goal {
        for _ in 0..10 {
            append(node, stream).await.expect("the store takes appends");
            events += EVENTS;
        }
    }
    events
}

async fn append(node: &NodeProcess, stream: &str) -> Result<v1::AppendResponse, tonic::Status> {
    let event = || v1::NewEvent {
        event_id: Some(Uuid::now_v7().to_string()),
        event_type: "Filled".to_owned(),
        data: vec![b'x'; 200].into(),
        data_content_type: "text/plain".to_owned(),
        tags: vec!["filling".to_owned()],
        ..v1::NewEvent::default()
    };
    let events = (0..EVENTS).map(|_| event()).collect();
    let append = v1::StreamAppend { stream_id: stream.to_owned(), expectation: None, events };
    let request = v1::AppendRequest { appends: vec![append], condition: None };
    Ok(node.streams().append(request).await?.into_inner())
}

/// Waits until a node has applied and sealed as much as another: then both hold the same contents.
async fn caught_up(node: &NodeProcess, with: &NodeProcess) {
    let (own, other) = eventually("the member has caught up", || async {
        let (own, other) = (node.status().await.ok()?, with.status().await.ok()?);
        let same = own.applied_index >= other.applied_index && own.seal == other.seal;
        same.then_some((own, other))
    })
    .await;
    assert_eq!(own.digest, other.digest, "equal seals hold equal contents");
}

async fn same_contents(one: &NodeProcess, other: &NodeProcess) -> Vec<v1::Event> {
    let events = read_all(one).await.expect("a read");
    let others = read_all(other).await.expect("a read");
    assert!(events == others, "{} and {} show different events", one.name, other.name);
    events
}

/// Whether a node shows any event of what it has applied, whoever leads.
async fn read_stale(node: &NodeProcess) -> Result<bool, tonic::Status> {
    let stale = v1::Consistency { kind: Some(v1::consistency::Kind::Stale(true)) };
    let request = v1::AnyRequest { consistency: Some(stale), ..v1::AnyRequest::default() };
    Ok(node.streams().any(request).await?.into_inner().any)
}

fn files(node: &NodeProcess, folder: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(node.data.join(folder)).expect("a folder of the volume");
    folder.map(|file| file.expect("an entry").path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_long_is_given_the_checkpoint_while_the_store_serves() {
    let mut store = Store::prepare(3, 3, &SMALL);
    store.nodes.iter_mut().for_each(NodeProcess::start);
    let leader = store.ready().await;
    let away = (leader + 1) % 3;
    let mut events = fill(&store.nodes[leader], "before", 2).await;
    store.nodes[away].kill();
    events += fill(&store.nodes[leader], "meanwhile", 4).await;
    store.nodes[away].start();
    // The store takes appends while the member catches up.
    events += fill(&store.nodes[leader], "afterwards", 1).await;
    caught_up(&store.nodes[away], &store.nodes[leader]).await;
    let shown = same_contents(&store.nodes[away], &store.nodes[leader]).await;
    assert_eq!(shown.len() as u64, events);
    // The member goes on from the checkpoint it was given, also after another crash.
    store.nodes[away].kill();
    store.nodes[away].start();
    store.ready().await;
    same_contents(&store.nodes[away], &store.nodes[leader]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_of_an_old_store_starts_from_the_checkpoint() {
    let mut store = Store::prepare(4, 3, &SMALL);
    store.nodes[..3].iter_mut().for_each(NodeProcess::start);
    let leader = store.ready().await;
    let events = fill(&store.nodes[leader], "old", 4).await;
    store.nodes[3].start();
    eventually("the new member shows everything", || async {
        let shown = read_all(&store.nodes[3]).await.ok()?;
        (shown.len() as u64 == events).then_some(())
    })
    .await;
    same_contents(&store.nodes[3], &store.nodes[leader]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_replays_only_what_is_not_sealed() {
    let mut store = Store::prepare(1, 1, &SMALL);
    store.nodes[0].start();
    store.ready().await;
    let events = fill(&store.nodes[0], "alone", 5).await;
    let before = read_all(&store.nodes[0]).await.expect("a read");
    assert_eq!(before.len() as u64, events);
    store.nodes[0].kill();
    store.nodes[0].start();
    store.ready().await;
    assert!(read_all(&store.nodes[0]).await.expect("a read") == before);
    let status = store.nodes[0].status().await.expect("a status");
    assert!(status.seal >= 5 && status.sealed_position > 0, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_seals_first() {
    let mut store = Store::prepare(1, 1, &["storage.checkpoint_interval_ms=86400000"]);
    store.nodes[0].start();
    store.ready().await;
    let appended = append(&store.nodes[0], "alone").await.expect("the store takes appends");
    assert!(store.nodes[0].terminate(), "it ends well");
    store.nodes[0].start();
    store.ready().await;
    let status = store.nodes[0].status().await.expect("a status");
    assert!(status.sealed_position > appended.last_position, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_an_error_and_is_fetched_again_from_another_member() {
    // One seal at a time, by hand: so members stay alike while one of them is mended.
    let mut store = Store::prepare(3, 3, &["storage.checkpoint_interval_ms=86400000"]);
    store.nodes.iter_mut().for_each(NodeProcess::start);
    let leader = store.ready().await;
    for _ in 0..50 {
        append(&store.nodes[leader], "fragile").await.expect("the store takes appends");
    }
    let request = v1::CheckpointRequest { wait: true };
    store.nodes[leader].cluster().checkpoint(request).await.expect("a checkpoint");
    let damaged = (leader + 1) % 3;
    caught_up(&store.nodes[damaged], &store.nodes[leader]).await;
    let whole = read_all(&store.nodes[leader]).await.expect("a read");

    store.nodes[damaged].kill();
    for file in files(&store.nodes[damaged], "records") {
        damage(&file);
    }
    store.nodes[damaged].start();
    store.ready().await;
    let shown = eventually("the damaged member shows its events again", || async {
        match read_all(&store.nodes[damaged]).await {
            Ok(events) => Some(events),
            // Until it is mended: an error that says so, and never a wrong answer.
            Err(status) => {
                assert_eq!(Reason::of(&status), Some(Reason::Damaged), "{status}");
                None
            }
        }
    })
    .await;
    assert!(shown == whole, "what was mended shows the same events");
    eventually("nothing is fenced any more", || async {
        let status = store.nodes[damaged].status().await.ok()?;
        status.fenced_files.is_empty().then_some(())
    })
    .await;
}

/// Turns over 64 bytes in the middle of a file.
fn damage(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a sealed file");
    let middle = file.metadata().expect("its size").len() / 2;
    let mut bytes = [0; 64];
    let length = file.read_at(&mut bytes, middle).expect("its bytes");
    bytes[..length].iter_mut().for_each(|byte| *byte = !*byte);
    file.write_all_at(&bytes[..length], middle).expect("damage");
}

/// A small disk of its own for every node; gone with the value.
struct SmallDisks {
    mounted: Vec<PathBuf>,
}

impl SmallDisks {
    /// Only root can mount: elsewhere there are none.
    fn mount(store: &Store, bytes: u64) -> Option<Self> {
        let mut disks = Self { mounted: Vec::new() };
        for node in &store.nodes {
            fs::create_dir_all(&node.data).expect("a folder");
            let size = format!("size={bytes}");
            let mounted = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(&node.data)
                .status();
            if !mounted.is_ok_and(|status| status.success()) {
                return None;
            }
            disks.mounted.push(node.data.clone());
        }
        Some(disks)
    }
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        for folder in &self.mounted {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(folder).status();
        }
    }
}

/// Takes the room of a disk away, all but `left` bytes.
fn fill_disk(node: &NodeProcess, left: u64) -> PathBuf {
    let path = node.data.join("ballast");
    let room = rustix::fs::statvfs(&node.data).expect("the room of a disk");
    let bytes = (room.f_bavail * room.f_frsize).saturating_sub(left);
    let file = File::create(&path).expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("room");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_refuse_appends_serve_reads_and_recover_without_a_restart() {
    let mut store = Store::prepare(3, 3, &SMALL);
    let required = std::env::var("RECKON_E2E").is_ok_and(|value| value == "require");
    let Some(_disks) = SmallDisks::mount(&store, 320 << 20) else {
        assert!(!required, "small disks cannot be mounted here, and they are required");
        return;
    };
    store.nodes.iter_mut().for_each(NodeProcess::start);
    let leader = store.ready().await;
    append(&store.nodes[leader], "s").await.expect("there is room");

    for followers_only in [false, true] {
        let full: Vec<usize> = if followers_only {
            (0..3).filter(|index| *index != leader).collect()
        } else {
            vec![leader]
        };
        let ballast: Vec<PathBuf> =
            full.iter().map(|&index| fill_disk(&store.nodes[index], 30 << 20)).collect();
        // An append that was admitted just before may wait for followers that have no room: nothing is known of it.
        eventually("appends are refused for want of room", || async {
            let refused = append(&store.nodes[leader], "s").await.err()?;
            let reason = Reason::of(&refused);
            let waited = Some(Reason::DeadlineExceeded);
            assert!(reason == waited || reason == Some(Reason::DiskFull), "{refused}");
            (reason == Some(Reason::DiskFull)).then_some(())
        })
        .await;
        assert!(!read_all(&store.nodes[leader]).await.expect("reads go on").is_empty());
        for node in &store.nodes {
            // A full follower may lack what the others have committed: it shows what it has.
            assert!(read_stale(node).await.expect("reads go on"), "{} shows events", node.name);
        }
        for file in &ballast {
            fs::remove_file(file).expect("room comes back");
        }
        eventually("appends are taken again", || async {
            append(&store.nodes[leader], "s").await.ok()
        })
        .await;
    }
    assert_eq!(store.ready().await, leader, "nobody stopped, and nobody had to be elected");
}
