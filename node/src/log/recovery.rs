//! From the files back to the state: replay what is whole, cut what is torn, refuse what is damaged.
//!
//! A frame that does not check is torn when nothing says that it was ever durable, and damaged when something does:
//! a later file (made only after the earlier ones were synced), or a later frame of the same file whose stamp says
//! so. Whatever was torn is zeroed on the disk before the log goes on, so that no later frame can line up with what
//! was behind it.

use std::sync::Arc;

use super::OpenError;
use super::files::Disk;
use super::frame::{
    ALIGNMENT, FILE_HEADER_BYTES, FORMAT_VERSION, FRAME_HEADER_BYTES, FileHeader, FrameHeader,
    HeaderError, Kind, read_vote,
};
use super::index::Location;
use super::state::{OpenFile, State};
use super::writer::{Tail, create_file};

/// How much of a file is read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// Recovers the log of `disk` into `state` (which is empty), or begins a new one. When it returns, everything that
/// it found is on stable storage.
pub fn recover(
    disk: &dyn Disk,
    file_bytes: u64,
    must_exist: bool,
    state: &mut State,
) -> Result<Tail, OpenError> {
    let mut files = open_files(disk, must_exist)?;
    let (Some((oldest, _)), Some((newest, _))) = (files.first().cloned(), files.last().cloned())
    else {
        if must_exist {
            return Err(OpenError::Missing);
        }
        return begin(disk, file_bytes, state);
    };
    let mut replay = Replay { state, tail: None };
    for (file, header) in files.drain(..) {
        replay.file(file, &header)?;
    }
    let tail = replay.finish()?;
    if oldest.number > 1 && tail.purged.is_none() {
        return Err(damaged(&oldest.name, 0, "the files before it are missing"));
    }
    cut_torn_end(&tail)?;
    // A process that died between write and sync leaves frames that only the page cache has.
    newest.file.sync_data().map_err(OpenError::io(format!("syncing {}", newest.name)))?;
    disk.sync().map_err(OpenError::io("syncing the folder of the log"))?;
    Ok(tail)
}

fn begin(disk: &dyn Disk, file_bytes: u64, state: &mut State) -> Result<Tail, OpenError> {
    let header = FileHeader {
        number: 1,
        nonce: disk.nonce(),
        first_sequence: 1,
        previous: None,
        purged: None,
        vote: None,
        committed: None,
    };
    let failed = OpenError::io(format!("making {}", disk.name(1)));
    let file = create_file(disk, file_bytes, &header).map_err(failed)?;
    state.files.insert(1, file.clone());
    let offset = FILE_HEADER_BYTES;
    Ok(Tail { file, offset, next_sequence: 1, last: None, purged: None, vote: None })
}

/// Opens all files and reads their headers; removes the newest one when its making was interrupted.
fn open_files(disk: &dyn Disk, must_exist: bool) -> Result<Vec<(OpenFile, FileHeader)>, OpenError> {
    let numbers = disk.list().map_err(OpenError::io("listing the files of the log"))?;
    let mut files = Vec::with_capacity(numbers.len());
    for (position, &number) in numbers.iter().enumerate() {
        if position > 0 && numbers[position - 1] + 1 != number {
            return Err(damaged(&disk.name(number - 1), 0, "the file is missing"));
        }
        let name: Arc<str> = disk.name(number).into();
        let failed = || OpenError::io(format!("opening {name}"));
        let handle = disk.open(number).map_err(failed())?;
        let bytes = handle.bytes().map_err(failed())?;
        let mut file = OpenFile { number, nonce: 0, bytes, name, file: handle };
        match read_file_header(&file)? {
            Ok(header) if header.number == number => {
                file.nonce = header.nonce;
                files.push((file, header));
            }
            Ok(header) => {
                let what = format!("this is file {}, under another name", header.number);
                return Err(damaged(&file.name, 0, what));
            }
            Err(HeaderError::Version(found)) => {
                let (file, known) = (file.name.to_string(), FORMAT_VERSION);
                return Err(OpenError::Version { file, found, known });
            }
            Err(HeaderError::Damaged) => {
                // A file is used only after its header is durable, and its frames are never all zeroes.
                let newest = position + 1 == numbers.len();
                let unused = last_written(&file, FILE_HEADER_BYTES)?.is_none();
                if !(newest && unused && (position > 0 || (number == 1 && !must_exist))) {
                    return Err(damaged(&file.name, 0, "the header does not match its checksum"));
                }
                let failed = || OpenError::io(format!("removing {}", file.name));
                disk.remove(number).map_err(failed())?;
                disk.sync().map_err(failed())?;
            }
        }
    }
    Ok(files)
}

