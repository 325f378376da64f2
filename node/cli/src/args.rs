//! What the command line says, and how it is said in help, errors and completions.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::SignedDuration;
use reckon_api::Client;
use reckon_api::client::Options;

use crate::append::Append;
use crate::bench::Bench;
use crate::check::{Check, WatchStatus};
use crate::cluster::{Checkpoint, Status};
use crate::consume::Consume;
use crate::count::{Any, Count, HasEvents};
use crate::event::Event;
use crate::expression::CheckExpression;
use crate::failure::Failure;
use crate::follow::Follow;
use crate::health::Health;
use crate::life::Stream;
use crate::output::Output;
use crate::read::{Read, ReadAll};
use crate::sink::Sink;
use crate::streams::{List, VersionAt};
use crate::subscription::Subscription;
use crate::watch::Watch;

/// The name `kubectl` finds as its plugin `reckon`.
const KUBECTL_PLUGIN: &str = "kubectl-reckon";

/// Append events to a Reckon store, read them, and look after its nodes.
#[derive(Debug, Parser)]
#[command(name = "reckon", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,

    /// How answers are printed.
    #[arg(long, short, global = true, value_enum, default_value_t, env = "RECKON_OUTPUT")]
    pub output: Format,

    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 refused by the store, 2 usage, 3 the store is unavailable.

Examples:
  reckon append orders-1 --type OrderPlaced --data '{\"total\": 12}' --expect none
  reckon read orders-1
  reckon read-all --follow --output json | jq .type";

/// Where the store is, and how long to wait for it.
#[derive(Debug, clap::Args)]
pub struct Connection {
    /// Where a node or a Service of the store listens, host:port. May be given several times.
    #[arg(
        long = "endpoint",
        short = 'e',
        global = true,
        value_name = "HOST:PORT",
        env = "RECKON_ENDPOINTS",
        value_delimiter = ',',
        default_value = "127.0.0.1:7430"
    )]
    endpoints: Vec<String>,

    /// How long to try, such as 500ms, 10s or 1m.
    #[arg(long, global = true, value_name = "TIME", env = "RECKON_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
}

