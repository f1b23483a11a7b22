//! What a Job asks for, in the words that the plan uses.

use super::indexes::Indexes;
use crate::common::pods;
use k8s_openapi::api::batch::v1::Job;
use mk8s_client::{kube::ResourceExt, pod::Pod};

pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Keeps an ended pod until it is counted.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

pub(super) fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed")
}

pub(super) fn completions(job: &Job) -> Option<i32> {
    job.spec.as_ref().and_then(|spec| spec.completions)
}

/// How often each index may fail, where each fails for itself.
pub(super) fn limit_per_index(job: &Job) -> Option<i32> {
    job.spec.as_ref().and_then(|spec| spec.backoff_limit_per_index).filter(|_| is_indexed(job))
}

pub(super) fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

/// Whether a pod that goes is replaced only when it is gone.
pub(super) fn replaces_only_failed(job: &Job) -> bool {
    let spec = job.spec.as_ref();
    let policy = spec.and_then(|spec| spec.pod_replacement_policy.as_deref());
    policy == Some("Failed") || spec.is_some_and(|spec| spec.pod_failure_policy.is_some())
}

pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX).and_then(|index| index.parse().ok()).filter(|index| *index >= 0)
}

/// The index of a pod that counts: one within the completions.
pub(super) fn counting_index(job: &Job, pod: &Pod) -> Option<i32> {
    index_of(pod).filter(|index| *index < completions(job).unwrap_or_default())
}

/// Pods of an indexed Job without an index that it wants count for nothing.
pub(super) fn counts(job: &Job, pod: &Pod) -> bool {
    !is_indexed(job) || counting_index(job, pod).is_some()
}

pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == TRACKING)
}

/// It ended badly; one that is deleted while it runs did so, too, unless its end is waited for.
pub(super) fn has_failed(job: &Job, pod: &Pod) -> bool {
    pods::phase(pod) == "Failed" || (!replaces_only_failed(job) && pods::is_terminating(pod))
}

pub(super) fn completed_before(job: &Job) -> Indexes {
    let text = job.status.as_ref().and_then(|status| status.completed_indexes.as_deref());
    Indexes::parse(text.unwrap_or(""), completions(job).unwrap_or_default())
}

pub(super) fn failed_before(job: &Job) -> Indexes {
    let text = job.status.as_ref().and_then(|status| status.failed_indexes.as_deref());
    Indexes::parse(text.unwrap_or(""), completions(job).unwrap_or_default())
}
