//! The kinds that the server in memory serves.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Served {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
}

const fn served(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Served {
    Served { group, version, plural, kind, namespaced }
}

const KINDS: &[Served] = &[
    served("", "v1", "configmaps", "ConfigMap", true),
    served("", "v1", "endpoints", "Endpoints", true),
    served("", "v1", "events", "Event", true),
    served("", "v1", "namespaces", "Namespace", false),
    served("", "v1", "nodes", "Node", false),
    served("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    served("", "v1", "persistentvolumes", "PersistentVolume", false),
    served("", "v1", "pods", "Pod", true),
    served("", "v1", "replicationcontrollers", "ReplicationController", true),
    served("", "v1", "resourcequotas", "ResourceQuota", true),
    served("", "v1", "secrets", "Secret", true),
    served("", "v1", "serviceaccounts", "ServiceAccount", true),
    served("", "v1", "services", "Service", true),
    served("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false),
    served("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
    served("apiregistration.k8s.io", "v1", "apiservices", "APIService", false),
    served("apps", "v1", "deployments", "Deployment", true),
    served("apps", "v1", "replicasets", "ReplicaSet", true),
    served("apps", "v1", "statefulsets", "StatefulSet", true),
    served("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", false),
    served("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true),
    served("batch", "v1", "jobs", "Job", true),
    served("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false),
    served("coordination.k8s.io", "v1", "leases", "Lease", true),
    served("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true),
    served("example.com", "v1", "widgets", "Widget", true),
    served("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", true),
    served("networking.k8s.io", "v1", "ipaddresses", "IPAddress", false),
    served("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false),
    served("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true),
    served("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false),
    served("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", false),
    served("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", true),
    served("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate", true),
    served("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", false),
    served("storage.k8s.io", "v1", "csidrivers", "CSIDriver", false),
    served("storage.k8s.io", "v1", "storageclasses", "StorageClass", false),
    served("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", false),
    served("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", false),
];

impl Served {
    pub(super) fn of_kind(kind: &str) -> Served {
        *KINDS.iter().find(|served| served.kind == kind).unwrap_or_else(|| panic!("{kind} is not served"))
    }

    pub(super) fn of_path(group: &str, plural: &str) -> Option<Served> {
        KINDS.iter().find(|served| served.group == group && served.plural == plural).copied()
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Reviews are answered and not kept; readings are made by nobody here.
    fn verbs(&self) -> &'static [&'static str] {
        match self.group {
            "authorization.k8s.io" => &["create"],
            "metrics.k8s.io" => &["get", "list"],
            _ => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        }
    }
}

/// What `/api` says of these kinds, or `/apis`.
pub(super) fn discovery(kinds: &BTreeSet<Served>, core: bool) -> Value {
    let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for served in kinds.iter().filter(|served| served.group.is_empty() == core) {
        groups.entry(served.group).or_default().push(json!({
            "resource": served.plural,
            "responseKind": {"group": served.group, "version": served.version, "kind": served.kind},
            "scope": if served.namespaced { "Namespaced" } else { "Cluster" },
            "verbs": served.verbs(),
        }));
    }
    let version = |group: &str| KINDS.iter().find(|served| served.group == group).map(|served| served.version);
    let groups = groups.into_iter().map(|(group, resources)| {
        json!({"metadata": {"name": group}, "versions": [{"version": version(group), "resources": resources}]})
    });
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": groups.collect::<Vec<_>>()})
}
