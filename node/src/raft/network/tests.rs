//! When a peer is dialled.

use std::sync::atomic::{AtomicUsize, Ordering};

use uuid::Uuid;

use futures::future::BoxFuture;

use super::*;
use crate::raft::intake;
use crate::storage::Options;

/// Counts, and reaches nobody.
#[derive(Debug, Default)]
struct CountingDial(AtomicUsize);

impl Dial for CountingDial {
    fn dial(&self, endpoint: Endpoint) -> Channel {
        self.0.fetch_add(1, Ordering::SeqCst);
        endpoint.connect_lazy()
    }

    fn reach(&self, _address: &str) -> BoxFuture<'static, std::io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// openraft holds the first request of a stream back for as long as its backoff says.
#[tokio::test]
async fn a_peer_is_dialled_only_when_there_is_a_request_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store =
        Store::open_folder(folder.path(), &Options::default(), Uuid::now_v7).expect("a store");
    let limits = intake::Options { unsealed_bytes_max: u64::MAX, log_file_bytes: 1 };
    let source = CheckpointSource {
        store,
        sends: SnapshotSends::default(),
        own_address: "127.0.0.1:1".to_owned(),
    };
    let identity =
        Identity { node_id: 1, cluster_id: "store".to_owned(), epoch: 1, format_version: 1 };
    let dial = Arc::new(CountingDial::default());
    let mut network = PeerNetwork::new(
        identity,
        Connections::new(Arc::clone(&dial) as Arc<dyn Dial>),
        Intake::new(Arc::default(), limits),
        Arc::new(source),
        Duration::from_secs(1),
    );
    let peer = PeerNode { peer_address: "127.0.0.1:1".to_owned(), ..PeerNode::default() };
    let mut link = network.new_client(2, &peer).await;
    let option = RPCOption::new(Duration::from_secs(1));
    let held_back = stream::pending::<AppendEntriesRequest<TypeConfig>>();
    let mut opening = link.stream_append(held_back, option);
    assert!(futures::poll!(&mut opening).is_pending());
    assert_eq!(dial.0.load(Ordering::SeqCst), 0);
}
