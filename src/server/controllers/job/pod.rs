//! The pods of a Job.

use super::spec::{INDEX, TRACKING};
use crate::common::{
    claims::controller_ref,
    pods::{WholePod, from_template},
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector},
};
use mk8s_client::{kube::ResourceExt, pod::Pod};

pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Of a generated name, without what is generated.
const PREFIX_MAX: usize = 58;

/// Which index a pod is for, and what has become of those before it, where that is counted for each index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index {
    pub(super) index: i32,
    pub(super) failures: Option<Failures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Failures {
    pub(super) counted: i32,
    pub(super) ignored: i32,
}

/// What a pod was told of those before it.
pub(super) fn failures_before(pod: &Pod) -> Failures {
    let read =
        |key: &str| pod.annotations().get(key).and_then(|text| text.parse().ok()).filter(|count: &i32| *count >= 0);
    Failures { counted: read(FAILURES).unwrap_or_default(), ignored: read(IGNORED_FAILURES).unwrap_or_default() }
}

/// A pod of the Job; one with an index knows it in every way that Kubernetes tells it.
pub(super) fn new_pod(job: &Job, index: Option<&Index>) -> WholePod {
    let Some(spec) = job.spec.as_ref() else { return WholePod::default() };
    let name = job.name_any();
    let mut pod = from_template(&spec.template, &name, controller_ref(job));
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|known| known == TRACKING) {
        finalizers.push(TRACKING.to_owned());
    }
    let uid = job.uid().unwrap_or_default();
    // The server puts these into the template; they are what the Job's pods are found by.
    let labels = pod.labels_mut();
    for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
        labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        labels.entry(format!("batch.kubernetes.io/{key}")).or_insert_with(|| value.clone());
    }
    if let Some(index) = index {
        tell(&mut pod, &name, index);
    }
    pod
}

fn tell(pod: &mut WholePod, name: &str, known: &Index) {
    let index = known.index;
    let suffix = format!("-{index}-");
    let stem: String = name.chars().take(PREFIX_MAX.saturating_sub(suffix.len())).collect();
    pod.metadata.generate_name = Some(format!("{stem}{suffix}"));
    pod.labels_mut().insert(INDEX.to_owned(), index.to_string());
    pod.annotations_mut().insert(INDEX.to_owned(), index.to_string());
    if let Some(failures) = known.failures {
        pod.annotations_mut().insert(FAILURES.to_owned(), failures.counted.to_string());
        if failures.ignored > 0 {
            pod.annotations_mut().insert(IGNORED_FAILURES.to_owned(), failures.ignored.to_string());
        }
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{name}-{index}"));
        let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
        containers.for_each(|container| tell_index(container.env.get_or_insert_default()));
    }
}

fn tell_index(env: &mut Vec<EnvVar>) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    if env.iter().any(|known| known.name == NAME) {
        return;
    }
    let field_path = format!("metadata.labels['{INDEX}']");
    let field = ObjectFieldSelector { field_path, api_version: None };
    let value_from = Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() });
    env.push(EnvVar { name: NAME.to_owned(), value: None, value_from });
}
