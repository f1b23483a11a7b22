//! Services and the endpoints behind them.

use super::{
    Need, Seen,
    fields::{format_labels, int, int_or_text, list, or_none, text, words},
    page::{Page, line},
    place,
};
use crate::remote::with_query;
use anyhow::Result;
use serde_json::Value;

/// More endpoints than this are only counted.
const ENDPOINTS_MAX: usize = 3;

/// The slices of a service.
pub(super) fn slices(namespace: &str, service: &str) -> Need {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    Need::List(with_query(&path, &[("labelSelector", &format!("kubernetes.io/service-name={service}"))]))
}

pub(super) fn needs(service: &Value) -> Vec<(String, Need)> {
    let (namespace, name) = place(service);
    vec![("slices".to_owned(), slices(namespace, name))]
}

pub(super) fn service(seen: &Seen, page: &mut Page) -> Result<()> {
    let service = &seen.object;
    let (spec, status) = (&service["spec"], &service["status"]);
    page.head(service);
    line!(page, 0, "Selector:\t{}", format_labels(&spec["selector"]));
    line!(page, 0, "Type:\t{}", text(&spec["type"]));
    let optional = |title: &str, value: &str, page: &mut Page| {
        if !value.is_empty() {
            line!(page, 0, "{title}:\t{value}");
        }
    };
    optional("IP Family Policy", text(&spec["ipFamilyPolicy"]), page);
    line!(page, 0, "IP Families:\t{}", or_none(&words(&spec["ipFamilies"]).join(",")));
    line!(page, 0, "IP:\t{}", text(&spec["clusterIP"]));
    line!(page, 0, "IPs:\t{}", or_none(&words(&spec["clusterIPs"]).join(",")));
    optional("External IPs", &words(&spec["externalIPs"]).join(","), page);
    optional("Desired LoadBalancer IP", text(&spec["loadBalancerIP"]), page);
    optional("External Name", text(&spec["externalName"]), page);
    if !list(&status["loadBalancer"]["ingress"]).is_empty() {
        line!(page, 0, "LoadBalancer Ingress:\t{}", load_balancer(&status["loadBalancer"]["ingress"]));
    }
    let slices = seen.list("slices").unwrap_or_default();
    for port in list(&spec["ports"]) {
        self::port(port, slices, page);
    }
    line!(page, 0, "Session Affinity:\t{}", text(&spec["sessionAffinity"]));
    optional("External Traffic Policy", text(&spec["externalTrafficPolicy"]), page);
    optional("Internal Traffic Policy", text(&spec["internalTrafficPolicy"]), page);
    if int(&spec["healthCheckNodePort"]) != 0 {
        line!(page, 0, "HealthCheck NodePort:\t{}", int(&spec["healthCheckNodePort"]));
    }
    optional("LoadBalancer Source Ranges", &words(&spec["loadBalancerSourceRanges"]).join(","), page);
    optional("Traffic Distribution", text(&spec["trafficDistribution"]), page);
    Ok(())
}

fn load_balancer(ingress: &Value) -> String {
    let all: Vec<String> = list(ingress)
        .iter()
        .map(|one| match (text(&one["ip"]), one["ipMode"].as_str()) {
            ("", _) => text(&one["hostname"]).to_owned(),
            (address, Some(mode)) => format!("{address} ({mode})"),
            (address, None) => address.to_owned(),
        })
        .collect();
    all.join(", ")
}

fn port(port: &Value, slices: &[Value], page: &mut Page) {
    let (name, protocol) = (text(&port["name"]), text(&port["protocol"]));
    let shown = if name.is_empty() { "<unset>" } else { name };
    line!(page, 0, "Port:\t{shown}\t{}/{protocol}", int(&port["port"]));
    line!(page, 0, "TargetPort:\t{}/{protocol}", int_or_text(&port["targetPort"]));
    if let Some(application) = port["appProtocol"].as_str() {
        line!(page, 0, "AppProtocol:\t{application}");
    }
    if int(&port["nodePort"]) != 0 {
        line!(page, 0, "NodePort:\t{shown}\t{}/{protocol}", int(&port["nodePort"]));
    }
    line!(page, 0, "Endpoints:\t{}", ready_endpoints(slices, name));
}

