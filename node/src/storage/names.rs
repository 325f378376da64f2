//! How files are named. A name says what the file covers and ends with the first bytes of its digest, so that two
//! contents never share one.

use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};

pub(super) const RECORDS_FOLDER: &str = "records";
pub(super) const RUNS_FOLDER: &str = "runs";
/// Files that came from a peer and are not part of the state yet.
pub(super) const STAGING_FOLDER: &str = "staging";

/// Damaged files of the state, until whole ones are in their place.
pub(super) const DAMAGED_FOLDER: &str = "damaged";

/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".new";
/// Bytes of the digest in a name; the checkpoint has all of it.
const DIGEST_BYTES: usize = 8;
/// The longest part of a name after its folder.
const NAME_BYTES_MAX: usize = 120;

/// What the name of a records file begins with.
pub(super) fn records(positions: &Range<u64>) -> String {
    format!("{RECORDS_FOLDER}/{:020}-{:020}", positions.start, positions.end)
}

/// What the name of a run begins with.
pub(super) fn run(level: u32, seals: &RangeInclusive<u64>) -> String {
    format!("{RUNS_FOLDER}/{level}-{:010}-{:010}", seals.start(), seals.end())
}

/// The name of a file while it is written.
pub(super) fn unfinished(beginning: &str) -> String {
    format!("{beginning}{UNFINISHED}")
}

/// The name of a file once its digest is known.
pub(super) fn finished(beginning: &str, digest: &[u8; 32]) -> String {
    let mut name = format!("{beginning}-");
    for byte in &digest[..DIGEST_BYTES] {
        write!(name, "{byte:02x}").expect("writing to a string does not fail");
    }
    name
}

/// Where a file of another place waits in the staging folder.
pub(super) fn staged(name: &str) -> String {
    kept_in(STAGING_FOLDER, name)
}

/// Where a damaged file of another place is kept.
pub(super) fn set_aside(name: &str) -> String {
    kept_in(DAMAGED_FOLDER, name)
}

fn kept_in(folder: &str, name: &str) -> String {
    format!("{folder}/{}", name.replace('/', "."))
}

/// Whether this is the path of a file directly in a folder, in the letters that names here are made of.
pub(super) fn is_file_of(folder: &str, path: &str) -> bool {
    let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|name| {
        !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    })
}

/// The folder of a path.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
