//! Which claims on storage a pod uses, and which pods use a claim.

use super::{claims::is_controlled_by, pods};
use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::{
    Informer, Key,
    kube::ResourceExt,
    pod::{ContainerStatus, Pod, Volume},
};

/// Pods by the claims that they use: `namespace/name`.
pub(crate) const BY_CLAIM: &str = "volume-claim";

/// On volumes: who provisioned them.
pub(crate) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// What Kubernetes once did by itself, and the CSI drivers that do it now.
const MOVED: [(&str, &str); 7] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];

/// The driver that does what a plugin of Kubernetes did.
pub(crate) fn driver_for(plugin: &str) -> Option<&'static str> {
    MOVED.iter().find(|(known, _)| *known == plugin).map(|(_, driver)| *driver)
}

/// The plugin whose volume it is, when a driver does its work now.
pub(crate) fn moved_plugin(volume: &PersistentVolume) -> Option<&'static str> {
    let spec = volume.spec.as_ref()?;
    let kinds = [
        spec.aws_elastic_block_store.is_some(),
        spec.azure_disk.is_some(),
        spec.azure_file.is_some(),
        spec.cinder.is_some(),
        spec.gce_persistent_disk.is_some(),
        spec.portworx_volume.is_some(),
        spec.vsphere_volume.is_some(),
    ];
    MOVED.iter().zip(kinds).find(|(_, is)| *is).map(|((plugin, _), _)| *plugin)
}

pub(crate) fn index_by_claim(pods: &Informer<Pod>) {
    pods.index(BY_CLAIM, |pod| claims_of(pod).map(|claim| claim.to_string()).collect());
}

pub(crate) fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// The claims that a pod uses, those that it brings along too.
pub(crate) fn claims_of(pod: &Pod) -> impl Iterator<Item = Key> {
    let namespace = pod.namespace().unwrap_or_default();
    volumes(pod).filter_map(move |volume| Some(Key::new(&namespace, claim_name(pod, volume)?)))
}

/// The name of the claim behind a volume; one that the pod brings along is named after both.
pub(crate) fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    let named = volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone());
    named.or_else(|| volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.name_any(), volume.name)))
}

/// Why a claim is not the one that was made for a volume of the pod's own.
pub(crate) fn not_made_for(pod: &Pod, claim: &ObjectMeta) -> Option<String> {
    if is_controlled_by(claim, pod.metadata.uid.as_deref()) && claim.namespace == pod.metadata.namespace {
        return None;
    }
    let (namespace, name) = (claim.namespace.clone().unwrap_or_default(), claim.name.clone().unwrap_or_default());
    Some(format!("PVC {namespace}/{name} was not created for pod {} (pod is not owner)", Key::of(pod)))
}

/// None of its containers runs, and none will.
pub(crate) fn is_terminated(pod: &Pod) -> bool {
    let runs = |status: &ContainerStatus| {
        status.state.as_ref().is_none_or(|state| state.terminated.is_none() && state.waiting.is_none())
    };
    let status = pod.status.as_ref();
    let containers = status.into_iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    pods::is_finished(pod) || (pod.metadata.deletion_timestamp.is_some() && !containers.into_iter().any(runs))
}

/// The claim that a volume is for: its key, and its uid where it is known.
pub(crate) fn claim_of(volume: &PersistentVolume) -> Option<(Key, Option<&str>)> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let key = Key::new(reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default());
    Some((key, reference.uid.as_deref().filter(|uid| !uid.is_empty())))
}

/// The volume of a claim that is bound.
pub(crate) fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
    name.filter(|_| bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::one;

    #[test]
    fn a_pod_names_claims_and_brings_its_own() {
        let pod: Pod = one(
            "kind: Pod\nmetadata: {name: p, namespace: n, uid: u}\nspec: {containers: [], volumes: [{name: v, persistentVolumeClaim: \
             {claimName: c}}, {name: e, ephemeral: {}}, {name: f, emptyDir: {}}]}",
        );
        assert_eq!(claims_of(&pod).map(|claim| claim.to_string()).collect::<Vec<_>>(), ["n/c", "n/p-e"]);
        let claim = |owner: &str| -> ObjectMeta {
            let claim: PersistentVolumeClaim = one(&format!(
                "kind: PersistentVolumeClaim\nmetadata: {{name: p-e, namespace: n, ownerReferences: [{{apiVersion: v1, kind: \
                 Pod, name: p, uid: {owner}, controller: true}}]}}"
            ));
            claim.metadata
        };
        assert_eq!(not_made_for(&pod, &claim("u")), None);
        let why = not_made_for(&pod, &claim("other"));
        assert_eq!(why.as_deref(), Some("PVC n/p-e was not created for pod n/p (pod is not owner)"));
    }

    #[test]
    fn a_pod_that_is_deleted_is_over_when_nothing_of_it_runs() {
        for (going, status, expected) in [
            (false, "{phase: Running}", false),
            (false, "{phase: Failed}", true),
            (true, "{phase: Running}", true),
            (true, "{phase: Running, containerStatuses: [{name: c, state: {running: {}}}]}", false),
            (true, "{phase: Running, containerStatuses: [{name: c, state: {terminated: {exitCode: 0}}}]}", true),
            (true, "{phase: Pending, containerStatuses: [{name: c, state: {waiting: {}}}]}", true),
            (true, "{phase: Pending, initContainerStatuses: [{name: c, state: {running: {}}}]}", false),
        ] {
            let deletion = if going { ", deletionTimestamp: \"2026-01-01T12:00:00Z\"" } else { "" };
            let pod: Pod =
                one(&format!("kind: Pod\nmetadata: {{name: p{deletion}}}\nspec: {{containers: []}}\nstatus: {status}"));
            assert_eq!(is_terminated(&pod), expected, "{going} {status}");
        }
    }
}
