//! Ingresses, with the endpoints behind their backends, and their classes.

use super::{
    Need, Seen,
    fields::{int, list, text, words},
    page::{Page, line},
    place,
    service::{ready_endpoints, slices},
};
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn needs(ingress: &Value) -> Vec<(String, Need)> {
    let namespace = place(ingress).0;
    let rules = list(&ingress["spec"]["rules"]).iter().flat_map(|rule| list(&rule["http"]["paths"]));
    let backends = rules.map(|path| &path["backend"]).chain([&ingress["spec"]["defaultBackend"]]);
    let services: BTreeSet<&str> = backends.filter_map(|backend| backend["service"]["name"].as_str()).collect();
    let mut needs = Vec::new();
    for service in services {
        needs.push((format!("slices {service}"), slices(namespace, service)));
        let path = format!("/api/v1/namespaces/{namespace}/services/{service}");
        needs.push((format!("service {service}"), Need::Get(path)));
    }
    needs
}

pub(super) fn ingress(seen: &Seen, page: &mut Page) -> Result<()> {
    let ingress = &seen.object;
    let (metadata, spec, status) = (&ingress["metadata"], &ingress["spec"], &ingress["status"]);
    line!(page, 0, "Name:\t{}", text(&metadata["name"]));
    page.labels(0, "Labels", &metadata["labels"]);
    line!(page, 0, "Namespace:\t{}", text(&metadata["namespace"]));
    line!(page, 0, "Address:\t{}", addresses(&status["loadBalancer"]["ingress"]));
    line!(page, 0, "Ingress Class:\t{}", spec["ingressClassName"].as_str().unwrap_or("<none>"));
    let default = match &spec["defaultBackend"] {
        Value::Null => "<default>".to_owned(),
        default => backend(seen, default),
    };
    line!(page, 0, "Default backend:\t{default}");
    tls(&spec["tls"], page);
    line!(page, 0, "Rules:\n  Host\tPath\tBackends");
    line!(page, 1, "----\t----\t--------");
    let rules: Vec<&Value> = list(&spec["rules"]).iter().filter(|rule| !rule["http"].is_null()).collect();
    for rule in &rules {
        let host = text(&rule["host"]);
        line!(page, 1, "{}\t", if host.is_empty() { "*" } else { host });
        for path in list(&rule["http"]["paths"]) {
            line!(page, 2, "\t{} \t{}", text(&path["path"]), backend(seen, &path["backend"]));
        }
    }
    if rules.is_empty() {
        line!(page, 1, "*\t*\t{default}");
    }
    page.annotations(0, "Annotations", &metadata["annotations"]);
    Ok(())
}

fn addresses(ingress: &Value) -> String {
    let all: BTreeSet<&str> = list(ingress)
        .iter()
        .map(|one| if text(&one["ip"]).is_empty() { text(&one["hostname"]) } else { text(&one["ip"]) })
        .filter(|address| !address.is_empty())
        .collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn tls(tls: &Value, page: &mut Page) {
    if list(tls).is_empty() {
        return;
    }
    line!(page, 0, "TLS:");
    for one in list(tls) {
        let hosts = words(&one["hosts"]).join(",");
        match text(&one["secretName"]) {
            "" => line!(page, 1, "SNI routes {hosts}"),
            secret => line!(page, 1, "{secret} terminates {hosts}"),
        }
    }
}

/// `web:80 (10.42.0.5:8080)`
fn backend(seen: &Seen, backend: &Value) -> String {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    if !service.is_null() {
        let name = text(&service["name"]);
        let (number, port_name) = (int(&service["port"]["number"]), text(&service["port"]["name"]));
        let shown = if number != 0 { format!("{name}:{number}") } else { format!("{name}:{port_name}") };
        let found = seen.related(&format!("service {name}"));
        return match (seen.list(&format!("slices {name}")), found) {
            (Err(error), _) => format!("{shown} (<error: {error}>)"),
            (_, Err(error)) => format!("{shown} (<error: {error}>)"),
            (Ok(slices), Ok(found)) => {
                let chosen = list(&found["spec"]["ports"]).iter().rfind(|port| {
                    (number != 0 && int(&port["port"]) == number)
                        || (!port_name.is_empty() && text(&port["name"]) == port_name)
                });
                format!("{shown} ({})", ready_endpoints(slices, chosen.map_or("", |port| text(&port["name"]))))
            }
        };
    }
    if !resource.is_null() {
        let group = resource["apiGroup"].as_str().unwrap_or("<none>");
        return format!("APIGroup: {group}, Kind: {}, Name: {}", text(&resource["kind"]), text(&resource["name"]));
    }
    String::new()
}

pub(super) fn class(seen: &Seen, page: &mut Page) -> Result<()> {
    let class = &seen.object;
    page.cluster_head(class);
    line!(page, 0, "Controller:\t{}", text(&class["spec"]["controller"]));
    let parameters = &class["spec"]["parameters"];
    if !parameters.is_null() {
        line!(page, 0, "Parameters:");
        if let Some(group) = parameters["apiGroup"].as_str() {
            line!(page, 1, "APIGroup:\t{group}");
        }
        line!(page, 1, "Kind:\t{}", text(&parameters["kind"]));
        line!(page, 1, "Name:\t{}", text(&parameters["name"]));
    }
    Ok(())
}
