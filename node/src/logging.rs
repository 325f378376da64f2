//! Where log lines go: to standard error, as text for people or as JSON for programs.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

use crate::config::{LogFormat, LoggingConfig};

/// Libraries that tell more at `info` than a person who runs a store wants to know. Whoever does names them in
/// the level, which counts for more.
const QUIET: &str = "openraft=warn,hickory_resolver=warn,hickory_net=warn,hickory_proto=warn,h2=info,hyper=info,tower=info";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is no level.
    #[error("`{level}` is no log level{}", source.as_ref().map(|source| format!(": {source}")).unwrap_or_default())]
    Level {
        /// The level, or the part of it that is wrong.
        level: String,
        /// What is wrong with it, where that is more than its being unknown.
        source: Option<ParseError>,
    },
    /// The process logs already.
    #[error("logging is set up already")]
    Again,
}

impl LoggingError {
    /// Whether a second try may succeed: never.
    pub const fn retryable(&self) -> bool {
        false
    }
}

/// Sets up logging for the whole process, once.
pub fn init(config: &LoggingConfig) -> Result<(), LoggingError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.level)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let set = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| LoggingError::Again)
}

/// What `logging.level` lets through.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    // A lone word that is no level would pass as the name of a module, and silence all others.
    let lone_words = level.split(',').filter(|part| !part.contains(['=', '[', ']', '{', '}']));
    for word in lone_words {
        if word.is_empty() || word.parse::<LevelFilter>().is_err() {
            return Err(LoggingError::Level { level: word.to_owned(), source: None });
        }
    }
    let invalid = |source| LoggingError::Level { level: level.to_owned(), source: Some(source) };
    // Alone first, so that the error speaks of what the person wrote.
    EnvFilter::try_new(level).map_err(invalid)?;
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        assert!(filter("info").unwrap().to_string().contains("openraft=warn"));
        let named = filter("info,openraft=debug").unwrap().to_string();
        assert!(named.contains("openraft=debug") && !named.contains("openraft=warn"), "{named}");
    }

    #[test]
    fn a_level_that_is_none_is_refused_by_name() {
        for (level, wrong) in [
            ("info,reckon_node=loud", "reckon_node=loud"),
            ("infoo", "infoo"),
            ("info,loud", "loud"),
            ("", "``"),
        ] {
            let error = filter(level).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
