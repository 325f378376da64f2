//! The validation rules of the schema, evaluated here as the API server would.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use reckon_crds::{EventStore, NAME_LENGTH_MAX};
use serde_json::json;

fn store(name: &str) -> EventStore {
    serde_json::from_value(json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "EventStore",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "storage": { "size": "1Gi" } },
    }))
    .expect("a valid store")
}

/// Checks that a store, changed in this way, is refused with a message that has `expect` in it, or
/// accepted when `expect` is `None`.
fn check(change: impl FnOnce(&mut EventStore), expect: Option<&str>) {
    let mut store = store("orders");
    change(&mut store);
    verdict(store.validate_cel().map_err(|errors| errors.to_string()), expect);
}

fn check_update(
    before: impl FnOnce(&mut EventStore),
    after: impl FnOnce(&mut EventStore),
    expect: Option<&str>,
) {
    let (mut old, mut new) = (store("orders"), store("orders"));
    before(&mut old);
    after(&mut new);
    verdict(new.validate_cel_update(&old).map_err(|errors| errors.to_string()), expect);
}

#[track_caller]
fn verdict(result: Result<(), String>, expect: Option<&str>) {
    match (result, expect) {
        (Ok(()), None) => {}
        (Err(message), Some(part)) if message.contains(part) => {}
        (result, expect) => panic!("expected {expect:?}, got {result:?}"),
    }
}

fn size(text: &str) -> impl FnOnce(&mut EventStore) {
    let quantity = Quantity(text.to_owned());
    move |store| store.spec.storage.size = quantity
}

fn class(name: Option<&str>) -> impl FnOnce(&mut EventStore) {
    let name = name.map(str::to_owned);
    move |store| store.spec.storage.storage_class_name = name
}

#[test]
fn replicas_are_odd_and_at_most_seven() {
    for replicas in [1, 3, 5, 7] {
        check(|store| store.spec.replicas = replicas, None);
    }
    for replicas in [-1, 0, 2, 4, 6, 8, 9] {
        check(|store| store.spec.replicas = replicas, Some("replicas must be 1, 3, 5 or 7"));
    }
}

#[test]
fn replicas_may_change_between_valid_numbers() {
    check_update(|_| {}, |store| store.spec.replicas = 5, None);
    check_update(|_| {}, |store| store.spec.replicas = 1, None);
    check_update(|_| {}, |store| store.spec.replicas = 4, Some("replicas must be 1, 3, 5 or 7"));
}

#[test]
fn storage_has_a_size() {
    check(size("0"), Some("greater than zero"));
    check(size("0Gi"), Some("greater than zero"));
    check(size("1Mi"), None);
}

#[test]
fn storage_grows_but_never_shrinks() {
    check_update(size("1Gi"), size("2Gi"), None);
    check_update(size("1Gi"), size("1024Mi"), None);
    check_update(size("2Gi"), size("1Gi"), Some("never shrink"));
    check_update(size("1Gi"), size("1G"), Some("never shrink"));
}

#[test]
fn the_storage_class_is_immutable_also_when_absent() {
    check_update(class(Some("fast")), class(Some("fast")), None);
    check_update(class(None), class(None), None);
    check_update(class(Some("fast")), class(Some("slow")), Some("immutable"));
    check_update(class(None), class(Some("slow")), Some("immutable"));
    check_update(class(Some("fast")), class(None), Some("immutable"));
}

#[test]
fn names_leave_room_for_what_is_named_after_them() {
    let longest = "a".repeat(NAME_LENGTH_MAX);
    check(|store| store.metadata.name = Some(longest.clone()), None);
    check(|store| store.metadata.name = Some(format!("{longest}a")), Some("at most 52 characters"));
    // A pod's label is the name, a dash and a hash of ten characters.
    const { assert!(NAME_LENGTH_MAX + 1 + 10 <= 63) };
    // The longest suffix of a Service.
    const { assert!(NAME_LENGTH_MAX + "-leader".len() <= 63) };
}

#[test]
fn names_are_fit_for_services() {
    for name in ["orders", "o", "orders-2"] {
        check(|store| store.metadata.name = Some(name.to_owned()), None);
    }
    for name in ["2orders", "orders.eu"] {
        check(
            |store| store.metadata.name = Some(name.to_owned()),
            Some("must start with a letter"),
        );
    }
}

#[test]
fn a_store_needs_to_say_only_how_large_its_volumes_are() {
    let store = store("orders");
    assert_eq!(store.spec.replicas, 3);
    assert!(!store.spec.paused);
    assert_eq!(store.spec.resources.requests["cpu"], Quantity("100m".to_owned()));
}

#[test]
fn quantities_may_be_written_as_numbers() {
    let store: EventStore = serde_json::from_value(json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "EventStore",
        "metadata": { "name": "orders" },
        "spec": {
            "storage": { "size": "1Gi" },
            "resources": { "requests": { "cpu": 2 }, "limits": { "memory": "1Gi" } },
        },
    }))
    .unwrap();
    assert_eq!(store.spec.resources.requests["cpu"], Quantity("2".to_owned()));
}
