//! The end of a node: why it ends, and the way out that costs its users least.

use std::time::Duration;

use futures::FutureExt as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::limits;
use crate::node::Node;
use crate::raft::{Member, checkpointer};

/// The signals that end a node. Made before anything else: the first process of a container has no default
/// action, so a signal that comes during a long replay would otherwise be lost.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes SIGTERM and SIGINT from here on.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when one of them has come.
    pub async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns on a signal. Raft's end is an error: the process must not live on without it.
pub async fn wait(node: &Node, signals: &mut Signals) -> anyhow::Result<()> {
    tokio::select! {
        () = signals.come() => Ok(()),
        fatal = must_stop(node) => Err(fatal),
    }
}

/// Returns when the node cannot go on, and says why.
pub async fn must_stop(node: &Node) -> anyhow::Error {
    tokio::select! {
        why = member_ended(node) => why,
        why = store_failed(node) => why,
    }
}

/// Returns once the store writes nothing any more, whoever met the error: nobody else may write soon.
async fn store_failed(node: &Node) -> anyhow::Error {
    loop {
        if let Some(poison) = node.store().poison() {
            return poison.into();
        }
        tokio::time::sleep(limits::DISK_SAMPLE_INTERVAL).await;
    }
}

/// Returns when the member has failed or ended, and says why.
async fn member_ended(node: &Node) -> anyhow::Error {
    let mut member = node.watch_member();
    let running = match member.wait_for(Option::is_some).await {
        Ok(running) => running.clone(),
        Err(_closed) => None,
    };
    let Some(running) = running else { return std::future::pending().await };
    let mut metrics = running.raft().metrics();
    let mut failed = running.failed();
    loop {
        // At a steady pace: the metrics change with every entry, and each change would wake this task.
        if let Some(Err(_closed)) = metrics.changed().now_or_never() {
            return anyhow::anyhow!("raft has ended");
        }
        if let Err(fatal) = &metrics.borrow_and_update().running_state {
            return anyhow::anyhow!("raft has failed: {fatal}");
        }
        tokio::select! {
            () = tokio::time::sleep(limits::RAFT_LOOK_INTERVAL) => {}
            Ok(why) = failed.wait_for(Option::is_some) => {
                let why = why.clone().unwrap_or_default();
                return anyhow::anyhow!(why);
            }
        }
    }
}

/// Seals, hands over the leadership, takes no new work, lets what is under way finish, and closes the files.
/// `clients` ends when the last request has been answered.
pub async fn drain(node: &Node, until: Instant, clients: impl Future<Output = ()>) {
    tracing::info!("the node drains");
    if let Some(member) = node.member() {
        if tokio::time::timeout(limits::LAST_SEAL_TIMEOUT, seal(&member)).await.is_err() {
            tracing::warn!("the store was not sealed in time; more of the log is replayed");
        }
        hand_over(&member).await;
    }
    node.drain();
    if tokio::time::timeout_at(until, clients).await.is_err() {
        tracing::warn!("requests were still under way when the time to drain was over");
    }
    if let Some(member) = node.member()
        && tokio::time::timeout(CLOSE_TIMEOUT, member.shutdown()).await.is_err()
    {
        tracing::warn!("the log was not closed in time; it is replayed at the next start");
    }
}

/// Closing is one last sync; a disk that takes longer than this is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Has the leader seal what it has in memory, on all members, so that the next start replays little.
async fn seal(member: &Member) {
    let store = member.store();
    let sealed = store.checkpoint().map_or(0, |checkpoint| checkpoint.end_position);
    let nothing_new = member.reader().next_position() == sealed;
    if !member.leads() || nothing_new || store.poison().is_some() {
        return;
    }
    let mut checkpoints = member.checkpoints();
    match checkpointer::seal(member.proposer()).await {
        Ok(seal) => {
            if checkpoints.wait_for(|durable| *durable >= seal).await.is_ok() {
                tracing::info!(seal, "sealed before the end");
            }
        }
        Err(error) => tracing::warn!(%error, "the store was not sealed before the end"),
    }
}

async fn hand_over(member: &Member) {
    if !member.leads() || member.metrics().membership_config.voter_ids().count() < 2 {
        return;
    }
    match member.transfer_leader(0).await {
        Ok((leader, term)) => tracing::info!(leader, term, "handed over the leadership"),
        Err(error) => {
            tracing::warn!(%error, "the leadership was not handed over; an election follows");
        }
    }
}
