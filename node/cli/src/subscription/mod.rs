//! `reckon subscription`: subscriptions being made, changed, looked at, moved and removed, and their parked events.

mod definition;
mod file;
mod health;
mod parked;
mod show;

use clap::Subcommand;
use futures::TryStreamExt as _;
use reckon_api::v1::ack_request::Upto;
use reckon_api::{Client, v1};

pub use definition::Header;

use crate::append::STDIN;
use crate::failure::Failure;
use crate::output::Output;
use definition::{DefinitionArgs, START, Start};
use file::Definition;
use health::Health;
use parked::{Discard, Parked, Replay};

/// Make, change, look at, move and remove subscriptions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription create billing --stream-pattern 'orders-*'
  reckon subscription get billing
  reckon subscription health")]
pub struct Subscription {
    #[command(subcommand)]
    command: SubscriptionCommand,
}

#[derive(Debug, Subcommand)]
enum SubscriptionCommand {
    /// Register a subscription. The same definition again changes nothing.
    Create(Box<Create>),
    /// Change a subscription: what is said replaces what was.
    Update(Box<Update>),
    /// Show one subscription.
    Get(Get),
    /// List the subscriptions.
    List(List),
    /// Remove a subscription with its checkpoint and its list of parked events.
    Delete(Delete),
    /// Say whether there is such a subscription.
    Exists(Exists),
    /// Move a subscription's checkpoint, backward or forward.
    Reset(Reset),
    /// Acknowledge everything up to an event.
    Ack(Ack),
    /// Show how a subscription, or each of them, is doing.
    Health(Health),
    /// List parked events.
    Parked(Parked),
    /// Have parked events delivered again.
    Replay(Replay),
    /// Forget parked events.
    Discard(Discard),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription create billing --stream-pattern 'orders-*' --pool-size 4
  reckon subscription create big --where 'total gte 100' --where 'land in [\"CH\"]' --from end
  reckon subscription create mirror --all --sink-url http://mirror/in --sink-batch-max 50
  reckon subscription create --file billing.yaml")]
struct Create {
    /// The subscription's name.
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// Take the definition from a file of YAML or JSON, as `get --output json` prints it; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "SelectorArgs", "StartArgs", "ConsumerArgs", "SinkArgs"])]
    file: Option<String>,
    #[command(flatten)]
    definition: DefinitionArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription update billing --pool-size 8 --ack-timeout 1m
  reckon subscription update --file billing.yaml")]
struct Update {
    /// The subscription's name.
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// Take the whole new definition from a file of YAML or JSON; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "SelectorArgs", "StartArgs", "ConsumerArgs", "SinkArgs"])]
    file: Option<String>,
    #[command(flatten)]
    definition: DefinitionArgs,
}

/// A subscription by its name or by its key.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The subscription's name, or its key with --by-key.
    subscription: String,
    /// Take it for the subscription's key.
    #[arg(long)]
    by_key: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription get billing
  reckon subscription get billing --output json | jq .definition > billing.json")]
struct Get {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription list
  reckon subscription list --type by_stream --prefix orders- --output json | jq .definition.name")]
struct List {
    /// Only subscriptions of this type; also with `by_` in front.
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    kind: String,
    /// Only subscriptions whose names start with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription delete billing
  reckon subscription delete billing --type event_pattern")]
struct Delete {
    #[command(flatten)]
    which: Which,
    /// Only if it is of this type; also with `by_` in front.
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    kind: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription exists billing
  reckon subscription exists billing --output json | jq .exists")]
struct Exists {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription reset billing --to beginning
  reckon subscription reset billing --to -1h
  reckon subscription reset one-order --to-version 12")]
struct Reset {
    #[command(flatten)]
    which: Which,
    /// Where to go on, inclusive: beginning, end, a position, or a time.
    #[arg(long, value_name = START, allow_hyphen_values = true, required_unless_present = "to_version")]
    to: Option<Start>,
    /// The version to go on at, of the one stream.
    #[arg(long, value_name = "VERSION", conflicts_with = "to")]
    to_version: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon subscription ack billing --position 1204
  reckon subscription ack billing --stream orders-1 --version 7")]
struct Ack {
    #[command(flatten)]
    which: Which,
    /// The position of the last event that is done.
    #[arg(long, required_unless_present = "stream", conflicts_with_all = ["stream", "version"])]
    position: Option<u64>,
    /// The stream of the last event that is done.
    #[arg(long, requires = "version")]
    stream: Option<String>,
    /// Its version.
    #[arg(long, requires = "stream")]
    version: Option<u64>,
}

impl Which {
    pub fn reference(&self) -> v1::SubscriptionRef {
        if self.by_key {
            v1::SubscriptionRef::keyed(&self.subscription)
        } else {
            v1::SubscriptionRef::named(&self.subscription)
        }
    }
}

impl Subscription {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        match self.command {
            SubscriptionCommand::Create(create) => create.run(client, output).await,
            SubscriptionCommand::Update(update) => update.run(client, output).await,
            SubscriptionCommand::Get(get) => {
                let subscription = Some(get.which.reference());
                let request = v1::GetSubscriptionRequest { subscription };
                show::one(&client.get_subscription(request).await?, output)
            }
            SubscriptionCommand::List(list) => list.run(client, output).await,
            SubscriptionCommand::Delete(delete) => delete.run(client, output).await,
            SubscriptionCommand::Exists(exists) => {
                let subscription = Some(exists.which.reference());
                let request = v1::ExistsSubscriptionRequest { subscription };
                show::exists(client.subscription_exists(request).await?.exists, output)
            }
            SubscriptionCommand::Reset(reset) => reset.run(client, output).await,
            SubscriptionCommand::Ack(ack) => ack.run(client, output).await,
            SubscriptionCommand::Health(health) => health.run(client, output).await,
            SubscriptionCommand::Parked(parked) => parked.run(client, output).await,
            SubscriptionCommand::Replay(replay) => replay.run(client, output).await,
            SubscriptionCommand::Discard(discard) => discard.run(client, output).await,
        }
    }
}

impl Create {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let definition = if let Some(file) = self.file {
            read(&file)?
        } else {
            let name = self.name.unwrap_or_default();
            let mut definition =
                v1::SubscriptionDefinition { name, ..v1::SubscriptionDefinition::default() };
            self.definition.apply(&mut definition)?;
            if definition.selector.is_none() {
                return Err(Failure::usage(
                    "say which events it is for: --all, --stream, --event-type, \
                         --stream-pattern, --fields, --where, --expression or --tag",
                ));
            }
            definition
        };
        let request = v1::CreateSubscriptionRequest { definition: Some(definition) };
        let answer = client.create_subscription(request).await?;
        let done = if answer.created { "created" } else { "unchanged" };
        show::changed(&answer.subscription.unwrap_or_default(), done, output)
    }
}

impl Update {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let definition = if let Some(file) = self.file {
            read(&file)?
        } else {
            let subscription = self.name.map(v1::SubscriptionRef::named);
            let request = v1::GetSubscriptionRequest { subscription };
            let present = client.get_subscription(request).await?;
            let mut definition = present.definition.unwrap_or_default();
            self.definition.apply(&mut definition)?;
            definition
        };
        let request = v1::UpdateSubscriptionRequest { definition: Some(definition) };
        let answer = client.update_subscription(request).await?;
        let done = if answer.changed { "updated" } else { "unchanged" };
        show::changed(&answer.subscription.unwrap_or_default(), done, output)
    }
}

/// The definition that a file holds.
fn read(file: &str) -> Result<v1::SubscriptionDefinition, Failure> {
    let text = if file == STDIN {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|source| Failure::Input { name: file.to_owned(), source })?;
    Definition::parse(&text).map_err(|error| Failure::usage(format!("`{file}`: {error}")))
}

impl List {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::ListSubscriptionsRequest {
            r#type: self.kind,
            prefix: self.prefix,
            ..v1::ListSubscriptionsRequest::default()
        };
        let subscriptions: Vec<_> = client.list_subscriptions(request).try_collect().await?;
        show::list(&subscriptions, output)
    }
}

impl Delete {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let subscription = Some(self.which.reference());
        let request = v1::DeleteSubscriptionRequest { subscription, r#type: self.kind };
        client.delete_subscription(request).await?;
        show::deleted(&self.which.subscription, output)
    }
}

impl Reset {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let to = self.to.or(self.to_version.map(Start::version));
        let request = v1::ResetSubscriptionRequest {
            subscription: Some(self.which.reference()),
            to: to.map(|Start(to)| to),
        };
        let answer = client.reset_subscription(request).await?;
        show::changed(&answer.subscription.unwrap_or_default(), "reset", output)
    }
}

impl Ack {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let upto = match (self.position, self.stream, self.version) {
            (Some(position), ..) => Upto::Position(position),
            (None, Some(stream_id), Some(version)) => {
                Upto::StreamVersion(v1::StreamVersion { stream_id, version })
            }
            _ => return Err(Failure::usage("name a --position, or a --stream and a --version")),
        };
        let subscription = Some(self.which.reference());
        let request = v1::AckRequest { subscription, upto: Some(upto) };
        let checkpoint = client.ack_subscription(request).await?.checkpoint.unwrap_or_default();
        show::checkpoint(&checkpoint, output)
    }
}
