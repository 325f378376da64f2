//! `cargo demo`: see [`reckon_e2e::demo`].

use std::process::ExitCode;
use reckon_e2e::{cluster::{roles, Cache, Cluster, fingerprint::Fingerprint}, progress::Progress};

fn main() -> ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    let rt = tokio::runtime::Runtime::new().expect("rt");
    let out: anyhow::Result<()> = rt.block_on(async {
        let p = Progress::start();
        let cache = Cache::locate()?;
        if std::env::args().any(|a| a == "down") { Cluster::down(&cache, p)?; p.say("down"); return Ok(()); }
        p.say(format!("{:?}", reckon_e2e::cluster::requirements::unmet(&cache, p)?));
        Cluster::down(&cache, p)?;
        let before = Fingerprint::take(cache.root())?;
        let c = Cluster::up(&cache, 3, p).await?;
        p.say(format!("KUBECONFIG={}", c.kubeconfig().display()));
        if std::env::args().any(|a| a == "stay") { c.leave_running(); return Ok(()); }
        drop(c);
        p.say("down");
        for d in before.differences(&Fingerprint::take(cache.root())?) { p.say(d); }
        Ok(())
    });
    out.unwrap();
    ExitCode::SUCCESS
}
