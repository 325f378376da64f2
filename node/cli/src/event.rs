//! `reckon event`: one event by its id.

use reckon_api::{Client, v1};
use uuid::Uuid;

use crate::consistency::Fresh;
use crate::events::{self, Shown};
use crate::failure::Failure;
use crate::output::Output;

/// Show one event by its id.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon event 0190163d-8694-739b-aea5-966c26f8ad91
  reckon event 0190163d-8694-739b-aea5-966c26f8ad91 --output json | jq .data")]
pub struct Event {
    /// The event's id.
    #[arg(value_name = "UUID")]
    id: Uuid,
    #[command(flatten)]
    fresh: Fresh,
}

impl Event {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::GetEventRequest {
            event_id: self.id.to_string(),
            consistency: self.fresh.to_message(),
        };
        events::print(&client.get_event(request).await?, output, Shown::Position)
    }
}
