//! Real node processes on loopback: started, killed without warning, started again on their volumes.

#![allow(dead_code, reason = "each crate of tests uses a part of it")]
#![allow(clippy::print_stderr, reason = "a failing test shows what its nodes said last")]

use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reckon_api::v1;
use reckon_api::v1::cluster_client::ClusterClient;
use reckon_api::v1::streams_client::StreamsClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// How long a condition may take to come true before a test fails; generous, never asserted on.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// One node: its volume outlives its process.
pub struct NodeProcess {
    pub name: String,
    pub client: u16,
    pub peer: u16,
    pub http: u16,
    pub data: PathBuf,
    peers: Vec<u16>,
    expect: u32,
    /// More of the configuration, as `path=value`.
    settings: Vec<String>,
    child: Option<Child>,
}

/// A store of real processes. Dropping it ends them and deletes their volumes.
pub struct Store {
    pub nodes: Vec<NodeProcess>,
    _folder: TempDir,
}

impl Store {
    /// Starts `size` nodes that form a store by themselves.
    pub fn start(size: usize) -> Self {
        let mut store = Self::prepare(size, size, &[]);
        store.nodes.iter_mut().for_each(NodeProcess::start);
        store
    }

    /// `size` nodes that are not started yet; `expect` of them form a store, the rest joins it. `settings` are more of
    /// the configuration, as `path=value`.
    pub fn prepare(size: usize, expect: usize, settings: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let ports: Vec<[u16; 3]> = (0..size).map(|_| [(); 3].map(|()| free_port())).collect();
        let peers: Vec<u16> = ports.iter().map(|[_, peer, _]| *peer).collect();
        let nodes: Vec<NodeProcess> = ports
            .into_iter()
            .enumerate()
            .map(|(index, [client, peer, http])| NodeProcess {
                name: format!("node-{index}"),
                client,
                peer,
                http,
                data: folder.path().join(format!("node-{index}")),
                // Those that join later are not named to those that form the store.
                peers: if index < expect { peers[..expect].to_vec() } else { peers.clone() },
                expect: u32::try_from(expect).expect("few nodes"),
                settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
                child: None,
            })
            .collect();
        Self { nodes, _folder: folder }
    }

    /// Waits until every running node is ready and open, and all agree on one leader; returns its index.
    pub async fn ready(&self) -> usize {
        eventually("the store is ready", || async {
            let mut leaders = Vec::new();
            for node in self.nodes.iter().filter(|node| node.child.is_some()) {
                node.check_alive();
                let status = node.status().await.ok()?;
                if !status.ready || !status.activated || status.leader_id == 0 {
                    return None;
                }
                leaders.push((status.leader_id, status.term, status.node_id));
            }
            let (leader, term, _) = *leaders.first()?;
            if leaders.iter().any(|(other, at, _)| (*other, *at) != (leader, term)) {
                return None;
            }
            let statuses = leaders.iter().position(|(_, _, own)| *own == leader)?;
            let running: Vec<usize> =
                (0..self.nodes.len()).filter(|index| self.nodes[*index].child.is_some()).collect();
            Some(running[statuses])
        })
        .await
    }
}

impl NodeProcess {
    /// Starts the process on its volume.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        std::fs::create_dir_all(&self.data).expect("a data folder");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.data.with_extension("log"))
            .expect("a log file");
        let addresses: Vec<String> =
            self.peers.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let child = Command::new(env!("CARGO_BIN_EXE_reckon-node"))
            .arg("run")
            .args(["--set", &format!("node.name={}", self.name)])
            .args(["--set", &format!("node.data_dir={}", self.data.display())])
            .args(["--set", &format!("listen.client=127.0.0.1:{}", self.client)])
            .args(["--set", &format!("listen.peer=127.0.0.1:{}", self.peer)])
            .args(["--set", &format!("listen.http=127.0.0.1:{}", self.http)])
            .args(["--set", &format!("advertise.client=127.0.0.1:{}", self.client)])
            .args(["--set", &format!("advertise.peer=127.0.0.1:{}", self.peer)])
            .args(["--set", "formation.mode=expect"])
            .args(["--set", &format!("formation.expect={}", self.expect)])
            .args(["--set", "discovery.mode=static"])
            .args(["--set", &format!("discovery.static=[{}]", addresses.join(","))])
            .args(["--set", "log.file_bytes=16777216"])
            .args(self.settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the node's binary starts");
        self.child = Some(child);
    }

