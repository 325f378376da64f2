//! A command that is run for each event.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};

use reckon_api::client::Settlement;
use reckon_api::v1;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::event_json::Printed;

/// `EX_TEMPFAIL` of `sysexits.h`: try again.
const EXIT_RETRY: i32 = 75;

/// A command, and what its exit codes mean.
#[derive(Debug)]
pub struct Exec {
    program: OsString,
    arguments: Vec<OsString>,
    /// Exit codes that mean that the event is to be parked.
    park_on: Vec<i32>,
    subscription: String,
}

impl Exec {
    /// `None` if there is no word of a command.
    pub fn new(words: Vec<OsString>, park_on: Vec<i32>, subscription: &str) -> Option<Self> {
        let mut words = words.into_iter();
        let program = words.next()?;
        let subscription = subscription.to_owned();
        Some(Self { program, arguments: words.collect(), park_on, subscription })
    }

    /// What is run, for people.
    pub fn program(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Runs the command for one event. An error: it cannot be run at all.
    pub async fn run(&self, delivery: &v1::Delivery) -> io::Result<Settlement> {
        let none = v1::Event::default();
        let event = delivery.event.as_ref().unwrap_or(&none);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).kill_on_drop(true);
        let numbers = [event.version, event.position, u64::from(delivery.attempt)];
        let [version, position, attempt] = numbers.map(|number| number.to_string());
        for (name, value) in [
            ("RECKON_SUBSCRIPTION", self.subscription.as_str()),
            ("RECKON_EVENT_ID", &event.event_id),
            ("RECKON_EVENT_TYPE", &event.event_type),
            ("RECKON_STREAM", &event.stream_id),
            ("RECKON_VERSION", &version),
            ("RECKON_POSITION", &position),
            ("RECKON_ATTEMPT", &attempt),
            ("RECKON_KEY", if delivery.key.is_empty() { &event.stream_id } else { &delivery.key }),
        ] {
            // No environment holds such a text, and the command has it on its standard input anyway.
            if !value.contains('\0') {
                command.env(name, value);
            }
        }
        let mut child = command.spawn()?;
        let mut line = serde_json::to_vec(&Printed::from(event)).map_err(io::Error::from)?;
        line.push(b'\n');
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input says by its exit code what it thinks of it.
            let _ = stdin.write_all(&line).await;
        }
        Ok(self.settlement(child.wait().await?))
    }

    fn settlement(&self, status: ExitStatus) -> Settlement {
        match status.code() {
            Some(0) => Settlement::Ack,
            Some(code) if self.park_on.contains(&code) => {
                Settlement::park(format!("the command ended with exit code {code}"))
            }
            Some(EXIT_RETRY) => Settlement::retry("the command asked for a retry"),
            Some(code) => Settlement::retry(format!("the command ended with exit code {code}")),
            None => Settlement::retry(format!("the command was ended: {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ran(script: &str) -> Settlement {
        let words = ["sh", "-c", script].map(OsString::from).to_vec();
        let exec = Exec::new(words, vec![3], "billing").unwrap();
        let event = v1::Event {
            stream_id: "orders-1".to_owned(),
            version: 7,
            event_type: "Placed".to_owned(),
            ..v1::Event::default()
        };
        let delivery = v1::Delivery { event: Some(event), attempt: 2, ..v1::Delivery::default() };
        exec.run(&delivery).await.unwrap()
    }

    #[tokio::test]
    async fn an_exit_code_says_what_becomes_of_the_event() {
        assert_eq!(ran("exit 0").await, Settlement::Ack);
        assert_eq!(ran("exit 75").await, Settlement::retry("the command asked for a retry"));
        assert_eq!(ran("exit 3").await, Settlement::park("the command ended with exit code 3"));
        assert_eq!(ran("exit 1").await, Settlement::retry("the command ended with exit code 1"));
        assert!(matches!(ran("kill -9 $$").await, Settlement::Retry { .. }));
    }

    #[tokio::test]
    async fn the_event_is_on_standard_input_and_its_main_fields_in_the_environment() {
        let script = "read line; case \"$line\" in '{\"event_id\":'*'\"stream\":\"orders-1\"'*) ;; *) exit 1;; esac; \
             test \"$RECKON_SUBSCRIPTION $RECKON_STREAM $RECKON_VERSION $RECKON_EVENT_TYPE $RECKON_ATTEMPT $RECKON_KEY\" \
             = 'billing orders-1 7 Placed 2 orders-1'";
        assert_eq!(ran(script).await, Settlement::Ack);
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_an_error() {
        let exec = Exec::new(vec!["/does/not/exist".into()], Vec::new(), "billing").unwrap();
        assert!(exec.run(&v1::Delivery::default()).await.is_err());
    }
}
