//! A subscription's definition as the command line's options say it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use reckon_api::v1::{self, start_from};

use crate::args::duration;
use crate::failure::Failure;
use crate::filter::Partition;
use crate::selector::SelectorArgs;
use crate::time::Moment;

/// What a subscription is like. What is not said stays as it is, or is the store's default.
#[derive(Debug, Default, clap::Args)]
pub struct DefinitionArgs {
    #[command(flatten)]
    selector: SelectorArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    consumers: ConsumerArgs,
    #[command(flatten)]
    sink: SinkArgs,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Where it begins")]
struct StartArgs {
    /// Where to begin, inclusive: beginning, end, a position, or a time.
    #[arg(long, value_name = START, allow_hyphen_values = true)]
    from: Option<Start>,
    /// The version to begin at, of the one stream.
    #[arg(long, value_name = "VERSION", conflicts_with = "from")]
    from_version: Option<u64>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "How it is consumed")]
struct ConsumerArgs {
    /// The selector's type, checked against it; also with `by_` in front.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Consumers that are served at once; further ones stand by.
    #[arg(long, value_name = "N")]
    pool_size: Option<u32>,
    /// A CEL expression over `event` that gives the text by which events are kept in order; without it, their stream.
    #[arg(long = "key", value_name = "CEL")]
    key_expression: Option<String>,
    /// Only a share of the streams: part I, from 0, of N.
    #[arg(long, value_name = "I/N")]
    partition: Option<Partition>,
    /// How long a consumer may take for the next event of a key.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ack_timeout: Option<Duration>,
    /// Failed tries after which an event is parked; 0: after the first one.
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// The wait before the second try; it doubles from try to try.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retry_backoff_min: Option<Duration>,
    /// The longest wait between two tries.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retry_backoff_max: Option<Duration>,
    /// The most events that consumers hold unacknowledged.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// The most events that are read ahead of the consumers.
    #[arg(long, value_name = "N")]
    buffer_size: Option<u32>,
    /// What happens when the consumers are slower than the store.
    #[arg(long, value_enum, value_name = "STRATEGY")]
    strategy: Option<Strategy>,
    /// The share of the buffer above which there is a warning, in percent.
    #[arg(long, value_name = "PERCENT")]
    buffer_warning_percent: Option<u32>,
    /// Park later events of a key behind one that is parked.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    hold_key: Option<bool>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Where `reckon sink` or the operator delivers it")]
struct SinkArgs {
    /// Where events are sent to as CloudEvents: http://… or https://….
    #[arg(id = "sink_url", long = "sink-url", value_name = "URL")]
    url: Option<String>,
    /// How an event is written into a request.
    #[arg(id = "sink_mode", long = "sink-mode", value_enum, value_name = "MODE")]
    mode: Option<SinkMode>,
    /// The most events in one request; above 1 always in the structured batch format.
    #[arg(id = "sink_batch_max", long = "sink-batch-max", value_name = "N")]
    batch_max: Option<u32>,
    /// How long a request may take.
    #[arg(id = "sink_timeout", long = "sink-timeout", value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Requests at once.
    #[arg(id = "sink_concurrency", long = "sink-concurrency", value_name = "N")]
    concurrency: Option<u32>,
    /// A header of every request; replaces those there are. No secrets: they would be in the store.
    #[arg(long = "sink-header", value_name = "NAME=VALUE")]
    headers: Vec<Header>,
}

/// What happens when consumers are slower than the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// The store's events wait.
    Block,
    /// The oldest ones that were not delivered are dropped.
    DropOldest,
    /// The newest ones are dropped.
    DropNewest,
    /// The consumers are disconnected.
    Error,
}

/// How an event is written into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SinkMode {
    /// Attributes in headers, the data as it is.
    Binary,
    /// One JSON object.
    Structured,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("a header is NAME=VALUE".to_owned()),
        }
    }
}

/// How a start may be written, for help texts.
pub const START: &str = "beginning|end|POSITION|TIME";

/// Where a subscription begins, or is moved to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Start(pub v1::StartFrom);

impl Start {
    pub fn version(version: u64) -> Self {
        Self(v1::StartFrom { kind: Some(start_from::Kind::Version(version)) })
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = match text {
            "beginning" | "start" => start_from::Kind::Beginning(true),
            "end" => start_from::Kind::End(true),
            _ => {
                if let Ok(position) = text.parse() {
                    start_from::Kind::Position(position)
                } else {
                    let Moment(time_us) = text.parse().map_err(|_| {
                        "a position from 0, `beginning`, `end`, or a time such as -1h".to_owned()
                    })?;
                    start_from::Kind::TimeUs(time_us)
                }
            }
        };
        Ok(Self(v1::StartFrom { kind: Some(kind) }))
    }
}

impl DefinitionArgs {
    /// Writes what was said into a definition.
    pub fn apply(self, definition: &mut v1::SubscriptionDefinition) -> Result<(), Failure> {
        if let Some(selector) = self.selector.to_message()? {
            definition.selector = Some(selector);
            // The type goes with the selector, unless another one is named below.
            definition.r#type = String::new();
        }
        let from_version = self.start.from_version.map(Start::version);
        if let Some(Start(from)) = self.start.from.or(from_version) {
            definition.start_from = Some(from);
        }
        self.consumers.apply(definition);
        self.sink.apply(definition)
    }
}

