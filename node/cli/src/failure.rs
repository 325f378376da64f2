//! How a command can fail: the sentence a person reads, the object a program reads, and the exit code.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use reckon_api::Reason;
use reckon_api::client::{self, Error, OptionsError, Outcome};
use serde::Serialize;

use crate::args::Format;
use crate::output;

const EXIT_REFUSED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_UNAVAILABLE: u8 = 3;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments cannot be carried out.
    #[error("{message}")]
    Usage { message: String, hint: Option<&'static str> },
    /// The endpoints make no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The store refused, or was not there.
    #[error(transparent)]
    Client(#[from] Box<client::Error>),
    /// A line of an import is wrong, or the store did not take it.
    #[error("line {line}: {source} ({acknowledged} events before it are stored)")]
    Import { line: u64, acknowledged: u64, source: Box<Failure> },
    /// What was waited for did not come true in time.
    #[error("the store is not {wanted} after {} ms: {last}", waited.as_millis())]
    NotYet { wanted: &'static str, waited: Duration, last: String },
    /// No endpoint answered.
    #[error("none of the endpoints answered")]
    NobodyAnswered,
    /// What was to be read from a file or standard input could not be read.
    #[error("`{name}` cannot be read: {source}")]
    Input { name: String, source: io::Error },
    /// What was to be printed could not be printed.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    /// The system has no room for a runtime.
    #[error("the program cannot start: {0}")]
    Runtime(io::Error),
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    /// Tells standard error what happened, and gives the exit code. A reader that went away (`| head`) is
    /// no failure.
    pub fn report(&self, format: Format) -> ExitCode {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        let mut stderr = io::stderr().lock();
        let text = match format {
            Format::Text => self.as_text(output::wants_colour(stderr.is_terminal())),
            Format::Json => self.as_json(),
        };
        // With standard error gone too there is only the exit code left.
        let _ = writeln!(stderr, "{text}");
        ExitCode::from(self.exit_code())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Options(_) | Self::Input { .. } => EXIT_USAGE,
            Self::Client(error) => match error.outcome() {
                Outcome::Refused => EXIT_REFUSED,
                Outcome::Usage => EXIT_USAGE,
                Outcome::Unavailable => EXIT_UNAVAILABLE,
            },
            Self::Import { source, .. } => source.exit_code(),
            Self::NobodyAnswered | Self::NotYet { .. } => EXIT_UNAVAILABLE,
            Self::Output(_) | Self::Runtime(_) => EXIT_REFUSED,
        }
    }

    fn client_error(&self) -> Option<&client::Error> {
        match self {
            Self::Client(error) => Some(error),
            Self::Import { source, .. } => source.client_error(),
            _ => None,
        }
    }

    fn reason(&self) -> Option<Reason> {
        self.client_error().and_then(client::Error::reason)
    }

    fn as_text(&self, colour: bool) -> String {
        let label = output::paint("error", output::FAILURE, colour);
        let reason =
            self.reason().map(|reason| format!(" [{}]", reason.as_str())).unwrap_or_default();
        let hint = self
            .hint()
            .map(|hint| format!("\n{}: {hint}", output::paint("hint", output::FAINT, colour)));
        format!("{label}: {self}{reason}{}", hint.unwrap_or_default())
    }

    fn as_json(&self) -> String {
        #[derive(Serialize)]
        struct Report<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            message: String,
            reason: Option<&'static str>,
            hint: Option<String>,
            retryable: bool,
            exit_code: u8,
            values: BTreeMap<&'a str, &'a str>,
        }
        let error = self.client_error();
        let body = Body {
            message: self.to_string(),
            reason: self.reason().map(Reason::as_str),
            hint: self.hint(),
            retryable: error.map_or(
                matches!(self, Self::NobodyAnswered | Self::NotYet { .. }),
                client::Error::retryable,
            ),
            exit_code: self.exit_code(),
            values: error.map(values).unwrap_or_default(),
        };
        serde_json::to_string(&Report { error: body })
            .expect("text and numbers can be written as JSON")
    }

    /// What a person can do about it, where that is not plain.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => hint.map(str::to_owned),
            Self::Client(error) => hint_for(error),
            Self::Import { source, .. } => match source.as_ref() {
                Self::Client(error) if error.retryable() => Some(
                    "with ids in the lines the same input can be sent again: nothing is stored twice"
                        .to_owned(),
                ),
                source => source.hint(),
            },
            Self::NobodyAnswered => Some(NOBODY_THERE.to_owned()),
            Self::NotYet { .. } => Some("`reckon check` shows what each check finds".to_owned()),
            _ => None,
        }
    }
}

const NOBODY_THERE: &str =
    "`reckon-node dev` starts a store on this machine; --endpoint says where another one is";

fn values(error: &Error) -> BTreeMap<&str, &str> {
    match error {
        Error::Refused { metadata, .. } => {
            metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        }
        Error::GaveUp { last, .. } => values(last),
        _ => BTreeMap::new(),
    }
}

