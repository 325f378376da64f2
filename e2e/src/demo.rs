//! `cargo demo`: a cluster, a store in it, real input, a killed leader, and the proof that nothing was lost, neither of
//! what was appended nor of what a consumer was to be given.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use reckon_api::{
    Client,
    client::Options,
    v1::{CreateSubscriptionRequest, Selector, SubscriptionDefinition, selector::Kind},
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    cluster::{Cache, Cluster},
    images::{Programs, workspace},
    kubernetes::{CONTEXT_VARIABLE, Endpoint, Found, Kubernetes, OPERATOR_NAMESPACE, pod_is_ready},
    loopback::Loopback,
    progress::Progress,
    report::Report,
    wait::until,
    workload::{Consuming, Ledger, check, feed_events, is_users, read_everything, select, steady},
};

/// Where the demonstration's store lives in a cluster of our own. In a foreign one each run has a namespace of its own.
const NAMESPACE: &str = "demo";

/// Marks the namespaces of demonstrations.
const NAMESPACE_LABEL: &str = "reckon.dev/demo";

/// What is consumed where there is nothing to apply a `Subscription` to.
const LOOPBACK_SUBSCRIPTION: &str = "audit";

/// What is applied, below the top of the repository.
const STORE_EXAMPLE: &str = "charts/reckon/examples/three-nodes.yaml";
const SUBSCRIPTION_EXAMPLE: &str = "charts/reckon/examples/consumers.yaml";

/// Writers beside the feed of Events.
const WRITERS: usize = 4;

/// How many acknowledged appends make a store that is at work: before the first kill and after each.
const APPENDS_BETWEEN_KILLS: u64 = 200;

/// For a store to become ready on a busy machine.
const READY_LIMIT: Duration = Duration::from_mins(3);

/// For the consumer to be given what the store has: it has kept up all the time, so little is left.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

/// For a new leader, several times what an election takes at worst.
const LEADER_LIMIT: Duration = Duration::from_mins(1);

/// Shows Reckon on a real Kubernetes on this machine: three nodes, a replicated store, a killed leader, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo", version)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,

    /// Use this context of your kubeconfig instead of a cluster of its own. It must be able to pull Reckon's images.
    #[arg(long, global = true, value_name = "NAME", env = CONTEXT_VARIABLE)]
    context: Option<String>,

    /// Three processes on loopback instead of a cluster, also where a cluster can be made.
    #[arg(long, conflicts_with = "context")]
    loopback: bool,

    /// How many leaders to kill, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1)]
    kills: u32,

    /// Leave the cluster up also when the demonstration fails.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Remove everything that a demonstration left running: here, or in the context that is named.
    Down,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object, the last line.
    Json,
}

/// Does what the arguments say. An interruption is an error, and like every other takes down what was made.
pub async fn run(arguments: Arguments) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::select! {
        outcome = perform(arguments) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
        _ = hung_up.recv() => bail!("the terminal is gone"),
    }
}

async fn perform(arguments: Arguments) -> Result<()> {
    let progress = Progress::start();
    let cache = Cache::locate()?;
    let context = arguments.context.as_deref().filter(|context| !context.is_empty());
    if let Some(Action::Down) = arguments.action {
        if let Some(context) = context {
            return remove_from(context, progress).await;
        }
        let loopback = Loopback::remove(&cache)?;
        let found = Cluster::down(&cache, progress)?;
        progress.say(if found || loopback { "removed" } else { "there is nothing to remove" });
        return Ok(());
    }
    Loopback::remove(&cache)?;
    let found = if arguments.loopback {
        Found::Nothing("none is wanted".into())
    } else {
        Kubernetes::open(context, progress).await?
    };
    let report = match found {
        Found::Kubernetes(kubernetes) => {
            let outcome = in_kubernetes(&kubernetes, arguments.kills, progress).await;
            if outcome.is_ok() || arguments.keep {
                kubernetes.leave_running();
            }
            outcome?
        }
        Found::Nothing(reason) => {
            progress
                .say(format_args!("no Kubernetes: {reason}; three processes on loopback instead"));
            let loopback = Loopback::start(&cache, progress).await?;
            let report = on_loopback(&loopback, arguments.kills, progress).await?;
            loopback.leave_running();
            report
        }
    };
    match arguments.output {
        Output::Text => report.print_text()?,
        Output::Json => report.print_json()?,
    }
    match report.consumed.missing {
        0 => Ok(()),
        missing => bail!("{missing} events never came to the consumer"),
    }
}