fn read_file_header(file: &OpenFile) -> Result<Result<FileHeader, HeaderError>, OpenError> {
    if file.bytes < FILE_HEADER_BYTES {
        return Ok(Err(HeaderError::Damaged));
    }
    Ok(FileHeader::read(&read(file, 0, FILE_HEADER_BYTES)?))
}

/// Frames applied one after the other.
struct Replay<'a> {
    state: &'a mut State,
    /// The end of what was replayed so far.
    tail: Option<Tail>,
}

impl Replay<'_> {
    fn file(&mut self, file: OpenFile, header: &FileHeader) -> Result<(), OpenError> {
        let mut tail = Tail {
            file: file.clone(),
            offset: FILE_HEADER_BYTES,
            next_sequence: header.first_sequence,
            last: header.previous,
            purged: header.purged,
            vote: header.vote,
        };
        if let Some(before) = &self.tail {
            if before.next_sequence != header.first_sequence {
                let what = format!(
                    "frame {} does not match its checksum, and {} says that all before frame {} were durable",
                    before.next_sequence, file.name, header.first_sequence
                );
                return Err(damaged(&before.file.name, before.offset, what));
            }
            // A purge of everything begins a new file that does not continue the one before.
            let begins_anew = header.purged.is_some() && header.previous == header.purged;
            if !begins_anew && (before.last != header.previous || before.purged != header.purged) {
                return Err(damaged(&file.name, 0, "the file does not continue the one before it"));
            }
        }
        if let Some(purged) = header.purged {
            self.state.purge(purged);
        }
        self.state.committed = header.committed.or(self.state.committed);

        let mut window = Window::new(&file);
        while let Some((frame, body)) = next_frame(&mut window, &tail)? {
            self.frame(&mut tail, &frame, body)?;
            tail.offset += frame.frame_bytes();
            tail.next_sequence += 1;
        }
        self.state.files.insert(file.number, file);
        self.tail = Some(tail);
        Ok(())
    }

    fn frame(
        &mut self,
        tail: &mut Tail,
        frame: &FrameHeader,
        body: &[u8],
    ) -> Result<(), OpenError> {
        let wrong = |what: &str| {
            damaged(&tail.file.name, tail.offset, format!("frame {}: {what}", frame.sequence))
        };
        match (frame.kind, frame.log_id) {
            (Kind::Entry, Some(log_id)) => {
                if tail.last.is_some_and(|last| last.index + 1 != log_id.index || last > log_id) {
                    return Err(wrong("the entry does not follow the one before it"));
                }
                let location = Location { file: tail.file.number, offset: tail.offset };
                self.state.index.push(log_id, u64::from(frame.body_bytes));
                self.state.index.locate(log_id, location);
                tail.last = Some(log_id);
            }
            (Kind::Vote, None) => {
                let vote = read_vote(&body[..frame.body_bytes as usize]);
                tail.vote = Some(vote.ok_or_else(|| wrong("the vote is not readable"))?);
            }
            (Kind::Truncate, after) => {
                self.state.truncate_after(after);
                tail.last = after;
            }
            (Kind::Purge, Some(upto)) => {
                if tail.last.is_none_or(|last| last.index <= upto.index) {
                    return Err(wrong("the purge mark is beyond the log"));
                }
                self.state.purge(upto);
                tail.purged = Some(upto);
            }
            (Kind::Mark, None) => {}
            _ => return Err(wrong("the log id does not fit the kind")),
        }
        self.state.committed = frame.committed.or(self.state.committed);
        Ok(())
    }

    fn finish(self) -> Result<Tail, OpenError> {
        let tail = self.tail.expect("there is at least one file");
        self.state.vote = tail.vote;
        // Entries that were purged before the oldest file began.
        if let Some(purged) = tail.purged {
            self.state.purge(purged);
            if !self.state.index.is_empty() && self.state.index.first() != purged.index + 1 {
                return Err(damaged(
                    &tail.file.name,
                    tail.offset,
                    format!(
                        "the log is purged up to {purged}, but the first entry is {}",
                        self.state.index.first()
                    ),
                ));
            }
        }
        if self.state.last_log_id() != tail.last {
            return Err(damaged(
                &tail.file.name,
                tail.offset,
                "the log does not end where its frames say",
            ));
        }
        Ok(tail)
    }
}

