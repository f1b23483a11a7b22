//! ResourceQuota: what a namespace may hold. Usage is counted from what is stored, plus what was let through and is not
//! stored yet, so that writes at the same time cannot exceed a quota together.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use mk8s_api::{
    meta,
    quantity::Quantity,
    quota::{Charge, amounts::add},
    status::Status,
};
use mk8s_store::{Store, View};
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    Claims, Operation, Request,
    pod_resources::{Resources, read},
    stored::{items, list},
};

/// What was let through is stored, or has failed, after this long.
const IN_FLIGHT: Duration = Duration::from_secs(10);

pub(super) struct Quota {
    store: Store,
    claims: Claims,
    /// What was let through: where it will be stored, what it counts, until when it is waited for.
    in_flight: Mutex<Vec<InFlight>>,
}

struct InFlight {
    key: String,
    namespace: String,
    object: Value,
    until: Instant,
    group: String,
    resource: String,
    /// The claim under which it was let through: without it, it is never stored.
    claim: u64,
}

impl Quota {
    pub(super) fn new(store: Store) -> Quota {
        Quota { claims: Claims::new(store.clone()), store, in_flight: Mutex::default() }
    }

    /// Lets the object through, or refuses it with the quota it would exceed.
    pub(super) async fn charge(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if request.namespace.is_empty() || request.dry_run {
            return Ok(());
        }
        let created = request.operation == Operation::Create && request.subresource.is_empty();
        let now = Timestamp::now();
        let charge = Charge::of(request.group, request.resource, object, now);
        let more = match request.old {
            _ if created => growth(&charge.usage, &Resources::new()),
            Some(old) if may_ask_for_more(request) => {
                growth(&charge.usage, &Charge::of(request.group, request.resource, old, now).usage)
            }
            _ => return Ok(()),
        };
        if more.is_empty() {
            return Ok(());
        }
        if list(&self.store.view(), "", "resourcequotas", request.namespace).is_empty() {
            return Ok(());
        }
        let claim = self.claims.take(&claimed(request.namespace), request.notes).await?;
        let view = self.store.view();
        let quotas = list(&view, "", "resourcequotas", request.namespace);
        let mut in_flight = self.in_flight.lock();
        let clock = Instant::now();
        in_flight.retain(|waiting| {
            let undecided = waiting.namespace != request.namespace || waiting.claim == claim;
            undecided && clock < waiting.until && view.get(waiting.key.as_bytes()).is_none()
        });
        let mut charged = false;
        for quota in quotas.iter().filter(|quota| charge.is_in_scope(&quota["spec"])) {
            charged |= check(&view, &in_flight, request, object, quota, &more)?;
        }
        if charged && created {
            let group = if request.group.is_empty() { "core" } else { request.group };
            in_flight.push(InFlight {
                key: format!(
                    "/registry/{group}/{}/{}/{}",
                    request.resource,
                    request.namespace,
                    request.name_of(Some(object))
                ),
                namespace: request.namespace.to_string(),
                object: object.clone(),
                until: clock + IN_FLIGHT,
                group: request.group.to_string(),
                resource: request.resource.to_string(),
                claim,
            });
        }
        Ok(())
    }
}

/// What is claimed to decide about a namespace: few names for all of them.
fn claimed(namespace: &str) -> String {
    let mixed = namespace.bytes().fold(0u8, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte));
    format!("quota/{mixed:02x}")
}

/// Whether the quota counts this object at all; an error when it would be exceeded.
fn check(
    view: &View,
    in_flight: &[InFlight],
    request: &Request<'_>,
    object: &Value,
    quota: &Value,
    usage: &Resources,
) -> Result<bool, Status> {
    let hard = read(&quota["spec"]["hard"]);
    let name = meta::name(quota);
    if request.is("", "pods") && request.subresource.is_empty() {
        let lacking = unstated(&hard, object);
        if !lacking.is_empty() {
            return Err(
                request.forbidden(Some(object), &format!("failed quota: {name}: must specify {}", lacking.join("; ")))
            );
        }
    }
    let counted: Resources = usage
        .iter()
        .filter(|(name, _)| hard.contains_key(*name))
        .map(|(name, quantity)| (name.clone(), *quantity))
        .collect();
    if counted.is_empty() {
        return Ok(false);
    }
    let used = used(view, in_flight, request, quota, &hard);
    let zero = Quantity::parse("0").expect("a number");
    let exceeded: Vec<&String> = counted
        .iter()
        .filter(|(name, more)| used.get(*name).copied().unwrap_or(zero) + **more > hard[*name])
        .map(|(name, _)| name)
        .collect();
    if exceeded.is_empty() {
        return Ok(true);
    }
    let show = |of: &dyn Fn(&String) -> Quantity| {
        exceeded.iter().map(|name| format!("{name}={}", of(name))).collect::<Vec<_>>().join(",")
    };
    let why = format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        show(&|name| counted[name]),
        show(&|resource| used.get(resource).copied().unwrap_or(zero)),
        show(&|resource| hard[resource]),
    );
    Err(request.forbidden(Some(object), &why))
}

/// What the namespace holds of this kind, and what is on its way.
fn used(view: &View, in_flight: &[InFlight], request: &Request<'_>, quota: &Value, hard: &Resources) -> Resources {
    let mut total: Resources =
        hard.keys().map(|name| (name.clone(), Quantity::parse("0").expect("a number"))).collect();
    let (group, resource) = (request.group, request.resource);
    let stored = list(view, group, resource, request.namespace);
    let waiting =
        in_flight.iter().filter(|w| w.group == group && w.resource == resource && w.namespace == request.namespace);
    let now = Timestamp::now();
    for object in stored.iter().chain(waiting.map(|waiting| &waiting.object)) {
        let charge = Charge::of(group, resource, object, now);
        if charge.is_in_scope(&quota["spec"]) {
            add(&mut total, &charge.usage);
        }
    }
    total
}

/// Updates that may make an object count for more.
fn may_ask_for_more(request: &Request<'_>) -> bool {
    let whole = request.is("", "services") || request.is("", "persistentvolumeclaims");
    request.operation == Operation::Update
        && ((whole && request.subresource.is_empty()) || (request.is("", "pods") && request.subresource == "resize"))
}

/// What `new` counts for beyond `old`.
fn growth(new: &Resources, old: &Resources) -> Resources {
    let zero = Quantity::parse("0").expect("a number");
    let more = new.iter().map(|(name, amount)| (name.clone(), *amount - old.get(name).copied().unwrap_or(zero)));
    more.filter(|(_, more)| *more > zero).collect()
}

/// Resources the quota limits and containers do not state: `limits.cpu for: a,b`.
fn unstated(hard: &Resources, pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    if spec["resources"].is_object() {
        return Vec::new();
    }
    let mut lacking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in items(&spec["containers"]).iter().chain(items(&spec["initContainers"])) {
        for (name, field, resource) in [
            ("cpu", "requests", "cpu"),
            ("memory", "requests", "memory"),
            ("requests.cpu", "requests", "cpu"),
            ("requests.memory", "requests", "memory"),
            ("limits.cpu", "limits", "cpu"),
            ("limits.memory", "limits", "memory"),
        ] {
            if hard.contains_key(name) && container["resources"][field][resource].is_null() {
                lacking.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
            }
        }
    }
    lacking
        .into_iter()
        .map(|(name, of)| format!("{name} for: {}", of.into_iter().collect::<Vec<_>>().join(",")))
        .collect()
}
