//! Nodes: their state, and how much of them is taken.

use super::{
    Need, Seen,
    fields::{Clock, keys, list, or_none, pairs, quantity, text, truth, words},
    page::{Page, line},
    place,
    pod_resources::{Amounts, Which, add, amounts, of_pod},
};
use crate::{failure::Failure, remote::with_query};
use anyhow::Result;
use mk8s_api::quantity::Quantity;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const POOLS_MAX: usize = 10;

pub(super) fn needs(node: &Value) -> Vec<(String, Need)> {
    let name = place(node).1;
    let running = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
    let slices = format!("spec.nodeName={name}");
    let list = |path: &str, selector: &str| Need::List(with_query(path, &[("fieldSelector", selector)]));
    vec![
        ("pods".to_owned(), list("/api/v1/pods", &running)),
        (
            "lease".to_owned(),
            Need::Get(format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")),
        ),
        ("slices".to_owned(), list("/apis/resource.k8s.io/v1/resourceslices", &slices)),
    ]
}

pub(super) fn write(seen: &Seen, page: &mut Page) -> Result<()> {
    let (node, clock) = (&seen.object, &seen.clock);
    let (metadata, spec, status) = (&node["metadata"], &node["spec"], &node["status"]);
    line!(page, 0, "Name:\t{}", text(&metadata["name"]));
    let roles: Vec<&str> = roles(&metadata["labels"]).into_iter().collect();
    line!(page, 0, "Roles:\t{}", or_none(&roles.join(",")));
    page.marks(node);
    line!(page, 0, "CreationTimestamp:\t{}", clock.time(&metadata["creationTimestamp"]));
    taints(&spec["taints"], page);
    line!(page, 0, "Unschedulable:\t{}", truth(&spec["unschedulable"]));
    match seen.related("lease") {
        Ok(found) => lease(found, clock, page),
        Err(error) => line!(page, 0, "Lease:\tFailed to get lease: {error}"),
    }
    conditions(status, clock, page);
    line!(page, 0, "Addresses:");
    for address in list(&status["addresses"]) {
        line!(page, 1, "{}:\t{}", text(&address["type"]), text(&address["address"]));
    }
    for (title, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        let names = keys(&status[field]);
        if !names.is_empty() {
            line!(page, 0, "{title}:");
        }
        for name in names {
            line!(page, 1, "{name}:\t{}", quantity(&status[field][name]));
        }
    }
    slices(seen.list("slices").unwrap_or_default(), page);
    system(&status["nodeInfo"], page);
    let optional = |title: &str, value: String, page: &mut Page| {
        if !value.is_empty() {
            line!(page, 0, "{title}:\t{value}");
        }
    };
    optional("PodCIDR", text(&spec["podCIDR"]).to_owned(), page);
    optional("PodCIDRs", words(&spec["podCIDRs"]).join(","), page);
    optional("ProviderID", text(&spec["providerID"]).to_owned(), page);
    match seen.list("pods") {
        Ok(pods) => {
            let usable =
                if keys(&status["allocatable"]).is_empty() { &status["capacity"] } else { &status["allocatable"] };
            let usable = amounts(usable);
            running(pods, &usable, clock, page);
            allocated(pods, &usable, page);
        }
        Err(error) if Failure::reason(&error) == Some("Forbidden") => line!(page, 0, "Pods:\tnot authorized"),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn roles(labels: &Value) -> BTreeSet<&str> {
    pairs(labels)
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => Some(value),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect()
}

fn taints(taints: &Value, page: &mut Page) {
    let mut taints: Vec<&Value> = list(taints).iter().collect();
    taints.sort_by_key(|taint| format!("{},{}", text(&taint["effect"]), text(&taint["key"])));
    let lines: Vec<String> = taints
        .into_iter()
        .map(|taint| match (text(&taint["key"]), text(&taint["value"]), text(&taint["effect"])) {
            (key, "", "") => key.to_owned(),
            (key, value, "") => format!("{key}={value}:"),
            (key, "", effect) => format!("{key}:{effect}"),
            (key, value, effect) => format!("{key}={value}:{effect}"),
        })
        .collect();
    page.each(0, "Taints", &lines);
}

fn lease(lease: &Value, clock: &Clock, page: &mut Page) {
    let spec = &lease["spec"];
    let time = |value: &Value| if value.is_null() { "<unset>".to_owned() } else { clock.time(value) };
    line!(page, 0, "Lease:");
    line!(page, 1, "HolderIdentity:\t{}", spec["holderIdentity"].as_str().unwrap_or("<unset>"));
    line!(page, 1, "AcquireTime:\t{}", time(&spec["acquireTime"]));
    line!(page, 1, "RenewTime:\t{}", time(&spec["renewTime"]));
}

fn conditions(status: &Value, clock: &Clock, page: &mut Page) {
    if list(&status["conditions"]).is_empty() {
        return;
    }
    line!(page, 0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    line!(page, 1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in list(&status["conditions"]) {
        let (beat, change) =
            (clock.time(&condition["lastHeartbeatTime"]), clock.time(&condition["lastTransitionTime"]));
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
        line!(page, 1, "{kind} \t{status} \t{beat} \t{change} \t{reason} \t{message}");
    }
}

fn slices(slices: &[Value], page: &mut Page) {
    if slices.is_empty() {
        return;
    }
    let mut pools: BTreeMap<String, (&str, &str, usize, usize)> = BTreeMap::new();
    for slice in slices {
        let (driver, pool) = (text(&slice["spec"]["driver"]), text(&slice["spec"]["pool"]["name"]));
        let seen = pools.entry(format!("{driver}/{pool}")).or_insert((driver, pool, 0, 0));
        seen.2 += 1;
        seen.3 += list(&slice["spec"]["devices"]).len();
    }
    line!(page, 0, "Node-Local ResourceSlices:");
    line!(page, 1, "Driver\tPool\tSlices\tDevices");
    line!(page, 1, "------\t----\t------\t-------");
    for (driver, pool, slices, devices) in pools.values().take(POOLS_MAX) {
        line!(page, 1, "{driver}\t{pool}\t{slices}\t{devices}");
    }
    if pools.len() > POOLS_MAX {
        line!(page, 1, "...and {} more pools", pools.len() - POOLS_MAX);
    }
}

fn system(info: &Value, page: &mut Page) {
    line!(page, 0, "System Info:");
    let lines = [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ];
    for (title, field) in lines {
        line!(page, 1, "{title}:\t{}", text(&info[field]));
    }
}

/// An amount of some resource, zero when there is none of it.
fn of(amounts: &Amounts, name: &str) -> Quantity {
    amounts.get(name).copied().unwrap_or(Quantity::ZERO)
}

/// `100m (5%)`; the share of nothing is none.
fn share(amount: Quantity, all: Quantity, name: &str) -> String {
    let number = |quantity: Quantity| if name == "cpu" { quantity.millis() } else { quantity.value() } as f64;
    let percent = if number(all) == 0.0 { 0.0 } else { number(amount) / number(all) * 100.0 };
    format!("{amount} ({}%)", percent as i64)
}

fn running(pods: &[Value], usable: &Amounts, clock: &Clock, page: &mut Page) {
    line!(page, 0, "Non-terminated Pods:\t({} in total)", pods.len());
    line!(page, 1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    line!(page, 1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    for pod in pods {
        let (requests, limits) = (of_pod(pod, Which::Requests, true), of_pod(pod, Which::Limits, true));
        let cell = |amounts: &Amounts, name: &str| share(of(amounts, name), of(usable, name), name);
        let (namespace, name) = place(pod);
        let cells = [cell(&requests, "cpu"), cell(&limits, "cpu"), cell(&requests, "memory"), cell(&limits, "memory")];
        let age = clock.age(&pod["metadata"]["creationTimestamp"]);
        line!(page, 1, "{namespace}\t{name}\t\t{}\t{age}", cells.join("\t"));
    }
}

fn allocated(pods: &[Value], usable: &Amounts, page: &mut Page) {
    line!(page, 0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)");
    line!(page, 1, "Resource\tRequests\tLimits");
    line!(page, 1, "--------\t--------\t------");
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for pod in pods {
        add(&mut requests, &of_pod(pod, Which::Requests, false));
        add(&mut limits, &of_pod(pod, Which::Limits, false));
    }
    let standard = ["cpu", "memory", "ephemeral-storage"];
    let huge = usable.keys().map(String::as_str).filter(|name| name.starts_with("hugepages-"));
    for name in standard.into_iter().chain(huge) {
        let cell = |amounts: &Amounts| share(of(amounts, name), of(usable, name), name);
        line!(page, 1, "{name}\t{}\t{}", cell(&requests), cell(&limits));
    }
    for name in usable.keys().map(String::as_str) {
        if !standard.contains(&name) && !name.starts_with("hugepages-") && name != "pods" {
            line!(page, 1, "{name}\t{}\t{}", of(&requests, name), of(&limits, name));
        }
    }
}
