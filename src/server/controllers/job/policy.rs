//! What a pod's failure means: by default it counts; by policy it may end the Job or its index, or be ignored.

use k8s_openapi::api::batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use mk8s_client::{
    kube::ResourceExt,
    pod::{ContainerStatus, Pod},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Count,
    Ignore,
    /// Its index is not tried again.
    FailIndex,
    /// With the message for the Job's condition.
    FailJob(String),
}

/// The first rule that matches decides.
pub(super) fn judge(job: &Job, pod: &Pod) -> Verdict {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    for (index, rule) in policy.into_iter().flat_map(|policy| &policy.rules).enumerate() {
        let Some(what) = matches(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{what} matching {} rule at index {index}", rule.action)),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let mut statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        return statuses.find_map(|container| {
            let code = exit_code(container).filter(|code| *code != 0 && covers(codes, container, *code))?;
            Some(format!("Container {} for pod {name} failed with exit code {code}", container.name))
        });
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let found = status.conditions.iter().flatten().find(|condition| {
        patterns.iter().any(|pattern| {
            pattern.type_ == condition.type_ && pattern.status.as_deref().unwrap_or("True") == condition.status
        })
    })?;
    Some(format!("Pod {name} has condition {}", found.type_))
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn covers(codes: &PodFailurePolicyOnExitCodesRequirement, container: &ContainerStatus, code: i32) -> bool {
    let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
    let listed = codes.values.contains(&code);
    match codes.operator.as_str() {
        "In" => named && listed,
        "NotIn" => named && !listed,
        _ => false,
    }
}
