//! The `StatefulSet` of a store and its pods.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodAffinityTerm,
    PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, TopologySpreadConstraint,
    Volume, VolumeMount, VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use reckon_crds::{AntiAffinity, EventStore};

use super::configuration::NODE_YAML;
use super::{
    ANNOTATION_CONFIGURATION, ANNOTATION_RESTART, CLAIM_TEMPLATE, Inputs, LABEL_STORE_UID, Names,
    PORT_CLIENT, PORT_HTTP, PORT_PEER, labels, metadata, pod, selector,
};

/// How long a node may take to hand over, drain and close its files, in seconds.
const TERMINATION_GRACE_S: i64 = 30;

/// How long a node may take from its start to answering, in probes of one second: it may have a log to replay.
const STARTUP_PROBES_MAX: i32 = 600;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const CONFIGURATION_FOLDER: &str = "/etc/reckon";
const DATA_FOLDER: &str = "/data";

pub fn stateful_set(inputs: Inputs<'_>, configuration_digest: &str) -> StatefulSet {
    let store = inputs.store;
    let name = store.name_any();
    StatefulSet {
        metadata: metadata(store, name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(inputs.shape.replicas),
            service_name: Some(Names::peers(&name)),
            selector: selector(&name),
            // Nodes come up together: a store that lost power needs a majority to start at all.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator picks the pod; the default rolls on whatever the state of the others is.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            // Volumes are never deleted by a controller that does not know who is a member.
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".to_owned()),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            template: template(inputs, configuration_digest),
            volume_claim_templates: Some(vec![claim_template(inputs)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim_template(inputs: Inputs<'_>) -> PersistentVolumeClaim {
    let store = inputs.store;
    let size = inputs.template_size.unwrap_or(&store.spec.storage.size).clone();
    let mut claim_labels = labels(&store.name_any());
    claim_labels.insert(LABEL_STORE_UID.to_owned(), store.uid().unwrap_or_default());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(CLAIM_TEMPLATE.to_owned()),
            labels: Some(claim_labels),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: store.spec.storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn template(inputs: Inputs<'_>, configuration_digest: &str) -> PodTemplateSpec {
    let store = inputs.store;
    let name = store.name_any();
    let asked = &store.spec.pod_metadata;
    let mut pod_labels = asked.labels.clone();
    pod_labels.extend(labels(&name));
    let mut annotations = asked.annotations.clone();
    annotations.insert(ANNOTATION_CONFIGURATION.to_owned(), configuration_digest.to_owned());
    if let Some(restart) = &store.spec.restart {
        annotations.insert(ANNOTATION_RESTART.to_owned(), restart.clone());
    }
    let scheduling = &store.spec.scheduling;
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(inputs)],
            service_account_name: Some(name.clone()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_GRACE_S),
            security_context: Some(PodSecurityContext {
                fs_group: Some(pod::USER),
                // A large volume is not walked again at each start.
                fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                ..pod::security()
            }),
            affinity: Some(affinity(store)),
            topology_spread_constraints: Some(spread(store)).filter(|list| !list.is_empty()),
            priority_class_name: scheduling.priority_class_name.clone(),
            node_selector: Some(scheduling.node_selector.clone()).filter(|map| !map.is_empty()),
            tolerations: Some(scheduling.tolerations.clone()).filter(|list| !list.is_empty()),
            volumes: Some(vec![Volume {
                name: "configuration".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: Names::configuration(&name),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        }),
    }
}

fn container(inputs: Inputs<'_>) -> Container {
    let store = inputs.store;
    let image = store.spec.image.as_deref().unwrap_or(inputs.node_image);
    let resources = &store.spec.resources;
    Container {
        name: "node".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/reckon-node".to_owned()]),
        args: Some(vec![
            "run".to_owned(),
            "--config".to_owned(),
            format!("{CONFIGURATION_FOLDER}/{NODE_YAML}"),
        ]),
        env: Some(environment(store)),
        ports: Some(
            [("client", PORT_CLIENT), ("peer", PORT_PEER), ("http", PORT_HTTP)]
                .into_iter()
                .map(|(name, port)| ContainerPort {
                    name: Some(name.to_owned()),
                    container_port: port,
                    protocol: Some("TCP".to_owned()),
                    ..ContainerPort::default()
                })
                .collect(),
        ),
        volume_mounts: Some(vec![
            VolumeMount {
                name: CLAIM_TEMPLATE.to_owned(),
                mount_path: DATA_FOLDER.to_owned(),
                ..VolumeMount::default()
            },
            VolumeMount {
                name: "configuration".to_owned(),
                mount_path: CONFIGURATION_FOLDER.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
        ]),
        resources: Some(pod::requirements(resources)),
        security_context: Some(pod::container_security()),
        startup_probe: Some(pod::probe("/livez", 1, STARTUP_PROBES_MAX)),
        liveness_probe: Some(pod::probe("/livez", 5, 6)),
        readiness_probe: Some(pod::probe("/readyz", 2, 2)),
        ..Container::default()
    }
}

fn environment(store: &EventStore) -> Vec<EnvVar> {
    let name = store.name_any();
    let domain = format!("{}.{}.svc", Names::peers(&name), store.namespace().unwrap_or_default());
    let value = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    };
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: Some("v1".to_owned()),
            }),
            ..EnvVarSource::default()
        }),
    };
    vec![
        // First, since the addresses below are made from it.
        field("POD_NAME", "metadata.name"),
        field("RECKON_NODE_NAME", "metadata.name"),
        field("RECKON_NODE_POD_UID", "metadata.uid"),
        value("RECKON_NODE_STORE_NAME", name),
        value("RECKON_ADVERTISE_PEER", format!("$(POD_NAME).{domain}:{PORT_PEER}")),
        value("RECKON_ADVERTISE_CLIENT", format!("$(POD_NAME).{domain}:{PORT_CLIENT}")),
    ]
}

/// Spreads the nodes of a store evenly over zones, unless the user has other ideas.
fn spread(store: &EventStore) -> Vec<TopologySpreadConstraint> {
    let selector = selector(&store.name_any());
    match &store.spec.scheduling.topology_spread_constraints {
        None => vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: ZONE.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selector),
            ..TopologySpreadConstraint::default()
        }],
        Some(asked) => asked
            .iter()
            .cloned()
            .map(|mut constraint| {
                constraint.label_selector.get_or_insert_with(|| selector.clone());
                constraint
            })
            .collect(),
    }
}

/// Keeps the nodes of a store on different machines, unless the user has other ideas.
fn affinity(store: &EventStore) -> Affinity {
    if let Some(affinity) = &store.spec.scheduling.affinity {
        return affinity.clone();
    }
    let term = PodAffinityTerm {
        label_selector: Some(selector(&store.name_any())),
        topology_key: HOSTNAME.to_owned(),
        ..PodAffinityTerm::default()
    };
    let apart = match store.spec.scheduling.anti_affinity {
        AntiAffinity::Required => PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            preferred_during_scheduling_ignored_during_execution: None,
        },
        AntiAffinity::Preferred => PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: None,
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm { weight: 100, pod_affinity_term: term },
            ]),
        },
    };
    Affinity { pod_anti_affinity: Some(apart), ..Affinity::default() }
}
