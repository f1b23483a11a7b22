//! What makes a pod of a StatefulSet that one and no other: its ordinal, the names that follow from it, and its claims.

use crate::common::{
    claims::controller_ref,
    history::POD_HASH,
    pods::{WholePod, from_template},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
};
use mk8s_client::{
    kube::ResourceExt,
    pod::{self, Pod},
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number at the end of a pod's name, when what is before it names the set.
pub(super) fn ordinal_of(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let (parent, ordinal) = pod.metadata.name.as_deref()?.rsplit_once('-')?;
    let digits = !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit());
    (Some(parent) == set.metadata.name.as_deref() && digits).then(|| ordinal.parse().ok())?
}

pub(super) fn start(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or_default()
}

pub(super) fn replicas(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Whether the set wants a pod with this ordinal.
pub(super) fn in_range(set: &StatefulSet, ordinal: i32) -> bool {
    let offset = i64::from(ordinal) - i64::from(start(set));
    (0..i64::from(replicas(set))).contains(&offset)
}

pub(super) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.name_any())
}

pub(super) fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

pub(super) fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}", template.name_any(), pod_name(set, ordinal))
}

/// The claims of one ordinal, as they are to be created.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selected = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(set, template, ordinal));
        claim.metadata.namespace = set.namespace();
        claim.metadata.labels.get_or_insert_default().extend(selected.clone());
        claim.status = None;
        claim
    };
    templates(set).iter().map(claim).collect()
}

/// The pod of one ordinal, as one revision describes it.
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> WholePod {
    let mut pod = from_template(template, &set.name_any(), controller_ref(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(pod_name(set, ordinal));
    pod.metadata.namespace = set.namespace();
    pod.labels_mut().insert(POD_HASH.to_owned(), revision.to_owned());
    let service = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(pod_name(set, ordinal));
    spec.subdomain = service.filter(|service| !service.is_empty());
    restore(set, ordinal, pod)
}

/// The pod with the labels and volumes that its ordinal gives it.
pub(super) fn restore(set: &StatefulSet, ordinal: i32, mut pod: WholePod) -> WholePod {
    let name = pod_name(set, ordinal);
    pod.labels_mut().insert(POD_NAME.to_owned(), name);
    pod.labels_mut().insert(POD_INDEX.to_owned(), ordinal.to_string());
    let spec = pod.spec.get_or_insert_default();
    if !templates(set).is_empty() {
        let mut volumes: Vec<Volume> = templates(set).iter().map(|template| volume(set, template, ordinal)).collect();
        let own = spec.volumes.take().unwrap_or_default();
        let replaced: Vec<String> = volumes.iter().map(|volume| volume.name.clone()).collect();
        volumes.extend(own.into_iter().filter(|volume| !replaced.contains(&volume.name)));
        spec.volumes = Some(volumes);
    }
    pod
}

fn volume(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> Volume {
    let claim_name = claim_name(set, template, ordinal);
    Volume {
        name: template.name_any(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name, read_only: None }),
        ..Volume::default()
    }
}

/// Whether a pod has the name label and the volumes of its ordinal.
pub(super) fn is_itself(set: &StatefulSet, ordinal: i32, pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mounted = |template: &PersistentVolumeClaim| {
        let (name, claim) = (template.name_any(), claim_name(set, template, ordinal));
        let is_it = |volume: &pod::Volume| {
            volume.name == name
                && volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim)
        };
        volumes.iter().any(is_it)
    };
    pod.metadata.name.as_deref() == Some(&pod_name(set, ordinal))
        && pod.labels().get(POD_NAME) == pod.metadata.name.as_ref()
        && templates(set).iter().all(mounted)
}
