//! The planner, decision by decision.

use reckon_api::v1;
use reckon_crds::{Subscription, SubscriptionStatus};
use serde_json::{Value, json};

use super::*;
use crate::subscription::definition::definition;

fn definition_of(fields: Value) -> v1::SubscriptionDefinition {
    let mut spec =
        json!({ "storeRef": { "name": "orders" }, "selector": { "stream": "orders-1" } });
    let Value::Object(fields) = fields else { panic!("not fields: {fields}") };
    for (name, value) in fields {
        spec[name.as_str()] = value;
    }
    let whole = json!({
        "apiVersion": "reckon.dev/v1alpha1",
        "kind": "Subscription",
        "metadata": { "name": "billing", "namespace": "shop" },
        "spec": spec,
    });
    let subscription: Subscription = serde_json::from_value(whole).expect("a subscription");
    definition(&subscription).expect("a definition")
}

/// A subscription that is wanted, and of which the store knows nothing.
fn wanted() -> Observed {
    Observed {
        now: k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        desired: Desired {
            store: "orders".to_owned(),
            name: "billing".to_owned(),
            definition: Ok(definition_of(json!({}))),
            sink: None,
            deleting: false,
            finalizer: true,
            policy: DeletionPolicy::Delete,
        },
        status: SubscriptionStatus::default(),
        store: StoreView::Without,
        rival: None,
        sink: None,
    }
}

fn with(fields: Value) -> StoreView {
    let definition = Some(definition_of(fields));
    let subscription = v1::Subscription { definition, ..v1::Subscription::default() };
    StoreView::With(Box::new(Registration { subscription, health: None }))
}

/// The same, and the store has it.
fn registered() -> Observed {
    Observed { store: with(json!({})), ..wanted() }
}

/// The same, with a sink that delivers.
fn delivering() -> Observed {
    let mut observed = registered();
    observed.desired.sink = Some(SinkNeeds { replicas: 1, missing: Vec::new() });
    observed.sink = Some(SinkView {
        ours: true,
        replicas: 1,
        available: 1,
        rolled_out: true,
        ..SinkView::default()
    });
    observed
}

fn deleted(observed: Observed) -> Observed {
    let desired = Desired { deleting: true, ..observed.desired };
    Observed { desired, ..observed }
}

/// Checks the names of the planned actions, how the registration stands and why.
#[track_caller]
fn check(observed: &Observed, actions: &[&str], outcome: Outcome, reason: &str) -> Plan {
    let plan = plan(observed);
    let names: Vec<&str> = plan.actions.iter().map(Action::name).collect();
    assert_eq!(names, actions, "{plan:#?}");
    let summary = plan.verdict.summary();
    assert_eq!((summary.outcome, summary.reason), (outcome, reason), "{plan:#?}");
    plan
}

#[test]
fn the_finalizer_comes_before_the_registration() {
    let mut observed = wanted();
    observed.desired.finalizer = false;
    check(&observed, &["AddFinalizer", "Register"], Outcome::Working, reason::REGISTERING);
}

#[test]
fn a_subscription_that_the_store_lost_is_registered_again_and_said_so() {
    let mut observed = wanted();
    let plan = check(&observed, &["Register"], Outcome::Working, reason::REGISTERING);
    assert_eq!(plan.actions, [Action::Register { again: false }]);
    observed.status.key = Some("key".to_owned());
    let plan = check(&observed, &["Register"], Outcome::Working, reason::REGISTERING);
    assert_eq!(plan.actions, [Action::Register { again: true }]);
}

#[test]
fn the_same_is_adopted() {
    check(&registered(), &[], Outcome::Settled, reason::REGISTERED);
}

#[test]
fn what_can_change_is_changed_back() {
    let observed = Observed { store: with(json!({ "poolSize": 7, "holdKey": true })), ..wanted() };
    let plan = check(&observed, &["Update"], Outcome::Working, reason::UPDATING);
    assert_eq!(plan.actions, [Action::Update { fields: vec!["poolSize", "holdKey"] }]);
}