impl Connection {
    pub fn client(&self) -> Result<Client, Failure> {
        let options = Options { deadline: self.timeout, ..Options::new(&self.endpoints) };
        Ok(Client::new(options)?)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Append one event to a stream, or many from a file or standard input.
    Append(Box<Append>),
    /// Read the events of one stream.
    Read(Read),
    /// Read the events of all streams in the store's one order.
    ReadAll(Box<ReadAll>),
    /// Count events.
    Count(Box<Count>),
    /// Say whether there is an event, and where the first one stands.
    Any(Box<Any>),
    /// Say whether at least one event can be read.
    HasEvents(HasEvents),
    /// Show one event by its id.
    Event(Event),
    /// Check a CEL expression over an event, without evaluating it.
    CheckExpression(CheckExpression),
    /// List the streams.
    Streams(List),
    /// Describe a stream, or end its life or a part of it.
    Stream(Stream),
    /// Say which version a stream was at, at a time.
    VersionAt(VersionAt),
    /// Make, change, look at, move and remove subscriptions.
    #[command(visible_alias = "sub")]
    Subscription(Subscription),
    /// Consume a subscription: print its events, or run a command for each, and acknowledge them.
    Consume(Consume),
    /// Deliver a subscription's events as CloudEvents over HTTP, to the sink in its definition.
    Sink(Box<Sink>),
    /// Print events as they come, from anywhere on, without a subscription.
    Follow(Box<Follow>),
    /// Watch streams and subscriptions being created, changed and removed, until interrupted.
    Watch(Watch),
    /// Show what each endpoint says of itself, and whether the members of the store agree.
    Status(Status),
    /// Show how a node's probes find the other members, probe them now, or change how it probes.
    Health(Health),
    /// Have a node ask all members how they are, and show whether they agree.
    Check(Check),
    /// Show whether all members agree, and again whenever that changes, until interrupted.
    WatchStatus(WatchStatus),
    /// Show the members of the store as its leader sees them.
    #[command(after_help = MEMBERS_EXAMPLES)]
    Members,
    /// Seal now what is in memory only, on every member.
    Checkpoint(Checkpoint),
    /// Measure how fast the store takes appends and answers reads.
    Bench(Box<Bench>),
    /// Print completions for a shell, to be sourced by it.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const MEMBERS_EXAMPLES: &str = "\
Examples:
  reckon members
  reckon members --output json | jq '.members[] | select(.role == \"leader\").name'";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(reckon completions bash)
  reckon completions fish > ~/.config/fish/completions/reckon.fish";

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: tables and lines.
    #[default]
    Text,
    /// For programs: one JSON object, or one per line for events and streams.
    Json,
}

impl Args {
    /// Reads the process's arguments; ends the process on `--help`, `--version` and mistakes.
    pub fn from_invocation() -> Self {
        let mut arguments = std::env::args_os();
        let matches = command(arguments.next().as_deref()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command under the name it was called by.
fn command(program: Option<&OsStr>) -> clap::Command {
    let is_plugin = program
        .and_then(|program| Path::new(program).file_stem())
        .is_some_and(|name| name == KUBECTL_PLUGIN);
    if is_plugin { Args::command().bin_name("kubectl reckon") } else { Args::command() }
}

/// Writes the completions for a shell.
pub fn completions(shell: Shell, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "reckon", &mut script);
    output.bytes(&script)
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration =
        text.parse().map_err(|_| "a time is a number with a unit: 500ms, 10s, 1m".to_owned())?;
    match Duration::try_from(parsed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a time is more than nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds_together() {
        Args::command().debug_assert();
    }

    /// Every command that does something, with the words that lead to it.
    fn leaves(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let path = format!("{path} {}", command.get_name());
        let inner: Vec<_> =
            command.get_subcommands().flat_map(|inner| leaves(inner, &path)).collect();
        [(path, command.clone())].into_iter().chain(inner).collect()
    }

    #[test]
    fn the_help_of_every_command_has_an_example_that_parses() {
        for (path, mut command) in leaves(&Args::command(), "") {
            let help = command.render_long_help().to_string();
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("the help of{path} has no example:\n{help}"));
            let examples = examples.replace("\\\n", " ");
            let own = examples.lines().filter(|line| line.trim_start().starts_with("reckon "));
            let mut shown = 0;
            for line in own {
                let line = line.split(" | ").next().unwrap().split(" > ").next().unwrap();
                let words = words(line);
                if let Err(error) = Args::try_parse_from(&words) {
                    panic!("{line}: {error}");
                }
                shown += 1;
            }
            assert!(shown > 0, "no example of{path} begins with reckon:\n{help}");
        }
    }

    #[test]
    fn the_readme_shows_lines_that_parse() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let mut shown = Vec::new();
        for line in readme.lines().filter(|line| line.starts_with("    ")) {
            let Some((_, said)) = line.split_once("cargo run -p reckon-cli -- ") else { continue };
            let said = said.split(" # ").next().unwrap();
            let words = words(&format!("reckon {said}"));
            if let Err(error) = Args::try_parse_from(&words) {
                panic!("{line}: {error}");
            }
            shown.push(words[1].clone());
        }
        for command in ["append", "read", "follow", "consume"] {
            assert!(shown.iter().any(|other| other == command), "{command} is not among {shown:?}");
        }
    }

    #[test]
    fn the_page_on_health_shows_lines_that_parse() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../HEALTH.md");
        let page = std::fs::read_to_string(page).unwrap();
        let shown: Vec<_> = page.lines().filter(|line| line.starts_with("    reckon ")).collect();
        for line in &shown {
            let words = words(line.split(" # ").next().unwrap());
            if let Err(error) = Args::try_parse_from(&words) {
                panic!("{line}: {error}");
            }
        }
        assert!(shown.len() > 5, "{shown:?}");
    }

