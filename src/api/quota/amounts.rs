//! What a pod asks for as a whole: the larger of what its containers need together and what any init container needs with
//! those that keep running beside it; plus the runtime's overhead.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{at::list, quantity::Quantity};

pub type Resources = BTreeMap<String, Quantity>;

/// The quantities of a resource list; unreadable ones are left out (validation complains about them).
pub fn read(list: &Value) -> Resources {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_json(value).ok()?))).collect()
}

pub fn add(total: &mut Resources, more: &Resources) {
    for (name, quantity) in more {
        match total.get_mut(name) {
            Some(sum) => *sum += *quantity,
            None => {
                total.insert(name.clone(), *quantity);
            }
        }
    }
}

fn raise(total: &mut Resources, least: &Resources) {
    for (name, quantity) in least {
        match total.get_mut(name) {
            Some(known) if *known >= *quantity => {}
            _ => {
                total.insert(name.clone(), *quantity);
            }
        }
    }
}

/// What the containers of a pod's specification need together. `field`: `requests` or `limits`.
pub fn of_containers(spec: &Value, field: &str) -> Resources {
    let mut running = Resources::new();
    list(spec, "containers").iter().for_each(|container| add(&mut running, &read(&container["resources"][field])));
    let mut sidecars = Resources::new();
    let mut starting = Resources::new();
    for container in list(spec, "initContainers") {
        let needs = read(&container["resources"][field]);
        if container["restartPolicy"] == "Always" {
            add(&mut running, &needs);
            add(&mut sidecars, &needs);
            raise(&mut starting, &sidecars);
        } else {
            let mut with_sidecars = needs;
            add(&mut with_sidecars, &sidecars);
            raise(&mut starting, &with_sidecars);
        }
    }
    raise(&mut running, &starting);
    running
}

/// As [`of_containers`], with what is stated for the pod as a whole in the place of the sums.
pub fn without_overhead(pod: &Value, field: &str) -> Resources {
    let spec = &pod["spec"];
    let mut running = of_containers(spec, field);
    running.extend(read(&spec["resources"][field]));
    running
}

/// `field`: `requests` or `limits`.
pub fn of_pod(pod: &Value, field: &str) -> Resources {
    let spec = &pod["spec"];
    let mut running = without_overhead(pod, field);
    let mut overhead = read(&spec["overhead"]);
    if field == "limits" {
        overhead.retain(|name, _| running.contains_key(name));
    }
    add(&mut running, &overhead);
    running
}
