//! Every call of `reckon.v1.Streams` through gRPC, against real processes: its good case and each of its refusals.
//!
//! Most tests share one node, and each keeps to streams, types and tags of its own; those about nodes that cannot
//! serve start stores of their own. What the calls answered is written down, and after the last test `coverage`
//! compares that with what every call must have answered: a call or a reason without a test fails the run.

#![allow(clippy::unwrap_used, reason = "a test has nobody to report to")]

mod append;
mod batch;
mod calls;
mod condition;
mod count;
mod coverage;
mod expression;
mod filters;
mod life;
mod look_up;
mod messages;
#[path = "../processes/mod.rs"]
mod processes;
mod read;
mod read_all;
mod unable;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use processes::Store;
use tokio::runtime::{Builder, Runtime};

/// What tests are given: the runtime they run on, and the node they share.
#[derive(Clone)]
struct Shared {
    runtime: Arc<Runtime>,
    calls: calls::Calls,
}

impl Shared {
    /// A test that asks the shared node.
    fn asks<F, W>(&self, name: &str, test: F) -> Trial
    where
        F: FnOnce(calls::Calls) -> W + Send + 'static,
        W: Future<Output = ()>,
    {
        let Self { runtime, calls } = self.clone();
        Trial::test(name, move || {
            runtime.block_on(test(calls));
            Ok(())
        })
    }

    /// A test with a store of its own.
    fn alone<F, W>(&self, name: &str, test: F) -> Trial
    where
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = ()>,
    {
        let runtime = Arc::clone(&self.runtime);
        Trial::test(name, move || {
            runtime.block_on(test());
            Ok(())
        })
    }
}

/// The tests of one module, by their functions' names.
macro_rules! tests {
    ($shared:ident, $kind:ident, $module:ident: $($test:ident),+ $(,)?) => {
        [$($shared.$kind(concat!(stringify!($module), "::", stringify!($test)), $module::$test)),+]
    };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let runtime = Arc::new(runtime);
    if arguments.list {
        // Whoever only asks for the names needs no node.
        let calls = runtime.block_on(async { calls::Calls::to("127.0.0.1:1") });
        libtest_mimic::run(&arguments, trials(&Shared { runtime, calls })).exit();
    }
    let store = Store::start(1);
    let calls = runtime.block_on(async {
        store.ready().await;
        calls::Calls::of(&store.nodes[0])
    });
    let shared = Shared { runtime, calls };
    let conclusion = libtest_mimic::run(&arguments, trials(&shared));
    drop(store);
    let ran_all = conclusion.num_filtered_out == 0 && conclusion.num_ignored == 0;
    let covered = !ran_all || coverage::is_complete();
    if conclusion.has_failed() || !covered {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn trials(shared: &Shared) -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(tests!(shared, asks, append:
        an_append_over_several_streams_is_answered_stream_by_stream,
        expectations_are_met_or_refused_with_the_actual_version,
        one_stream_that_is_not_as_expected_keeps_all_others_from_changing,
        a_retry_is_answered_as_the_first_try_was,
        an_id_is_never_used_for_other_content,
        what_is_malformed_or_too_large_is_refused_by_field_and_limit,
    ));
    trials.extend(tests!(shared, asks, condition:
        an_event_that_matches_fails_the_append_and_is_named_by_its_position,
        only_events_after_the_position_count,
        what_was_removed_fails_no_append,
        a_retry_is_recognised_before_its_condition_is_looked_at,
        a_condition_that_asks_for_nothing_or_too_much_is_refused,
    ));
    trials.extend(tests!(shared, asks, batch:
        independent_appends_are_answered_in_order,
        a_refused_append_ends_neither_the_stream_nor_those_behind_it,
        a_stream_may_be_left_open_and_used_again,
        an_appender_of_the_client_serves_many_callers,
    ));
    trials.extend(tests!(shared, asks, read:
        both_directions_from_everywhere,
        times_bound_a_read_inclusively,
        the_header_says_what_the_read_reflects,
        past_the_end_there_is_nothing_and_no_error,
        streams_that_cannot_be_read_are_told_apart,
        malformed_reads_are_refused_by_field,
        a_read_that_waits_for_a_position_waits_no_longer_than_it_may,
    ));
    trials.extend(tests!(shared, asks, read_all:
        both_directions_with_a_limit,
        a_read_begins_at_a_time,
        the_servers_own_streams_are_shown_on_request,
        a_backward_read_and_a_forward_one_give_the_same_events,
        malformed_reads_of_the_store_are_refused,
    ));
    trials.extend(tests!(shared, asks, filters:
        every_kind_of_term_and_its_negation_select_the_same_by_read_count_and_any,
        terms_together_must_all_hold,
        a_pattern_or_expression_that_is_none_is_refused_with_its_place,
    ));
    trials.extend(tests!(shared, asks, count:
        counts_stay_within_their_bounds,
        any_names_the_first_position,
        malformed_counts_are_refused,
    ));
    trials.extend(tests!(shared, asks, expression:
        an_expression_is_typed_without_an_event,
        what_is_no_expression_is_refused_with_its_place,
    ));
    trials.extend(tests!(shared, asks, look_up:
        a_stream_is_described_through_its_life,
        streams_are_listed_by_pages_and_names,
        malformed_listings_are_refused,
        a_version_is_found_by_its_time,
        an_event_is_found_by_its_id_until_it_is_removed,
        malformed_look_ups_are_refused,
    ));
    trials.extend(tests!(shared, asks, life:
        a_deleted_stream_is_gone_and_an_append_opens_it_again,
        a_tombstoned_name_is_never_used_again,
        a_truncated_stream_begins_later,
        an_end_of_life_takes_an_expectation,
        an_end_of_life_sent_again_is_answered_alike,
        malformed_ends_are_refused,
    ));
    trials.extend(tests!(shared, asks, watch:
        a_watch_shows_what_was_and_then_what_comes,
        a_watch_without_a_position_shows_only_what_comes,
        nothing_is_lost_or_doubled_at_the_seam,
        malformed_watches_are_refused,
    ));
    trials.extend(tests!(shared, alone, unable:
        a_node_without_a_store_serves_nothing,
        a_store_that_is_not_open_serves_nothing,
        a_node_that_replays_its_log_is_not_ready,
        an_empty_store_has_no_events,
        without_a_quorum_only_stale_reads_are_served,
        a_request_that_was_forwarded_is_not_forwarded_again,
        an_answer_that_is_lost_with_the_leader_leaves_the_outcome_unknown,
        what_cannot_be_committed_in_time_is_told_so,
        a_request_that_names_no_time_gets_that_of_the_store,
        too_many_appends_at_once_are_refused,
        too_many_reads_at_once_are_refused,
        too_many_watches_at_once_are_refused,
        a_node_that_holds_too_much_in_memory_takes_no_appends,
        damaged_files_are_told_and_never_read,
    ));
    trials
}
