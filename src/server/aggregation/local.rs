//! The APIServices of what this server serves itself, and the order of groups that they stand for.

use mk8s_api::kinds;
use serde_json::{Value, json};

/// Group and version priorities of the built-in groups, as upstream has them.
const PRIORITIES: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v2", 17500, 30),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2beta2", 17500, 9),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("storagemigration.k8s.io", "v1beta1", 15800, 9),
    ("metrics.k8s.io", "v1beta1", 100, 100),
];

/// The group of APIServices themselves has none, and comes first.
const OWN_GROUP: (&str, i64) = ("apiregistration.k8s.io", 20000);
/// Of the groups of custom resources.
pub const CUSTOM: (i64, i64) = (1000, 100);
/// Says how an APIService came about.
pub const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Where a group that this server serves stands among others.
pub(super) fn group_priority(group: &str) -> i64 {
    let known = PRIORITIES.iter().find(|(name, ..)| *name == group).map(|(_, _, priority, _)| *priority);
    known.unwrap_or(if group == OWN_GROUP.0 { OWN_GROUP.1 } else { CUSTOM.0 })
}

/// Where a version that this server serves stands in its group.
pub(super) fn version_priority(group: &str, version: &str) -> i64 {
    let known = PRIORITIES.iter().find(|(name, of, ..)| *name == group && *of == version);
    known.map_or(CUSTOM.1, |(.., priority)| *priority)
}

/// The APIServices that every cluster has.
pub fn objects() -> Vec<Value> {
    let served =
        |group: &str, version: &str| kinds::builtin().iter().any(|kind| kind.group == group && kind.version == version);
    let built_in = PRIORITIES.iter().filter(|(group, version, ..)| served(group, version));
    built_in
        .map(|(group, version, group_priority, version_priority)| {
            api_service(group, version, *group_priority, *version_priority, "onstart")
        })
        .collect()
}

/// The APIService of a version that this server serves.
pub fn api_service(group: &str, version: &str, group_priority: i64, version_priority: i64, managed: &str) -> Value {
    let mut spec = json!({
        "version": version,
        "groupPriorityMinimum": group_priority,
        "versionPriority": version_priority,
    });
    if !group.is_empty() {
        spec["group"] = json!(group);
    }
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED: managed}},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_group_has_its_place() {
        for kind in kinds::builtin().iter().filter(|kind| kind.group != OWN_GROUP.0) {
            let place = PRIORITIES.iter().any(|(group, version, ..)| *group == kind.group && *version == kind.version);
            assert!(place, "{}", kind.api_version());
        }
        assert_eq!(objects().len(), PRIORITIES.len());
        assert_eq!(objects()[0]["metadata"]["name"], "v1.");
    }
}
