//! The condition `Available` of an extension: what can be said without asking it, and what its answer means.

use mk8s_api::meta;
use mk8s_store::View;
use serde_json::{Value, json};

use super::index::Remote;
use crate::stored::{self, items};

/// What `Available` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) available: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Condition {
    fn no(reason: &'static str, message: String) -> Condition {
        Condition { available: false, reason, message }
    }

    /// This server answers for it.
    pub(super) fn local() -> Condition {
        Condition { available: true, reason: "Local", message: "Local APIServices are always available".into() }
    }

    /// It answered, or did not.
    pub(super) fn of_probe(outcome: Result<(), String>) -> Condition {
        match outcome {
            Ok(()) => Condition { available: true, reason: "Passed", message: "all checks passed".into() },
            Err(why) => Condition::no("FailedDiscoveryCheck", why),
        }
    }
}

/// Why an extension cannot be there; `None`: it must be asked.
pub(super) fn of_store(view: &View, remote: &Remote) -> Option<Condition> {
    let place = &remote.service;
    let service = stored::get(view, "", "services", &place.namespace, &place.name);
    let slices = stored::list(view, "discovery.k8s.io", "endpointslices", &place.namespace);
    check(remote, service.as_ref(), &slices)
}

fn check(remote: &Remote, service: Option<&Value>, slices: &[Value]) -> Option<Condition> {
    let (name, namespace, number) = (&remote.service.name, &remote.service.namespace, remote.service.port);
    let Some(service) = service else {
        let why = format!("service/{name} in {namespace:?} is not present");
        return Some(Condition::no("ServiceNotFound", why));
    };
    if !matches!(service["spec"]["type"].as_str(), None | Some("ClusterIP")) {
        return None;
    }
    let port = items(&service["spec"]["ports"]).iter().find(|port| port["port"].as_u64() == Some(number.into()));
    let Some(port) = port else {
        let why = format!("service/{name} in {namespace:?} is not listening on port {number}");
        return Some(Condition::no("ServicePortError", why));
    };
    let port_name = port["name"].as_str().unwrap_or_default();
    let mut own =
        slices.iter().filter(|slice| meta::label(slice, "kubernetes.io/service-name") == Some(name)).peekable();
    if own.peek().is_none() {
        let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Condition::no("EndpointsNotFound", why));
    }
    let usable = |slice: &Value| {
        let ready = items(&slice["endpoints"]).iter().any(|endpoint| endpoint["conditions"]["ready"] != false);
        let ports = items(&slice["ports"]);
        ready
            && ports.iter().any(|port| port["name"].as_str().unwrap_or_default() == port_name && port["port"].is_u64())
    };
    if own.any(usable) {
        return None;
    }
    let why =
        format!("endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}");
    Some(Condition::no("MissingEndpoints", why))
}

/// The object with the condition; `None` when it says so already.
pub(super) fn with_condition(object: &Value, condition: &Condition, now: &str) -> Option<Value> {
    let status = if condition.available { "True" } else { "False" };
    let known = items(&object["status"]["conditions"]);
    let current = known.iter().position(|one| one["type"] == "Available");
    let same = |one: &Value| {
        one["status"] == status && one["reason"] == condition.reason && one["message"] == condition.message.as_str()
    };
    if current.is_some_and(|at| same(&known[at])) {
        return None;
    }
    let since = match current {
        Some(at) if known[at]["status"] == status => known[at]["lastTransitionTime"].clone(),
        _ => json!(now),
    };
    let made = json!({
        "type": "Available",
        "status": status,
        "lastTransitionTime": since,
        "reason": condition.reason,
        "message": condition.message,
    });
    let mut conditions = known.to_vec();
    match current {
        Some(at) => conditions[at] = made,
        None => conditions.push(made),
    }
    let mut object = object.clone();
    object["status"]["conditions"] = Value::Array(conditions);
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_says_of_an_extension() {
        let service_ref = json!({"namespace": "n", "name": "s", "port": 443});
        let object =
            json!({"metadata": {"name": "v1.g"}, "spec": {"group": "g", "version": "v1", "service": service_ref}});
        let remote = Remote::of(&object).expect("a service");
        let service = |port: u16| json!({"spec": {"type": "ClusterIP", "ports": [{"port": port, "name": "web"}]}});
        let slice = |ready: bool, port: &str| {
            json!({"metadata": {"labels": {"kubernetes.io/service-name": "s"}}, "ports": [{"name": port, "port": 8443}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})
        };
        let cases = [
            (None, vec![], Some("ServiceNotFound service/s in \"n\" is not present")),
            (Some(service(80)), vec![], Some("ServicePortError service/s in \"n\" is not listening on port 443")),
            (Some(service(443)), vec![], Some("EndpointsNotFound cannot find endpointslices for service/s in \"n\"")),
            (
                Some(service(443)),
                vec![slice(false, "web")],
                Some("MissingEndpoints endpointslices for service/s in \"n\" have no addresses with port name \"web\""),
            ),
            (
                Some(service(443)),
                vec![slice(true, "other")],
                Some("MissingEndpoints endpointslices for service/s in \"n\" have no addresses with port name \"web\""),
            ),
            (Some(service(443)), vec![slice(true, "web")], None),
        ];
        for (service, slices, expected) in cases {
            let got = check(&remote, service.as_ref(), &slices).map(|c| format!("{} {}", c.reason, c.message));
            assert_eq!(got.as_deref(), expected);
        }
    }

    #[test]
    fn conditions_keep_their_time_and_their_neighbours() {
        let no = Condition::no("ServiceNotFound", "gone".into());
        let other = json!({"type": "Other", "status": "True"});
        let object = json!({"status": {"conditions": [other]}});
        let first = with_condition(&object, &no, "T1").expect("changed");
        assert_eq!(first["status"]["conditions"][0], other);
        assert_eq!(first["status"]["conditions"][1]["lastTransitionTime"], "T1");
        assert_eq!(with_condition(&first, &no, "T2"), None);
        let failed = Condition::of_probe(Err("why".into()));
        let second = with_condition(&first, &failed, "T2").expect("another reason");
        assert_eq!(second["status"]["conditions"][1]["lastTransitionTime"], "T1");
        let third = with_condition(&second, &Condition::of_probe(Ok(())), "T3").expect("another status");
        assert_eq!(third["status"]["conditions"][1]["lastTransitionTime"], "T3");
        assert_eq!(third["status"]["conditions"][1]["message"], "all checks passed");
    }
}
