//! Whether replicas have the same contents, by the digests of their seals.
//!
//! A digest is a chain: it covers everything that was sealed before. So two replicas that once differ differ from then
//! on, and the first seal at which they do says between which positions the difference stands.

use std::collections::{BTreeMap, BTreeSet};

use reckon_api::v1;

use super::views::named;

/// Who has which digest at a seal, and where the seal ends for them.
type Groups<'a> = BTreeMap<&'a str, Vec<(u64, u64)>>;

/// The newest seal that two replicas or more have in common without a difference, and who differs.
pub(super) fn compare(views: &[&v1::StatusResponse]) -> (u64, Vec<v1::Divergence>) {
    let mut seals: BTreeMap<u64, Groups<'_>> = BTreeMap::new();
    for view in views {
        let newest = (view.seal, view.sealed_position, view.digest.as_str());
        let remembered = view.seals.iter();
        let remembered = remembered.map(|it| (it.seal, it.position, it.digest.as_str()));
        let told: BTreeSet<_> = remembered.chain([newest]).filter(|it| it.0 != 0).collect();
        for (seal, position, digest) in told {
            let groups = seals.entry(seal).or_default();
            groups.entry(digest).or_default().push((view.node_id, position));
        }
    }
    let replicas = |groups: &Groups<'_>| groups.values().map(Vec::len).sum::<usize>();
    let equal = seals.iter().filter(|(_, groups)| groups.len() == 1 && replicas(groups) > 1);
    let seal_compared = equal.map(|(seal, _)| *seal).next_back().unwrap_or_default();

    // Whom a majority contradicts somewhere, and who is part of one.
    let (mut contradicted, mut backed) = (BTreeSet::new(), BTreeSet::new());
    let mut differing = BTreeSet::new();
    for groups in seals.values().filter(|groups| groups.len() > 1) {
        let majority = groups.values().find(|group| group.len() * 2 > replicas(groups));
        for group in groups.values() {
            let ids = group.iter().map(|(node_id, _)| *node_id);
            differing.extend(ids.clone());
            match majority {
                Some(majority) if majority == group => backed.extend(ids),
                Some(_) => contradicted.extend(ids),
                None => {}
            }
        }
    }
    let divergences = differing
        .into_iter()
        // Who is part of a majority is right as far as anybody can tell.
        .filter(|node_id| contradicted.contains(node_id) || !backed.contains(node_id))
        .filter_map(|node_id| divergence(&seals, node_id, contradicted.contains(&node_id), &backed))
        .collect();
    (seal_compared, divergences)
}

/// Where a replica begins to differ from the others; from those whom a majority backs, if there are any.
fn divergence(
    seals: &BTreeMap<u64, Groups<'_>>,
    node_id: u64,
    minority: bool,
    backed: &BTreeSet<u64>,
) -> Option<v1::Divergence> {
    let others = |groups: &Groups<'_>, own: &str, same: bool| -> Vec<u64> {
        let groups = groups.iter().filter(|(digest, _)| (**digest == own) == same);
        let ids = groups.flat_map(|(_, group)| group).map(|(other, _)| *other);
        ids.filter(|other| *other != node_id && (!minority || backed.contains(other))).collect()
    };
    let own = |groups: &Groups<'_>| {
        groups.iter().find_map(|(digest, group)| {
            let (_, position) = group.iter().find(|(id, _)| *id == node_id)?;
            Some(((*digest).to_owned(), *position))
        })
    };
    let mut from_position = 0;
    for (seal, groups) in seals {
        let Some((digest, position)) = own(groups) else { continue };
        let mut compared_with = others(groups, &digest, false);
        if compared_with.is_empty() {
            if !others(groups, &digest, true).is_empty() {
                from_position = position;
            }
            continue;
        }
        compared_with.sort_unstable();
        let ends = groups.values().flatten().map(|(_, end)| *end);
        return Some(v1::Divergence {
            node_id,
            seal: *seal,
            from_position,
            to_position: ends.max().unwrap_or(position),
            digest,
            compared_with,
            minority,
        });
    }
    None
}

/// What a person reads of it.
pub(super) fn sentence(found: &v1::Divergence) -> String {
    let v1::Divergence { node_id, seal, from_position, to_position, .. } = found;
    let others = named(&found.compared_with);
    let others = if found.minority {
        format!("the majority, {others}")
    } else {
        format!("{others}, and no majority says who is right")
    };
    format!(
        "member {node_id} has other contents from position {from_position} on and below {to_position} (seal {seal}) \
         than {others}"
    )
}