#[test]
fn what_cannot_change_is_said_and_left() {
    for fields in [
        json!({ "selector": { "stream": "orders-2" } }),
        json!({ "startFrom": { "end": true } }),
        json!({ "keyExpression": "event.data.customer", "poolSize": 7 }),
        json!({ "partition": { "index": 0, "count": 2 } }),
    ] {
        let observed = Observed { store: with(fields), ..wanted() };
        check(&observed, &[], Outcome::Stalled, reason::CONFLICT);
    }
}

#[test]
fn a_store_that_does_not_answer_is_waited_for() {
    for (store, outcome, reason) in [
        (StoreView::Missing, Outcome::Working, reason::STORE_NOT_FOUND),
        (StoreView::Deleting, Outcome::Working, reason::STORE_DELETING),
        (StoreView::Silent("asleep".to_owned()), Outcome::Unknown, reason::STORE_UNREADY),
    ] {
        check(&Observed { store: store.clone(), ..wanted() }, &[], outcome, reason);
        // What delivers is left alone, whatever becomes of the store.
        let plan = plan(&Observed { store, ..delivering() });
        assert_eq!(plan.actions, []);
        assert!(!plan.keep_sink);
    }
}

#[test]
fn of_two_that_mean_the_same_the_older_one_has_it() {
    for observed in
        [wanted(), registered(), Observed { store: with(json!({ "poolSize": 7 })), ..wanted() }]
    {
        let observed = Observed { rival: Some("elder".to_owned()), ..observed };
        check(&observed, &[], Outcome::Stalled, reason::NAME_TAKEN);
        let released = ["RemoveFinalizer"];
        check(&deleted(observed), &released, Outcome::Working, reason::DELETING);
    }
}

#[test]
fn what_makes_no_subscription_is_said() {
    let mut observed = wanted();
    observed.desired.definition = Err(crate::subscription::definition::Error::NoSelector);
    check(&observed, &[], Outcome::Stalled, reason::INVALID);
    check(&deleted(observed), &["RemoveFinalizer"], Outcome::Working, reason::DELETING);
}

#[test]
fn a_deletion_takes_the_subscription_out_of_its_store() {
    let actions = ["Deregister", "RemoveFinalizer"];
    check(&deleted(registered()), &actions, Outcome::Working, reason::DELETING);
    let drifted = Observed { store: with(json!({ "poolSize": 7 })), ..wanted() };
    check(&deleted(drifted), &actions, Outcome::Working, reason::DELETING);
    let actions = ["DeleteSink", "Deregister", "RemoveFinalizer"];
    check(&deleted(delivering()), &actions, Outcome::Working, reason::DELETING);
}

#[test]
fn a_deletion_leaves_what_is_not_ours_or_is_to_stay() {
    let foreign = Observed { store: with(json!({ "keyExpression": "event.id" })), ..wanted() };
    let mut retained = registered();
    retained.desired.policy = DeletionPolicy::Retain;
    for observed in [foreign, retained, wanted()] {
        check(&deleted(observed), &["RemoveFinalizer"], Outcome::Working, reason::DELETING);
    }
}

#[test]
fn a_deletion_waits_only_for_a_store_that_will_answer() {
    for store in [StoreView::Missing, StoreView::Deleting] {
        let observed = deleted(Observed { store, ..registered() });
        check(&observed, &["RemoveFinalizer"], Outcome::Working, reason::DELETING);
    }
    let silent = StoreView::Silent("none of its pods is ready.".to_owned());
    let mut observed = deleted(Observed { store: silent, ..delivering() });
    let plan = check(&observed, &["DeleteSink"], Outcome::Working, reason::DELETING);
    assert!(plan.verdict.registered.message.contains("none of its pods is ready"));
    observed.desired.policy = DeletionPolicy::Retain;
    let actions = ["DeleteSink", "RemoveFinalizer"];
    check(&observed, &actions, Outcome::Working, reason::DELETING);
}

#[test]
fn nothing_is_done_for_what_another_finalizer_holds() {
    let mut observed = deleted(delivering());
    observed.desired.finalizer = false;
    check(&observed, &[], Outcome::Working, reason::DELETING);
}

