//! Which taints a pod stands.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a taint that keeps new pods away is not tolerated.
pub fn keep_away(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .any(|taint| !tolerated(taint, tolerations))
}

pub fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// Whether a toleration matches a taint. The time it tolerates for is eviction's concern.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |s: &Option<String>| s.as_deref().unwrap_or_default().is_empty();
    let effect = empty(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
    let key = empty(&toleration.key) || toleration.key.as_deref() == Some(&taint.key);
    if !effect || !key {
        return false;
    }
    let theirs = taint.value.as_deref().unwrap_or_default();
    let ours = toleration.value.as_deref().unwrap_or_default();
    let numbers = || Some((theirs.parse::<i64>().ok()?, ours.parse::<i64>().ok()?));
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => ours == theirs,
        "Exists" => true,
        "Lt" => numbers().is_some_and(|(theirs, ours)| theirs < ours),
        "Gt" => numbers().is_some_and(|(theirs, ours)| theirs > ours),
        _ => false,
    }
}
