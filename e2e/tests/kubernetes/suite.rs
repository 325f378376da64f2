//! The one cluster of a run, and what every test starts from.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use libtest_mimic::{Completion, Failed, Trial};
use reckon_api::{Client, client::Options};
use reckon_e2e::{
    cluster::{Cache, Cluster, fingerprint::Fingerprint},
    images::Programs,
    kubernetes::{
        Endpoint, Found, Kubernetes, REQUIRE_VARIABLE, context_from_environment, missing,
    },
    progress::Progress,
};
use tokio::runtime::Runtime;

/// For a store to become ready on a busy machine.
pub const READY_LIMIT: Duration = Duration::from_mins(3);

/// For everything that takes an election and some waiting.
pub const SOON: Duration = Duration::from_mins(1);

/// Nothing takes longer, or it is stuck.
const TEST_LIMIT: Duration = Duration::from_mins(10);

type Test = fn(Arc<Stage>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Why a test that began cannot be done on this cluster.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotHere(pub &'static str);

/// What a test works with.
#[derive(Debug)]
pub struct Stage {
    /// The cluster, with Reckon installed.
    pub kubernetes: Arc<Kubernetes>,
    /// Reckon's programs, when they were built here.
    pub programs: Option<Programs>,
    /// The test's own namespace.
    pub namespace: String,
    /// To say what a person should see.
    pub progress: Progress,
}

/// All tests of a run.
#[derive(Clone)]
pub struct Suite {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    progress: Progress,
    state: Mutex<State>,
}

enum State {
    /// Nobody has asked.
    Untouched,
    Up {
        kubernetes: Arc<Kubernetes>,
        programs: Option<Programs>,
        before: Option<Fingerprint>,
    },
    /// There can be none, and why.
    Missing(String),
    /// It should be there, but is not, and why.
    Broken(String),
    Ended,
}

impl Suite {
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime needs threads, which there are");
        let state = Mutex::new(State::Untouched);
        Self { shared: Arc::new(Shared { runtime, progress: Progress::start(), state }) }
    }

    /// A test in a namespace of its own.
    pub fn trial(&self, name: &'static str, test: Test) -> Trial {
        let suite = self.clone();
        Trial::ignorable_test(name, move || suite.run(name, test))
    }

    /// The test that ends the cluster and compares the machine with what it was before.
    pub fn last_trial(&self, name: &'static str) -> Trial {
        let suite = self.clone();
        Trial::ignorable_test(name, move || suite.run_last())
    }

    /// Takes the cluster down, if it is still there.
    pub fn end(&self) {
        // The state is whole even if a test panicked with it: it is only ever replaced.
        *self.state() = State::Ended;
    }

    fn run(&self, name: &'static str, test: Test) -> Result<Completion, Failed> {
        let (kubernetes, programs) = match self.cluster()? {
            Ok(found) => found,
            Err(completion) => return Ok(completion),
        };
        let progress = self.shared.progress;
        progress.say(format_args!("test {name}"));
        let namespace = name.replace('_', "-");
        let namespace = namespace[..namespace.len().min(40)].trim_end_matches('-').to_owned();
        let outcome = self.shared.runtime.block_on(async {
            let stage = Arc::new(Stage { kubernetes, programs, namespace, progress });
            stage.kubernetes.kubectl(&["create", "namespace", &stage.namespace]).await?;
            let limited = tokio::time::timeout(
                TEST_LIMIT,
                AssertUnwindSafe(test(stage.clone())).catch_unwind(),
            );
            let outcome = match limited.await {
                Err(_) => bail!("not done after {} s", TEST_LIMIT.as_secs()),
                Ok(Err(panic)) => Err(anyhow::anyhow!("panicked: {}", said(panic.as_ref()))),
                Ok(Ok(outcome)) => outcome,
            };
            if outcome.as_ref().is_err_and(|error| error.downcast_ref::<NotHere>().is_none()) {
                stage.explain().await;
            }
            outcome.and(stage.clear().await.context("the stores cannot be removed"))
        });
        match outcome {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => match error.downcast_ref::<NotHere>() {
                Some(reason) => ignored(&reason.to_string()),
                None => Err(format!("{error:#}").into()),
            },
        }
    }

    fn run_last(&self) -> Result<Completion, Failed> {
        if let Err(completion) = self.cluster()? {
            return Ok(completion);
        }
        let State::Up { kubernetes, before, .. } =
            std::mem::replace(&mut *self.state(), State::Ended)
        else {
            return Err("the cluster is gone".into());
        };
        let Some(before) = before else {
            return ignored("not a cluster of our own");
        };
        if Arc::strong_count(&kubernetes) > 1 {
            return Err("a test still uses the cluster".into());
        }
        drop(kubernetes);
        let cache = Cache::locate().map_err(failed)?;
        let differences = before.differences(&Fingerprint::take(cache.root()).map_err(failed)?);
        if differences.is_empty() && !cache.cluster().exists() {
            return Ok(Completion::Completed);
        }
        Err(format!("left on the machine:\n{}", differences.join("\n")).into())
    }

    /// The cluster, made now if need be, or how a test ends without one.
    #[expect(clippy::type_complexity, reason = "used twice, right here")]
    fn cluster(&self) -> Result<Result<(Arc<Kubernetes>, Option<Programs>), Completion>, Failed> {
        let mut state = self.state();
        if let State::Untouched = *state {
            *state =
                self.shared.runtime.block_on(open(self.shared.progress)).unwrap_or_else(|error| {
                    State::Broken(format!("the cluster did not come up: {error:#}"))
                });
        }
        match &*state {
            State::Up { kubernetes, programs, .. } => {
                Ok(Ok((kubernetes.clone(), programs.clone())))
            }
            State::Missing(reason) => ignored(&format!("no Kubernetes: {reason}")).map(Err),
            State::Broken(reason) => Err(reason.clone().into()),
            State::Untouched | State::Ended => Err("the cluster has ended".into()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(progress: Progress) -> Result<State> {
    let context = context_from_environment();
    let cache = match Cache::locate() {
        Ok(cache) => cache,
        Err(error) => return Ok(State::Missing(format!("{error:#}"))),
    };
    if context.is_none() && Cluster::down(&cache, progress)? {
        progress.say("removed the cluster that a demonstration or an earlier run left");
    }
    if let Some(reason) = missing(context.as_deref(), progress)? {
        return Ok(State::Missing(reason));
    }
    let before = match context {
        None => Some(Fingerprint::take(cache.root())?),
        Some(_) => None,
    };
    match Kubernetes::open(context.as_deref(), progress).await? {
        Found::Nothing(reason) => Ok(State::Missing(reason)),
        Found::Kubernetes(kubernetes) => {
            let programs = kubernetes.load_images(progress).await?;
            kubernetes.install(progress).await?;
            Ok(State::Up { kubernetes: Arc::from(kubernetes), programs, before })
        }
    }
}

/// A test that is not run: fine, unless all of them are required.
fn ignored(reason: &str) -> Result<Completion, Failed> {
    if std::env::var(REQUIRE_VARIABLE).is_ok_and(|it| it == "require") {
        return Err(format!("required by {REQUIRE_VARIABLE}, but {reason}").into());
    }
    Ok(Completion::ignored_with(reason))
}

fn failed(error: impl Into<anyhow::Error>) -> Failed {
    let error = error.into();
    format!("{error:#}").into()
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("with something other than words")
}

impl Stage {
    /// Applies a store of this many nodes.
    pub fn apply_store(&self, name: &str, replicas: u32) -> Result<()> {
        self.kubernetes.apply(&self.namespace, &manifest(name, replicas, "")).map(drop)
    }

    /// Applies a store and waits until it is ready with all its members.
    pub async fn ready_store(&self, name: &str, replicas: u32) -> Result<()> {
        self.apply_store(name, replicas)?;
        self.wait_ready(name).await
    }

    /// As [`Self::ready_store`], each member on a Kubernetes node of its own, so that one of those may be broken: a store
    /// keeps apart by itself only where possible, and a node that was just healed may not take pods yet.
    pub async fn ready_store_apart(&self, name: &str, replicas: u32) -> Result<()> {
        let apart = "  scheduling:\n    antiAffinity: Required\n";
        self.kubernetes.apply(&self.namespace, &manifest(name, replicas, apart))?;
        self.wait_ready(name).await
    }

    /// Waits until the store is ready with all its members.
    pub async fn wait_ready(&self, name: &str) -> Result<()> {
        self.kubernetes.wait_ready(&self.namespace, name, READY_LIMIT).await
    }

    /// Runs `kubectl` in the test's namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let namespace = format!("--namespace={}", self.namespace);
        self.kubernetes.kubectl(&[&[namespace.as_str()], arguments].concat()).await
    }

    /// A client of a store by its Service, and what keeps the way to it open.
    pub async fn client(&self, store: &str) -> Result<(Client, Endpoint)> {
        let endpoint = self.kubernetes.endpoint(&self.namespace, store).await?;
        Ok((Client::new(Options::new([endpoint.address()]))?, endpoint))
    }

    /// The cluster, if it is one whose nodes may be broken.
    pub fn own_cluster(&self) -> Result<&Cluster> {
        self.kubernetes
            .own()
            .ok_or_else(|| NotHere("nodes of a foreign cluster are not ours to break").into())
    }

    /// Leaves the machine to the next test. Subscriptions and stores go first: a namespace with pods in it takes far
    /// longer.
    async fn clear(&self) -> Result<()> {
        for kind in ["rsub", "evs"] {
            self.kubectl(&["delete", kind, "--all", "--timeout=120s"]).await?;
        }
        self.kubernetes.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]).await?;
        Ok(())
    }

    /// After a failure: how things stand, for whoever reads the output.
    async fn explain(&self) {
        let progress = self.progress;
        for arguments in [
            &["get", "evs,rsub,statefulsets,deployments,pods,pvc", "--output=wide"][..],
            &["get", "evs,rsub", "--output=jsonpath={range .items[*]}{.status}{\"\\n\"}{end}"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "--selector=reckon.dev/store", "--prefix", "--tail=15", "--ignore-errors"],
            &["logs", "--selector=reckon.dev/subscription", "--prefix", "--tail=15"],
        ] {
            match self.kubectl(arguments).await {
                Ok(text) => progress.say(format_args!("kubectl {}\n{text}", arguments.join(" "))),
                Err(error) => progress.say(format_args!("{error:#}")),
            }
        }
        let operator = [
            "logs",
            "--namespace=reckon-system",
            "--selector=app.kubernetes.io/name",
            "--tail=30",
            "--prefix",
        ];
        if let Ok(text) = self.kubernetes.kubectl(&operator).await {
            progress.say(format_args!("the operator's log\n{text}"));
        }
    }
}

/// A store as a user would write it, with more lines for its `spec`.
pub fn manifest(name: &str, replicas: u32, more: &str) -> String {
    format!(
        "apiVersion: reckon.dev/v1alpha1
kind: EventStore
metadata:
  name: {name}
spec:
  replicas: {replicas}
  storage:
    size: 1Gi
{more}"
    )
}