    /// SIGKILL: the process has no chance to say or write anything.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running process");
        child.kill().expect("the process can be killed");
        child.wait().expect("the process ends");
    }

    /// SIGSTOP: the process is there and says nothing.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT, also to a process that was not paused.
    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("a running process");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// SIGTERM, and waits for the end; true when the process ended without an error.
    pub fn terminate(&mut self) -> bool {
        let mut child = self.child.take().expect("a running process");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        child.wait().expect("the process ends").success()
    }

    /// Waits until the process ends by itself; true when it ended without an error.
    pub async fn ends_by_itself(&mut self) -> bool {
        let mut child = self.child.take().expect("a running process");
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let status = tokio::time::timeout(DEADLINE, ended).await.expect("the process ends");
        status.expect("waiting does not panic").expect("the process can be waited for").success()
    }

    /// Fails the test at once when the process has ended by itself.
    fn check_alive(&self) {
        if let Some(child) = &self.child {
            let pid = rustix::process::Pid::from_child(child);
            let options = rustix::process::WaitIdOptions::EXITED
                | rustix::process::WaitIdOptions::NOHANG
                | rustix::process::WaitIdOptions::NOWAIT;
            let ended = rustix::process::waitid(rustix::process::WaitId::Pid(pid), options);
            assert!(matches!(ended, Ok(None)), "{} has ended by itself", self.name);
        }
    }

    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://127.0.0.1:{}", self.client))
            .expect("an address")
            .connect_timeout(Duration::from_secs(1))
            .connect_lazy()
    }

    pub fn streams(&self) -> StreamsClient<Channel> {
        StreamsClient::new(self.channel())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }

    pub async fn status(&self) -> Result<v1::StatusResponse, tonic::Status> {
        Ok(self.cluster().status(v1::StatusRequest {}).await?.into_inner())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- {} said last:", self.name);
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// Tries until there is an answer; fails the test when there is none in time.
pub async fn eventually<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let give_up = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < give_up, "in {DEADLINE:?} it did not come true that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port nobody listens on now, and that the system gives to no outgoing connection before the node has it: from
/// below the range of those. Each test process begins elsewhere, so that two that run side by side seldom meet.
fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = TAKEN.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(97);
        let port =
            PORTS.start + u16::try_from(turn % u32::from(PORTS.end - PORTS.start)).expect("less");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

const PORTS: Range<u16> = 12_000..32_000;

/// An append of one event to one stream.
pub fn append(stream: &str, event_id: &str, data: &str) -> v1::AppendRequest {
    v1::AppendRequest {
        appends: vec![v1::StreamAppend {
            stream_id: stream.to_owned(),
            expectation: None,
            events: vec![v1::NewEvent {
                event_id: Some(event_id.to_owned()),
                event_type: "Tested".to_owned(),
                data: data.to_owned().into(),
                ..v1::NewEvent::default()
            }],
        }],
        condition: None,
    }
}

/// Reads everything through one node.
pub async fn read_all(node: &NodeProcess) -> Result<Vec<v1::Event>, tonic::Status> {
    let mut stream = node.streams().read_all(v1::ReadAllRequest::default()).await?.into_inner();
    let mut events = Vec::new();
    while let Some(message) = stream.message().await? {
        if let Some(v1::read_all_response::Message::Events(batch)) = message.message {
            events.extend(batch.events);
        }
    }
    Ok(events)
}
