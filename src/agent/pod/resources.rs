//! Requests and limits: as numbers, as what the kernel is told, and the class they make a pod.

use super::facts;
use crate::cgroup::{Limits, QosClass};
use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use mk8s_api::quantity::Quantity;
use mk8s_cri::v1::{HugepageLimit, LinuxContainerResources};
use std::collections::BTreeMap;

const PERIOD_US: i64 = 100_000;
const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
/// The kernel's shortest slice.
const QUOTA_MIN_US: i64 = 1000;

type List = BTreeMap<String, Text>;

fn quantity(list: Option<&List>, name: &str) -> Option<Quantity> {
    Quantity::parse(&list?.get(name)?.0).ok()
}

fn requests(resources: Option<&ResourceRequirements>) -> Option<&List> {
    resources?.requests.as_ref()
}

fn limits(resources: Option<&ResourceRequirements>) -> Option<&List> {
    resources?.limits.as_ref()
}

/// A limit of a container as a whole number (`cpu` in thousandths).
pub fn limit(container: &Container, name: &str) -> Option<i64> {
    let quantity = quantity(limits(container.resources.as_ref()), name)?;
    Some(if name == "cpu" { quantity.millis() } else { quantity.value() })
}

/// A request; where there is none the limit.
pub fn request(container: &Container, name: &str) -> Option<i64> {
    let resources = container.resources.as_ref();
    let quantity = quantity(requests(resources), name).or_else(|| quantity(limits(resources), name))?;
    Some(if name == "cpu" { quantity.millis() } else { quantity.value() })
}

pub fn shares_of(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { SHARES_MIN } else { (milli_cpu * 1024 / 1000).clamp(SHARES_MIN, SHARES_MAX) }
}

pub fn quota_of(milli_cpu: i64) -> i64 {
    (milli_cpu * PERIOD_US / 1000).max(QUOTA_MIN_US)
}

