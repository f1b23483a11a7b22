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
    quota::{
        Charge,
        amounts::add,
        devices::{Classes, count_extended, is_extended},
    },
    status::Status,
};
use mk8s_store::{Store, View};
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    Claims, Operation, Request,
    pod_resources::{Resources, read},
    stored::{self, items, list},
};

/// What was let through is stored, or has failed, after this long.
const IN_FLIGHT: Duration = Duration::from_secs(10);

const DEVICES: &str = "resource.k8s.io";

/// Kinds that count together under the names of extended resources.
static EXTENDED: [(&str, &str); 2] = [("", "pods"), (DEVICES, "resourceclaims")];

pub(super) struct Quota {
    store: Store,
    claims: Claims,
    /// What was let through: where it will be stored, what it counts, until when it is waited for.
    in_flight: Mutex<Vec<InFlight>>,
}

struct InFlight {
    namespace: String,
    name: String,
    charge: Charge,
    /// What it counts, beyond what it replaces.
    more: Resources,
    until: Instant,
    group: String,
    resource: String,
    /// The revision of what it replaces; `None` for what is created.
    before: Option<u64>,
    /// Whose it is: another may get the name, and give it back.
    uid: String,
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
        let mut charge = Charge::of(request.group, request.resource, object, now);
        let mut more = match request.old {
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
        let name = request.name_of(Some(object));
        let claim = self.claims.take(&claimed(request.namespace), request.notes).await?;
        let view = self.store.view();
        let quotas = list(&view, "", "resourcequotas", request.namespace);
        if request.is(DEVICES, "resourceclaims") && quotas.iter().any(limits_extended) {
            charge = extended_claims(&view, request.namespace, Some(charge), now).pop().expect("it is the last one");
            more = growth(&charge.usage, &Resources::new());
        }
        let mut in_flight = self.in_flight.lock();
        let clock = Instant::now();
        in_flight.retain(|waiting| {
            let undecided = waiting.namespace != request.namespace || waiting.claim == claim;
            undecided && clock < waiting.until && !waiting.is_decided(&view)
        });
        let mut charged = false;
        for quota in quotas.iter().filter(|quota| charge.is_in_scope(&quota["spec"])) {
            charged |= check(&view, &in_flight, request, (object, name), quota, &more)?;
        }
        // Who creates what is there already is refused.
        let (group, resource, namespace) = (request.group, request.resource, request.namespace);
        if charged && !(created && stored::entry(&view, group, resource, namespace, name).is_some()) {
            in_flight.push(InFlight {
                namespace: namespace.to_string(),
                name: name.to_string(),
                charge,
                more,
                until: clock + IN_FLIGHT,
                group: group.to_string(),
                resource: resource.to_string(),
                uid: meta::uid(object).to_owned(),
                before: request.old.filter(|_| !created).and_then(|old| meta::resource_version(old).parse().ok()),
                claim,
            });
        }
        Ok(())
    }
}

impl InFlight {
    /// It is written, or cannot be any more.
    fn is_decided(&self, view: &View) -> bool {
        let InFlight { group, resource, namespace, name, .. } = self;
        let Some(entry) = stored::entry(view, group, resource, namespace, name) else { return self.before.is_some() };
        let is_it = || serde_json::from_slice(&entry.value).is_ok_and(|object: Value| meta::uid(&object) == self.uid);
        match self.before {
            Some(revision) => entry.modified != revision,
            None => is_it(),
        }
    }
}

/// What is claimed to decide about a namespace: few names for all of them.
fn claimed(namespace: &str) -> String {
    let mixed = namespace.bytes().fold(0u8, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte));
    format!("quota/{mixed:02x}")
}

fn limits_extended(quota: &Value) -> bool {
    quota["spec"]["hard"].as_object().into_iter().flatten().any(|(name, _)| is_extended(name))
}

