//! How fresh an answer must be, as the command line says it.

use reckon_api::v1::{self, consistency::Kind};

/// How fresh the answer must be. Without an option it reflects everything acknowledged before.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Fresh {
    /// Take what the first node that answers has, even if it lags behind.
    #[arg(long, conflicts_with = "at_least")]
    pub stale: bool,
    /// Take what any node has that has applied this position, such as that of an append of yours.
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
}

impl Fresh {
    /// As the protocol writes it.
    pub fn to_message(self) -> Option<v1::Consistency> {
        let kind = match (self.stale, self.at_least) {
            (true, _) => Kind::Stale(true),
            (false, Some(position)) => Kind::AtLeastPosition(position),
            (false, None) => return None,
        };
        Some(v1::Consistency { kind: Some(kind) })
    }
}
