//! The events that are appended. Their data is made beforehand, so that making it is no part of what is measured.

use bytes::Bytes;
use reckon_api::v1;
use uuid::Uuid;

use crate::failure::Failure;

/// Different data, used in turn. Together they are larger than what a block of the store holds, so that the store
/// cannot compress one as a copy of another.
const VARIANTS: u64 = 4096;
const VARIANTS_BYTES_MAX: usize = 64 << 20;

/// The type of all events.
const EVENT_TYPE: &str = "Benched";

const WORDS: [&str; 7] =
    ["order ", "customer ", "payment ", "shipped ", "42 ", "returned ", "item "];

/// Which events are appended.
#[derive(Debug, Clone, clap::Args)]
pub struct PayloadArgs {
    /// Bytes of data of one event.
    #[arg(long, default_value_t = 256)]
    event_bytes: usize,
    /// Over how many streams, in turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub streams: u64,
    /// What the names of the streams begin with.
    #[arg(long, default_value = "bench")]
    pub prefix: String,
    /// Give each event a tag, of so many different ones, in turn; 0 is none.
    #[arg(long, default_value_t = 0)]
    pub tag_values: u64,
}

/// Makes events.
#[derive(Debug)]
pub struct Payload {
    args: PayloadArgs,
    variants: Vec<Bytes>,
}

impl Payload {
    pub fn new(args: PayloadArgs) -> Result<Self, Failure> {
        let bytes = args.event_bytes;
        if bytes > VARIANTS_BYTES_MAX / 2 {
            return Err(Failure::usage(format!(
                "--event-bytes {bytes}: the most is {}",
                VARIANTS_BYTES_MAX / 2
            )));
        }
        let variants = VARIANTS.min((VARIANTS_BYTES_MAX / bytes.max(1)) as u64).max(1);
        Ok(Self { variants: (0..variants).map(|number| data(number, bytes)).collect(), args })
    }

    /// The stream of an append.
    pub fn stream(&self, number: u64) -> String {
        stream(&self.args.prefix, number, self.args.streams)
    }

    /// The event of this number. It has no id yet: the client gives it one.
    pub fn event(&self, number: u64) -> v1::NewEvent {
        let variant = number % self.variants.len() as u64;
        let tags = match self.args.tag_values {
            0 => Vec::new(),
            values => vec![tag(number % values)],
        };
        v1::NewEvent {
            event_type: EVENT_TYPE.to_owned(),
            data: self.variants[variant as usize].clone(),
            tags,
            ..v1::NewEvent::default()
        }
    }
}

/// The name of the stream that an operation is about.
pub fn stream(prefix: &str, number: u64, streams: u64) -> String {
    format!("{prefix}-{}", number % streams)
}

/// The tag of a number.
pub fn tag(number: u64) -> String {
    format!("bench:{number}")
}

/// Neither all alike nor random: what an application writes can be compressed, but not to nothing.
fn data(number: u64, bytes: usize) -> Bytes {
    let mut data = format!("{{\"number\":{number},\"id\":\"{}\",\"text\":\"", Uuid::new_v4());
    while data.len() + 2 < bytes {
        data.push_str(WORDS[(number as usize + data.len()) % WORDS.len()]);
    }
    data.truncate(bytes.saturating_sub(2));
    data.push_str("\"}");
    data.truncate(bytes);
    data.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_its_size_and_is_json_when_there_is_room() {
        for bytes in [0, 1, 10, 100, 256, 4096] {
            assert_eq!(data(3, bytes).len(), bytes);
        }
        let value: serde_json::Value = serde_json::from_slice(&data(3, 256)).unwrap();
        assert_eq!(value["number"], 3);
    }
}