/// The ready addresses for a named port; slices without ports give addresses alone.
pub(super) fn ready_endpoints(slices: &[Value], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    let mut asked = 0;
    // Like upstream, the dots appear when anything, ready or not, follows the shown ones.
    let mut more = false;
    for slice in slices {
        let ports = list(&slice["ports"]);
        let wanted: Vec<Option<&Value>> = match ports {
            [] => vec![None],
            ports => ports.iter().filter(|port| text(&port["name"]) == port_name).map(Some).collect(),
        };
        for port in wanted {
            for endpoint in list(&slice["endpoints"]) {
                more |= all.len() == ENDPOINTS_MAX;
                if endpoint["conditions"]["ready"] == false {
                    continue;
                }
                let address = words(&endpoint["addresses"]).first().copied().unwrap_or_default();
                if !more {
                    all.push(port.map_or_else(|| address.to_owned(), |port| joined(address, int(&port["port"]))));
                }
                asked += 1;
            }
        }
    }
    let shown = all.join(",");
    if more { format!("{shown} + {} more...", asked - ENDPOINTS_MAX) } else { shown }
}

fn joined(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub(super) fn endpoints(seen: &Seen, page: &mut Page) -> Result<()> {
    page.head(&seen.object);
    line!(page, 0, "Subsets:");
    for subset in list(&seen.object["subsets"]) {
        for (title, field) in [("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")] {
            let addresses: Vec<&str> = list(&subset[field]).iter().map(|address| text(&address["ip"])).collect();
            line!(page, 1, "{title}:\t{}", or_none(&addresses.join(",")));
        }
        if !list(&subset["ports"]).is_empty() {
            line!(page, 1, "Ports:");
            line!(page, 2, "Name\tPort\tProtocol");
            line!(page, 2, "----\t----\t--------");
        }
        for port in list(&subset["ports"]) {
            let name = text(&port["name"]);
            let name = if name.is_empty() { "<unset>" } else { name };
            line!(page, 2, "{name}\t{}\t{}", int(&port["port"]), text(&port["protocol"]));
        }
        line!(page, 0, "");
    }
    Ok(())
}

pub(super) fn endpoint_slice(seen: &Seen, page: &mut Page) -> Result<()> {
    let slice = &seen.object;
    page.head(slice);
    line!(page, 0, "AddressType:\t{}", text(&slice["addressType"]));
    let unset = |text: &str| if text.is_empty() { "<unset>".to_owned() } else { text.to_owned() };
    let ports = list(&slice["ports"]);
    if ports.is_empty() {
        line!(page, 0, "Ports: <unset>");
    } else {
        line!(page, 0, "Ports:");
        line!(page, 1, "Name\tPort\tProtocol");
        line!(page, 1, "----\t----\t--------");
    }
    for port in ports {
        let number = port["port"].as_i64().map_or_else(|| "<unset>".to_owned(), |number| number.to_string());
        line!(page, 1, "{}\t{number}\t{}", unset(text(&port["name"])), text(&port["protocol"]));
    }
    let endpoints = list(&slice["endpoints"]);
    line!(page, 0, "Endpoints:{}", if endpoints.is_empty() { " <none>" } else { "" });
    for endpoint in endpoints {
        line!(page, 1, "- Addresses:\t{}", or_none(&words(&endpoint["addresses"]).join(", ")));
        line!(page, 2, "Conditions:");
        let ready =
            endpoint["conditions"]["ready"].as_bool().map_or_else(|| "<unset>".to_owned(), |ready| ready.to_string());
        line!(page, 3, "Ready:\t{ready}");
        let named = |field: &str| endpoint[field].as_str().unwrap_or("<unset>");
        line!(page, 2, "Hostname:\t{}", named("hostname"));
        let target = &endpoint["targetRef"];
        if !target.is_null() {
            line!(page, 2, "TargetRef:\t{}/{}", text(&target["kind"]), text(&target["name"]));
        }
        line!(page, 2, "NodeName:\t{}", named("nodeName"));
        line!(page, 2, "Zone:\t{}", named("zone"));
    }
    Ok(())
}
