//! Writers that append one event after the other, each to its own stream, and never give up on one before the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use reckon_api::{
    Client,
    client::{Error, Expect},
    v1::NewEvent,
};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ledger::Ledger;

/// The pause of a writer between two appends: steady, not as fast as it goes.
const PAUSE: Duration = Duration::from_millis(5);

/// The type of all events of writers.
pub const EVENT_TYPE: &str = "Written";

/// What every tenth event of a writer is tagged with.
pub const TENTH: &str = "tenth";

/// The pause after an answer that a retry may better.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Writers at work. Dropping it ends them wherever they are.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<()>>,
}

impl Writers {
    /// Does something while they write; ends at once when one of them is refused something.
    pub async fn during<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(outcome) = self.tasks.join_next() => outcome.context("a writer panicked")??,
            }
        }
    }

    /// Lets every writer finish its event, and fails if one was refused something.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(outcome) = self.tasks.join_next().await {
            outcome.context("a writer panicked")??;
        }
        Ok(())
    }
}

/// Starts `count` writers, on streams named after `prefix`. Each expects the version that its last append gave, so that a
/// lost or doubled event would be refused at once.
#[must_use]
pub fn steady(client: &Client, ledger: &Arc<Ledger>, prefix: &str, count: usize) -> Writers {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (client, ledger, stop) = (client.clone(), ledger.clone(), stop.clone());
        let stream = format!("{prefix}-{number}");
        tasks.spawn(async move {
            let mut expected = Expect::NoStream;
            let mut sequence = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let event = NewEvent {
                    event_type: EVENT_TYPE.into(),
                    tags: sequence.is_multiple_of(10).then(|| TENTH.into()).into_iter().collect(),
                    data: serde_json::to_vec(&json!({ "sequence": sequence }))?.into(),
                    data_content_type: "application/json".into(),
                    ..NewEvent::default()
                };
                let version = append(&client, &ledger, &stream, expected, event).await?;
                ensure!(version == sequence, "{stream}: event {sequence} got version {version}");
                expected = Expect::Version(version);
                sequence += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(())
        });
    }
    Writers { stop, tasks }
}

/// Appends one event, under an id of its own unless it has one, until the store answers; returns its version. Fails only
/// on what a retry cannot help.
pub async fn append(
    client: &Client,
    ledger: &Ledger,
    stream: &str,
    expected: Expect,
    mut event: NewEvent,
) -> Result<u64> {
    let id = match &event.event_id {
        Some(id) => id.parse()?,
        None => Uuid::now_v7(),
    };
    event.event_id = Some(id.to_string());
    let entry = ledger.sent(stream, id);
    loop {
        match client.append_to(stream, expected, vec![event.clone()]).await {
            Ok(answer) => {
                let version = answer.streams.first().context("an answer without a stream")?;
                ledger.acknowledged(entry, version.last_version, answer.last_position);
                return Ok(version.last_version);
            }
            Err(error) if error.retryable() => {
                tracing::debug!("{stream}: {error}");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(refused(stream, error)),
        }
    }
}

fn refused(stream: &str, error: Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("an append to {stream} was refused"))
}
