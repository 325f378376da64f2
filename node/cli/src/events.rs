//! How events are printed.

use futures::{Stream, TryStreamExt as _};
use reckon_api::{client, v1};

use crate::event_json::Printed;
use crate::failure::Failure;
use crate::output::{self, Output};

/// How much of an event's data a person is shown on its line, in characters.
const DATA_SHOWN_MAX: usize = 120;

/// What number leads an event's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Version,
    Position,
}

/// Prints every event of a read.
pub async fn print_all(
    mut events: impl Stream<Item = Result<v1::Event, client::Error>> + Unpin,
    output: &mut Output,
    shown: Shown,
) -> Result<(), Failure> {
    while let Some(event) = events.try_next().await? {
        print(&event, output, shown)?;
    }
    Ok(())
}

/// Prints one event: a line for people, an object for programs.
pub fn print(event: &v1::Event, output: &mut Output, shown: Shown) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&Printed::from(event));
    }
    let (number, place) = match shown {
        Shown::Version => (event.version, String::new()),
        Shown::Position => {
            (event.position, format!("{}@{}  ", output::plain(&event.stream_id), event.version))
        }
    };
    let number = output.paint(&format!("{number:>8}"), output::FAINT);
    let time = output.paint(&output::time(event.epoch_us), output::FAINT);
    let kind = output.paint(&output::plain(&event.event_type), output::STRONG);
    let line = format!("{number}  {time}  {place}{kind}  {}", data_shown(event));
    output.line(line.trim_end())
}

/// An event's data for a person: its beginning if it is text, else how much there is.
fn data_shown(event: &v1::Event) -> String {
    let Ok(text) = std::str::from_utf8(&event.data) else {
        return format!("({} bytes)", event.data.len());
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(DATA_SHOWN_MAX) {
        None => output::plain(&text),
        Some((end, _)) => format!("{}… ({} bytes)", output::plain(&text[..end]), event.data.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn event(data: &[u8]) -> v1::Event {
        v1::Event {
            stream_id: "orders-1".to_owned(),
            version: 2,
            position: 40,
            event_type: "OrderPlaced".to_owned(),
            data: data.to_vec().into(),
            epoch_us: 1_700_000_000_123_456,
            ..Default::default()
        }
    }

    fn shown(event: &v1::Event, format: Format, shown: Shown) -> String {
        let (mut output, written) = Output::to_memory(format);
        print(event, &mut output, shown).unwrap();
        written.text()
    }

    #[test]
    fn a_stream_is_read_by_versions_and_the_store_by_positions() {
        let event = event(b"{\"total\":\n 12}");
        assert_eq!(
            shown(&event, Format::Text, Shown::Version),
            "       2  2023-11-14T22:13:20.123Z  OrderPlaced  {\"total\": 12}\n"
        );
        assert_eq!(
            shown(&event, Format::Text, Shown::Position),
            "      40  2023-11-14T22:13:20.123Z  orders-1@2  OrderPlaced  {\"total\": 12}\n"
        );
        assert!(shown(&event, Format::Json, Shown::Version).starts_with("{\"event_id\":"));
    }

    #[test]
    fn long_and_binary_data_are_summed_up() {
        assert_eq!(data_shown(&event(&[0xff, 0xfe])), "(2 bytes)");
        let long = data_shown(&event("é".repeat(1000).as_bytes()));
        assert!(long.ends_with("… (2000 bytes)"), "{long}");
        assert_eq!(long.chars().filter(|c| *c == 'é').count(), DATA_SHOWN_MAX);
        assert_eq!(data_shown(&event(b"")), "");
    }
}
