//! A store that grows while it works.

use std::sync::Arc;

use anyhow::{Result, ensure};
use reckon_e2e::workload::{Ledger, steady, verify};

use crate::{failures::appends, suite::Stage};

/// Appends between two changes of size.
const APPENDS: u64 = 200;

pub async fn a_store_grows_from_one_to_three_to_five_under_load(stage: Arc<Stage>) -> Result<()> {
    stage.ready_store("orders", 1).await?;
    let (client, _endpoint) = stage.client("orders").await?;
    let ledger = Arc::new(Ledger::default());
    let writers = steady(&client, &ledger, "writer", 2);
    appends(&ledger, APPENDS).await?;
    for replicas in [3_usize, 5] {
        stage.kubectl(&["scale", "evs/orders", &format!("--replicas={replicas}")]).await?;
        stage.wait_ready("orders").await?;
        let members = client.members().await?.membership.unwrap_or_default();
        let voters = members.members.iter().filter(|member| member.voter).count();
        ensure!(
            voters == replicas && members.members.len() == replicas && !members.joint,
            "{replicas} voters were asked for: {members:?}"
        );
        appends(&ledger, APPENDS).await?;
    }
    writers.finish().await?;
    verify(&client, &ledger).await?;
    Ok(())
}
