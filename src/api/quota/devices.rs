//! What claims on devices count for: the devices of each class, and the extended resources that the classes stand behind.
//! Pods count for extended resources, too; what a pod is charged for is left out of the claim that was made for it.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

use super::{
    Charge, Traits,
    amounts::{Resources, add},
};
use crate::{
    at::{get, int, list, sub, text},
    meta,
    quantity::{Format, Quantity},
};

/// After the name of a class: devices of it.
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// Before the name of a class: the extended resource that every class stands behind, in the words of quotas.
const OF_CLASS: &str = "requests.deviceclass.resource.kubernetes.io/";
/// On claims that the scheduler makes.
const ANNOTATION: &str = "resource.kubernetes.io/extended-resource-claim";

/// A request for all devices of a class may get so many.
const DEVICES_MAX: i64 = 32;

/// Names of device classes, and the extended resource that each says. Several may say the same one.
pub type Classes = BTreeMap<String, Option<String>>;

/// Which pod the scheduler has made a claim for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    claim: String,
    created: String,
    pod: String,
    pod_uid: String,
}

/// Whether a quota's name is that of an extended resource, for which both pods and claims may count.
pub fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    name.starts_with("requests.") && (!native || name.starts_with(OF_CLASS))
}

/// The devices that a claim may get of each class. Of alternatives with one class the largest counts.
pub(super) fn add_devices(usage: &mut Resources, claim: &Value) {
    let wanted = |request: &Value| {
        let count = match text(request, "allocationMode") {
            "ExactCount" => int(request, "count").unwrap_or(0),
            "All" => DEVICES_MAX,
            _ => 0,
        };
        (text(request, "deviceClassName").to_owned(), count)
    };
    let mut devices: BTreeMap<String, i64> = BTreeMap::new();
    for request in list(sub(sub(claim, "spec"), "devices"), "requests") {
        let mut largest: BTreeMap<String, i64> = BTreeMap::new();
        let exactly = request.get("exactly").filter(|exactly| exactly.is_object());
        for (class, count) in exactly.into_iter().chain(list(request, "firstAvailable")).map(wanted) {
            let known = largest.entry(class).or_default();
            *known = count.max(*known);
        }
        for (class, count) in largest {
            let sum = devices.entry(class).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    for (class, count) in devices {
        usage.insert(format!("{class}{DEVICES}"), Quantity::from_units(count, Format::Decimal));
    }
}

pub(super) fn made_for(claim: &Value) -> Option<Box<Made>> {
    let special = meta::annotation(claim, ANNOTATION) == Some("true");
    let owner = meta::controller(claim).filter(|owner| special && owner.kind == "Pod" && owner.api_version == "v1")?;
    Some(Box::new(Made {
        claim: meta::name(claim).to_owned(),
        created: meta::creation_timestamp(claim).unwrap_or("").to_owned(),
        pod: owner.name.to_owned(),
        pod_uid: owner.uid.to_owned(),
    }))
}

/// Counts the claims of a namespace (all of them) also under the names of extended resources. `pod` finds a pod of the
/// namespace by its name. Matches `pkg/quota/v1/evaluator/core/resource_claims.go`, except that of two classes that say
/// the same resource both count.
pub fn count_extended(claims: &mut [Charge], classes: &Classes, pod: impl Fn(&str) -> Option<Value>, now: Timestamp) {
    let mut first: HashMap<&str, &Made> = HashMap::new();
    for made in claims.iter().filter_map(Charge::made) {
        let known = first.entry(made.pod_uid.as_str()).or_insert(made);
        if (&made.created, &made.claim) < (&known.created, &known.claim) {
            *known = made;
        }
    }
    let charged = |made: &Made| {
        let pod = pod(&made.pod).filter(|pod| meta::uid(pod) == made.pod_uid)?;
        let is_its_own = match get(sub(&pod, "status"), "extendedResourceClaimStatus") {
            Some(status) => text(status, "resourceClaimName") == made.claim,
            // The pod does not say yet, which happens after the claim is made.
            None => first.get(made.pod_uid.as_str()).is_some_and(|first| first.claim == made.claim),
        };
        is_its_own.then(|| Charge::of("", "pods", &pod, now).usage)
    };
    let extended: Vec<Resources> = claims
        .iter()
        .map(|claim| extended(&claim.usage, classes, &claim.made().and_then(charged).unwrap_or_default()))
        .collect();
    for (claim, extended) in claims.iter_mut().zip(extended) {
        claim.usage.extend(extended);
    }
}

/// The extended resources behind which the counted devices stand, beyond what is charged for already.
fn extended(usage: &Resources, classes: &Classes, charged: &Resources) -> Resources {
    let mut sums = Resources::new();
    for (name, amount) in usage {
        let class = name.strip_suffix(DEVICES).and_then(|class| classes.get_key_value(class));
        let Some((class, resource)) = class else { continue };
        let said = resource.iter().map(|resource| format!("requests.{resource}"));
        for name in said.chain([format!("{OF_CLASS}{class}")]) {
            add(&mut sums, &Resources::from([(name, *amount)]));
        }
    }
    for (name, sum) in &mut sums {
        *sum = *sum - charged.get(name).copied().unwrap_or(Quantity::ZERO);
    }
    sums.retain(|_, rest| *rest > Quantity::ZERO);
    sums
}

impl Charge {
    fn made(&self) -> Option<&Made> {
        match &self.traits {
            Traits::Devices { made } => made.as_deref(),
            _ => None,
        }
    }
}
