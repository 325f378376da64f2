//! What the harness says only when asked: `RUST_LOG=reckon_e2e=debug`.

use tracing_subscriber::EnvFilter;

/// Sends it to standard error, which leaves standard output to results.
pub fn start() {
    // kube logs as errors what callers here wait out or report themselves.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("error,kube_client=off"));
    // A second call in one process, as tests may make, changes nothing.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
}
