//! The resolver configuration of a pod, by its `dnsPolicy` and `dnsConfig`.

use super::facts;
use crate::AgentOptions;
use k8s_openapi::api::core::v1::Pod;
use mk8s_cri::v1::DnsConfig;
use std::{fs, path::Path};

const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

pub(super) fn config(pod: &Pod, options: &AgentOptions) -> DnsConfig {
    let text = fs::read_to_string(resolv_conf(&options.resolv_conf)).unwrap_or_default();
    build(pod, &parse(&text), &options.cluster_dns.to_string(), &options.cluster_domain)
}

/// systemd-resolved listens on the node's loopback, where pods cannot reach it; its own file names the real servers.
fn resolv_conf(configured: &Path) -> &Path {
    let upstream = Path::new("/run/systemd/resolve/resolv.conf");
    let servers = parse(&fs::read_to_string(configured).unwrap_or_default()).servers;
    let loopback = !servers.is_empty() && servers.iter().all(|server| server.starts_with("127."));
    if loopback && upstream.exists() { upstream } else { configured }
}

fn parse(text: &str) -> DnsConfig {
    let mut out = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => out.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                out.searches =
                    words.filter(|word| *word != ".").map(|word| word.trim_end_matches('.').to_owned()).collect()
            }
            Some("options") => out.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    out
}

fn build(pod: &Pod, host: &DnsConfig, cluster_dns: &str, domain: &str) -> DnsConfig {
    let spec = facts::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let mut out = match (policy, facts::host_network(pod)) {
        ("None", _) => DnsConfig::default(),
        ("ClusterFirst", false) | ("ClusterFirstWithHostNet", _) => {
            let own = [format!("{}.svc.{domain}", facts::namespace(pod)), format!("svc.{domain}"), domain.to_owned()];
            DnsConfig {
                servers: vec![cluster_dns.to_owned()],
                searches: own.into_iter().chain(host.searches.iter().cloned()).collect(),
                options: vec!["ndots:5".to_owned()],
            }
        }
        _ => host.clone(),
    };
    if let Some(more) = &spec.dns_config {
        out.servers.extend(more.nameservers.iter().flatten().cloned());
        out.searches.extend(more.searches.iter().flatten().map(|search| search.trim_end_matches('.').to_owned()));
        for option in more.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            out.options.retain(|known| known.split(':').next() != Some(&name));
            out.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    let mut seen = std::collections::HashSet::new();
    out.servers.retain(|server| seen.insert(server.clone()));
    let mut seen = std::collections::HashSet::new();
    out.searches.retain(|search| !search.is_empty() && seen.insert(search.clone()));
    out.servers.truncate(SERVERS_MAX);
    out.searches.truncate(SEARCHES_MAX);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies() {
        let host = parse("nameserver 9.9.9.9\nsearch lan example.com.\noptions timeout:2\n");
        for (spec, expected) in [
            (json!({}), "10.43.0.10 | ns.svc.c.l svc.c.l c.l lan example.com | ndots:5"),
            (json!({"dnsPolicy": "Default"}), "9.9.9.9 | lan example.com | timeout:2"),
            (json!({"hostNetwork": true}), "9.9.9.9 | lan example.com | timeout:2"),
            (
                json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                "10.43.0.10 | ns.svc.c.l svc.c.l c.l lan example.com | ndots:5",
            ),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
                "1.1.1.1 | a | ndots:2 edns0",
            ),
            (
                json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
                "10.43.0.10 | ns.svc.c.l svc.c.l c.l lan example.com | ndots:1",
            ),
        ] {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {"namespace": "ns"}, "spec": spec})).expect("a pod");
            let config = build(&pod, &host, "10.43.0.10", "c.l");
            let shown = [config.servers.join(" "), config.searches.join(" "), config.options.join(" ")].join(" | ");
            assert_eq!(shown, expected);
        }
    }
}
