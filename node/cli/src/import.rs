//! `reckon append --file`: events from lines of JSON, appended in their order.
//!
//! Consecutive lines share an append, as many as have arrived, within limits well below the store's. A
//! stream's events stay in one run per append, so that the store's order is the order of the lines.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};

use reckon_api::{Client, Reason, v1};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::append::STDIN;
use crate::event_json::Line;
use crate::failure::Failure;
use crate::output::Output;

/// Events in one append. More would not be faster: the store groups appends itself.
const GROUP_EVENTS_MAX: usize = 500;

/// Bytes of data and metadata in one append; an event alone may be larger.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Streams in one append; the store's own limit is 100.
const GROUP_STREAMS_MAX: usize = 100;

/// The longest line: an event's 1 MiB with everything escaped, and room for its other fields.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Lines read ahead of the append under way.
const LINES_AHEAD_MAX: usize = 2 * GROUP_EVENTS_MAX;

/// One line of input that was understood.
#[derive(Debug)]
struct Numbered {
    line: u64,
    stream: String,
    event: v1::NewEvent,
}

/// Appends what the file, or standard input, says, and reports how much that was.
pub async fn run(file: &str, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let (lines, mut read) = mpsc::channel(LINES_AHEAD_MAX);
    let input = open(file)?;
    let name = file.to_owned();
    // Reading may block for ever on a terminal or a pipe, so it has a thread of its own. The process does
    // not wait for it.
    std::thread::spawn(move || read_lines(input, &name, &lines));

    let mut report = Report::default();
    let mut carried = None;
    loop {
        let (group, rest) = next_group(&mut read, carried.take()).await;
        if !group.is_empty() {
            report.append(client, group).await?;
        }
        match rest {
            Rest::Line(line) => carried = Some(*line),
            Rest::Unknown => {}
            Rest::End => break,
            Rest::Failure(failure) => return Err(report.failure(failure)),
        }
    }
    report.print(output)
}

fn open(file: &str) -> Result<Box<dyn BufRead + Send>, Failure> {
    if file == STDIN {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened =
        File::open(file).map_err(|source| Failure::Input { name: file.to_owned(), source })?;
    Ok(Box::new(BufReader::new(opened)))
}

/// A line, or why the input ends here.
type ReadLine = Result<Numbered, (u64, Failure)>;

/// Reads to the end, to the first mistake, or until nobody listens.
fn read_lines(mut input: impl BufRead, name: &str, lines: &mpsc::Sender<ReadLine>) {
    for number in 1.. {
        let mut line = String::new();
        let read = match (&mut input).take(LINE_BYTES_MAX + 1).read_line(&mut line) {
            Ok(0) => return,
            Ok(read) if read as u64 > LINE_BYTES_MAX => {
                Err(Failure::usage(format!("it is longer than {LINE_BYTES_MAX} bytes")))
            }
            Ok(_) if line.trim().is_empty() => continue,
            Ok(_) => Line::parse(&line)
                .map(|(stream, event)| Numbered { line: number, stream, event })
                .map_err(Failure::usage),
            Err(source) => Err(Failure::Input { name: name.to_owned(), source }),
        };
        let is_last = read.is_err();
        let unheard = lines.blocking_send(read.map_err(|failure| (number, failure))).is_err();
        if is_last || unheard {
            return;
        }
    }
}

/// What comes after a group.
#[derive(Debug)]
enum Rest {
    /// The next line, which did not fit.
    Line(Box<Numbered>),
    /// More may come.
    Unknown,
    /// Nothing.
    End,
    /// A line that is wrong.
    Failure((u64, Failure)),
}

/// Waits for a line and takes all others that are there already, as long as they fit.
async fn next_group(
    lines: &mut mpsc::Receiver<ReadLine>,
    carried: Option<Numbered>,
) -> (Group, Rest) {
    let mut group = Group::default();
    let first = match carried {
        Some(line) => Some(Ok(line)),
        None => lines.recv().await,
    };
    match first {
        Some(Ok(line)) => group.push(line),
        Some(Err(failure)) => return (group, Rest::Failure(failure)),
        None => return (group, Rest::End),
    }
    loop {
        match lines.try_recv() {
            Ok(Ok(line)) if group.has_room_for(&line) => group.push(line),
            Ok(Ok(line)) => return (group, Rest::Line(Box::new(line))),
            Ok(Err(failure)) => return (group, Rest::Failure(failure)),
            Err(mpsc::error::TryRecvError::Empty) => return (group, Rest::Unknown),
            Err(mpsc::error::TryRecvError::Disconnected) => return (group, Rest::End),
        }
    }
}

/// Lines that go into one append.
#[derive(Debug, Default)]
struct Group {
    first_line: u64,
    appends: Vec<v1::StreamAppend>,
    streams: HashSet<String>,
    events: usize,
    bytes: usize,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.events == 0
    }

    fn has_room_for(&self, line: &Numbered) -> bool {
        let continues = self.appends.last().is_some_and(|append| append.stream_id == line.stream);
        let opens = !self.streams.contains(&line.stream) && self.streams.len() < GROUP_STREAMS_MAX;
        (continues || opens)
            && self.events < GROUP_EVENTS_MAX
            && self.bytes + size(&line.event) <= GROUP_BYTES_MAX
    }

    fn push(&mut self, line: Numbered) {
        if self.is_empty() {
            self.first_line = line.line;
        }
        self.events += 1;
        self.bytes += size(&line.event);
        match self.appends.last_mut() {
            Some(append) if append.stream_id == line.stream => append.events.push(line.event),
            _ => {
                self.streams.insert(line.stream.clone());
                self.appends.push(v1::StreamAppend {
                    stream_id: line.stream,
                    expectation: None,
                    events: vec![line.event],
                });
            }
        }
    }
}