    /// Splits a line as a shell does, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for character in line.trim().chars() {
            match character {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                other => words.last_mut().unwrap().push(other),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn endpoints_add_up_and_may_stand_behind_the_command() {
        let args = parse("reckon status -e a:1 --endpoint b:2,c:3").unwrap();
        assert_eq!(args.connection.endpoints, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in
            [("500ms", 500), ("10s", 10_000), ("1m", 60_000), ("1m 30s", 90_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["10", "-1s", "0s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn called_as_a_plugin_of_kubectl_it_says_so() {
        for (program, expected) in [
            ("/usr/local/bin/kubectl-reckon", "Usage: kubectl reckon "),
            ("/usr/local/bin/reckon", "Usage: reckon "),
        ] {
            let help = command(Some(OsStr::new(program))).render_help().to_string();
            assert!(help.contains(expected), "{help}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "reckon append",
            "reckon append s",
            "reckon append s --file f",
            "reckon append --file f --type T",
            "reckon append s --type T --expect maybe",
            "reckon append s --type T --expect -1",
            "reckon read",
            "reckon read s --from middle",
            "reckon read-all --follow --backward",
            "reckon read-all --follow --stale",
            "reckon read-all --follow --until now",
            "reckon read-all --count --limit 3",
            "reckon read-all --partition 3/3",
            "reckon read s --since yesterday",
            "reckon read s --stale --at-least 3",
            "reckon append s --type T --after 3",
            "reckon append s --type T --if-none seat",
            "reckon stream",
            "reckon stream truncate s",
            "reckon event no-uuid",
            "reckon version-at s",
            "reckon subscription",
            "reckon subscription create",
            "reckon subscription create a --file b",
            "reckon subscription create --file b --all",
            "reckon subscription create --file b --pool-size 3",
            "reckon subscription create a --all-tags",
            "reckon subscription create a --all --from 3 --from-version 3",
            "reckon subscription create a --all --strategy forget",
            "reckon subscription reset a",
            "reckon subscription ack a",
            "reckon subscription ack a --stream s",
            "reckon subscription replay a",
            "reckon subscription discard a --all --position 3",
            "reckon consume",
            "reckon consume a --park-on 3",
            "reckon consume a --limit 0",
            "reckon follow --stream s --fields {}",
            "reckon sink",
            "reckon sink a --header b",
            "reckon sink a --probe-listen 8080",
            "reckon completions notashell",
            "reckon members --timeout 0s",
            "reckon status --output yaml",
            "reckon status --wait quick",
            "reckon health --type rpc",
            "reckon health --probe --type guess",
            "reckon health --probe --watch",
            "reckon health --probe --node 0",
            "reckon health --set probe-interval",
            "reckon check --only everything",
            "reckon watch-status --limit 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "reckon append s --type T",
            "reckon append s --type T --data - --expect 3 --tag a --tag b",
            "reckon append --file -",
            "reckon read s --from 3 --backward --limit 2 --stale",
            "reckon read-all --follow --from end --include-system",
            "reckon read-all --since -1h --until now --not-type T --all-tags a",
            "reckon read-all --count --where true",
            "reckon read s --from -1h --at-least 7",
            "reckon streams --prefix orders- -o json",
            "reckon stream orders-1",
            "reckon stream show orders-1",
            "reckon stream delete orders-1 --expect 3",
            "reckon watch --from 0 --limit 1",
            "reckon checkpoint --wait",
            "reckon sub list",
            "reckon subscription create a --all",
            "reckon subscription create --file -",
            "reckon consume a --limit 3 --exec cat --limit 3",
            "reckon follow --stream s --from end --until-caught-up --not-type T",
            "reckon completions zsh",
            "reckon status --wait healthy --timeout 30s",
            "reckon health --probe --type deep",
            "reckon health --set probe-type=deep --set probe-failures=2",
            "reckon check --only quorum --only log",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