#[test]
fn a_sink_is_made_once_the_store_knows_the_subscription() {
    let mut observed = delivering();
    observed.sink = None;
    let plan = check(&observed, &[], Outcome::Working, reason::SINK_STARTING);
    assert!(plan.keep_sink);
    // In the same breath as the registration, behind it.
    observed.store = StoreView::Without;
    let plan = check(&observed, &["Register"], Outcome::Working, reason::REGISTERING);
    assert!(plan.keep_sink);
    for store in [StoreView::Missing, with(json!({ "keyExpression": "event.id" }))] {
        observed.store = store;
        let plan = super::plan(&observed);
        assert!(!plan.keep_sink);
        assert_eq!(plan.verdict.sink.unwrap().reason, reason::NOT_REGISTERED);
    }
}

#[test]
fn a_sink_is_ready_when_its_newest_pods_are() {
    let view = delivering().sink.unwrap();
    for (sink, outcome, reason) in [
        (view.clone(), Outcome::Settled, reason::REGISTERED),
        (SinkView { rolled_out: false, ..view.clone() }, Outcome::Working, reason::SINK_STARTING),
        (SinkView { available: 0, ..view.clone() }, Outcome::Working, reason::SINK_STARTING),
        (SinkView { replicas: 2, ..view.clone() }, Outcome::Working, reason::SINK_STARTING),
        (
            SinkView { available: 0, stuck: Some("no image".to_owned()), ..view.clone() },
            Outcome::Working,
            reason::SINK_STUCK,
        ),
        (SinkView { deleting: true, ..view.clone() }, Outcome::Working, reason::NOT_REGISTERED),
    ] {
        let observed = Observed { sink: Some(sink), ..delivering() };
        check(&observed, &[], outcome, reason);
    }
    let mut observed = delivering();
    observed.desired.sink = Some(SinkNeeds::default());
    observed.sink = Some(SinkView { replicas: 0, available: 0, ..view });
    let plan = check(&observed, &[], Outcome::Settled, reason::REGISTERED);
    assert_eq!(plan.verdict.sink.unwrap().reason, reason::SINK_SCALED_TO_ZERO);
}

#[test]
fn a_sink_waits_for_its_secrets_and_keeps_what_runs() {
    let mut observed = delivering();
    let missing = vec!["key token of Secret billing".to_owned()];
    observed.desired.sink = Some(SinkNeeds { replicas: 1, missing });
    let plan = check(&observed, &[], Outcome::Working, reason::SECRET_NOT_FOUND);
    assert!(!plan.keep_sink);
    assert!(plan.verdict.summary().message.contains("key token of Secret billing"));
}

#[test]
fn what_the_sink_waits_for_decides_unless_the_sink_needs_a_person() {
    let mut observed = delivering();
    observed.store = StoreView::Silent("asleep".to_owned());
    let missing = vec!["Secret billing".to_owned()];
    observed.desired.sink = Some(SinkNeeds { replicas: 1, missing });
    check(&observed, &[], Outcome::Unknown, reason::STORE_UNREADY);
    observed.sink = Some(SinkView::default());
    check(&observed, &[], Outcome::Stalled, reason::SINK_NAME_TAKEN);
    observed.store = with(json!({ "keyExpression": "event.id" }));
    check(&observed, &[], Outcome::Stalled, reason::CONFLICT);
}

#[test]
fn a_sink_that_is_not_wanted_any_more_goes() {
    let mut observed = delivering();
    observed.desired.sink = None;
    let plan = check(&observed, &["DeleteSink"], Outcome::Settled, reason::REGISTERED);
    assert_eq!(plan.verdict.sink, None);
}

#[test]
fn a_deployment_of_somebody_else_is_neither_changed_nor_deleted() {
    let mut observed = delivering();
    observed.sink = Some(SinkView { ours: false, ..observed.sink.unwrap() });
    let plan = check(&observed, &[], Outcome::Stalled, reason::SINK_NAME_TAKEN);
    assert!(!plan.keep_sink);
    let actions = ["Deregister", "RemoveFinalizer"];
    check(&deleted(observed.clone()), &actions, Outcome::Working, reason::DELETING);
    observed.desired.sink = None;
    check(&observed, &[], Outcome::Settled, reason::REGISTERED);
}