fn hint_for(error: &Error) -> Option<String> {
    let hint = match error {
        Error::GaveUp { last, .. } => return hint_for(last),
        Error::Unreachable { .. } => NOBODY_THERE,
        Error::TimedOut { .. } => {
            "--timeout gives it longer; `reckon status` shows which nodes answer"
        }
        _ => match error.reason()? {
            Reason::WrongExpectedVersion => {
                return Some(match error.value("actual") {
                    Some("-1") => "the stream has no events: `--expect none` says so".to_owned(),
                    Some(actual) => format!(
                        "read the stream again, decide again, and append with `--expect {actual}`"
                    ),
                    None => "read the stream again and decide again".to_owned(),
                });
            }
            Reason::EventIdReused => {
                "an id names one event for ever: use a new one for new content"
            }
            Reason::AppendConditionFailed => {
                return Some(match error.value("position").and_then(|at| at.parse::<u64>().ok()) {
                    Some(position) => format!(
                        "`reckon read-all --from {position}` shows what was appended meanwhile; decide again"
                    ),
                    None => "read what was appended meanwhile and decide again".to_owned(),
                });
            }
            Reason::StreamDeleted => "`reckon streams --include-deleted` lists such streams",
            Reason::StreamTombstoned => "its name cannot be used again: choose another",
            Reason::InvalidExpression => "`reckon check-expression` tries one out",
            Reason::SubscriptionNotFound => "`reckon subscription list` shows the ones there are",
            Reason::SubscriptionExists => {
                "`reckon subscription update` changes it; which events it is for cannot change"
            }
            Reason::StreamNotFound => "`reckon streams` lists the streams there are",
            Reason::NoQuorum | Reason::NotLeader => {
                "too few nodes are up, or they are electing a leader: `reckon status` shows which answer"
            }
            Reason::NotInitialised | Reason::NotActivated => {
                "the store is being formed: wait until its EventStore is Ready"
            }
            Reason::DeadlineExceeded | Reason::OutcomeUnknown => {
                "whether it took effect is unknown: send it again with the same ids"
            }
            Reason::DiskFull => "give the store's volumes more room",
            _ => return None,
        },
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn refused(reason: Reason, values: &[(&str, &str)]) -> client::Error {
        client::Error::Refused {
            code: reason.code(),
            reason: Some(reason),
            message: "The store says no.".to_owned(),
            metadata: values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<HashMap<_, _>>(),
            retry_after: None,
        }
    }

    #[test]
    fn exit_codes_tell_refusal_usage_and_absence_apart() {
        let gave_up = client::Error::GaveUp {
            deadline: Duration::from_secs(1),
            attempts: 3,
            last: Box::new(refused(Reason::NoQuorum, &[])),
        };
        for (failure, expected) in [
            (Failure::from(refused(Reason::WrongExpectedVersion, &[])), EXIT_REFUSED),
            (Failure::from(refused(Reason::StreamNotFound, &[])), EXIT_REFUSED),
            (Failure::from(refused(Reason::NoQuorum, &[])), EXIT_UNAVAILABLE),
            (Failure::from(gave_up), EXIT_UNAVAILABLE),
            (Failure::NobodyAnswered, EXIT_UNAVAILABLE),
            (
                Failure::NotYet {
                    wanted: "healthy",
                    waited: Duration::from_secs(1),
                    last: "member 2 does not answer".to_owned(),
                },
                EXIT_UNAVAILABLE,
            ),
            (Failure::usage("no"), EXIT_USAGE),
            (Failure::from(OptionsError::NoEndpoint), EXIT_USAGE),
            (
                Failure::Import {
                    line: 2,
                    acknowledged: 1,
                    source: Box::new(refused(Reason::DiskFull, &[]).into()),
                },
                EXIT_UNAVAILABLE,
            ),
        ] {
            assert_eq!(failure.exit_code(), expected, "{failure}");
        }
    }

    #[test]
    fn a_person_reads_a_sentence_the_reason_and_a_hint() {
        let failure = Failure::from(refused(Reason::WrongExpectedVersion, &[("actual", "7")]));
        assert_eq!(
            failure.as_text(false),
            "error: The store says no. [WRONG_EXPECTED_VERSION]\n\
             hint: read the stream again, decide again, and append with `--expect 7`"
        );
        assert!(failure.as_text(true).contains('\u{1b}'));
    }

    #[test]
    fn a_program_reads_an_object() {
        let failure = Failure::from(refused(Reason::WrongExpectedVersion, &[("actual", "7")]));
        let object: serde_json::Value = serde_json::from_str(&failure.as_json()).unwrap();
        assert_eq!(object["error"]["reason"], "WRONG_EXPECTED_VERSION");
        assert_eq!(object["error"]["values"]["actual"], "7");
        assert_eq!(object["error"]["retryable"], false);
        assert_eq!(object["error"]["exit_code"], 1);
    }
}