fn size(event: &v1::NewEvent) -> usize {
    event.data.len() + event.metadata.len()
}

/// How far an import has come.
#[derive(Debug, Default, Serialize)]
struct Report {
    events: u64,
    appends: u64,
    first_position: Option<u64>,
    last_position: Option<u64>,
}

impl Report {
    async fn append(&mut self, client: &Client, group: Group) -> Result<(), Failure> {
        let request = v1::AppendRequest { appends: group.appends, condition: None };
        match client.append(request.clone()).await {
            Ok(answer) => self.count(group.events, &answer),
            // An earlier run of the same import grouped otherwise: some of these ids are known, others
            // are not. One by one each is either.
            Err(error) if error.reason() == Some(Reason::EventIdReused) && group.events > 1 => {
                for append in request.appends {
                    for event in append.events {
                        let expect = reckon_api::client::Expect::Any;
                        let answer = client
                            .append_to(append.stream_id.clone(), expect, vec![event])
                            .await
                            .map_err(|error| self.failure((group.first_line, error.into())))?;
                        self.count(1, &answer);
                    }
                }
            }
            Err(error) => return Err(self.failure((group.first_line, error.into()))),
        }
        Ok(())
    }

    fn count(&mut self, events: usize, answer: &v1::AppendResponse) {
        self.events += events as u64;
        self.appends += 1;
        self.first_position.get_or_insert(answer.first_position);
        self.last_position = self.last_position.max(Some(answer.last_position));
    }

    fn failure(&self, (line, failure): (u64, Failure)) -> Failure {
        Failure::Import { line, acknowledged: self.events, source: Box::new(failure) }
    }

    fn print(&self, output: &mut Output) -> Result<(), Failure> {
        if output.is_json() {
            return output.json(self);
        }
        let position = |position: Option<u64>| position.map_or("-".to_owned(), |at| at.to_string());
        output.table(
            &["EVENTS", "APPENDS", "FIRST POSITION", "LAST POSITION"],
            &["EVENTS", "APPENDS", "FIRST POSITION", "LAST POSITION"],
            [vec![
                self.events.to_string(),
                self.appends.to_string(),
                position(self.first_position),
                position(self.last_position),
            ]],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups that an input makes when all of it is there at once, each as `stream:count ...`.
    async fn groups(input: String) -> (Vec<String>, Option<(u64, String)>) {
        let (lines, mut read) = mpsc::channel(LINES_AHEAD_MAX);
        let mut buffered = Vec::new();
        let reader = std::thread::spawn(move || read_lines(input.as_bytes(), "-", &lines));
        while let Some(line) = read.recv().await {
            buffered.push(line);
        }
        reader.join().unwrap();
        let (lines, mut read) = mpsc::channel(buffered.len().max(1));
        for line in buffered {
            lines.try_send(line).unwrap();
        }
        drop(lines);

        let mut groups = Vec::new();
        let mut carried = None;
        loop {
            let (group, rest) = next_group(&mut read, carried.take()).await;
            if !group.is_empty() {
                let runs: Vec<_> = group
                    .appends
                    .iter()
                    .map(|append| format!("{}:{}", append.stream_id, append.events.len()))
                    .collect();
                groups.push(runs.join(" "));
            }
            match rest {
                Rest::Line(line) => carried = Some(*line),
                Rest::Unknown => panic!("everything was there"),
                Rest::End => return (groups, None),
                Rest::Failure((line, failure)) => {
                    return (groups, Some((line, failure.to_string())));
                }
            }
        }
    }

    fn lines(streams: impl IntoIterator<Item = String>) -> String {
        let line = |stream| format!("{{\"stream\": \"{stream}\", \"type\": \"T\", \"data\": 1}}\n");
        streams.into_iter().map(line).collect::<Vec<_>>().concat()
    }

    fn named(names: &str) -> String {
        lines(names.split_whitespace().map(str::to_owned))
    }

    #[tokio::test]
    async fn consecutive_lines_share_an_append_in_their_order() {
        assert_eq!(groups(named("a a b c c c")).await.0, ["a:2 b:1 c:3"]);
    }

    #[tokio::test]
    async fn a_stream_that_comes_back_opens_a_new_append() {
        assert_eq!(groups(named("a b a b b")).await.0, ["a:1 b:1", "a:1 b:2"]);
    }

    #[tokio::test]
    async fn groups_stay_within_their_limits() {
        let many = lines(std::iter::repeat_n("a".to_owned(), GROUP_EVENTS_MAX + 1));
        assert_eq!(groups(many).await.0, [format!("a:{GROUP_EVENTS_MAX}"), "a:1".to_owned()]);
        let wide = lines((0..=GROUP_STREAMS_MAX).map(|number| format!("s{number}")));
        assert_eq!(groups(wide).await.0.len(), 2);
        let big = "x".repeat(GROUP_BYTES_MAX / 2);
        let big =
            format!("{{\"stream\": \"a\", \"type\": \"T\", \"data\": \"{big}\"}}\n").repeat(3);
        assert_eq!(groups(big).await.0, ["a:1", "a:1", "a:1"]);
    }

    #[tokio::test]
    async fn empty_lines_are_passed_over_and_a_wrong_one_is_named() {
        let input = format!("{}\n  \n{}nonsense\n{}", named("a"), named("b"), named("c"));
        let (groups, failure) = groups(input).await;
        assert_eq!(groups, ["a:1 b:1"]);
        let (line, message) = failure.unwrap();
        assert_eq!(line, 5);
        assert!(message.contains("expected"), "{message}");
    }
}
