//! Real input: the Kubernetes Events of a cluster, one stream for each object they are about, as they happen.

use std::{collections::HashSet, sync::Arc};

use anyhow::Result;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use reckon_api::{Client, client::Expect, v1::NewEvent};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ledger::Ledger, writer::append};

/// Where ids of our events are made from those of Kubernetes: the same Event always gives the same id.
const ID_NAMESPACE: Uuid = Uuid::from_u128(0x5d1c_6f0e_0f5a_4c6b_9a52_3a2f_6a86_71c4);

/// Follows the Events of all namespaces into the store until told to stop; returns how many there were.
pub async fn feed_events(
    kubernetes: kube::Client,
    store: Client,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) -> Result<u64> {
    let events: Api<Event> = Api::all(kubernetes);
    let watch = watcher(events, watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(watch);
    // A watch that begins anew lists again what it has shown.
    let mut seen = HashSet::new();
    let mut fed = 0;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return Ok(fed),
            next = watch.next() => match next {
                Some(Ok(event)) => event,
                // The watch goes on by itself after a pause.
                Some(Err(error)) => {
                    tracing::debug!("the watch of Events: {error}");
                    continue;
                }
                None => return Ok(fed),
            },
        };
        let version = event.resource_version().unwrap_or_default();
        let name = format!("{}/{version}", event.uid().unwrap_or_default());
        let id = Uuid::new_v5(&ID_NAMESPACE, name.as_bytes());
        if seen.insert(id) {
            append(&store, &ledger, &stream_of(&event), Expect::Any, as_new(&event, id)?).await?;
            fed += 1;
        }
    }
}

/// `<kind>.<namespace>.<name>` of the object that an Event is about.
fn stream_of(event: &Event) -> String {
    let about = &event.involved_object;
    let part = |value: &Option<String>| value.clone().filter(|it| !it.is_empty());
    [part(&about.kind), part(&about.namespace), part(&about.name)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(".")
}

fn as_new(event: &Event, id: Uuid) -> Result<NewEvent> {
    Ok(NewEvent {
        event_id: Some(id.to_string()),
        event_type: event.reason.clone().filter(|it| !it.is_empty()).unwrap_or("Event".into()),
        data: serde_json::to_vec(event)?.into(),
        data_content_type: "application/json".into(),
        tags: vec!["kubernetes".into()],
        ..NewEvent::default()
    })
}
