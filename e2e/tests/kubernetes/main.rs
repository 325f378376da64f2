//! Reckon on a real Kubernetes: one cluster for all of it, made by the first test that needs one and taken down by the
//! last, which also proves that nothing of it is left. The tests run one after the other, each in its own namespace.
//!
//! Where no cluster can be made they are ignored, each with the reason; `RECKON_E2E=require` makes that a failure.
//! `RECKON_E2E_CONTEXT=NAME` runs them on an existing cluster, without those that need to break a node.

mod failures;
mod lifecycle;
mod operations;
mod scaling;
mod serving;
mod subscriptions;
mod suite;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use reckon_e2e::{cluster::roles, logging};

use crate::suite::Suite;

/// One trial for each function, named after it.
macro_rules! trials {
    ($suite:expr, $($module:ident :: $test:ident),+ $(,)?) => {
        vec![$($suite.trial(stringify!($test), |stage| Box::pin($module::$test(stage)))),+]
    };
}

fn main() -> ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    logging::start();
    let mut arguments = Arguments::from_args();
    // One cluster on few cores, and a last test that ends it.
    arguments.test_threads = Some(1);
    let suite = Suite::start();
    let mut trials: Vec<Trial> = trials![
        suite,
        serving::a_store_is_ready_when_it_says_so_and_every_pod_serves,
        serving::an_idle_node_and_operator_are_small,
        failures::a_leader_killed_three_times_loses_nothing,
        failures::a_leader_cut_off_refuses_while_the_majority_goes_on,
        failures::a_node_that_crashes_comes_back_with_its_data,
        scaling::a_store_grows_from_one_to_three_to_five_under_load,
        subscriptions::a_subscription_s_sink_is_given_everything_whatever_fails,
        subscriptions::a_subscription_is_changed_back_and_deleted_with_its_resource,
        subscriptions::a_subscription_without_a_store_says_so_and_goes_at_once,
        lifecycle::invalid_specifications_are_refused_with_a_reason,
        lifecycle::a_deleted_store_leaves_only_what_its_policy_keeps,
        operations::a_store_that_hibernated_wakes_with_all_its_events,
        operations::a_protected_store_cannot_be_deleted,
        operations::an_image_that_does_not_start_stops_after_one_pod,
        lifecycle::upgrading_and_uninstalling_leave_stores_running,
    ];
    trials.push(suite.last_trial("the_cluster_leaves_nothing_on_the_machine"));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // When the last test was filtered out, or never came.
    suite.end();
    conclusion.exit_code()
}