async fn in_kubernetes(kubernetes: &Kubernetes, kills: u32, progress: Progress) -> Result<Report> {
    let programs = kubernetes.load_images(progress).await?;
    kubernetes.install(progress).await?;
    let namespace = match kubernetes.own() {
        Some(_) => NAMESPACE.to_owned(),
        None => format!("{NAMESPACE}-{}", &Uuid::new_v4().simple().to_string()[..8]),
    };
    let namespace = namespace.as_str();
    make_namespace(kubernetes, namespace)?;
    let store = apply_example(kubernetes, namespace, STORE_EXAMPLE, "eventstore", progress)?;
    let subscription =
        apply_example(kubernetes, namespace, SUBSCRIPTION_EXAMPLE, "subscription", progress)?;
    progress
        .during(
            "waiting for the store to be ready",
            kubernetes.wait_ready(namespace, &store, READY_LIMIT),
        )
        .await?;
    progress.say(format_args!("store {namespace}/{store} is ready"));
    kubernetes.wait_subscribed(namespace, &subscription, READY_LIMIT).await?;
    progress.say(format_args!("subscription {namespace}/{subscription} is ready"));

    let endpoint = kubernetes.endpoint(namespace, &store).await?;
    let client = Client::new(Options::new([endpoint.address()]))?;
    let consuming = Consuming::start(&client, &subscription);
    let ledger = Arc::new(Ledger::default());
    let stop = CancellationToken::new();
    let feed = tokio::spawn(feed_events(
        kubernetes.client(),
        client.clone(),
        ledger.clone(),
        stop.clone(),
    ));
    let stage = Stage::Kubernetes { kubernetes, namespace, store: &store };
    let leaderless = write_and_kill(&stage, &client, &ledger, kills, progress).await?;
    stop.cancel();
    let events_fed = feed.await.context("the feed panicked")??;
    progress.say(format_args!("fed {events_fed} Kubernetes Events"));

    let mut report = prove(&client, &ledger, consuming, leaderless, kills, progress).await?;
    report.by_hand = by_hand(kubernetes, namespace, &store, programs.as_ref(), &endpoint);
    Ok(report)
}

async fn on_loopback(loopback: &Loopback, kills: u32, progress: Progress) -> Result<Report> {
    let client = Client::new(Options::new(loopback.endpoints()))?;
    // Before it has joined, a node refuses what its members take.
    let nodes = loopback.endpoints().len();
    until("store on loopback", READY_LIMIT, || async {
        let membership = client.members().await?.membership.unwrap_or_default();
        let voters = membership.members.iter().filter(|member| member.voter).count();
        Ok((voters == nodes).then_some(()))
    })
    .await?;
    progress.say("the store is ready");
    let definition = SubscriptionDefinition {
        name: LOOPBACK_SUBSCRIPTION.into(),
        selector: Some(Selector { kind: Some(Kind::All(true)) }),
        ..SubscriptionDefinition::default()
    };
    client
        .create_subscription(CreateSubscriptionRequest { definition: Some(definition) })
        .await
        .context("the store does not take a subscription")?;
    let consuming = Consuming::start(&client, LOOPBACK_SUBSCRIPTION);
    let ledger = Arc::new(Ledger::default());
    let stage = Stage::Loopback(loopback);
    let leaderless = write_and_kill(&stage, &client, &ledger, kills, progress).await?;
    let mut report = prove(&client, &ledger, consuming, leaderless, kills, progress).await?;
    report.by_hand = vec![
        format!("export RECKON_ENDPOINTS={}", loopback.endpoints().join(",")),
        format!("{} status", loopback.program("reckon").display()),
        format!("{} read-all --limit 5", loopback.program("reckon").display()),
        format!("{} subscription list", loopback.program("reckon").display()),
        "cargo demo down".into(),
    ];
    Ok(report)
}

