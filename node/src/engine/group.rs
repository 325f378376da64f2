//! A group of commands: the payload of a log entry. The proposer encodes and checksums it once; the same
//! bytes go to disk, to peers, to apply and into the overlay.
//!
//! ```text
//! format version (1) | crc32c of the rest (4) | epoch_us (8) | command count (4) | commands
//! ```
//!
//! Each command has its length (4) in front. Numbers are little-endian.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::command::CorruptCommand;
use crate::event::Malformed;
use crate::event::codec::Reader;
use crate::limits::{GROUP_COMMAND_HEADER_BYTES, GROUP_HEADER_BYTES};

/// The one version of the group format that this build reads and writes.
const GROUP_FORMAT_VERSION: u8 = 1;

/// Bytes in front of what the checksum covers: the version and the checksum itself.
const CHECKSUMMED_FROM: usize = 1 + 4;
/// Bytes in front of the count of commands.
const COUNT_FROM: usize = CHECKSUMMED_FROM + 8;

/// Why a committed group cannot be applied. All of it is refused: nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorruptGroup {
    #[error("the group has format version {0}, this build knows {GROUP_FORMAT_VERSION}")]
    UnknownVersion(u8),
    #[error("the group's checksum is {actual:#010x}, its header says {expected:#010x}")]
    Checksum { expected: u32, actual: u32 },
    #[error("the group is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("command {index} of the group: {source}")]
    Command { index: usize, source: CorruptCommand },
}

impl CorruptGroup {
    /// Never: the same bytes stay corrupt.
    pub const fn retryable(self) -> bool {
        false
    }
}

/// A checked group. The commands are slices of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// When the proposer made the group, microseconds since 1970 UTC. Apply keeps it from decreasing.
    pub epoch_us: u64,
    /// Each as [`super::Command::encode`] made it.
    pub commands: Vec<Bytes>,
}

/// Encodes commands as one group, stamped with the proposer's time.
pub fn encode_group(epoch_us: u64, commands: &[Bytes]) -> Bytes {
    let commands_bytes: usize =
        commands.iter().map(|command| GROUP_COMMAND_HEADER_BYTES + command.len()).sum();
    let mut buf = BytesMut::with_capacity(GROUP_HEADER_BYTES + commands_bytes);
    buf.put_u8(GROUP_FORMAT_VERSION);
    buf.put_u32_le(0);
    buf.put_u64_le(epoch_us);
    buf.put_u32_le(u32::try_from(commands.len()).expect("a group's commands fit in memory"));
    for command in commands {
        let len = u32::try_from(command.len()).expect("COMMAND_BYTES_MAX is below 4 GiB");
        buf.put_u32_le(len);
        buf.put_slice(command);
    }
    let checksum = crc32c::crc32c(&buf[CHECKSUMMED_FROM..]);
    buf[1..CHECKSUMMED_FROM].copy_from_slice(&checksum.to_le_bytes());
    buf.freeze()
}

/// How many commands a group says it has; 0 when it is too short to be one.
pub fn commands_in(group: &[u8]) -> u32 {
    let count = group.get(COUNT_FROM..).and_then(|rest| rest.first_chunk());
    count.map_or(0, |count| u32::from_le_bytes(*count))
}

impl Group {
    /// Checks the checksum and finds the commands. Copies none of them.
    pub fn decode(bytes: &Bytes) -> Result<Self, CorruptGroup> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            GROUP_FORMAT_VERSION => {}
            unknown => return Err(CorruptGroup::UnknownVersion(unknown)),
        }
        let expected = u32::from_le_bytes(reader.array()?);
        let actual = crc32c::crc32c(&bytes[CHECKSUMMED_FROM..]);
        if expected != actual {
            return Err(CorruptGroup::Checksum { expected, actual });
        }
        let epoch_us = u64::from_le_bytes(reader.array()?);
        let count = u32::from_le_bytes(reader.array()?);
        // Grows as it is filled: the count is not believed before the commands are there.
        let mut commands = Vec::new();
        for _ in 0..count {
            let len = u32::from_le_bytes(reader.array()?) as usize;
            reader.take(len)?;
            commands.push(bytes.slice(reader.at() - len..reader.at()));
        }
        reader.finish()?;
        Ok(Self { epoch_us, commands })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_how_many_commands_it_has_before_it_is_decoded() {
        for count in [0_u8, 1, 3, 200] {
            let commands: Vec<Bytes> = (0..count).map(|number| vec![number; 7].into()).collect();
            let group = encode_group(u64::MAX, &commands);
            assert_eq!(commands_in(&group), u32::from(count));
            assert_eq!(Group::decode(&group).unwrap().commands, commands);
        }
        assert_eq!(commands_in(b"too short"), 0);
    }
}
