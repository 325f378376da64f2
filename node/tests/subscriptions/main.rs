//! `reckon.v1.Subscriptions` through gRPC, against real processes.
//!
//! Most tests share one node, and each keeps to streams, types and tags of its own; the others start stores of their own.

#![allow(clippy::unwrap_used, reason = "a test has nobody to report to")]

mod calls;
mod follow;
mod lives;
#[path = "../streams/messages.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod messages;
#[path = "../processes/mod.rs"]
mod processes;
mod seam;
mod selectors;
mod unable;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use processes::Store;
use tokio::runtime::{Builder, Runtime};

/// What never comes fails the test, instead of keeping all others from running.
const PATIENCE: Duration = Duration::from_mins(2);

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
            runtime.block_on(patiently(test(calls)));
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
            runtime.block_on(patiently(test()));
            Ok(())
        })
    }
}

async fn patiently(test: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, test).await.expect("what the test waits for comes");
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
    let conclusion = libtest_mimic::run(&arguments, trials(&Shared { runtime, calls }));
    drop(store);
    conclusion.exit_code()
}

fn trials(shared: &Shared) -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(tests!(shared, asks, follow:
        a_follower_begins_wherever_it_says,
        a_follower_is_told_each_time_that_it_has_caught_up,
        a_follower_begins_where_there_is_nothing_yet,
        many_followers_of_single_streams_get_theirs,
        long_histories_come_in_order_and_whole,
    ));
    trials.extend(tests!(shared, asks, selectors:
        every_type_of_selector_delivers_what_was_and_what_comes,
        the_servers_streams_come_by_their_exact_names_or_on_request,
        a_filter_and_a_selector_both_have_to_hold,
        a_bad_selector_is_refused_by_its_field_and_harms_nobody,
    ));
    trials.extend(tests!(shared, asks, lives:
        a_stream_that_is_cut_while_it_is_followed_goes_on_with_what_is_left,
        a_stream_that_is_deleted_and_opened_again_goes_on,
        a_follower_of_everything_passes_over_what_is_gone,
    ));
    trials.extend(tests!(shared, asks, seam: nothing_is_lost_doubled_or_out_of_order_at_the_seam));
    trials.extend(tests!(shared, alone, unable:
        a_node_that_stops_ends_its_followers,
        a_follower_of_any_node_goes_on_through_an_election,
        a_node_without_a_store_has_no_followers,
    ));
    trials
}