/// Where the store's nodes can be killed.
enum Stage<'a> {
    Kubernetes { kubernetes: &'a Kubernetes, namespace: &'a str, store: &'a str },
    Loopback(&'a Loopback),
}

impl Stage<'_> {
    async fn kill(&self, node: &str) -> Result<()> {
        match self {
            Self::Kubernetes { kubernetes, namespace, .. } => {
                kubernetes.kill_pod(namespace, node).await
            }
            Self::Loopback(loopback) => loopback.kill(node),
        }
    }

    /// Brings a killed node back, or waits until it is.
    async fn restore(&self, node: &str) -> Result<()> {
        match self {
            Self::Kubernetes { kubernetes, namespace, store } => {
                until("restarted pod", READY_LIMIT, || async {
                    let pods = kubernetes.pods(namespace, store).await?;
                    let all = pods.len() >= 3 && pods.iter().all(pod_is_ready);
                    Ok(all.then_some(()))
                })
                .await?;
                kubernetes.wait_ready(namespace, store, READY_LIMIT).await
            }
            Self::Loopback(loopback) => loopback.restart(node),
        }
    }
}

/// Writes while leaders are killed, and returns the longest time without an acknowledged append around a kill.
async fn write_and_kill(
    stage: &Stage<'_>,
    client: &Client,
    ledger: &Arc<Ledger>,
    kills: u32,
    progress: Progress,
) -> Result<Duration> {
    let mut writers = steady(client, ledger, "writer", WRITERS);
    let worst = writers.during(kill_leaders(stage, client, ledger, kills, progress)).await?;
    writers.finish().await?;
    Ok(worst)
}

async fn kill_leaders(
    stage: &Stage<'_>,
    client: &Client,
    ledger: &Ledger,
    kills: u32,
    progress: Progress,
) -> Result<Duration> {
    let mut worst = Duration::ZERO;
    appends(ledger, APPENDS_BETWEEN_KILLS).await?;
    for kill in 1..=kills {
        let before = client.members().await.context("the members are not known")?;
        let leader = leader_name(&before)?;
        let killed = Instant::now();
        stage.kill(&leader).await?;
        until("new leader", LEADER_LIMIT, || async {
            let members = client.members().await?;
            Ok((members.term > before.term).then_some(()))
        })
        .await?;
        appends(ledger, APPENDS_BETWEEN_KILLS).await?;
        let leaderless = ledger.longest_silence(killed, Instant::now());
        progress.say(format_args!(
            "killed the leader {leader} ({kill} of {kills}): {:.2} s without an acknowledged append",
            leaderless.as_secs_f64()
        ));
        worst = worst.max(leaderless);
        stage.restore(&leader).await?;
        appends(ledger, APPENDS_BETWEEN_KILLS).await?;
    }
    Ok(worst)
}

/// Waits for this many more acknowledged appends.
async fn appends(ledger: &Ledger, more: u64) -> Result<()> {
    let goal = ledger.counts().acknowledged + more;
    until("acknowledged appends", LEADER_LIMIT, || async {
        Ok((ledger.counts().acknowledged >= goal).then_some(()))
    })
    .await
}

/// The name of the leader: a pod's, or a process's.
fn leader_name(members: &reckon_api::v1::MembersResponse) -> Result<String> {
    let listed = members.membership.as_ref().map(|it| it.members.as_slice()).unwrap_or_default();
    let leader = listed.iter().find(|member| member.node_id == members.leader_id);
    Ok(leader.context("the store has no leader")?.name.clone())
}

