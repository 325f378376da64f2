//! The bytes of entries.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::log::entry::{EntryError, decode, encode, encoded_bytes};
use crate::raft::types::{Membership, PeerNode};

fn membership() -> impl Strategy<Value = Membership> {
    let text = "[a-zé:.-]{0,20}";
    let node =
        (text, text, text, text).prop_map(|(name, peer_address, client_address, volume_id)| {
            PeerNode { name, peer_address, client_address, volume_id }
        });
    let nodes = proptest::collection::btree_map(any::<u64>(), node, 1..6);
    (nodes, any::<u8>(), any::<bool>()).prop_map(|(nodes, voters, joint)| {
        let ids: Vec<u64> = nodes.keys().copied().collect();
        let voters: BTreeSet<u64> = ids
            .iter()
            .enumerate()
            .filter(|(bit, _)| voters >> bit & 1 == 1)
            .map(|(_, id)| *id)
            .collect();
        let mut configs = vec![BTreeSet::from([ids[0]])];
        if joint && !voters.is_empty() {
            configs.push(voters);
        }
        Membership::new(configs, nodes).unwrap()
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        Just(Payload::Blank),
        proptest::collection::vec(any::<u8>(), 0..200)
            .prop_map(|bytes| Payload::Normal(Group(bytes.into()))),
        membership().prop_map(Payload::Membership),
    ];
    (any::<u64>(), any::<u64>(), payload)
        .prop_map(|(term, index, payload)| Entry { log_id: log_id(term, index), payload })
}

proptest! {
    #[test]
    fn an_entry_comes_back_as_it_was(entry in entry()) {
        let bytes = encode(&entry);
        prop_assert_eq!(bytes.len() as u64, encoded_bytes(&entry));
        prop_assert_eq!(decode(bytes).unwrap(), entry);
    }

    #[test]
    fn a_shortened_entry_is_an_error_or_a_shorter_group(entry in entry(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&entry);
        let short = bytes.slice(..cut.index(bytes.len()));
        match (decode(short), &entry.payload) {
            (Ok(short), Payload::Normal(_)) => prop_assert_eq!(short.log_id, entry.log_id),
            (Ok(_), _) => prop_assert!(false, "it was not noticed"),
            (Err(_), _) => {}
        }
    }

    #[test]
    fn arbitrary_bytes_are_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(bytes.into());
    }
}

#[test]
fn a_group_is_shared_and_not_copied() {
    let bytes = encode(&group(1, 1, 100));
    let Payload::Normal(Group(decoded)) = decode(bytes.clone()).unwrap().payload else {
        panic!("a group")
    };
    assert_eq!(decoded.as_ptr(), bytes[18..].as_ptr());
}

#[test]
fn another_version_and_another_kind_are_refused() {
    let mut bytes = encode(&group(1, 1, 0)).to_vec();
    bytes[0] = 2;
    assert_eq!(decode(bytes.clone().into()), Err(EntryError::Version(2)));
    bytes[0] = 1;
    bytes[1] = 9;
    assert_eq!(decode(bytes.into()), Err(EntryError::Kind(9)));
}

#[test]
fn a_membership_without_a_voters_node_is_refused() {
    let membership =
        Membership::new(vec![BTreeSet::from([7])], BTreeMap::from([(7, PeerNode::default())]))
            .unwrap();
    let entry = Entry { log_id: log_id(1, 1), payload: Payload::Membership(membership) };
    let mut bytes = encode(&entry).to_vec();
    // The voter's id follows the prefix and two counts.
    bytes[18 + 8] = 8;
    assert!(matches!(decode(bytes.into()), Err(EntryError::Membership(_))));
}
