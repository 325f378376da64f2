//! Reads that find something particular, compared with what reading everything finds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use reckon_api::{
    Client,
    v1::{Event, EventTypes, Filter, FilterTerm, ReadAllRequest, Tags, filter_term::Kind},
};
use serde::Serialize;

use super::{
    verify::is_users,
    writer::{EVENT_TYPE, TENTH},
};

/// What one particular read found, and how long it took.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What was asked for, for people.
    pub asked: String,
    /// Events found: exactly those that are there.
    pub events: u64,
    /// From the request to the last event.
    pub seconds: f64,
}

/// What particular reads found.
#[derive(Clone, Debug, Serialize)]
pub struct Selection {
    /// Events of a type that carry a tag.
    pub filtered: Found,
    /// Events that the store took in the middle of the demonstration.
    pub by_time: Found,
}

/// Reads by type and tag, and by time; fails when either finds other events than there are among `all`.
pub async fn select(client: &Client, all: &[Event]) -> Result<Selection> {
    let first = all.first().context("the store is empty")?.epoch_us;
    let last = all.last().context("the store is empty")?.epoch_us;
    let (since_us, until_us) = (first + (last - first) / 3, last - (last - first) / 3);

    let types = Kind::Types(EventTypes { types: vec![EVENT_TYPE.to_owned()] });
    let tags = Kind::Tags(Tags { tags: vec![TENTH.to_owned()], all: true });
    let terms = [types, tags].map(|kind| FilterTerm { negate: false, kind: Some(kind) });
    let filter = Some(Filter { terms: terms.into() });
    let filtered = find(
        client,
        ReadAllRequest { filter, ..ReadAllRequest::default() },
        format!("type {EVENT_TYPE} and tag {TENTH}"),
        all.iter().filter(|event| {
            event.event_type == EVENT_TYPE && event.tags.iter().any(|tag| tag == TENTH)
        }),
    )
    .await?;
    let by_time = find(
        client,
        ReadAllRequest {
            since_us: Some(since_us),
            until_us: Some(until_us),
            ..ReadAllRequest::default()
        },
        format!(
            "the middle third, {:.1} s",
            Duration::from_micros(until_us - since_us).as_secs_f64()
        ),
        all.iter()
            .filter(|event| is_users(event) && (since_us..=until_us).contains(&event.epoch_us)),
    )
    .await?;
    Ok(Selection { filtered, by_time })
}

async fn find<'a>(
    client: &Client,
    request: ReadAllRequest,
    asked: String,
    expected: impl Iterator<Item = &'a Event>,
) -> Result<Found> {
    let started = Instant::now();
    let mut reading = client.read_all(request).await.with_context(|| asked.clone())?;
    let mut found = Vec::new();
    while let Some(event) = reading.next().await {
        found.push(event.with_context(|| asked.clone())?.position);
    }
    let seconds = started.elapsed().as_secs_f64();
    let expected: Vec<u64> = expected.map(|event| event.position).collect();
    ensure!(
        found == expected,
        "reading {asked} found {} events, and {} are there",
        found.len(),
        expected.len()
    );
    Ok(Found { asked, events: found.len() as u64, seconds })
}
