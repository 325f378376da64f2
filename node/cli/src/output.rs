//! Where answers go: text for people, JSON for programs, colours only for eyes.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;

pub const FAILURE: Style = AnsiColor::Red.on_default().bold();
pub const FAINT: Style = Style::new().dimmed();
pub const STRONG: Style = Style::new().bold();

/// Where a command prints its answer.
pub struct Output {
    format: Format,
    colour: bool,
    to: Box<dyn Write>,
}

impl Output {
    pub fn to_stdout(format: Format) -> Self {
        let stdout = io::stdout();
        let colour = format == Format::Text && wants_colour(stdout.is_terminal());
        Self { format, colour, to: Box::new(BufWriter::new(stdout)) }
    }

    #[cfg(test)]
    pub fn to_memory(format: Format) -> (Self, Written) {
        let written = Written::default();
        (Self { format, colour: false, to: Box::new(written.clone()) }, written)
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints one line.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.to, "{line}").map_err(Failure::Output)
    }

    /// Prints one value as one line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.to, value)
            .map_err(|error| Failure::Output(error.into()))?;
        self.line("")
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes).map_err(Failure::Output)
    }

    /// Prints a table; the columns whose header is in `numbers` stand to the right.
    pub fn table(
        &mut self,
        header: &[&str],
        numbers: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), Failure> {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.iter().map(Cell::new));
        for row in rows {
            table.add_row(row.iter().map(|cell| plain(cell)));
        }
        for (index, name) in header.iter().enumerate() {
            let Some(column) = table.column_mut(index) else { continue };
            column.set_padding((0, 2));
            if numbers.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (number, line) in table.lines().enumerate() {
            let line = line.trim_end();
            let line = if number == 0 { self.paint(line, STRONG) } else { line.to_owned() };
            self.line(&line)?;
        }
        Ok(())
    }

    /// The text in this style, if colours are wanted.
    pub fn paint(&self, text: &str, style: Style) -> String {
        paint(text, style, self.colour)
    }

    /// Hands everything printed so far to whoever reads it.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(Failure::Output)
    }

    pub fn finish(&mut self) -> Result<(), Failure> {
        self.flush()
    }
}

/// Text for a terminal: what a stranger wrote into an event must not move the cursor.
pub fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Colours are for terminals, and for those who did not say no (<https://no-color.org>).
pub fn wants_colour(is_terminal: bool) -> bool {
    is_terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

pub fn paint(text: &str, style: Style, colour: bool) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// A time in microseconds since 1970 as people write it; the number itself if no calendar has it.
pub fn time(epoch_us: u64) -> String {
    i64::try_from(epoch_us)
        .ok()
        .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
        .map_or_else(|| epoch_us.to_string(), |time| format!("{time:.3}"))
}

/// What a test printed.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub struct Written(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

#[cfg(test)]
impl Written {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_escapes_what_could_move_the_cursor() {
        let (mut output, written) = Output::to_memory(Format::Text);
        let rows =
            [vec!["a".to_owned(), "10".to_owned()], vec!["b\u{1b}[2J".to_owned(), "7".to_owned()]];
        output.table(&["NAME", "COUNT"], &["COUNT"], rows).unwrap();
        assert_eq!(written.text(), "NAME        COUNT\na              10\nb\\u{1b}[2J      7\n");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(time(1_700_000_000_123_456), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(u64::MAX), u64::MAX.to_string());
    }
}
