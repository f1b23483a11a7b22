//! The types whose schemas are wanted: one line a kind or request body; what they contain follows by itself.
//! Lists are left out: a list's schema follows from its kind.

use schemars::SchemaGenerator;

/// Makes the generator visit every type named below.
macro_rules! visit {
    ($schemas:ident: $($($module:ident)::+ { $($kind:ty),+ $(,)? })+) => {
        $({
            #[allow(clippy::wildcard_imports, reason = "the types are named right below")]
            use k8s_openapi::$($module)::+::*;
            $($schemas.subschema_for::<$kind>();)+
        })+
    };
}

pub(crate) fn visit(schemas: &mut SchemaGenerator) {
    visit! { schemas:
        api::admissionregistration::v1 {
            MutatingAdmissionPolicy,
            MutatingAdmissionPolicyBinding,
            MutatingWebhookConfiguration,
            ValidatingAdmissionPolicy,
            ValidatingAdmissionPolicyBinding,
            ValidatingWebhookConfiguration,
        }
        api::apps::v1 {
            ControllerRevision,
            DaemonSet,
            Deployment,
            ReplicaSet,
            StatefulSet,
        }
        api::authentication::v1 {
            SelfSubjectReview,
            TokenRequest,
            TokenReview,
        }
        api::authorization::v1 {
            LocalSubjectAccessReview,
            SelfSubjectAccessReview,
            SelfSubjectRulesReview,
            SubjectAccessReview,
        }
        api::autoscaling::v1 {
            HorizontalPodAutoscaler,
            Scale,
        }
        api::autoscaling::v2 {
            HorizontalPodAutoscaler,
        }
        api::batch::v1 {
            CronJob,
            Job,
        }
        api::certificates::v1 {
            CertificateSigningRequest,
        }
        api::coordination::v1 {
            Lease,
        }
        api::core::v1 {
            Binding,
            ComponentStatus,
            ConfigMap,
            Endpoints,
            Event,
            LimitRange,
            Namespace,
            Node,
            PersistentVolume,
            Pod,
            PodTemplate,
            ReplicationController,
            ResourceQuota,
            Secret,
            Service,
            ServiceAccount,
        }
        api::discovery::v1 {
            EndpointSlice,
        }
        api::events::v1 {
            Event,
        }
        api::flowcontrol::v1 {
            FlowSchema,
            PriorityLevelConfiguration,
        }
        api::networking::v1 {
            IPAddress,
            Ingress,
            IngressClass,
            NetworkPolicy,
            ServiceCIDR,
        }
        api::node::v1 {
            RuntimeClass,
        }
        api::policy::v1 {
            Eviction,
            PodDisruptionBudget,
        }
        api::rbac::v1 {
            ClusterRole,
            ClusterRoleBinding,
            Role,
            RoleBinding,
        }
        api::resource::v1 {
            DeviceClass,
            ResourceClaim,
            ResourceClaimTemplate,
            ResourceSlice,
        }
        api::scheduling::v1 {
            PriorityClass,
        }
        api::storage::v1 {
            CSIDriver,
            CSINode,
            CSIStorageCapacity,
            StorageClass,
            VolumeAttachment,
            VolumeAttributesClass,
        }
        api::storagemigration::v1beta1 {
            StorageVersionMigration,
        }
        apiextensions_apiserver::pkg::apis::apiextensions::v1 {
            CustomResourceDefinition,
        }
        apimachinery::pkg::apis::meta::v1 {
            APIGroup,
            APIGroupList,
            APIResourceList,
            APIVersions,
            DeleteOptions,
            Patch,
            Status,
            WatchEvent<()>,
        }
        apimachinery::pkg::version {
            Info,
        }
        kube_aggregator::pkg::apis::apiregistration::v1 {
            APIService,
        }
    }
}
