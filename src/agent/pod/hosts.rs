//! A pod's host name, and the hosts file that its containers share.

use super::facts;
use k8s_openapi::api::core::v1::{HostAlias, Pod};
use std::{fs, io, path::Path};

const NAME_MAX: usize = 63;

/// The host name and, with a subdomain, the domain.
pub(super) fn names(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = facts::spec(pod);
    let mut hostname = facts::name(pod).to_owned();
    if hostname.len() > NAME_MAX {
        hostname.truncate(NAME_MAX);
        hostname = hostname.trim_end_matches(['-', '.']).to_owned();
    }
    if let Some(own) = spec.hostname.as_ref().filter(|name| !name.is_empty()) {
        hostname.clone_from(own);
    }
    if let Some(own) = spec.hostname_override.as_ref().filter(|name| !name.is_empty()) {
        return (own.clone(), String::new());
    }
    let domain = spec.subdomain.as_ref().filter(|domain| !domain.is_empty());
    let domain = domain.map(|domain| format!("{domain}.{}.svc.{cluster_domain}", facts::namespace(pod)));
    (hostname, domain.unwrap_or_default())
}

/// What the kernel is told in the pod's UTS namespace.
pub(super) fn kernel_name(pod: &Pod, cluster_domain: &str) -> String {
    let (hostname, domain) = names(pod, cluster_domain);
    let qualified = facts::spec(pod).set_hostname_as_fqdn == Some(true) && !domain.is_empty();
    if qualified { format!("{hostname}.{domain}") } else { hostname }
}

/// Writes the hosts file of a pod, unless it says the same already.
pub(super) fn write(file: &Path, pod: &Pod, ips: &[String], cluster_domain: &str) -> io::Result<()> {
    let aliases = facts::spec(pod).host_aliases.as_deref().unwrap_or_default();
    let text = match facts::host_network(pod) {
        true => of_node(&fs::read_to_string("/etc/hosts").unwrap_or_default(), aliases),
        false => {
            let (hostname, domain) = names(pod, cluster_domain);
            managed(ips, &hostname, &domain, aliases)
        }
    };
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    // In place: containers have this very file mounted.
    fs::write(file, text)
}

fn managed(ips: &[String], hostname: &str, domain: &str, aliases: &[HostAlias]) -> String {
    let mut out = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        match domain.is_empty() {
            true => out.push_str(&format!("{ip}\t{hostname}\n")),
            false => out.push_str(&format!("{ip}\t{hostname}.{domain}\t{hostname}\n")),
        }
    }
    out + &of_aliases(aliases)
}

fn of_node(hosts: &str, aliases: &[HostAlias]) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{hosts}{}", of_aliases(aliases))
}

fn of_aliases(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let line =
        |alias: &HostAlias| format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
    format!("\n# Entries added by HostAliases.\n{}", aliases.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn names_and_file() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "ns"},
            "spec": {"subdomain": "web", "containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]},
        }))
        .expect("a pod");
        let (hostname, domain) = names(&pod, "cluster.local");
        let text = managed(
            &["10.42.0.5".into()],
            &hostname,
            &domain,
            facts::spec(&pod).host_aliases.as_deref().unwrap_or_default(),
        );
        expect![[r#"
            # Kubernetes-managed hosts file.
            127.0.0.1	localhost
            ::1	localhost ip6-localhost ip6-loopback
            fe00::0	ip6-localnet
            fe00::0	ip6-mcastprefix
            fe00::1	ip6-allnodes
            fe00::2	ip6-allrouters
            10.42.0.5	web-0.web.ns.svc.cluster.local	web-0

            # Entries added by HostAliases.
            1.2.3.4	a	b
        "#]]
        .assert_eq(&text);
    }
}
