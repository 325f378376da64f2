//! The resolver against a name server of a few lines on loopback, and the connector against real sockets.

use std::collections::HashMap;
use std::sync::Mutex;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

const TIME_TO_LIVE_SECONDS: u32 = 3600;

type Zone = Arc<Mutex<HashMap<(String, RecordType), Vec<RData>>>>;

/// Serves what the zone holds at the moment of each question, with a long time to live.
async fn name_server() -> (SocketAddr, Zone) {
    let zone = Zone::default();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answers = zone.clone();
    tokio::spawn(async move {
        let mut datagram = [0_u8; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            let question = Message::from_vec(&datagram[..length]).unwrap();
            let query = question.queries[0].clone();
            let key = (query.name().to_string(), query.query_type());
            let found = answers.lock().unwrap().get(&key).cloned().unwrap_or_default();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            if found.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_query(query.clone());
            answer.add_answers(
                found.into_iter().map(|data| {
                    Record::from_rdata(query.name().clone(), TIME_TO_LIVE_SECONDS, data)
                }),
            );
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, zone)
}

fn set(zone: &Zone, name: &str, kind: RecordType, records: Vec<RData>) {
    zone.lock().unwrap().insert((name.to_owned(), kind), records);
}

fn a(address: [u8; 4]) -> RData {
    RData::A(A(address.into()))
}

#[tokio::test]
async fn literals_and_localhost_need_no_name_server() {
    let nobody = Resolver::with_name_servers(&[]).unwrap();
    for (host, expect) in [
        ("10.1.2.3", vec!["10.1.2.3"]),
        ("[::1]", vec!["::1"]),
        ("fd00::1", vec!["fd00::1"]),
        ("localhost", vec!["127.0.0.1", "::1"]),
        ("LOCALHOST.", vec!["127.0.0.1", "::1"]),
    ] {
        let expect: Vec<IpAddr> = expect.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(nobody.resolve(host).await.unwrap(), expect, "{host}");
    }
}

#[tokio::test]
async fn a_changed_address_is_seen_at_once_whatever_its_time_to_live() {
    let (address, zone) = name_server().await;
    let resolver = Resolver::with_name_servers(&[address]).unwrap();
    for last in 1..=5 {
        set(&zone, "pod.store.", RecordType::A, vec![a([10, 0, 0, last])]);
        let expect: Vec<IpAddr> = vec![[10, 0, 0, last].into()];
        assert_eq!(resolver.resolve("pod.store").await.unwrap(), expect);
    }
}

#[tokio::test]
async fn a_name_that_appears_later_is_found_then() {
    let (address, zone) = name_server().await;
    let resolver = Resolver::with_name_servers(&[address]).unwrap();
    let error = resolver.resolve("pod.store").await.unwrap_err();
    assert!(matches!(error, ResolveError::NotFound { .. }), "{error:?}");
    assert!(error.retryable());
    set(&zone, "pod.store.", RecordType::A, vec![a([10, 0, 0, 1])]);
    assert_eq!(resolver.resolve("pod.store").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_service_name_gives_host_and_port_of_every_instance() {
    let (address, zone) = name_server().await;
    let resolver = Resolver::with_name_servers(&[address]).unwrap();
    let srv = |host: &str| RData::SRV(SRV::new(0, 50, 7431, Name::from_utf8(host).unwrap()));
    set(
        &zone,
        "_peer._tcp.store.",
        RecordType::SRV,
        vec![srv("s-1.store."), srv("s-0.store."), srv(".")],
    );
    let mut found = resolver.resolve_service("_peer._tcp.store").await.unwrap();
    found.sort();
    let expect =
        ["s-0.store", "s-1.store"].map(|host| ServiceTarget { host: host.to_owned(), port: 7431 });
    assert_eq!(found, expect);
}

#[tokio::test]
async fn text_that_is_no_name_is_not_worth_a_retry() {
    let nobody = Resolver::with_name_servers(&[]).unwrap();
    let error = nobody.resolve("a..b").await.unwrap_err();
    assert!(!error.retryable(), "{error:?}");
}

#[tokio::test]
async fn each_connection_goes_where_the_name_points_then() {
    let (dns, zone) = name_server().await;
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let resolver = Resolver::with_name_servers(&[dns]).unwrap();
    let mut connector = Connector::new(resolver, Duration::from_secs(30));
    let uri: Uri = format!("http://pod.store:{port}").parse().unwrap();

    for (listener, ip) in [(&first, [127, 0, 0, 1]), (&second, [127, 0, 0, 2])] {
        set(&zone, "pod.store.", RecordType::A, vec![a(ip)]);
        let connected = connector.call(uri.clone()).await.unwrap();
        assert_eq!(connected.inner().peer_addr().unwrap(), listener.local_addr().unwrap());
        assert!(connected.inner().nodelay().unwrap());
    }
}

#[tokio::test]
async fn an_address_that_refuses_does_not_hide_one_that_answers() {
    let (dns, zone) = name_server().await;
    let listener = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    set(&zone, "pod.store.", RecordType::A, vec![a([127, 0, 0, 4]), a([127, 0, 0, 3])]);
    let resolver = Resolver::with_name_servers(&[dns]).unwrap();
    let mut connector = Connector::new(resolver, Duration::from_secs(30));
    let uri: Uri = format!("http://pod.store:{port}").parse().unwrap();
    let connected = connector.call(uri).await.unwrap();
    assert_eq!(connected.inner().peer_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 3]));
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut connector = Connector::default();
    let error = connector.call(format!("http://{free}").parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    assert!(error.retryable());
}

#[tokio::test]
async fn a_silent_name_server_ends_in_a_timeout_that_names_the_limit() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = Resolver::with_name_servers(&[silent.local_addr().unwrap()]).unwrap();
    let mut connector = Connector::new(resolver, Duration::from_millis(50));
    let error = connector.call("http://pod.store:1".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("50 ms"), "{error}");
}

#[tokio::test]
async fn an_endpoint_without_a_port_is_refused_for_good() {
    let error = Connector::default().call("http://127.0.0.1".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("port"), "{error}");
    assert!(!error.retryable());
}
