//! Which taints of devices a claim stands.

use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceToleration};

/// Whether a toleration is one for a taint: an empty effect or key stands for all of them, and without an operator the
/// values must be equal. The time it tolerates for is eviction's concern.
pub fn tolerates(toleration: &DeviceToleration, taint: &DeviceTaint) -> bool {
    let is_or_any = |wanted: &Option<String>, actual: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == actual)
    };
    is_or_any(&toleration.effect, &taint.effect)
        && is_or_any(&toleration.key, &taint.key)
        && match toleration.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => {
                toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
            }
            "Exists" => true,
            _ => false,
        }
}
