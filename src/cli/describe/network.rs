//! Network policies, and the ranges and addresses of services.

use super::{
    Seen,
    fields::{format_selector, int_or_text, list, or_none, selector, text, words},
    page::{Page, line, put},
    place,
};
use anyhow::Result;
use serde_json::Value;

pub(super) fn policy(seen: &Seen, page: &mut Page) -> Result<()> {
    let policy = &seen.object;
    let (namespace, name) = place(policy);
    line!(page, 0, "Name:\t{name}\nNamespace:\t{namespace}");
    line!(page, 0, "Created on:\t{}", seen.clock.go_time(&policy["metadata"]["creationTimestamp"]));
    page.marks(policy);
    let spec = &policy["spec"];
    line!(page, 0, "Spec:");
    put!(page, 1, "PodSelector: ");
    match selector(&spec["podSelector"]).as_str() {
        "" => line!(page, 2, "<none> (Allowing the specific traffic to all pods in this namespace)"),
        selector => line!(page, 2, "{selector}"),
    }
    let types = words(&spec["policyTypes"]);
    let directions =
        [("Ingress", "ingress", "from", "From", "source"), ("Egress", "egress", "to", "To", "destination")];
    for (kind, field, peers, title, whose) in directions {
        if types.contains(&kind) {
            line!(page, 1, "Allowing {field} traffic:");
            rules(list(&spec[field]), field, peers, title, whose, page);
        } else {
            line!(page, 1, "Not affecting {field} traffic");
        }
    }
    line!(page, 1, "Policy Types: {}", or_none(&types.join(", ")));
    Ok(())
}

fn rules(rules: &[Value], direction: &str, peers: &str, title: &str, whose: &str, page: &mut Page) {
    if rules.is_empty() {
        line!(page, 2, "<none> (Selected pods are isolated for {direction} connectivity)");
    }
    for (index, rule) in rules.iter().enumerate() {
        if index > 0 {
            line!(page, 2, "----------");
        }
        if list(&rule["ports"]).is_empty() {
            line!(page, 2, "To Port: <any> (traffic allowed to all ports)");
        }
        for port in list(&rule["ports"]) {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let number = if port["port"].is_null() { "<nil>".to_owned() } else { int_or_text(&port["port"]) };
            match port["endPort"].as_i64() {
                Some(end) => line!(page, 2, "To Port Range: {number}-{end}/{protocol}"),
                None => line!(page, 2, "To Port: {number}/{protocol}"),
            }
        }
        if list(&rule[peers]).is_empty() {
            line!(page, 2, "{title}: <any> (traffic not restricted by {whose})");
        }
        for peer in list(&rule[peers]) {
            line!(page, 2, "{title}:");
            self::peer(peer, page);
        }
    }
}

fn peer(peer: &Value, page: &mut Page) {
    let (namespaces, pods, block) = (&peer["namespaceSelector"], &peer["podSelector"], &peer["ipBlock"]);
    if !namespaces.is_null() {
        line!(page, 3, "NamespaceSelector: {}", format_selector(namespaces));
    }
    if !pods.is_null() {
        line!(page, 3, "PodSelector: {}", format_selector(pods));
    }
    if namespaces.is_null() && pods.is_null() && !block.is_null() {
        line!(page, 3, "IPBlock:");
        line!(page, 4, "CIDR: {}", text(&block["cidr"]));
        line!(page, 4, "Except: {}", words(&block["except"]).join(", "));
    }
}

pub(super) fn service_cidr(seen: &Seen, page: &mut Page) -> Result<()> {
    let range = &seen.object;
    page.cluster_head(range);
    line!(page, 0, "CIDRs:\t{}", words(&range["spec"]["cidrs"]).join(", "));
    let conditions = list(&range["status"]["conditions"]);
    if !conditions.is_empty() {
        line!(page, 0, "Status:\nConditions:");
        line!(page, 1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        line!(page, 1, "----\t------\t------------------\t------\t-------");
    }
    for condition in conditions {
        let time = seen.clock.time(&condition["lastTransitionTime"]);
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
        line!(page, 1, "{kind}\t{status}\t{time}\t{reason}\t{message}");
    }
    Ok(())
}

pub(super) fn ip_address(seen: &Seen, page: &mut Page) -> Result<()> {
    let address = &seen.object;
    page.cluster_head(address);
    let parent = &address["spec"]["parentRef"];
    if !parent.is_null() {
        line!(page, 0, "Parent Reference:");
        for (title, field) in
            [("Group", "group"), ("Resource", "resource"), ("Namespace", "namespace"), ("Name", "name")]
        {
            line!(page, 1, "{title}:\t{}", text(&parent[field]));
        }
    }
    Ok(())
}
