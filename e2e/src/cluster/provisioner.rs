//! Volumes on a node's own disk, made when a pod that asks for one is given to the node. `local` volumes, not
//! `hostPath`: a kubelet gives only those to a pod's group, and only those bind the pod to its node.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use super::{
    control_plane::{PROVISIONER, STORAGE_CLASS},
    node,
};

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Serves claims until the process is killed.
pub fn run(cluster: &Path, kubeconfig: &Path) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let config = Config::from_custom_kubeconfig(
            Kubeconfig::read_from(kubeconfig)?,
            &KubeConfigOptions::default(),
        )
        .await?;
        let client = Client::try_from(config)?;
        let provisioner =
            Provisioner { cluster: cluster.to_owned(), volumes: Api::all(client.clone()) };
        let claims: Api<PersistentVolumeClaim> = Api::all(client);
        let claims =
            watcher(claims, watcher::Config::default()).default_backoff().applied_objects();
        let volumes = watcher(provisioner.volumes.clone(), watcher::Config::default())
            .default_backoff()
            .applied_objects();
        pin_mut!(claims, volumes);
        loop {
            // An error of a watch is followed by another attempt of its own, after the backoff.
            let outcome = tokio::select! {
                Some(claim) = claims.next() => match claim {
                    Ok(claim) => provisioner.provision(&claim).await,
                    Err(error) => Err(error.into()),
                },
                Some(volume) = volumes.next() => match volume {
                    Ok(volume) => provisioner.reclaim(&volume).await,
                    Err(error) => Err(error.into()),
                },
                else => return Ok(()),
            };
            if let Err(error) = outcome {
                tracing::warn!("{error:#}");
            }
        }
    })
}

struct Provisioner {
    cluster: PathBuf,
    volumes: Api<PersistentVolume>,
}

impl Provisioner {
    async fn provision(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let (Some(spec), Some(status)) = (&claim.spec, &claim.status) else { return Ok(()) };
        let pending = status.phase.as_deref() == Some("Pending");
        if !pending || spec.storage_class_name.as_deref() != Some(STORAGE_CLASS) {
            return Ok(());
        }
        let Some(node) = claim.annotations().get(SELECTED_NODE) else { return Ok(()) };
        let (Some(uid), Some(namespace)) = (claim.uid(), claim.namespace()) else { return Ok(()) };
        let name = format!("pvc-{uid}");
        let folder = self.folder(node, &name);
        // Only made, never changed: from the first mount on its mode is the kubelet's business.
        fs::create_dir_all(&folder)?;
        let storage = spec.resources.as_ref().and_then(|it| it.requests.as_ref()?.get("storage"));
        let volume = serde_json::from_value(json!({
            "metadata": { "name": name, "annotations": { PROVISIONED_BY: PROVISIONER } },
            "spec": {
                "capacity": { "storage": storage },
                "accessModes": spec.access_modes,
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": namespace,
                    "name": claim.name_any(),
                    "uid": uid,
                },
                "local": { "path": folder },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                    { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
                ]}]}},
            },
        }))?;
        match self.volumes.create(&PostParams::default(), &volume).await {
            // The watch tells of a claim more than once.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    async fn reclaim(&self, volume: &PersistentVolume) -> Result<()> {
        let released =
            volume.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Released");
        let policy =
            volume.spec.as_ref().and_then(|it| it.persistent_volume_reclaim_policy.as_deref());
        let ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|it| it == PROVISIONER);
        if !released
            || !ours
            || policy != Some("Delete")
            || volume.metadata.deletion_timestamp.is_some()
        {
            return Ok(());
        }
        let folder = volume.spec.as_ref().and_then(|it| it.local.as_ref()).map(|it| &it.path);
        let folder = folder.map(Path::new).filter(|it| it.starts_with(&self.cluster));
        if let Some(folder) = folder.filter(|it| it.exists()) {
            fs::remove_dir_all(folder)?;
        }
        self.volumes.delete(&volume.name_any(), &DeleteParams::default()).await?;
        Ok(())
    }

    fn folder(&self, node: &str, volume: &str) -> PathBuf {
        node::folder(&self.cluster, node).join("volumes").join(volume)
    }
}