async fn prove(
    client: &Client,
    ledger: &Ledger,
    consuming: Consuming,
    leaderless: Duration,
    kills: u32,
    progress: Progress,
) -> Result<Report> {
    let events = read_everything(client).await?;
    let verified = check(&events, ledger)?;
    let counts = ledger.counts();
    progress.say("read everything back: each acknowledged event once, in order, without a gap");
    let selection = select(client, &events).await?;
    progress.say("read by type and tag, and by time: exactly the events that are there");
    let expected: Vec<_> = events.iter().filter(|event| is_users(event)).collect();
    let consumed = consuming.finish(&expected, DELIVERY_LIMIT).await?;
    progress.say(format_args!(
        "consumed: {} events, each stream in order; {} came again, {} are missing",
        consumed.delivered, consumed.redelivered, consumed.missing
    ));
    Ok(Report {
        seconds_total: progress.elapsed().as_secs_f64(),
        written: counts.written,
        acknowledged: counts.acknowledged,
        read_back: verified.read_back,
        selection,
        consumed,
        leaderless_seconds_worst: leaderless.as_secs_f64(),
        kills,
        by_hand: Vec::new(),
    })
}

/// Removes the namespaces of demonstrations from a foreign cluster. Whether the operator goes is its owner's decision.
async fn remove_from(context: &str, progress: Progress) -> Result<()> {
    let Found::Kubernetes(kubernetes) = Kubernetes::open(Some(context), progress).await? else {
        bail!("{context} is no cluster");
    };
    let selected = format!("--selector={NAMESPACE_LABEL}=true");
    let removed = kubernetes.kubectl(&["delete", "namespaces", &selected]).await?;
    progress.say(removed.trim());
    progress.say(format_args!(
        "the operator stays: helm --namespace {OPERATOR_NAMESPACE} uninstall reckon"
    ));
    Ok(())
}

/// Makes the namespace of a demonstration.
fn make_namespace(kubernetes: &Kubernetes, namespace: &str) -> Result<()> {
    let made = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": namespace, "labels": { NAMESPACE_LABEL: "true" } },
    });
    kubernetes.apply(namespace, &made.to_string()).map(drop)
}

/// Applies an example as it is, and returns the name of the object of this kind in it.
fn apply_example(
    kubernetes: &Kubernetes,
    namespace: &str,
    example: &str,
    kind: &str,
    progress: Progress,
) -> Result<String> {
    let manifest = std::fs::read_to_string(workspace().join(example))
        .with_context(|| format!("cannot read {example}"))?;
    progress.say(format_args!("kubectl apply -f {example}"));
    let applied = kubernetes.apply(namespace, &manifest)?;
    let of_kind = format!("{kind}.reckon.dev/");
    applied
        .lines()
        .find_map(|line| line.strip_prefix(&of_kind)?.split(' ').next())
        .map(str::to_owned)
        .with_context(|| format!("{example} holds no {kind}"))
}

fn by_hand(
    kubernetes: &Kubernetes,
    namespace: &str,
    store: &str,
    programs: Option<&Programs>,
    endpoint: &Endpoint,
) -> Vec<String> {
    let kubectl = kubernetes.kubectl_by_hand();
    let mut lines = Vec::new();
    let (kubectl, reckon) = match kubernetes.own() {
        Some(cluster) => {
            let folder = cluster.program("kubectl");
            let folder = folder.parent().unwrap_or(Path::new("."));
            lines.push(format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
            lines.push(format!("export PATH={}:$PATH   # kubectl, helm", folder.display()));
            let reckon = programs.and_then(|programs| programs.path("reckon").ok());
            let reckon = reckon.map_or("reckon".into(), |path| path.display().to_string());
            ("kubectl".to_owned(), reckon)
        }
        None => (kubectl, "cargo run --package reckon-cli --".into()),
    };
    lines.push(format!("{kubectl} get evs,rsub --all-namespaces"));
    lines.push(format!("{kubectl} --namespace {OPERATOR_NAMESPACE} get pods"));
    if kubernetes.own().is_some() && !endpoint.is_tunnelled() {
        lines.push(format!("{reckon} --endpoint {} streams", endpoint.address()));
    } else {
        lines
            .push(format!("{kubectl} --namespace {namespace} port-forward service/{store} 7430 &"));
        lines.push(format!("{reckon} streams"));
    }
    lines.push(match kubernetes.context() {
        Some(context) => format!("cargo demo down --context {context}"),
        None => "cargo demo down".into(),
    });
    lines
}
