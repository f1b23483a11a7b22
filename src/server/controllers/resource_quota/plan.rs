//! What of a quota is used.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use mk8s_api::{
    quantity::Quantity,
    quota::{
        Charge,
        amounts::{Resources, add, read},
        count_name,
        devices::is_extended,
        is_counted_plainly,
    },
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Kinds of which a quota counts more than the number: group and plural.
pub(super) const CHARGED: [(&str, &str); 4] =
    [("", "persistentvolumeclaims"), ("", "pods"), ("", "services"), ("resource.k8s.io", "resourceclaims")];

pub(super) fn is_charged(group: &str, plural: &str) -> bool {
    CHARGED.contains(&(group, plural))
}

pub(super) struct Observed {
    pub(super) quota: Arc<ResourceQuota>,
    /// Of its namespace, by plural; only kinds that it may count.
    pub(super) charges: BTreeMap<&'static str, Vec<Arc<Charge>>>,
    /// How many objects there are of other kinds, by group and plural; only those that it counts.
    pub(super) counts: BTreeMap<(String, String), usize>,
    /// When a pod that is being deleted should be gone.
    pub(super) next_gone: Option<Timestamp>,
}

pub(super) struct Plan {
    pub(super) status: Option<ResourceQuotaStatus>,
    pub(super) look_again: Option<Duration>,
}

/// Whether a limited name is about objects of this kind.
pub(super) fn concerns(name: &str, group: &str, plural: &str) -> bool {
    if name == count_name(group, plural) || (is_counted_plainly(group, plural) && name == plural) {
        return true;
    }
    let of_class = name.contains(".storageclass.storage.k8s.io/");
    let of_claims = of_class || matches!(name, "persistentvolumeclaims" | "requests.storage");
    let of_services = matches!(name, "services" | "services.nodeports" | "services.loadbalancers");
    let of_pods = matches!(name, "pods" | "cpu" | "memory" | "ephemeral-storage")
        || ["requests.", "limits.", "hugepages-"].iter().any(|prefix| name.starts_with(prefix));
    match (group, plural) {
        ("", "persistentvolumeclaims") => of_claims,
        ("", "services") => of_services,
        ("", "pods") => of_pods && !of_claims,
        ("resource.k8s.io", "resourceclaims") => {
            name.ends_with(".deviceclass.resource.k8s.io/devices") || is_extended(name)
        }
        _ => false,
    }
}

fn zero() -> Quantity {
    Quantity::parse("0").expect("a number")
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let quota = observed.quota.as_ref();
    let spec = serde_json::to_value(&quota.spec).unwrap_or(Value::Null);
    let hard = read(&spec["hard"]);
    let scoped = spec["scopes"].is_array() || spec["scopeSelector"].is_object();
    let mut sums = Resources::new();
    for charge in observed.charges.values().flatten().filter(|charge| charge.is_in_scope(&spec)) {
        add(&mut sums, &charge.usage);
    }
    let known = |name: &str| {
        CHARGED.iter().any(|(group, plural)| concerns(name, group, plural))
            || observed.counts.keys().any(|(group, plural)| concerns(name, group, plural))
    };
    for ((group, plural), count) in observed.counts.iter().filter(|_| !scoped) {
        let count = Quantity::parse(&count.to_string()).expect("digits are a quantity");
        for name in hard.keys().filter(|name| concerns(name, group, plural)) {
            sums.insert(name.clone(), count);
        }
    }
    let used = hard.keys().filter(|name| known(name));
    let used: BTreeMap<String, Text> =
        used.map(|name| (name.clone(), Text(sums.get(name).copied().unwrap_or_else(zero).to_string()))).collect();
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let status = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
    let look_again = observed.next_gone.map(|gone| Duration::try_from(gone.duration_since(now)).unwrap_or_default());
    let changed = !quota.status.as_ref().is_some_and(|known| is_same(known, &status));
    // A little later than that moment, at which the pod still counts.
    Plan { status: changed.then_some(status), look_again: look_again.map(|wait| wait + Duration::from_millis(100)) }
}

/// Amounts are compared as amounts: `1000m` is `1`.
fn is_same(one: &ResourceQuotaStatus, other: &ResourceQuotaStatus) -> bool {
    let amounts = |texts: &Option<BTreeMap<String, Text>>| {
        let texts = texts.iter().flatten();
        texts.map(|(name, text)| (name.clone(), Quantity::parse(&text.0).ok())).collect::<BTreeMap<_, _>>()
    };
    let complete = |status: &ResourceQuotaStatus| status.hard.is_some() && status.used.is_some();
    complete(one) && one.hard == other.hard && amounts(&one.used) == amounts(&other.used)
}