/// The class by Kubernetes' rule: requests equal to limits everywhere, some, or none.
pub fn qos_class(pod: &Pod) -> QosClass {
    if let Some(class) = pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        match class {
            "Guaranteed" => return QosClass::Guaranteed,
            "Burstable" => return QosClass::Burstable,
            "BestEffort" => return QosClass::BestEffort,
            _ => {}
        }
    }
    let spec = facts::spec(pod);
    let pod_level = spec.resources.as_ref().filter(|r| r.requests.is_some() || r.limits.is_some());
    let all: Vec<Option<&ResourceRequirements>> = match pod_level {
        Some(resources) => vec![Some(resources)],
        None => {
            facts::containers(pod).iter().chain(facts::init_containers(pod)).map(|c| c.resources.as_ref()).collect()
        }
    };
    let (mut any, mut guaranteed) = (false, true);
    for resources in all {
        for name in ["cpu", "memory"] {
            let is_set = |value: Option<Quantity>| value.filter(|quantity| !quantity.is_zero());
            let request = is_set(quantity(requests(resources), name));
            let limit = is_set(quantity(limits(resources), name));
            any |= request.is_some() || limit.is_some();
            guaranteed &=
                limit.is_some() && (request.is_none() || request.map(Quantity::nanos) == limit.map(Quantity::nanos));
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// How readily the kernel kills a container when memory runs out.
pub fn oom_score(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    let critical = facts::spec(pod).priority.is_some_and(|priority| priority >= 2_000_000_000);
    if critical || facts::is_static(pod) && facts::spec(pod).priority.is_none() {
        return -997;
    }
    match qos_class(pod) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = i128::from(request(container, "memory").unwrap_or_default());
            let score = 1000 - i128::from(1000) * request / i128::from(memory_capacity.max(1));
            i64::try_from(score.clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// What the runtime is told of a container's resources.
pub fn linux_resources(pod: &Pod, container: &Container, memory_capacity: i64) -> LinuxContainerResources {
    let cpu_limit = limit(container, "cpu");
    let hugepages = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let hugepages = hugepages.into_iter().flatten().filter_map(|(name, text)| {
        let size = name.strip_prefix("hugepages-")?;
        let limit = u64::try_from(Quantity::parse(&text.0).ok()?.value()).ok()?;
        // The kernel says 2MB where Kubernetes says 2Mi.
        Some(HugepageLimit { page_size: size.replace('i', "B"), limit })
    });
    LinuxContainerResources {
        cpu_period: if cpu_limit.is_some() { PERIOD_US } else { 0 },
        cpu_quota: cpu_limit.map_or(0, quota_of),
        cpu_shares: shares_of(request(container, "cpu").unwrap_or_default()),
        memory_limit_in_bytes: limit(container, "memory").unwrap_or_default(),
        oom_score_adj: oom_score(pod, container, memory_capacity),
        hugepage_limits: hugepages.collect(),
        ..LinuxContainerResources::default()
    }
}

/// The pod's own group: shares always, caps where every container has one.
pub fn pod_limits(pod: &Pod, pids: Option<i64>) -> Limits {
    let own = facts::spec(pod).resources.as_ref();
    let containers: Vec<&Container> = facts::containers(pod).iter().collect();
    let sidecars: Vec<&Container> = facts::init_containers(pod).iter().filter(|c| facts::is_sidecar(c)).collect();
    let inits: Vec<&Container> = facts::init_containers(pod).iter().filter(|c| !facts::is_sidecar(c)).collect();
    let sum = |of: &dyn Fn(&Container) -> Option<i64>| -> Option<i64> {
        containers.iter().chain(&sidecars).map(|container| of(container)).sum()
    };
    let largest_init = |of: &dyn Fn(&Container) -> Option<i64>| {
        inits.iter().filter_map(|container| of(container)).max().unwrap_or_default()
    };
    let capped = |name: &'static str| -> Option<i64> {
        if let Some(quantity) = quantity(limits(own), name) {
            return Some(if name == "cpu" { quantity.millis() } else { quantity.value() });
        }
        let of = |container: &Container| limit(container, name);
        sum(&of).map(|sum| sum.max(largest_init(&of)))
    };
    let cpu_request = quantity(requests(own), "cpu").map(Quantity::millis).unwrap_or_else(|| {
        let of = |container: &Container| Some(request(container, "cpu").unwrap_or_default());
        sum(&of).unwrap_or_default().max(largest_init(&of))
    });
    Limits {
        cpu_shares: u64::try_from(shares_of(cpu_request)).ok(),
        cpu_quota: capped("cpu").map(quota_of),
        memory: capped("memory").filter(|bytes| *bytes > 0),
        pids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": containers}})).expect("a pod")
    }

    #[test]
    fn classes_and_scores() {
        let gi = 1 << 30;
        for (resources, class, score) in [
            (json!({}), "BestEffort", 1000),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed", -997),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
                "Guaranteed",
                -997,
            ),
            (json!({"limits": {"cpu": "1"}}), "Burstable", 999),
            (json!({"requests": {"memory": "512Mi"}}), "Burstable", 500),
        ] {
            let pod = pod(json!([{"name": "a", "resources": resources}]));
            assert_eq!(qos_class(&pod).name(), class, "{resources}");
            assert_eq!(oom_score(&pod, &facts::containers(&pod)[0], gi), score, "{resources}");
        }
    }

    #[test]
    fn numbers_for_the_kernel() {
        let pod = pod(json!([
            {"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}},
            {"name": "b", "resources": {"limits": {"cpu": "1"}}},
        ]));
        let resources = linux_resources(&pod, &facts::containers(&pod)[0], 1 << 30);
        assert_eq!((resources.cpu_quota, resources.cpu_period, resources.cpu_shares), (50_000, 100_000, 256));
        assert_eq!(resources.memory_limit_in_bytes, 64 << 20);
        let limits = pod_limits(&pod, None);
        assert_eq!((limits.cpu_shares, limits.cpu_quota, limits.memory), (Some(1280), Some(150_000), None));
    }
}
