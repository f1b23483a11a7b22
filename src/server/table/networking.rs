//! Ingress, policies and addresses.

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    services::load_balancer,
    text::{NONE, age, items, name, selector, text, text_or, texts},
};

pub(super) fn printers() -> Declared {
    let group = "networking.k8s.io";
    vec![
        (group, "Ingress", Printer::of("Name|Class|Hosts|Address|Ports|Age", ingress)),
        (group, "IngressClass", Printer::of("Name|Controller|Parameters|Age", ingress_class)),
        (
            group,
            "NetworkPolicy",
            Printer::of("Name|Pod-Selector|Age", |o, now| {
                vec![name(o), json!(selector(&o["spec"]["podSelector"])), age(o, now)]
            }),
        ),
        (
            group,
            "ServiceCIDR",
            Printer::of("Name|CIDRs|Age", |o, now| {
                vec![name(o), json!(texts(&o["spec"]["cidrs"]).join(",")), age(o, now)]
            }),
        ),
        (group, "IPAddress", Printer::of("Name|ParentRef|Age", ip_address)),
    ]
}

fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        json!(text_or(&spec["ingressClassName"], NONE)),
        json!(hosts(items(&spec["rules"]))),
        json!(load_balancer(object).join(",")),
        json!(if items(&spec["tls"]).is_empty() { "80" } else { "80, 443" }),
        age(object, now),
    ]
}

fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules.iter().map(|rule| text(&rule["host"])).filter(|host| !host.is_empty()).collect();
    match named.len() {
        0 => "*".to_string(),
        1..=3 => named.join(","),
        _ => format!("{} + {} more...", named[..3].join(","), rules.len() - 3),
    }
}

fn ingress_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let default = meta::annotation(object, "ingressclass.kubernetes.io/is-default-class") == Some("true");
    let suffix = if default { " (default)" } else { "" };
    let parameters = &object["spec"]["parameters"];
    let group = text(&parameters["apiGroup"]);
    let dot = if group.is_empty() { "" } else { "." };
    let shown = match parameters.is_object() {
        true => format!("{}{dot}{group}/{}", text(&parameters["kind"]), text(&parameters["name"])),
        false => NONE.to_string(),
    };
    vec![
        json!(format!("{}{suffix}", meta::name(object))),
        json!(text(&object["spec"]["controller"])),
        json!(shown),
        age(object, now),
    ]
}

fn ip_address(object: &Value, now: Timestamp) -> Vec<Value> {
    let parent = &object["spec"]["parentRef"];
    let part = |field: &str| text(&parent[field]);
    let resource = [part("resource"), part("group")]
        .into_iter()
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join(".")
        .to_lowercase();
    let path: Vec<&str> =
        [resource.as_str(), part("namespace"), part("name")].into_iter().filter(|p| !p.is_empty()).collect();
    vec![name(object), json!(if parent.is_object() { path.join("/") } else { NONE.to_string() }), age(object, now)]
}
