//! Persistent volumes, claims, and classes of storage.

use super::{
    Need, Seen, core_list,
    fields::{Clock, format_labels, go_list, int, list, or_none, quantity, text, true_false_unset, words},
    page::{Page, line},
    place, volumes,
};
use anyhow::Result;
use serde_json::Value;

/// Older objects name their class in an annotation.
fn class_of(object: &Value) -> &str {
    let annotated = object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    annotated.unwrap_or(text(&object["spec"]["storageClassName"]))
}

/// `RWO,ROX`
fn access_modes(modes: &Value) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let modes = words(modes);
    short.iter().filter(|(long, _)| modes.contains(long)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn phase(object: &Value, clock: &Clock) -> String {
    match &object["metadata"]["deletionTimestamp"] {
        Value::Null => text(&object["status"]["phase"]).to_owned(),
        time => format!("Terminating (lasts {})", clock.age(time)),
    }
}

pub(super) fn volume(seen: &Seen, page: &mut Page) -> Result<()> {
    let volume = &seen.object;
    let spec = &volume["spec"];
    page.cluster_head(volume);
    line!(page, 0, "Finalizers:\t{}", go_list(&words(&volume["metadata"]["finalizers"])));
    line!(page, 0, "StorageClass:\t{}", class_of(volume));
    line!(page, 0, "Status:\t{}", phase(volume, &seen.clock));
    match &spec["claimRef"] {
        Value::Null => line!(page, 0, "Claim:\t"),
        claim => line!(page, 0, "Claim:\t{}/{}", text(&claim["namespace"]), text(&claim["name"])),
    }
    line!(page, 0, "Reclaim Policy:\t{}", text(&spec["persistentVolumeReclaimPolicy"]));
    line!(page, 0, "Access Modes:\t{}", access_modes(&spec["accessModes"]));
    if let Some(mode) = spec["volumeMode"].as_str() {
        line!(page, 0, "VolumeMode:\t{mode}");
    }
    line!(page, 0, "Capacity:\t{}", quantity(&spec["capacity"]["storage"]));
    node_affinity(&spec["nodeAffinity"]["required"], page);
    line!(page, 0, "Message:\t{}", text(&volume["status"]["message"]));
    line!(page, 0, "Source:");
    volumes::of_persistent(spec, page);
    Ok(())
}

fn node_affinity(required: &Value, page: &mut Page) {
    if required.is_null() {
        line!(page, 0, "Node Affinity:\t<none>");
        return;
    }
    line!(page, 0, "Node Affinity:\t");
    let terms = list(&required["nodeSelectorTerms"]);
    line!(page, 1, "Required Terms:\t{}", if terms.is_empty() { "<none>" } else { "" });
    for (index, term) in terms.iter().enumerate() {
        let lines: Vec<String> = list(&term["matchExpressions"])
            .iter()
            .map(|requirement| expression(requirement, &text(&requirement["operator"]).to_lowercase()))
            .collect();
        page.each(2, &format!("Term {index}"), &lines);
    }
}

/// `key in [a, b]`
fn expression(requirement: &Value, operator: &str) -> String {
    let values = words(&requirement["values"]);
    let front = format!("{} {operator}", text(&requirement["key"]));
    if values.is_empty() { front } else { format!("{front} [{}]", values.join(", ")) }
}

pub(super) fn claim_needs(claim: &Value) -> Vec<(String, Need)> {
    vec![("pods".to_owned(), Need::List(core_list(place(claim).0, "pods")))]
}

pub(super) fn claim(seen: &Seen, page: &mut Page) -> Result<()> {
    let claim = &seen.object;
    let users = users(claim, seen.list("pods")?);
    claim_lines(claim, Some(&seen.clock), page);
    page.each(0, "Used By", &users);
    let conditions = list(&claim["status"]["conditions"]);
    if !conditions.is_empty() {
        line!(page, 0, "Conditions:");
        line!(page, 1, "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage");
        line!(page, 1, "----\t------\t-----------------\t------------------\t------\t-------");
    }
    for condition in conditions {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
        let (probe, change) =
            (seen.clock.time(&condition["lastProbeTime"]), seen.clock.time(&condition["lastTransitionTime"]));
        line!(page, 1, "{kind} \t{status} \t{probe} \t{change} \t{reason} \t{message}");
    }
    Ok(())
}

/// The names of the pods that use a claim or own it, sorted.
fn users(claim: &Value, pods: &[Value]) -> Vec<String> {
    let name = place(claim).1;
    let mounts = |pod: &Value| {
        list(&pod["spec"]["volumes"])
            .iter()
            .filter(|volume| volume["persistentVolumeClaim"]["claimName"] == name)
            .count()
    };
    let owns = |pod: &Value| {
        let owners = list(&claim["metadata"]["ownerReferences"]);
        owners.iter().any(|owner| owner["kind"] == "Pod" && owner["uid"] == pod["metadata"]["uid"])
    };
    let mut names: Vec<String> = pods
        .iter()
        .flat_map(|pod| std::iter::repeat_n(place(pod).1.to_owned(), mounts(pod).max(usize::from(owns(pod)))))
        .collect();
    names.sort();
    names
}

/// A claim, or without a clock the template of one, whose state means nothing.
pub(super) fn claim_lines(claim: &Value, full: Option<&Clock>, page: &mut Page) {
    let (metadata, spec, status) = (&claim["metadata"], &claim["spec"], &claim["status"]);
    if full.is_some() {
        line!(page, 0, "Name:\t{}", text(&metadata["name"]));
        line!(page, 0, "Namespace:\t{}", text(&metadata["namespace"]));
    }
    line!(page, 0, "StorageClass:\t{}", class_of(claim));
    if let Some(clock) = full {
        line!(page, 0, "Status:\t{}", phase(claim, clock));
    }
    let volume = text(&spec["volumeName"]);
    line!(page, 0, "Volume:\t{volume}");
    page.marks(claim);
    if full.is_some() {
        line!(page, 0, "Finalizers:\t{}", go_list(&words(&metadata["finalizers"])));
    }
    let (capacity, modes) = match volume {
        "" => (String::new(), String::new()),
        _ => (quantity(&status["capacity"]["storage"]), access_modes(&status["accessModes"])),
    };
    line!(page, 0, "Capacity:\t{capacity}");
    line!(page, 0, "Access Modes:\t{modes}");
    if let Some(mode) = spec["volumeMode"].as_str() {
        line!(page, 0, "VolumeMode:\t{mode}");
    }
    let source = &spec["dataSource"];
    if !source.is_null() {
        line!(page, 0, "DataSource:");
        if let Some(group) = source["apiGroup"].as_str() {
            line!(page, 1, "APIGroup:\t{group}");
        }
        line!(page, 1, "Kind:\t{}", text(&source["kind"]));
        line!(page, 1, "Name:\t{}", text(&source["name"]));
    }
}

/// The claims of a StatefulSet.
pub(super) fn claim_templates(templates: &Value, page: &mut Page) {
    if list(templates).is_empty() {
        line!(page, 0, "Volume Claims:\t<none>");
        return;
    }
    line!(page, 0, "Volume Claims:");
    for claim in list(templates) {
        line!(page, 1, "Name:\t{}", text(&claim["metadata"]["name"]));
        line!(page, 1, "StorageClass:\t{}", class_of(claim));
        page.labels(1, "Labels", &claim["metadata"]["labels"]);
        page.labels(1, "Annotations", &claim["metadata"]["annotations"]);
        let capacity = match &claim["spec"]["resources"]["requests"]["storage"] {
            Value::Null => "<default>".to_owned(),
            amount => quantity(amount),
        };
        line!(page, 1, "Capacity:\t{capacity}");
        line!(page, 1, "Access Modes:\t{}", go_list(&words(&claim["spec"]["accessModes"])));
    }
}

pub(super) fn class(seen: &Seen, page: &mut Page) -> Result<()> {
    let class = &seen.object;
    let annotations = &class["metadata"]["annotations"];
    line!(page, 0, "Name:\t{}", place(class).1);
    let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let default = marks.iter().any(|mark| annotations[*mark] == "true");
    line!(page, 0, "IsDefaultClass:\t{}", if default { "Yes" } else { "No" });
    line!(page, 0, "Annotations:\t{}", format_labels(annotations));
    line!(page, 0, "Provisioner:\t{}", text(&class["provisioner"]));
    line!(page, 0, "Parameters:\t{}", format_labels(&class["parameters"]));
    line!(page, 0, "AllowVolumeExpansion:\t{}", true_false_unset(&class["allowVolumeExpansion"]));
    let options = words(&class["mountOptions"]);
    line!(page, 0, "MountOptions:{}", if options.is_empty() { "\t<none>" } else { "" });
    for option in options {
        line!(page, 1, "{option}");
    }
    for (title, field) in [("ReclaimPolicy", "reclaimPolicy"), ("VolumeBindingMode", "volumeBindingMode")] {
        if let Some(value) = class[field].as_str() {
            line!(page, 0, "{title}:\t{value}");
        }
    }
    let topologies = &class["allowedTopologies"];
    if !topologies.is_null() {
        line!(page, 0, "AllowedTopologies:\t{}", if list(topologies).is_empty() { "<none>" } else { "" });
    }
    for (index, term) in list(topologies).iter().enumerate() {
        let lines: Vec<String> = list(&term["matchLabelExpressions"]).iter().map(|one| expression(one, "in")).collect();
        page.each(1, &format!("Term {index}"), &lines);
    }
    Ok(())
}

pub(super) fn attributes_class(seen: &Seen, page: &mut Page) -> Result<()> {
    let class = &seen.object;
    line!(page, 0, "Name:\t{}", place(class).1);
    line!(page, 0, "Annotations:\t{}", format_labels(&class["metadata"]["annotations"]));
    line!(page, 0, "DriverName:\t{}", text(&class["driverName"]));
    line!(page, 0, "Parameters:\t{}", or_none(&format_labels(&class["parameters"])));
    Ok(())
}

pub(super) fn csi_node(seen: &Seen, page: &mut Page) -> Result<()> {
    let node = &seen.object;
    page.cluster_head(node);
    line!(page, 0, "CreationTimestamp:\t{}", seen.clock.time(&node["metadata"]["creationTimestamp"]));
    line!(page, 0, "Spec:");
    let drivers = &node["spec"]["drivers"];
    if !drivers.is_null() {
        line!(page, 1, "Drivers:");
    }
    for driver in list(drivers) {
        line!(page, 2, "{}:", text(&driver["name"]));
        line!(page, 3, "Node ID:\t{}", text(&driver["nodeID"]));
        let count = &driver["allocatable"]["count"];
        if !count.is_null() {
            line!(page, 3, "Allocatables:");
            line!(page, 4, "Count:\t{}", int(count));
        }
        if !driver["topologyKeys"].is_null() {
            line!(page, 3, "Topology Keys:\t{}", go_list(&words(&driver["topologyKeys"])));
        }
    }
    Ok(())
}