/// The frame at the end of what was replayed, when a whole one with the next sequence is there.
fn next_frame<'w>(
    window: &'w mut Window<'_>,
    tail: &Tail,
) -> Result<Option<(FrameHeader, &'w [u8])>, OpenError> {
    let Some(bytes) = window.get(tail.offset, FRAME_HEADER_BYTES as u64)? else { return Ok(None) };
    let frame = FrameHeader::read(bytes, tail.file.nonce);
    let Some(frame) = frame.filter(|frame| frame.sequence == tail.next_sequence) else {
        return Ok(None);
    };
    let body_offset = tail.offset + FRAME_HEADER_BYTES as u64;
    let body = window.get(body_offset, frame.filled_bytes())?;
    Ok(body.filter(|body| frame.matches(body)).map(|body| (frame, body)))
}

/// Looks behind the last whole frame: what was durable there is damage, what was not is zeroed.
fn cut_torn_end(tail: &Tail) -> Result<(), OpenError> {
    let Some(end) = last_written(&tail.file, tail.offset)? else { return Ok(()) };
    let mut window = Window::new(&tail.file);
    let mut offset = tail.offset;
    while offset < end {
        if let Some(bytes) = window.get(offset, FRAME_HEADER_BYTES as u64)?
            && let Some(frame) = FrameHeader::read(bytes, tail.file.nonce)
            && frame.durable >= tail.next_sequence
        {
            return Err(damaged(
                &tail.file.name,
                tail.offset,
                format!(
                    "frame {} does not match its checksum, and frame {} at byte {offset} says that it was durable",
                    tail.next_sequence, frame.sequence
                ),
            ));
        }
        offset += ALIGNMENT as u64;
    }
    tracing::warn!(
        file = %tail.file.name,
        offset = tail.offset,
        bytes = end - tail.offset,
        "the end of the log was being written when the node stopped, and is cut"
    );
    let failed = || OpenError::io(format!("cutting the end of {}", tail.file.name));
    let mut offset = tail.offset;
    while offset < end {
        let length = (end - offset).min(WINDOW_BYTES);
        tail.file.file.write_at(offset, &vec![0; length as usize]).map_err(failed())?;
        offset += length;
    }
    tail.file.file.sync_data().map_err(failed())
}

/// Where the written part of a file ends, from `offset` on, rounded up; `None` when there are only zeroes.
fn last_written(file: &OpenFile, mut offset: u64) -> Result<Option<u64>, OpenError> {
    let zeroes = vec![0; WINDOW_BYTES as usize];
    let mut end = None;
    while offset < file.bytes {
        let length = (file.bytes - offset).min(WINDOW_BYTES);
        let bytes = read(file, offset, length)?;
        if bytes != zeroes[..bytes.len()] {
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            end = Some((offset + written.next_multiple_of(ALIGNMENT) as u64).min(file.bytes));
        }
        offset += length;
    }
    Ok(end)
}

/// A part of a file in memory.
struct Window<'a> {
    file: &'a OpenFile,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const fn new(file: &'a OpenFile) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// The bytes there, or nothing when the file ends before.
    fn get(&mut self, offset: u64, length: u64) -> Result<Option<&[u8]>, OpenError> {
        if offset + length > self.file.bytes {
            return Ok(None);
        }
        if offset < self.start || offset + length > self.start + self.bytes.len() as u64 {
            self.bytes =
                read(self.file, offset, length.max(WINDOW_BYTES.min(self.file.bytes - offset)))?;
            self.start = offset;
        }
        let start = (offset - self.start) as usize;
        Ok(Some(&self.bytes[start..start + length as usize]))
    }
}

fn read(file: &OpenFile, offset: u64, length: u64) -> Result<Vec<u8>, OpenError> {
    let mut bytes = vec![0; length as usize];
    let failed = OpenError::io(format!("reading {} at byte {offset}", file.name));
    file.file.read_at(offset, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn damaged(file: &str, offset: u64, what: impl Into<String>) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), offset, what: what.into() }
}
