//! A share of the streams: xxh3-64 of the stream id, seed 0, modulo a count. Promised to stay as it is:
//! consumers on other machines and in other languages compute it too.

use twox_hash::XxHash3_64;

/// One of `count` shares of all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    index: u32,
    count: u32,
}

/// Why two numbers are no partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPartition {
    #[error("counts no partitions; there is at least one")]
    NoCount,
    #[error("is beyond the last of {count} partitions, which is {}", count - 1)]
    IndexTooLarge { count: u32 },
}

impl Partition {
    /// `index` counts from 0 and is below `count`.
    pub const fn new(index: u32, count: u32) -> Result<Self, NoPartition> {
        if count == 0 {
            Err(NoPartition::NoCount)
        } else if index >= count {
            Err(NoPartition::IndexTooLarge { count })
        } else {
            Ok(Self { index, count })
        }
    }

    /// Whether the stream belongs to this share.
    pub fn holds(self, stream_id: &str) -> bool {
        XxHash3_64::oneshot(stream_id.as_bytes()) % u64::from(self.count) == u64::from(self.index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From the reference implementation of xxHash, `XXH3_64bits` with seed 0, for every branch of the
    /// algorithm: nothing, up to 3 bytes, up to 8, up to 240, and beyond.
    #[test]
    fn the_hash_is_xxh3_64_with_seed_0() {
        let vectors = [
            (String::new(), 0x2d06_8005_38d3_94c2),
            ("a".to_owned(), 0xe6c6_32b6_1e96_4e1f),
            ("abc".to_owned(), 0x78af_5f94_892f_3950),
            ("orders-1".to_owned(), 0xfd7c_c18f_961f_bce4),
            ("o".repeat(200), 0x8ecd_2a04_0ef4_3470),
            ("o".repeat(512), 0x5e86_f7dc_4b02_8d97),
        ];
        for (stream_id, hash) in &vectors {
            assert_eq!(XxHash3_64::oneshot(stream_id.as_bytes()), *hash, "{stream_id:?}");
            for count in [1, 2, 16, 1_000, u32::MAX] {
                let index = (hash % u64::from(count)) as u32;
                assert!(Partition::new(index, count).unwrap().holds(stream_id));
            }
        }
    }

    #[test]
    fn the_worked_example_of_the_reference_holds() {
        // 0xfd7cc18f961fbce4 modulo 4 is 0.
        assert!(Partition::new(0, 4).unwrap().holds("orders-1"));
    }

    #[test]
    fn an_index_is_below_its_count() {
        assert_eq!(Partition::new(0, 0), Err(NoPartition::NoCount));
        assert_eq!(Partition::new(4, 4), Err(NoPartition::IndexTooLarge { count: 4 }));
        assert!(Partition::new(0, 1).is_ok());
        assert!(Partition::new(u32::MAX - 1, u32::MAX).is_ok());
    }

    proptest! {
        #[test]
        fn every_stream_belongs_to_exactly_one_share(stream_id: String, count in 1_u32..50) {
            let shares = (0..count)
                .filter(|&index| Partition::new(index, count).unwrap().holds(&stream_id))
                .count();
            prop_assert_eq!(shares, 1);
        }
    }
}
