//! Which taints of devices a claim stands.

use crate::taints;
use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceToleration};

/// Whether a toleration is one for a taint, as with those of nodes. The time it tolerates for is eviction's concern.
pub fn tolerates(toleration: &DeviceToleration, taint: &DeviceTaint) -> bool {
    let DeviceToleration { effect, key, operator, value, .. } = toleration;
    let wanted = [effect, key, operator, value].map(|part| part.as_deref().unwrap_or_default());
    taints::matches(wanted, [&taint.effect, &taint.key, taint.value.as_deref().unwrap_or_default()])
}