/// What the claims of a namespace count for, and a new one after them, where extended resources are limited.
fn extended_claims(view: &View, namespace: &str, new: Option<Charge>, now: Timestamp) -> Vec<Charge> {
    let known = list(view, DEVICES, "resourceclaims", namespace);
    let known = known.iter().map(|claim| Charge::of(DEVICES, "resourceclaims", claim, now));
    let mut claims: Vec<Charge> = known.chain(new).collect();
    let said = |class: &Value| {
        let resource = class["spec"]["extendedResourceName"].as_str();
        (meta::name(class).to_owned(), resource.map(str::to_owned))
    };
    let classes: Classes = list(view, DEVICES, "deviceclasses", "").iter().map(said).collect();
    let pod = |name: &str| stored::get(view, "", "pods", namespace, name);
    count_extended(&mut claims, &classes, pod, now);
    claims
}

/// Whether the quota counts this object at all; an error when it would be exceeded.
fn check(
    view: &View,
    in_flight: &[InFlight],
    request: &Request<'_>,
    (object, name_of_object): (&Value, &str),
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
    let used = used(view, in_flight, request, name_of_object, quota, &counted);
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

/// What the namespace holds of what is `wanted`, and what is on its way.
fn used(
    view: &View,
    in_flight: &[InFlight],
    request: &Request<'_>,
    name: &str,
    quota: &Value,
    wanted: &Resources,
) -> Resources {
    let mut total = Resources::new();
    let own = [(request.group, request.resource)];
    let extended = EXTENDED.contains(&own[0]) && wanted.keys().any(|name| is_extended(name));
    let kinds: &[(&str, &str)] = if extended { &EXTENDED } else { &own };
    let now = Timestamp::now();
    let mut count = |charge: &Charge| {
        if charge.is_in_scope(&quota["spec"]) {
            add(&mut total, &charge.usage);
        }
    };
    for (group, resource) in kinds {
        if extended && *group == DEVICES {
            extended_claims(view, request.namespace, None, now).iter().for_each(&mut count);
            continue;
        }
        for object in &list(view, group, resource, request.namespace) {
            count(&Charge::of(group, resource, object, now));
        }
    }
    // Of two writes of one object only one takes place.
    let is_it = |waiting: &InFlight| waiting.name == name && request.is(&waiting.group, &waiting.resource);
    let others = in_flight.iter().filter(|waiting| waiting.namespace == request.namespace && !is_it(waiting));
    for waiting in others.filter(|waiting| kinds.contains(&(waiting.group.as_str(), waiting.resource.as_str()))) {
        if waiting.charge.is_in_scope(&quota["spec"]) {
            add(&mut total, &waiting.more);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::{Notes, Options},
        auth::User,
    };
    use bytes::Bytes;
    use mk8s_store::{Expect, Op, Stamped, Txn};
    use proptest::prelude::*;
    use serde_json::json;

    const HARD_CPU: u64 = 1000;
    const HARD_PODS: usize = 4;

    fn pod(name: &str, cpu: u64, uid: &str, revision: Option<u64>) -> Value {
        let resources = json!({"requests": {"cpu": format!("{cpu}m")}});
        let mut pod = json!({"metadata": {"name": name, "namespace": "a", "uid": uid}, "spec": {"containers": [{"name": "c", "resources": resources}]}});
        if let Some(revision) = revision {
            pod["metadata"]["resourceVersion"] = json!(revision.to_string());
        }
        pod
    }

    async fn put(store: &Store, key: &str, object: &Value, expect: Expect) -> bool {
        let (key, value) = (Bytes::from(key.to_owned()), Stamped::plain(object.to_string()));
        store.commit(Txn::one(Op::Put { key, value, expect })).await.is_ok()
    }

    fn cpu_of(object: &Value) -> u64 {
        let text = object["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str().unwrap_or("0m");
        text.trim_end_matches('m').parse().expect("a number")
    }

    /// What happens to the pods of a namespace.
    #[derive(Debug, Clone)]
    enum Step {
        /// A pod is to be made, or to become larger; what is let through is on its way.
        Ask {
            pod: u8,
            cpu: u64,
        },
        /// One that is on its way arrives, or comes too late.
        Arrive(prop::sample::Index),
        /// One that is on its way is never written.
        Fail(prop::sample::Index),
        Delete(u8),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..6, 1_u64..600).prop_map(|(pod, cpu)| Step::Ask { pod, cpu }),
            3 => any::<prop::sample::Index>().prop_map(Step::Arrive),
            1 => any::<prop::sample::Index>().prop_map(Step::Fail),
            1 => (0_u8..6).prop_map(Step::Delete),
        ]
    }

    async fn never_exceeded(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let store = Store::open(mk8s_store::Options::default()).await.expect("a store in memory");
        let hard = json!({"requests.cpu": format!("{HARD_CPU}m"), "pods": HARD_PODS.to_string()});
        let limit = json!({"metadata": {"name": "q", "namespace": "a"}, "spec": {"hard": hard}});
        put(&store, "/registry/core/resourcequotas/a/q", &limit, Expect::Any).await;
        let quota = Quota::new(store.clone());
        let user = User::new("system:admin", ["system:masters"]);
        let prefix = "/registry/core/pods/a/";
        let mut on_their_way: Vec<(String, Value, Expect)> = vec![];
        for (number_of_asks, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ask { pod: number, cpu } => {
                    let name = format!("p{number}");
                    let key = format!("{prefix}{name}");
                    let found = store.view().get(key.as_bytes()).cloned();
                    let old = found.as_ref().map(|entry| {
                        let old: Value = serde_json::from_slice(&entry.value).expect("JSON");
                        pod(&name, cpu_of(&old), meta::uid(&old), Some(entry.modified))
                    });
                    let notes = Notes::default();
                    let request = Request {
                        operation: if old.is_some() { Operation::Update } else { Operation::Create },
                        group: "",
                        version: "v1",
                        kind: "Pod",
                        kind_version: ("", "v1"),
                        resource: "pods",
                        subresource: if old.is_some() { "resize" } else { "" },
                        namespace: "a",
                        name: &name,
                        user: &user,
                        old: old.as_ref(),
                        dry_run: false,
                        options: Options::None,
                        target: None,
                        notes: &notes,
                    };
                    let new = match &old {
                        Some(old) => pod(&name, cpu, meta::uid(old), None),
                        None => pod(&name, cpu, &number_of_asks.to_string(), None),
                    };
                    if quota.charge(&request, &new).await.is_ok() {
                        let expect = found.map_or(Expect::Absent, |entry| Expect::Revision(entry.modified));
                        on_their_way.push((key, new, expect));
                    }
                }
                Step::Arrive(which) if !on_their_way.is_empty() => {
                    let (key, object, expect) = on_their_way.swap_remove(which.index(on_their_way.len()));
                    put(&store, &key, &object, expect).await;
                }
                Step::Fail(which) if !on_their_way.is_empty() => {
                    on_their_way.swap_remove(which.index(on_their_way.len()));
                }
                Step::Arrive(_) | Step::Fail(_) => {}
                Step::Delete(number) => {
                    let key = Bytes::from(format!("{prefix}p{number}"));
                    let delete = Op::Delete { key, expect: Expect::Any };
                    store.commit(Txn::one(delete)).await.expect("a store in memory takes it");
                }
            }
            let view = store.view();
            let pods: Vec<Value> = view
                .prefix(prefix.as_bytes())
                .map(|entry| serde_json::from_slice(&entry.value).expect("JSON"))
                .collect();
            let cpu: u64 = pods.iter().map(cpu_of).sum();
            prop_assert!(pods.len() <= HARD_PODS && cpu <= HARD_CPU, "{} pods with {cpu}m", pods.len());
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        /// Whatever is on its way at the same time, arrives in any order, or never.
        #[test]
        fn no_quota_is_ever_exceeded(steps in prop::collection::vec(any_step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(never_exceeded(steps))?;
        }
    }
}
