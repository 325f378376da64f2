//! `reckon sink` between a broker in memory and a small HTTP server.

#![allow(clippy::unwrap_used, reason = "a test has nobody to report to")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use reckon_api::testing::{Broker, Outcome};
use reckon_api::v1;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the server answers to a request; with nothing scripted, 204.
type Answers = VecDeque<(u16, Option<&'static str>, &'static str)>;

/// A server that takes events.
#[derive(Debug, Clone, Default)]
struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<Answers>>,
    /// Keys in requests under way.
    under_way: Arc<Mutex<BTreeSet<String>>>,
    /// Keys that were in two requests at once.
    at_once: Arc<Mutex<Vec<String>>>,
    /// A request that holds this is refused whenever it comes.
    poison: Option<&'static str>,
}

impl Server {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn answer(&self, status: u16, retry_after: Option<&'static str>, text: &'static str) {
        self.answers.lock().unwrap().push_back((status, retry_after, text));
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn take(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    let seen = Seen { headers, body };
    let keys: Vec<String> = if seen.header("content-type").contains("batch") {
        let events = seen.json();
        let events = events.as_array().unwrap().iter();
        events.map(|event| event["partitionkey"].as_str().unwrap().to_owned()).collect()
    } else {
        vec![seen.header("ce-partitionkey").to_owned()]
    };
    for key in keys.iter().filter(|key| !key.is_empty()) {
        if !server.under_way.lock().unwrap().insert(key.clone()) {
            server.at_once.lock().unwrap().push(key.clone());
        }
    }
    // Lets another request come meanwhile, if there is one.
    tokio::task::yield_now().await;
    for key in keys {
        server.under_way.lock().unwrap().remove(&key);
    }
    let poisoned =
        server.poison.is_some_and(|poison| String::from_utf8_lossy(&seen.body).contains(poison));
    server.seen.lock().unwrap().push(seen);
    if poisoned {
        return (StatusCode::UNPROCESSABLE_ENTITY, "poison").into_response();
    }
    let scripted = server.answers.lock().unwrap().pop_front();
    let (status, retry_after, text) = scripted.unwrap_or((204, None, ""));
    let headers: Vec<_> = retry_after.map(|after| ("retry-after", after)).into_iter().collect();
    let status = StatusCode::from_u16(status).unwrap();
    let mut answer = (status, text).into_response();
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

async fn broker(sink: v1::Sink) -> Broker {
    let sink = Some(sink);
    Broker::start(v1::SubscriptionDefinition { sink, ..Default::default() }).await
}

fn offer(broker: &Broker, stream: &str, data: &str) {
    let event = v1::Event {
        event_id: uuid::Uuid::now_v7().to_string(),
        stream_id: stream.to_owned(),
        event_type: "Placed".to_owned(),
        data: data.as_bytes().to_vec().into(),
        data_content_type: "application/json".to_owned(),
        epoch_us: 1_700_000_000_000_000,
        ..v1::Event::default()
    };
    broker.offer(stream, event);
}

fn sink_to(address: SocketAddr) -> v1::Sink {
    v1::Sink { url: format!("http://{address}/events?a=b"), ..v1::Sink::default() }
}

/// The program under way; it ends with the test.
fn start(broker: &Broker, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reckon"));
    for name in ["RECKON_ENDPOINTS", "RECKON_OUTPUT", "RECKON_TIMEOUT"] {
        command.env_remove(name);
    }
    let endpoint = broker.address.to_string();
    command
        .args(["-e", &endpoint, "sink", "billing", "--store", "shop"])
        .args(arguments)
        .env("TOKEN", "secret-of-this-test")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Tells the program to end, as Kubernetes does; what it logged.
async fn end(child: Child) -> String {
    let id = child.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
    assert!(told.success());
    let output = child.wait_with_output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    log
}

fn outcomes(broker: &Broker) -> Vec<(u64, Outcome)> {
    broker.settled().into_iter().map(|settled| (settled.position, settled.outcome)).collect()
}

#[tokio::test]
async fn an_event_is_a_request_with_its_attributes_in_headers() {
    let server = Server::default();
    let mut sink = sink_to(server.start().await);
    sink.headers = [("x-tenant".to_owned(), "one".to_owned())].into();
    let broker = broker(sink).await;
    offer(&broker, "orders-1", "{\"total\":7}");
    let headers = ["--header", "x-more=two", "--header-env", "authorization=TOKEN"];
    let child = start(&broker, &[headers.as_slice(), &["--log-level", "trace"]].concat());
    broker.until_done(1).await;
    let log = end(child).await;
    let seen = &server.seen()[0];
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-source", "reckon/shop/orders-1"),
        ("ce-type", "Placed"),
        ("ce-subject", "orders-1"),
        ("ce-time", "2023-11-14T22:13:20Z"),
        ("ce-reckonposition", "0"),
        ("ce-reckonattempt", "1"),
        ("ce-partitionkey", "orders-1"),
        ("content-type", "application/json"),
        ("x-tenant", "one"),
        ("x-more", "two"),
        ("authorization", "secret-of-this-test"),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_eq!(seen.body, "{\"total\":7}");
    assert_eq!(outcomes(&broker), [(0, Outcome::Ack)]);
    assert!(!log.contains("secret-of-this-test"), "{log}");
    assert_eq!(broker.calls().1, 1, "the call was ended and not broken");
}

#[tokio::test]
async fn in_the_structured_mode_an_event_is_one_object() {
    let server = Server::default();
    let sink = v1::Sink { mode: v1::SinkMode::Structured.into(), ..sink_to(server.start().await) };
    let broker = broker(sink).await;
    offer(&broker, "orders-1", "{\"total\":7}");
    let child = start(&broker, &[]);
    broker.until_done(1).await;
    end(child).await;
    let seen = &server.seen()[0];
    assert_eq!(seen.header("content-type"), "application/cloudevents+json");
    assert_eq!(seen.json()["data"]["total"], 7);
    assert_eq!(seen.json()["subject"], "orders-1");
}

#[tokio::test]
async fn a_batch_holds_many_keys_and_only_what_is_poison_is_parked() {
    let poison = Some("poison");
    let server = Server { poison, ..Server::default() };
    let sink = v1::Sink { batch_max: 10, concurrency: 1, ..sink_to(server.start().await) };
    let broker = broker(sink).await;
    for number in 0..40 {
        let data = if number == 13 { "\"poison\"" } else { "{}" };
        offer(&broker, &format!("orders-{}", number % 20), data);
    }
    let child = start(&broker, &[]);
    broker.until_done(40).await;
    end(child).await;
    assert!(server.at_once.lock().unwrap().is_empty());
    let parked: Vec<_> =
        outcomes(&broker).into_iter().filter(|(_, outcome)| *outcome != Outcome::Ack).collect();
    let reason = "422 Unprocessable Entity: poison".to_owned();
    assert_eq!(parked, [(13, Outcome::Park(reason))]);
    let sizes: Vec<_> =
        server.seen().iter().map(|seen| seen.json().as_array().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size > 1), "{sizes:?}");
    assert_eq!(server.seen()[0].header("content-type"), "application/cloudevents-batch+json");
}

#[tokio::test]
async fn an_event_comes_again_when_the_sink_says_so_and_not_before() {
    let server = Server::default();
    server.answer(503, Some("7"), "");
    server.answer(429, None, "slowly");
    let broker = broker(sink_to(server.start().await)).await;
    offer(&broker, "orders-1", "{}");
    let child = start(&broker, &[]);
    broker.until_done(1).await;
    end(child).await;
    let expected = [
        (0, Outcome::Retry("503 Service Unavailable".to_owned(), Some(7000))),
        (0, Outcome::Retry("429 Too Many Requests: slowly".to_owned(), None)),
        (0, Outcome::Ack),
    ];
    assert_eq!(outcomes(&broker), expected);
    let attempts: Vec<_> =
        server.seen().iter().map(|seen| seen.header("ce-reckonattempt").to_owned()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
}

#[tokio::test]
async fn an_event_that_the_sink_refuses_is_parked_with_its_words() {
    let server = Server::default();
    server.answer(400, None, "no such product");
    let broker = broker(sink_to(server.start().await)).await;
    offer(&broker, "orders-1", "{}");
    let child = start(&broker, &[]);
    broker.until_done(1).await;
    let log = end(child).await;
    let reason = "400 Bad Request: no such product".to_owned();
    assert_eq!(outcomes(&broker), [(0, Outcome::Park(reason))]);
    assert!(log.contains("no such product"), "{log}");
}

#[tokio::test]
async fn events_of_a_key_stay_in_order_whatever_fails() {
    let server = Server::default();
    for _ in 0..20 {
        for status in [204, 500, 204, 503] {
            server.answer(status, None, "");
        }
    }
    let broker = broker(sink_to(server.start().await)).await;
    for number in 0..60 {
        offer(&broker, &format!("orders-{}", number % 3), "{}");
    }
    let child = start(&broker, &[]);
    broker.until_done(60).await;
    end(child).await;
    assert!(server.at_once.lock().unwrap().is_empty());
    let mut acknowledged = BTreeMap::<u64, Vec<u64>>::new();
    for (position, outcome) in outcomes(&broker) {
        if outcome == Outcome::Ack {
            acknowledged.entry(position % 3).or_default().push(position);
        }
    }
    for (key, positions) in acknowledged {
        assert!(positions.is_sorted() && positions.len() == 20, "{key}: {positions:?}");
    }
}

#[tokio::test]
async fn a_sink_that_is_not_there_is_tried_again() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let broker = broker(sink_to(nobody)).await;
    offer(&broker, "orders-1", "{}");
    let child = start(&broker, &[]);
    broker.until_delivered(3).await;
    end(child).await;
    assert!(matches!(outcomes(&broker)[0], (0, Outcome::Retry(..))));
}

#[tokio::test]
async fn a_subscription_without_a_sink_is_refused() {
    let broker = Broker::start(v1::SubscriptionDefinition::default()).await;
    let output = start(&broker, &[]).wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--sink-url"));
}

#[tokio::test]
async fn a_probe_is_answered_and_figures_are_told() {
    let server = Server::default();
    server.answer(500, None, "");
    let broker = broker(sink_to(server.start().await)).await;
    offer(&broker, "orders-1", "{}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let child = start(&broker, &["--probe-listen", &free]);
    broker.until_done(1).await;
    assert!(got(&free, "/healthz").await.ends_with("ok\n"));
    let metrics = got(&free, "/metrics").await;
    assert!(metrics.contains("reckon_sink_delivered_total 1"), "{metrics}");
    assert!(metrics.contains("reckon_sink_failed_total{class=\"Server\"} 1"), "{metrics}");
    end(child).await;
}

/// A GET by hand: no client is needed for two of them.
async fn got(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}
