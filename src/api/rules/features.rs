//! Fields of features that Kubernetes has off by default: they go from what is written, unless the stored object has
//! them already, so that an object which was written when they were on stays as it is. One such feature is on here:
//! `maxUnavailable` of StatefulSets.
//!
//! One line for each feature. A path goes through maps with `.`, through lists with `[]` and through maps of any keys
//! with `{}`; a step that ends in `?` goes with its last field.

use serde_json::Value;

use super::at::has;

/// Features for a part of an object.
#[derive(Clone, Copy)]
pub(crate) struct Gated {
    /// Where the part is, from the object's top.
    part: &'static str,
    features: &'static [Feature],
}

/// The name of a feature and its fields.
type Feature = (&'static str, &'static [&'static str]);

const POD_SPEC: &[Feature] = &[
    ("ClusterTrustBundleProjection", &["volumes[].projected.sources[].clusterTrustBundle"]),
    ("PodCertificateRequest", &["volumes[].projected.sources[].podCertificate"]),
    ("GenericWorkload", &["schedulingGroup"]),
    (
        "ContainerStopSignals",
        &[
            "containers[].lifecycle?.stopSignal",
            "initContainers[].lifecycle?.stopSignal",
            "ephemeralContainers[].lifecycle?.stopSignal",
        ],
    ),
];

const POD_STATUS: &[Feature] = &[
    ("DRANodeAllocatableResources", &["nodeAllocatableResourceClaimStatuses"]),
    (
        "ImageVolumeWithDigest",
        &[
            "containerStatuses[].volumeMounts[].volumeStatus",
            "initContainerStatuses[].volumeMounts[].volumeStatus",
            "ephemeralContainerStatuses[].volumeMounts[].volumeStatus",
        ],
    ),
];

pub(super) const POD: &[Gated] =
    &[Gated { part: "spec", features: POD_SPEC }, Gated { part: "status", features: POD_STATUS }];
pub(super) const POD_TEMPLATE: &[Gated] = &[Gated { part: "template.spec", features: POD_SPEC }];
/// Kinds with a template in their specification.
pub(super) const TEMPLATE: &[Gated] = &[Gated { part: "spec.template.spec", features: POD_SPEC }];
pub(super) const CRON_JOB: &[Gated] = &[Gated { part: "spec.jobTemplate.spec.template.spec", features: POD_SPEC }];
pub(super) const LEASE: &[Gated] = &[Gated {
    part: "spec",
    features: &[("CoordinatedLeaderElection", &["strategy"]), ("CoordinatedLeaderElection", &["preferredHolder"])],
}];
pub(super) const CSI_DRIVER: &[Gated] =
    &[Gated { part: "spec", features: &[("VolumeLimitScaling", &["preventPodSchedulingIfMissing"])] }];
pub(super) const RESOURCE_SLICE: &[Gated] = &[Gated {
    part: "spec",
    features: &[
        ("DRANodeAllocatableResources", &["devices[].nodeAllocatableResourceMappings"]),
        (
            "DRAListTypeAttributes",
            &[
                "devices[].attributes{}.bools",
                "devices[].attributes{}.ints",
                "devices[].attributes{}.strings",
                "devices[].attributes{}.versions",
            ],
        ),
    ],
}];
pub(super) const NODE: &[Gated] = &[
    Gated { part: "spec", features: &[("DynamicKubeletConfig", &["configSource"])] },
    Gated { part: "status", features: &[("DynamicKubeletConfig", &["config"])] },
];

/// Takes away the fields of features that are off, as far as `old` does without them.
pub(super) fn drop_disabled(gated: &[Gated], new: &mut Value, old: Option<&Value>) {
    for Gated { part, features } in gated {
        let old = old.and_then(|old| part.split('.').try_fold(old, |value, field| value.get(field)));
        let Some(new) = part.split('.').try_fold(&mut *new, |value, field| value.get_mut(field)) else { continue };
        for (_, fields) in *features {
            let in_use = old.is_some_and(|old| fields.iter().any(|path| is_set(old, path)));
            for path in fields.iter().filter(|_| !in_use) {
                drop_at(new, path);
            }
        }
    }
}

/// What stands behind a step of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Through {
    Field,
    Items,
    Values,
}

/// The first step of a path: the name of a field, what is behind it, whether it goes when it is empty, and the rest.
fn first_step(path: &str) -> (&str, Through, bool, Option<&str>) {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    if let Some(field) = step.strip_suffix("[]") {
        (field, Through::Items, false, rest)
    } else if let Some(field) = step.strip_suffix("{}") {
        (field, Through::Values, false, rest)
    } else if let Some(field) = step.strip_suffix('?') {
        (field, Through::Field, true, rest)
    } else {
        (step, Through::Field, false, rest)
    }
}

fn is_set(value: &Value, path: &str) -> bool {
    let (field, through, _, rest) = first_step(path);
    let Some(rest) = rest else { return has(value, field) };
    let Some(below) = value.get(field) else { return false };
    match through {
        Through::Field => is_set(below, rest),
        Through::Items => below.as_array().into_iter().flatten().any(|item| is_set(item, rest)),
        Through::Values => below.as_object().into_iter().flatten().any(|(_, item)| is_set(item, rest)),
    }
}

fn drop_at(value: &mut Value, path: &str) {
    let (field, through, goes, rest) = first_step(path);
    let Some(rest) = rest else { return super::at::remove(value, field) };
    let Some(below) = value.get_mut(field) else { return };
    match through {
        Through::Field => {
            let had = is_set(below, rest);
            drop_at(below, rest);
            if goes && had && below.as_object().is_some_and(serde_json::Map::is_empty) {
                super::at::remove(value, field);
            }
        }
        Through::Items => below.as_array_mut().into_iter().flatten().for_each(|item| drop_at(item, rest)),
        Through::Values => below.as_object_mut().into_iter().flatten().for_each(|(_, item)| drop_at(item, rest)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::of;
    use crate::schema::schema_of;

    /// A value with something at the path.
    fn with(path: &str) -> Value {
        let (field, through, _, rest) = first_step(path);
        let below = rest.map_or(json!("x"), with);
        match through {
            Through::Field => json!({field: below}),
            Through::Items => json!({field: [below]}),
            Through::Values => json!({field: {"key": below}}),
        }
    }

    const KINDS: [(&str, &str); 14] = [
        ("", "Pod"),
        ("", "PodTemplate"),
        ("", "Node"),
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
        ("coordination.k8s.io", "Lease"),
        ("resource.k8s.io", "ResourceSlice"),
        ("storage.k8s.io", "CSIDriver"),
        ("", "ConfigMap"),
    ];

    #[test]
    fn what_is_off_goes_unless_it_was_there() {
        let mut seen = Vec::new();
        for (group, kind) in KINDS {
            for Gated { part, features } in of(group, kind).gated {
                for (feature, path) in
                    features.iter().flat_map(|(name, fields)| fields.iter().map(move |path| (name, path)))
                {
                    let whole = with(&format!("{part}.{path}"));
                    let mut new = whole.clone();
                    drop_disabled(of(group, kind).gated, &mut new, None);
                    assert!(!is_set(&new, &format!("{part}.{path}")), "{kind}: {path} of {feature} stays");
                    let mut new = whole.clone();
                    drop_disabled(of(group, kind).gated, &mut new, Some(&whole));
                    assert_eq!(new, whole, "{kind}: {path} of {feature} goes from where it was");
                    seen.push(*feature);
                }
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(
            seen,
            [
                "ClusterTrustBundleProjection",
                "ContainerStopSignals",
                "CoordinatedLeaderElection",
                "DRAListTypeAttributes",
                "DRANodeAllocatableResources",
                "DynamicKubeletConfig",
                "GenericWorkload",
                "ImageVolumeWithDigest",
                "PodCertificateRequest",
                "VolumeLimitScaling",
            ]
        );
    }

    #[test]
    fn only_what_is_left_empty_goes_with_it() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a", "lifecycle": {"stopSignal": "SIGINT"}},
            {"name": "b", "lifecycle": {"stopSignal": "SIGINT", "preStop": {}}},
            {"name": "c", "lifecycle": {}},
        ]}});
        drop_disabled(POD, &mut pod, None);
        let kept = json!([
            {"name": "a"},
            {"name": "b", "lifecycle": {"preStop": {}}},
            {"name": "c", "lifecycle": {}},
        ]);
        assert_eq!(pod["spec"]["containers"], kept);
    }

    #[test]
    fn the_table_names_fields_that_there_are() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"schedulingGroup": {"podGroupName": "g"}, "volumes": [{"name": "v", "projected": {"sources": [
            {"clusterTrustBundle": {"path": "p"}}, {"podCertificate": {"keyType": "k", "signerName": "s"}}]}}],
            "containers": [{"name": "c", "lifecycle": {"stopSignal": "SIGINT"}}]}});
        let mut pruned = pod.clone();
        schema_of("", "v1", "Pod").expect("pods have a schema").prune(&mut pruned);
        for path in [
            "volumes[].projected.sources[].clusterTrustBundle",
            "volumes[].projected.sources[].podCertificate",
            "schedulingGroup",
            "containers[].lifecycle?.stopSignal",
        ] {
            assert!(is_set(&pruned["spec"], path), "{path}");
        }
    }
}
