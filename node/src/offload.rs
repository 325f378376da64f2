//! Work that may read files or take long, kept off the threads that drive requests.
//!
//! A read of a sealed file blocks its thread, and a blocked thread of a runtime blocks every request that
//! the runtime gave it. So whoever looks at the store hands the look over here and waits for what it finds.
//!
//! Must not know what the work is. In simulation, where there is one thread and no real disk, the work runs
//! in place, so that the same seed gives the same run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::limits;

/// Where blocking work goes. Cheap to clone; clones share their bound.
#[derive(Debug, Clone)]
pub struct Offload(Place);

/// How long the next piece of work takes.
pub type Pause = Arc<dyn Fn() -> Duration + Send + Sync>;

#[derive(Clone)]
enum Place {
    /// The blocking threads of the runtime that asks, so many at once.
    Pool(Arc<Semaphore>),
    /// The caller's own thread, after a pause.
    Inline(Pause),
}

impl Offload {
    /// Onto the blocking threads of the runtime that asks, at most [`limits::OFFLOADED_WORK_MAX`] at once;
    /// what is beyond waits for its turn in order.
    pub fn pool() -> Self {
        Self(Place::Pool(Arc::new(Semaphore::new(limits::OFFLOADED_WORK_MAX))))
    }

    /// In place, at once.
    pub fn inline() -> Self {
        Self::paced(Arc::new(|| Duration::ZERO))
    }

    /// In place, each piece after the time that it is said to take: a simulated disk answers at once, and what may
    /// happen while a real one works must happen in simulation too.
    pub fn paced(pause: Pause) -> Self {
        Self(Place::Inline(pause))
    }

    /// Whether work runs on the caller's own thread.
    pub fn is_in_place(&self) -> bool {
        matches!(self.0, Place::Inline(_))
    }

    /// Waits for the time that the next piece of work takes, when it runs in place.
    pub async fn pause(&self) {
        if let Place::Inline(pause) = &self.0 {
            let takes = pause();
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
        }
    }

    /// Runs the work and gives what it found. Work that has begun is finished even when nobody waits for it any
    /// more; work that has not is dropped. A panic of the work is the caller's.
    pub async fn run<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let Place::Pool(turns) = &self.0 else {
            self.pause().await;
            return work();
        };
        let turn = Arc::clone(turns).acquire_owned().await.expect("nobody closes the semaphore");
        let running = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        match running.await {
            Ok(found) => found,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime is being dropped, and whoever waits here with it.
            Err(_never_begun) => std::future::pending().await,
        }
    }

    /// As [`Self::run`], for work that can wait: on a thread of its own, which leaves the processors to all others. A
    /// thread of the pool would stay like that.
    pub async fn run_aside<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.is_in_place() {
            return self.run(work).await;
        }
        let (done, found) = oneshot::channel();
        let aside = move || {
            be_nice();
            // Whoever waited may be gone.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        };
        let spawned = thread::Builder::new().name("aside".to_owned()).spawn(aside);
        match (spawned, found.await) {
            (Ok(_), Ok(Ok(found))) => found,
            (Ok(_), Ok(Err(panic))) => resume_unwind(panic),
            (Err(error), _) => panic!("no thread can be started: {error}"),
            (Ok(_), Err(_closed)) => unreachable!("the thread sends before it ends"),
        }
    }
}

/// The kernel's scale ends at 19; at 5 a thread is given a third of what one at 0 gets, and so still comes forward on a
/// machine that is busy for ever.
const NICENESS_ASIDE: i32 = 5;

fn be_nice() {
    let niced =
        rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS_ASIDE);
    if let Err(error) = niced {
        tracing::debug!(%error, "work aside runs like all other");
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool(_) => "Pool",
            Self::Inline(_) => "Inline",
        })
    }
}

impl Default for Offload {
    fn default() -> Self {
        Self::pool()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn pooled_work_leaves_the_callers_thread_and_inline_work_stays() {
        let own = thread::current().id();
        assert_ne!(Offload::pool().run(|| thread::current().id()).await, own);
        assert_eq!(Offload::inline().run(|| thread::current().id()).await, own);
    }

    #[tokio::test]
    async fn work_beyond_the_bound_waits_until_some_is_done() {
        let offload = Offload::pool();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let running: Vec<_> = (0..limits::OFFLOADED_WORK_MAX)
            .map(|_| {
                let (offload, held) = (offload.clone(), Arc::clone(&held));
                tokio::spawn(async move {
                    offload.run(move || held.lock().unwrap().recv().unwrap()).await;
                })
            })
            .collect();
        let Place::Pool(turns) = &offload.0 else { panic!("a pool") };
        while turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = offload.run(|| 7);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        for _ in &running {
            release.send(()).unwrap();
        }
        assert_eq!(waiting.await, 7);
    }

    #[tokio::test]
    async fn work_aside_has_a_thread_that_lets_others_go_first() {
        let own = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let aside = Offload::pool().run_aside(own).await;
        assert_eq!((aside, own()), (NICENESS_ASIDE, 0));
    }

    #[tokio::test]
    #[should_panic(expected = "found a fault")]
    async fn a_panic_of_the_work_is_its_callers() {
        Offload::pool().run(|| panic!("found a fault")).await;
    }
}
