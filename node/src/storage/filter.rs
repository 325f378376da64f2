//! A filter over keys: says "not here" for most keys that are not, and never for one that is.
//!
//! A split-block Bloom filter (Apache Parquet's, `BloomFilter.md`; Putze, Sanders and Singler, 2007): a key sets one
//! bit in each of eight words of one 32-byte block. The filter is cut into pages by key, each made from its own keys as
//! they come in order, so that neither writing nor reading ever holds the filter of a whole file.

use twox_hash::XxHash3_64;

/// Bits for a key: about one key in a hundred that is not there passes.
const BITS_PER_KEY: usize = 10;
/// A page as large as what a disk reads at once.
const PAGE_BYTES: usize = 4 << 10;
const PAGE_KEYS: usize = PAGE_BYTES * 8 / BITS_PER_KEY;

const WORDS: usize = 8;
const BLOCK_BYTES: usize = WORDS * size_of::<u32>();

/// Odd numbers that spread a hash over the words of a block; those of the specification.
const SALTS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Part of a filter: that of the keys from its first one up to the next page's.
#[derive(Debug)]
pub(super) struct Page {
    pub first_key: Vec<u8>,
    pub bits: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct FilterBuilder {
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// Adds a key that is not below the one before it, and returns a page when one is full.
    pub fn push(&mut self, key: &[u8]) -> Option<Page> {
        if !self.hashes.is_empty() && self.last_key == key {
            return None;
        }
        let full = (self.hashes.len() == PAGE_KEYS).then(|| self.take_page());
        if self.hashes.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.hashes.push(XxHash3_64::oneshot(key));
        full
    }

    /// The last page; `None` if no key is left.
    pub fn finish(mut self) -> Option<Page> {
        (!self.hashes.is_empty()).then(|| self.take_page())
    }

    fn take_page(&mut self) -> Page {
        let blocks = (self.hashes.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8);
        let mut bits = vec![0; blocks * BLOCK_BYTES];
        for hash in self.hashes.drain(..) {
            let block = block_of(hash, blocks);
            for (word, mask) in masks(hash).enumerate() {
                let at = block * BLOCK_BYTES + word * size_of::<u32>();
                for (byte, mask) in bits[at..].iter_mut().zip(mask.to_le_bytes()) {
                    *byte |= mask;
                }
            }
        }
        Page { first_key: std::mem::take(&mut self.first_key), bits }
    }
}

/// Whether a key may be among those that the page was made from; the reason if the bits are no page.
pub(super) fn may_contain(bits: &[u8], key: &[u8]) -> Result<bool, &'static str> {
    if bits.is_empty() || !bits.len().is_multiple_of(BLOCK_BYTES) {
        return Err("a page of the filter has an impossible size");
    }
    let hash = XxHash3_64::oneshot(key);
    let start = block_of(hash, bits.len() / BLOCK_BYTES) * BLOCK_BYTES;
    let words = bits[start..start + BLOCK_BYTES].as_chunks::<4>().0;
    Ok(words.iter().zip(masks(hash)).all(|(word, mask)| u32::from_le_bytes(*word) & mask != 0))
}

/// The upper half of the hash chooses the block.
const fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// The lower half of the hash chooses one bit of each word.
fn masks(hash: u64) -> impl Iterator<Item = u32> {
    let lower = hash as u32;
    SALTS.into_iter().map(move |salt| 1 << (lower.wrapping_mul(salt) >> 27))
}
