//! Which kind has which rules.

use super::{GENERIC, Rules, Scope};
use super::{
    addresses, admission_policies, api_service, autoscaling, batch, certificates, config_map, controller_revision,
    daemon_set, deployment, device_claims, device_slices, endpoint_slice, endpoints, event, flow_control, ingress,
    lease, limits, namespace, network_policy, node, pod, policy, quota, rbac, replica_set, runtime_class, scheduling,
    secret, service, service_account, stateful_set, storage, storage_migration, webhooks,
};

static UNKNOWN: Rules = GENERIC;
static CUSTOM: Rules = Rules { scope: Scope::Cluster, known_finalizers: false, ..GENERIC };
static CUSTOM_NAMESPACED: Rules = Rules { scope: Scope::Namespaced, known_finalizers: false, ..GENERIC };

/// The rules of kinds that clients define: those of metadata.
pub fn of_custom(namespaced: bool) -> &'static Rules {
    if namespaced { &CUSTOM_NAMESPACED } else { &CUSTOM }
}

/// The rules of a kind; generic ones when it has none of its own.
pub fn of(group: &str, kind: &str) -> &'static Rules {
    match (group, kind) {
        ("", "ConfigMap") => &config_map::RULES,
        ("", "Endpoints") => &endpoints::RULES,
        ("", "Event") => &event::CORE,
        ("", "LimitRange") => &limits::RULES,
        ("", "Namespace") => &namespace::RULES,
        ("", "Node") => &node::RULES,
        ("", "PersistentVolume") => &storage::VOLUME,
        ("", "PersistentVolumeClaim") => &storage::CLAIM,
        ("", "Pod") => &pod::RULES,
        ("", "PodTemplate") => &pod::TEMPLATE_RULES,
        ("", "ReplicationController") => &replica_set::CONTROLLER,
        ("", "ResourceQuota") => &quota::RULES,
        ("", "Secret") => &secret::RULES,
        ("", "Service") => &service::RULES,
        ("", "ServiceAccount") => &service_account::RULES,
        ("apps", "DaemonSet") => &daemon_set::RULES,
        ("apps", "Deployment") => &deployment::RULES,
        ("apps", "ReplicaSet") => &replica_set::RULES,
        ("apps", "StatefulSet") => &stateful_set::RULES,
        ("autoscaling", "HorizontalPodAutoscaler") => &autoscaling::RULES,
        ("batch", "CronJob") => &batch::CRON_JOB,
        ("batch", "Job") => &batch::JOB,
        ("certificates.k8s.io", "CertificateSigningRequest") => &certificates::RULES,
        ("coordination.k8s.io", "Lease") => &lease::RULES,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &crate::crd::rules::RULES,
        ("discovery.k8s.io", "EndpointSlice") => &endpoint_slice::RULES,
        ("events.k8s.io", "Event") => &event::EVENTS,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => &flow_control::SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => &flow_control::LEVEL,
        ("networking.k8s.io", "IPAddress") => &addresses::ADDRESS,
        ("networking.k8s.io", "ServiceCIDR") => &addresses::RANGE,
        ("networking.k8s.io", "Ingress") => &ingress::RULES,
        ("networking.k8s.io", "IngressClass") => &ingress::CLASS,
        ("networking.k8s.io", "NetworkPolicy") => &network_policy::RULES,
        ("policy", "PodDisruptionBudget") => &policy::RULES,
        ("rbac.authorization.k8s.io", "ClusterRole") => &rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => &rbac::CLUSTER_ROLE_BINDING,
        ("rbac.authorization.k8s.io", "Role") => &rbac::ROLE,
        ("rbac.authorization.k8s.io", "RoleBinding") => &rbac::ROLE_BINDING,
        ("resource.k8s.io", "DeviceClass") => &device_claims::CLASS,
        ("resource.k8s.io", "ResourceClaim") => &device_claims::CLAIM,
        ("resource.k8s.io", "ResourceClaimTemplate") => &device_claims::TEMPLATE,
        ("resource.k8s.io", "ResourceSlice") => &device_slices::SLICE,
        ("scheduling.k8s.io", "PriorityClass") => &scheduling::RULES,
        ("storage.k8s.io", "StorageClass") => &storage::CLASS,
        ("storage.k8s.io", "VolumeAttributesClass") => &storage::ATTRIBUTES_CLASS,
        ("storage.k8s.io", "CSIDriver") => &storage::DRIVER,
        ("storage.k8s.io", "CSINode") => &storage::NODE,
        ("storage.k8s.io", "CSIStorageCapacity") => &storage::CAPACITY,
        ("storage.k8s.io", "VolumeAttachment") => &storage::ATTACHMENT,
        ("node.k8s.io", "RuntimeClass") => &runtime_class::RULES,
        ("apps", "ControllerRevision") => &controller_revision::RULES,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => &admission_policies::VALIDATING,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => &admission_policies::VALIDATING_BINDING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => &admission_policies::MUTATING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => &admission_policies::MUTATING_BINDING,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => &webhooks::MUTATING,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => &webhooks::VALIDATING,
        ("apiregistration.k8s.io", "APIService") => &api_service::RULES,
        ("storagemigration.k8s.io", "StorageVersionMigration") => &storage_migration::RULES,
        _ => &UNKNOWN,
    }
}
