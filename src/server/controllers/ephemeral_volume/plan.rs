//! Which claims are missing for a pod. Pure.

use crate::common::{
    claims::controller_ref,
    volumes::{claim_name, not_made_for, volumes},
};
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use mk8s_client::{
    kube::ResourceExt,
    pod::{Pod, Volume},
};
use std::sync::Arc;

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Create(Box<PersistentVolumeClaim>),
    /// The claim of that name is another one: why.
    Refuse(String),
}

/// One that is being deleted gets nothing any more.
pub(super) fn wants_claims(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && volumes(pod).any(|volume| volume.ephemeral.is_some())
}

/// By the volume's name, in the pod's order.
pub(super) fn steps(pod: &Pod, known: impl Fn(&str) -> Option<Arc<PersistentVolumeClaim>>) -> Vec<(String, Step)> {
    let mut steps = Vec::new();
    for volume in volumes(pod).filter(|_| wants_claims(pod)) {
        let Some(claim) = claim_for(pod, volume) else { continue };
        let step = match known(&claim.name_any()) {
            Some(known) => not_made_for(pod, &known.metadata).map(Step::Refuse),
            None => Some(Step::Create(Box::new(claim))),
        };
        steps.extend(step.map(|step| (volume.name.clone(), step)));
    }
    steps
}

fn claim_for(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.clone().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: claim_name(pod, volume),
            namespace: pod.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_ref(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec),
        status: None,
    })
}
