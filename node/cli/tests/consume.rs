//! `reckon consume` against a broker in memory.

#![allow(clippy::unwrap_used, reason = "a test has nobody to report to")]

use reckon_api::testing::{Broker, Outcome};
use reckon_api::{Reason, v1};
use tokio::process::Command;

async fn broker(streams: &[&str]) -> Broker {
    let broker = Broker::start(v1::SubscriptionDefinition::default()).await;
    for stream in streams {
        let event = v1::Event {
            stream_id: (*stream).to_owned(),
            event_type: "Placed".to_owned(),
            data: "{\"total\":7}".into(),
            ..v1::Event::default()
        };
        broker.offer(stream, event);
    }
    broker
}

/// The exit code, and what was printed.
async fn consumed(broker: &Broker, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reckon"));
    for name in ["RECKON_ENDPOINTS", "RECKON_OUTPUT", "RECKON_TIMEOUT"] {
        command.env_remove(name);
    }
    let endpoint = broker.address.to_string();
    command.args(["-e", &endpoint, "consume", "billing"]).args(arguments);
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn outcomes(broker: &Broker) -> Vec<(u64, Outcome)> {
    broker.settled().into_iter().map(|settled| (settled.position, settled.outcome)).collect()
}

#[tokio::test]
async fn events_are_printed_and_acknowledged() {
    let broker = broker(&["a", "b", "a"]).await;
    let (code, stdout, stderr) = consumed(&broker, &["--until-caught-up", "-o", "json"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout.lines().count(), 3);
    for line in stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["data"]["total"], 7);
    }
    assert_eq!(outcomes(&broker).len(), 3);
    assert!(outcomes(&broker).iter().all(|(_, outcome)| *outcome == Outcome::Ack));
}

#[tokio::test]
async fn a_limit_leaves_the_rest_for_others() {
    let broker = broker(&["a", "b", "c"]).await;
    let (code, stdout, _) = consumed(&broker, &["--limit", "2"]).await;
    assert_eq!((code, stdout.lines().count(), outcomes(&broker).len()), (0, 2, 2));
}

#[tokio::test]
async fn a_command_says_by_its_exit_code_what_becomes_of_an_event() {
    let broker = broker(&["done", "again", "odd", "poison"]).await;
    let script = "test $RECKON_ATTEMPT = 1 || exit 0; \
         case $RECKON_STREAM in done) exit 0;; again) exit 75;; odd) exit 9;; *) exit 65;; esac";
    let arguments = ["--limit", "6", "--park-on", "65", "--exec", "sh", "-c", script];
    let (code, _, stderr) = consumed(&broker, &arguments).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let found = outcomes(&broker);
    for expected in [
        (0, Outcome::Ack),
        (1, Outcome::Retry("the command asked for a retry".to_owned(), None)),
        (1, Outcome::Ack),
        (2, Outcome::Retry("the command ended with exit code 9".to_owned(), None)),
        (2, Outcome::Ack),
        (3, Outcome::Park("the command ended with exit code 65".to_owned())),
    ] {
        assert!(found.contains(&expected), "{expected:?} is not in {found:?}");
    }
}

#[tokio::test]
async fn a_running_command_is_waited_for_when_the_program_is_told_to_end() {
    let broker = broker(&["a", "a"]).await;
    let script = "kill -TERM $PPID; exit 0";
    let (code, _, stderr) = consumed(&broker, &["--exec", "sh", "-c", script]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(outcomes(&broker)[0], (0, Outcome::Ack));
    assert_eq!(broker.calls().1, 1, "the call was ended and not broken");
}

#[tokio::test]
async fn a_command_that_cannot_be_run_ends_the_program_and_harms_no_event() {
    let broker = broker(&["a"]).await;
    let (code, _, stderr) = consumed(&broker, &["--exec", "/does/not/exist"]).await;
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("/does/not/exist"), "{stderr}");
    assert!(matches!(outcomes(&broker)[0], (0, Outcome::Retry(..))));
}

#[tokio::test]
async fn a_subscription_that_is_not_there_is_refused_with_a_hint() {
    let broker = broker(&[]).await;
    broker.refuse(Reason::SubscriptionNotFound, []);
    let (code, _, stderr) = consumed(&broker, &[]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("[SUBSCRIPTION_NOT_FOUND]") && stderr.contains("hint: "), "{stderr}");
}
