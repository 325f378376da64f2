//! The one form of selectors that mean the same, so that equal definitions compare equal.

use reckon_api::v1;
use reckon_api::v1::event_pattern::Kind as PatternKind;
use reckon_api::v1::selector::Kind;
use v1::PayloadOperator;

use super::ALL_STREAM;
use crate::filter::canonical_json;

/// Puts in order what has none, leaves out what stands twice, and writes JSON in one way. Does not check anything: what
/// cannot be compiled stays so.
pub fn canonical(selector: &v1::Selector) -> v1::Selector {
    let kind = selector.kind.clone().map(|kind| match kind {
        Kind::Stream(stream) if stream == ALL_STREAM => Kind::All(true),
        Kind::Tags(tags) => Kind::Tags(canonical_tags(tags)),
        Kind::EventPattern(v1::EventPattern { kind: Some(PatternKind::Fields(object)) }) => {
            let object = PatternKind::Fields(canonical_json(&object));
            Kind::EventPattern(v1::EventPattern { kind: Some(object) })
        }
        Kind::EventPayload(payload) => Kind::EventPayload(canonical_payload(payload)),
        other => other,
    });
    v1::Selector { kind }
}

fn canonical_tags(mut tags: v1::Tags) -> v1::Tags {
    tags.tags.sort_unstable();
    tags.tags.dedup();
    // All of one tag are any of one.
    tags.all &= tags.tags.len() > 1;
    tags
}

fn canonical_payload(mut payload: v1::EventPayload) -> v1::EventPayload {
    for condition in &mut payload.conditions {
        if condition.operator == i32::from(PayloadOperator::Unspecified) {
            condition.set_operator(PayloadOperator::Eq);
        }
        condition.value = canonical_json(&condition.value);
    }
    let order = |condition: &v1::PayloadCondition| {
        (condition.field.clone(), condition.operator, condition.value.clone())
    };
    payload.conditions.sort_by_cached_key(order);
    payload.conditions.dedup();
    payload
}
