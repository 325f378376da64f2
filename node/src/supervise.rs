//! Tasks that have to go on for as long as the node does: one that panics is told of, counted, and begun again.

use std::future::Future;
use std::time::Duration;

use crate::metrics::Metrics;

/// Runs a task until it ends by itself. When it panics it is begun again, after a moment.
pub async fn supervise<F>(task: &'static str, metrics: Metrics, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match tokio::spawn(begin()).await {
            Err(error) if error.is_panic() => {
                tracing::error!(%error, task, "a task has failed and is begun again");
                metrics.restarted(task);
                tokio::time::sleep(PAUSE).await;
            }
            // It has ended, or the runtime has.
            Ok(()) | Err(_) => return,
        }
    }
}

/// Before a task is begun again: one that fails at once must not keep a processor busy.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_begun_again_and_counted() {
        let metrics = Metrics::new("tested");
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        supervise("recorder", metrics.clone(), move || {
            let runs = Arc::clone(&counted);
            async move { assert!(runs.fetch_add(1, Ordering::Relaxed) == 2, "not yet") }
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        let told = metrics.encode();
        assert!(told.contains("reckon_task_restarts_total{store=\"tested\",task=\"recorder\"} 2"));
    }
}
