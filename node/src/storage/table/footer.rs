//! The last bytes of a table: what kind it is, how much is in it, and where its trees begin.

use bytes::{Buf as _, BufMut as _};

use super::super::block::Handle;

const MAGIC: &[u8; 8] = b"RKNTABLE";
const FORMAT_VERSION: u32 = 1;

/// Room for what the kind of table wants to say about itself.
pub(in super::super) const PROPERTIES_BYTES: usize = 64;
/// The size of every footer.
pub(super) const FOOTER_BYTES: usize = 160;
const CHECKED_BYTES: usize = FOOTER_BYTES - 4;

/// More levels than any file has: each multiplies the entries by hundreds.
const DEPTH_MAX: u8 = 12;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Stored records by position.
    Records = 1,
    /// Index keys.
    Run = 2,
}

/// A tree of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub handle: Handle,
    /// Levels of index blocks above the leaves.
    pub depth: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub kind: Kind,
    /// How many entries there are.
    pub entries: u64,
    /// The size of the file, footer included.
    pub file_bytes: u64,
    /// The tree of entries; `None` when there are none.
    pub entries_root: Option<Root>,
    /// The tree of filter pages; `None` when there are none.
    pub filter_root: Option<Root>,
    pub properties: [u8; PROPERTIES_BYTES],
}

impl Footer {
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.put_u32_le(FORMAT_VERSION);
        bytes.put_u8(self.kind as u8);
        bytes.put_u64_le(self.entries);
        bytes.put_u64_le(self.file_bytes);
        put_root(&mut bytes, self.entries_root);
        put_root(&mut bytes, self.filter_root);
        bytes.extend_from_slice(&self.properties);
        bytes.resize(CHECKED_BYTES, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        bytes
    }

    /// Reads a footer of a file of `file_bytes`; the reason if it is none.
    pub fn read(bytes: &[u8; FOOTER_BYTES], kind: Kind, file_bytes: u64) -> Result<Self, String> {
        let (checked, mut crc) = bytes.split_at(CHECKED_BYTES);
        if !checked.starts_with(MAGIC) {
            return Err("the footer is not that of a table".to_owned());
        }
        if crc32c::crc32c(checked) != crc.get_u32_le() {
            return Err("the footer does not match its checksum".to_owned());
        }
        let mut fields = &checked[MAGIC.len()..];
        let version = fields.get_u32_le();
        if version != FORMAT_VERSION {
            return Err(format!(
                "the table is of format {version}, this build knows {FORMAT_VERSION}"
            ));
        }
        if fields.get_u8() != kind as u8 {
            return Err("the table is of another kind than the one that belongs here".to_owned());
        }
        let entries = fields.get_u64_le();
        if fields.get_u64_le() != file_bytes {
            return Err("the file has another size than its footer says".to_owned());
        }
        let entries_root = get_root(&mut fields)?;
        let filter_root = get_root(&mut fields)?;
        let mut properties = [0; PROPERTIES_BYTES];
        fields.copy_to_slice(&mut properties);
        Ok(Self { kind, entries, file_bytes, entries_root, filter_root, properties })
    }
}

fn put_root(bytes: &mut Vec<u8>, root: Option<Root>) {
    let (handle, depth) =
        root.map_or((Handle { offset: 0, bytes: 0 }, 0), |root| (root.handle, root.depth));
    bytes.put_u64_le(handle.offset);
    bytes.put_u32_le(handle.bytes);
    bytes.put_u8(depth);
}

fn get_root(fields: &mut &[u8]) -> Result<Option<Root>, String> {
    let handle = Handle { offset: fields.get_u64_le(), bytes: fields.get_u32_le() };
    let depth = fields.get_u8();
    if depth > DEPTH_MAX {
        return Err("the footer states an impossible depth".to_owned());
    }
    // A block has a header, so no bytes means no block.
    Ok((handle.bytes > 0).then_some(Root { handle, depth }))
}