impl ConsumerArgs {
    fn apply(self, definition: &mut v1::SubscriptionDefinition) {
        set(&mut definition.r#type, self.kind);
        set(&mut definition.pool_size, self.pool_size);
        set(&mut definition.key_expression, self.key_expression);
        if let Some(Partition { index, count }) = self.partition {
            definition.partition = Some(v1::Partition { index, count });
        }
        set(&mut definition.ack_timeout_ms, self.ack_timeout.map(millis));
        if self.max_retries.is_some() {
            definition.max_retries = self.max_retries;
        }
        set(&mut definition.retry_backoff_ms_min, self.retry_backoff_min.map(millis));
        set(&mut definition.retry_backoff_ms_max, self.retry_backoff_max.map(millis));
        set(&mut definition.max_in_flight, self.max_in_flight);
        set(&mut definition.buffer_size, self.buffer_size);
        if let Some(strategy) = self.strategy {
            definition.set_strategy(match strategy {
                Strategy::Block => v1::BufferStrategy::Block,
                Strategy::DropOldest => v1::BufferStrategy::DropOldest,
                Strategy::DropNewest => v1::BufferStrategy::DropNewest,
                Strategy::Error => v1::BufferStrategy::Error,
            });
        }
        set(&mut definition.buffer_warning_percent, self.buffer_warning_percent);
        set(&mut definition.hold_key, self.hold_key);
    }
}

impl SinkArgs {
    fn apply(self, definition: &mut v1::SubscriptionDefinition) -> Result<(), Failure> {
        let says_more = self.mode.is_some()
            || self.batch_max.is_some()
            || self.timeout.is_some()
            || self.concurrency.is_some()
            || !self.headers.is_empty();
        if self.url.is_none() && !says_more {
            return Ok(());
        }
        if self.url.is_none() && definition.sink.is_none() {
            return Err(Failure::usage("a sink needs its --sink-url"));
        }
        let sink = definition.sink.get_or_insert_default();
        set(&mut sink.url, self.url);
        if let Some(mode) = self.mode {
            sink.set_mode(match mode {
                SinkMode::Binary => v1::SinkMode::Binary,
                SinkMode::Structured => v1::SinkMode::Structured,
            });
        }
        set(&mut sink.batch_max, self.batch_max);
        set(&mut sink.timeout_ms, self.timeout.map(millis));
        set(&mut sink.concurrency, self.concurrency);
        if !self.headers.is_empty() {
            let headers = self.headers.into_iter().map(|header| (header.name, header.value));
            sink.headers = headers.collect::<BTreeMap<_, _>>();
        }
        Ok(())
    }
}

fn set<T>(field: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *field = said;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use reckon_api::v1::selector;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        definition: DefinitionArgs,
    }

    fn applied(
        line: &str,
        mut definition: v1::SubscriptionDefinition,
    ) -> Result<v1::SubscriptionDefinition, Failure> {
        let line = Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).unwrap();
        line.definition.apply(&mut definition)?;
        Ok(definition)
    }

    #[test]
    fn every_option_has_its_place_in_the_definition() {
        let line = "--stream orders-1 --from-version 7 --type by_stream --pool-size 3 --key event.tags[0] \
             --partition 1/4 --ack-timeout 10s --max-retries 0 --retry-backoff-min 200ms --retry-backoff-max 1m \
             --max-in-flight 50 --buffer-size 60 --strategy drop-newest --buffer-warning-percent 70 --hold-key \
             --sink-url http://x/ --sink-mode structured --sink-batch-max 9 --sink-timeout 3s --sink-concurrency 2 \
             --sink-header a=b=c";
        let found = applied(line, v1::SubscriptionDefinition::default()).unwrap();
        let expected = v1::SubscriptionDefinition {
            name: String::new(),
            r#type: "by_stream".to_owned(),
            selector: Some(v1::Selector {
                kind: Some(selector::Kind::Stream("orders-1".to_owned())),
            }),
            start_from: Some(Start::version(7).0),
            pool_size: 3,
            key_expression: "event.tags[0]".to_owned(),
            partition: Some(v1::Partition { index: 1, count: 4 }),
            ack_timeout_ms: 10_000,
            max_retries: Some(0),
            retry_backoff_ms_min: 200,
            retry_backoff_ms_max: 60_000,
            max_in_flight: 50,
            buffer_size: 60,
            strategy: v1::BufferStrategy::DropNewest.into(),
            buffer_warning_percent: 70,
            hold_key: true,
            sink: Some(v1::Sink {
                url: "http://x/".to_owned(),
                mode: v1::SinkMode::Structured.into(),
                batch_max: 9,
                timeout_ms: 3000,
                concurrency: 2,
                headers: [("a".to_owned(), "b=c".to_owned())].into(),
            }),
        };
        assert_eq!(found, expected);
        // What is there already stays, but for what is said.
        let changed = applied("--pool-size 5 --hold-key=false", found).unwrap();
        assert_eq!(
            changed,
            v1::SubscriptionDefinition { pool_size: 5, hold_key: false, ..expected }
        );
    }

    #[test]
    fn a_sink_needs_to_be_somewhere() {
        assert!(applied("--sink-batch-max 2", v1::SubscriptionDefinition::default()).is_err());
    }

    #[test]
    fn a_start_is_the_beginning_the_end_a_position_or_a_time() {
        let kind = |text: &str| text.parse::<Start>().ok().and_then(|start| start.0.kind);
        assert_eq!(kind("beginning"), Some(start_from::Kind::Beginning(true)));
        assert_eq!(kind("end"), Some(start_from::Kind::End(true)));
        assert_eq!(kind("12"), Some(start_from::Kind::Position(12)));
        assert_eq!(
            kind("2023-11-14T22:13:20Z"),
            Some(start_from::Kind::TimeUs(1_700_000_000_000_000))
        );
        assert_eq!(kind("middle"), None);
    }
}
