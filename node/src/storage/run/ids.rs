//! Which event ids a run can hold. Ids of version 7 begin with their time, so those of one run lie close together, and
//! most runs can be told apart without a look at their files.

use super::super::table::PROPERTIES_BYTES;

/// The bits of byte 6 that hold the version of a UUID (RFC 9562, section 4.2).
const VERSION_MASK: u8 = 0xf0;
const VERSION_7: u8 = 0x70;

const HAS_TIMED: u8 = 1 << 0;
const HAS_OTHERS: u8 = 1 << 1;

/// The ids of a run: the least and the greatest of version 7, and whether there are others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IdBounds {
    /// As numbers, which are in the order of the bytes and compared quicker.
    timed: Option<(u128, u128)>,
    others: bool,
}

impl IdBounds {
    pub fn add(&mut self, id: &[u8; 16]) {
        if !is_timed(id) {
            self.others = true;
            return;
        }
        let id = u128::from_be_bytes(*id);
        let (least, greatest) = self.timed.get_or_insert((id, id));
        *least = (*least).min(id);
        *greatest = (*greatest).max(id);
    }

    pub fn may_have(&self, id: &[u8; 16]) -> bool {
        if !is_timed(id) {
            return self.others;
        }
        let id = u128::from_be_bytes(*id);
        self.timed.is_some_and(|(least, greatest)| least <= id && id <= greatest)
    }

    pub fn to_properties(self) -> [u8; PROPERTIES_BYTES] {
        let mut bytes = [0; PROPERTIES_BYTES];
        if let Some((least, greatest)) = self.timed {
            bytes[0] |= HAS_TIMED;
            bytes[1..17].copy_from_slice(&least.to_be_bytes());
            bytes[17..33].copy_from_slice(&greatest.to_be_bytes());
        }
        bytes[0] |= if self.others { HAS_OTHERS } else { 0 };
        bytes
    }

    pub fn from_properties(bytes: &[u8; PROPERTIES_BYTES]) -> Self {
        let id = |at: usize| u128::from_be_bytes(std::array::from_fn(|index| bytes[at + index]));
        Self {
            timed: (bytes[0] & HAS_TIMED != 0).then(|| (id(1), id(17))),
            others: bytes[0] & HAS_OTHERS != 0,
        }
    }
}

const fn is_timed(id: &[u8; 16]) -> bool {
    id[6] & VERSION_MASK == VERSION_7
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(first: u8) -> [u8; 16] {
        [first, 0, 0, 0, 0, 0, VERSION_7, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]
    }

    #[test]
    fn an_id_outside_the_times_of_a_run_is_not_in_it() {
        let mut bounds = IdBounds::default();
        assert!(!bounds.may_have(&timed(5)));
        bounds.add(&timed(5));
        bounds.add(&timed(3));
        assert!(!bounds.may_have(&timed(2)) && !bounds.may_have(&timed(6)));
        assert!(bounds.may_have(&timed(3)) && bounds.may_have(&timed(4)));
        assert!(!bounds.may_have(&[4; 16]), "no id without a time was added");
        bounds.add(&[9; 16]);
        assert!(bounds.may_have(&[4; 16]));
        assert_eq!(IdBounds::from_properties(&bounds.to_properties()), bounds);
    }
}
