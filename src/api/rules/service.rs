//! Service: ports, addresses, affinity and what each type allows. Giving out addresses and ports is the server's.

use serde_json::{Value, json};

use super::at::{
    default, default_pointer, get, has, int, items_mut, list, map, maybe_text, remove, set, sub, sub_mut, text, texts,
};
use super::check::{self, Errors, PROTOCOLS, invalid_each, member, port_number, port_or_name, required, word};
use super::{GENERIC, Rules, Scope, ip};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names::{self, NameRule};

pub(super) static RULES: Rules = Rules {
    name: NameRule::Label,
    scope: Scope::Namespaced,
    default: set_defaults,
    prepare_create: |service| set(service, "status", json!({"loadBalancer": {}})),
    prepare_update,
    validate: |service, errors| check_service(service, None, errors),
    validate_update: Some(validate_update),
    validate_status_update,
    selectable: &[
        ("spec.clusterIP", |service| text(sub(service, "spec"), "clusterIP").to_string()),
        ("spec.type", |service| text(sub(service, "spec"), "type").to_string()),
    ],
    warnings,
    status_warnings: balancer_advice,
    ..GENERIC
};

fn kind(spec: &Value) -> &str {
    text(spec, "type")
}

fn is_headless(spec: &Value) -> bool {
    list(spec, "clusterIPs").len() == 1 && texts(spec, "clusterIPs").next() == Some("None")
        || text(spec, "clusterIP") == "None"
}

/// Whether traffic from outside of the cluster can reach it.
fn is_external(spec: &Value) -> bool {
    match kind(spec) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(spec, "externalIPs").is_empty(),
        _ => false,
    }
}

fn needs_health_check(spec: &Value) -> bool {
    kind(spec) == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn set_defaults(service: &mut Value) {
    let Some(spec) = sub_mut(service, "spec") else { return };
    default(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => remove(spec, "sessionAffinityConfig"),
        "ClientIP" => {
            let config = sub(sub(spec, "sessionAffinityConfig"), "clientIP");
            if !has(config, "timeoutSeconds") {
                set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
            }
        }
        _ => {}
    }
    default(spec, "type", "ClusterIP");
    for port in items_mut(spec, "ports") {
        default(port, "protocol", "TCP");
        let target = sub(port, "targetPort");
        let unset = target.is_null() || target.as_i64() == Some(0) || target.as_str() == Some("");
        if let (true, Some(number)) = (unset, int(port, "port")) {
            set(port, "targetPort", number);
        }
    }
    if is_external(spec) {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind(spec), "NodePort" | "LoadBalancer" | "ClusterIP") {
        default_pointer(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind(spec) != "LoadBalancer" {
        return;
    }
    default_pointer(spec, "allocateLoadBalancerNodePorts", true);
    let ingress = service.get_mut("status").and_then(|status| status.get_mut("loadBalancer"));
    for point in ingress.map_or(&mut [][..], |balancer| items_mut(balancer, "ingress")) {
        if !text(point, "ip").is_empty() {
            default_pointer(point, "ipMode", "VIP");
        }
    }
}

/// Keeps the status, and drops what the old type had and the new one has no use for when it was not changed.
fn prepare_update(new: &mut Value, old: &Value) {
    super::at::keep(new, old, "status");
    let old_spec = sub(old, "spec");
    let Some(spec) = new.get_mut("spec") else { return };
    let unchanged = |spec: &Value, field: &str| get(spec, field) == get(old_spec, field);
    if kind(old_spec) == "LoadBalancer" && kind(spec) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if unchanged(spec, field) {
                remove(spec, field);
            }
        }
    }
    if is_external(old_spec) && !is_external(spec) && unchanged(spec, "externalTrafficPolicy") {
        remove(spec, "externalTrafficPolicy");
    }
    if kind(old_spec) != "ExternalName" && kind(spec) == "ExternalName" {
        const ADDRESSES: [&str; 2] = ["clusterIP", "clusterIPs"];
        let addresses_kept = ADDRESSES.iter().all(|field| unchanged(spec, field));
        for field in ADDRESSES.into_iter().filter(|_| addresses_kept) {
            remove(spec, field);
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if unchanged(spec, field) {
                remove(spec, field);
            }
        }
    }
}

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

fn check_service(service: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (sub(service, "spec"), Path::new("spec"));
    if let (Some(mode), Some(hints)) =
        (meta::annotation(service, TOPOLOGY_MODE), meta::annotation(service, TOPOLOGY_HINTS))
        && mode != hints
    {
        let why = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.push(FieldError::invalid(&Path::new("metadata").child("annotations").key(TOPOLOGY_MODE), mode, why));
    }
    let old_spec = old.map_or(&Value::Null, |old| sub(old, "spec"));
    let ports = list(spec, "ports");
    if ports.is_empty() && !is_headless(spec) && kind(spec) != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    check_type(errors, spec, &path);
    let mut seen: Vec<&str> = Vec::new();
    for (n, port) in ports.iter().enumerate() {
        check_port(errors, port, ports.len() > 1, &mut seen, &path.child("ports").index(n));
    }
    check::labels(errors, map(spec, "selector"), || path.child("selector"));
    check_affinity(errors, spec, &path);
    check_cluster_ips(errors, spec, old_spec, &path);
    let before: Vec<&str> = texts(old_spec, "externalIPs").collect();
    for (n, address) in texts(spec, "externalIPs").enumerate() {
        let path = path.child("externalIPs").index(n);
        if ip::check(errors, address, &before, &path) {
            ip::check_endpoint(errors, address, &path);
        }
    }
    word(errors, kind(spec), &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &path.child("type"));
    check_port_numbers(errors, spec, &path.child("ports"));
    check_source_ranges(errors, service, old, &path);
    let balancer = kind(spec) == "LoadBalancer";
    if has(spec, "allocateLoadBalancerNodePorts") && !balancer {
        errors.push(FieldError::forbidden(
            &path.child("allocateLoadBalancerNodePorts"),
            "may only be used when `type` is 'LoadBalancer'",
        ));
    }
    if balancer && !has(spec, "allocateLoadBalancerNodePorts") {
        errors.push(FieldError::required(&Path::new("allocateLoadBalancerNodePorts"), ""));
    }
    check_balancer_class(errors, spec, &path);
    check_traffic(errors, spec, &path);
}

fn check_type(errors: &mut Errors, spec: &Value, path: &Path) {
    match kind(spec) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => errors.push(FieldError::invalid(
            &path.child("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        )),
        "ExternalName" => {
            const WHY: &str = "may not be set for ExternalName services";
            for field in ["clusterIPs", "ipFamilies"] {
                if !list(spec, field).is_empty() {
                    errors.push(FieldError::forbidden(&path.child(field), WHY));
                }
            }
            if has(spec, "ipFamilyPolicy") {
                errors.push(FieldError::forbidden(&path.child("ipFamilyPolicy"), WHY));
            }
            let name = text(spec, "externalName");
            let name = name.strip_suffix('.').unwrap_or(name);
            if required(errors, name, &path.child("externalName")) {
                invalid_each(errors, names::dns1123_subdomain(name), || path.child("externalName"), name);
            }
        }
        _ => {}
    }
}

fn check_port<'a>(errors: &mut Errors, port: &'a Value, named: bool, seen: &mut Vec<&'a str>, path: &Path) {
    let name = text(port, "name");
    if named && name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else if !name.is_empty() {
        invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        } else {
            seen.push(name);
        }
    }
    port_number(errors, int(port, "port").unwrap_or(0), &path.child("port"));
    word(errors, text(port, "protocol"), PROTOCOLS, &path.child("protocol"));
    port_or_name(errors, sub(port, "targetPort"), &path.child("targetPort"));
    if let Some(protocol) = maybe_text(port, "appProtocol") {
        invalid_each(errors, names::qualified_name(protocol), || path.child("appProtocol"), protocol);
    }
}

fn check_affinity(errors: &mut Errors, spec: &Value, path: &Path) {
    let affinity = text(spec, "sessionAffinity");
    word(errors, affinity, &["ClientIP", "None"], &path.child("sessionAffinity"));
    let path = path.child("sessionAffinityConfig");
    let config = get(spec, "sessionAffinityConfig");
    if affinity == "None" && config.is_some() {
        errors.push(FieldError::forbidden(&path, "must not be set when session affinity is None"));
    }
    if affinity != "ClientIP" {
        return;
    }
    const WHY: &str = "when session affinity type is ClientIP";
    let Some(config) = config else {
        errors.push(FieldError::required(&path, WHY));
        return;
    };
    let Some(client) = get(config, "clientIP") else {
        errors.push(FieldError::required(&path.child("clientIP"), WHY));
        return;
    };
    let path = path.child("clientIP").child("timeoutSeconds");
    match int(client, "timeoutSeconds") {
        None => errors.push(FieldError::required(&path, WHY)),
        Some(seconds) if seconds <= 0 || seconds > 86400 => {
            errors.push(FieldError::invalid(&path, seconds, "must be greater than 0 and less than 86400"));
        }
        Some(_) => {}
    }
}

/// What is wrong with the addresses and families of a Service, before any are given to it.
pub fn validate_addresses(service: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let old_spec = old.map_or(&Value::Null, |old| sub(old, "spec"));
    check_cluster_ips(&mut errors, sub(service, "spec"), old_spec, &Path::new("spec"));
    errors
}

fn check_cluster_ips(errors: &mut Errors, spec: &Value, old_spec: &Value, path: &Path) {
    if kind(spec) == "ExternalName" {
        return;
    }
    let ips_path = path.child("clusterIPs");
    let ips = list(spec, "clusterIPs");
    let all = || Value::from(ips.to_vec());
    match text(spec, "clusterIP") {
        "" if !ips.is_empty() => {
            errors.push(FieldError::invalid(&ips_path, all(), "must be empty when `clusterIP` is not specified"))
        }
        "" => {}
        _ if ips.is_empty() => errors.push(FieldError::required(&ips_path, "")),
        first if ips[0].as_str() != Some(first) => {
            errors.push(FieldError::invalid(&ips_path, all(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let families = list(spec, "ipFamilies");
    for (n, family) in families.iter().enumerate() {
        let path = path.child("ipFamilies").index(n);
        member(errors, family.as_str().unwrap_or(""), &["IPv4", "IPv6"], &path);
        if families[..n].contains(family) {
            errors.push(FieldError::duplicate(&path, family.clone()));
        }
    }
    if let Some(policy) = maybe_text(spec, "ipFamilyPolicy") {
        const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
        member(errors, policy, POLICIES, &path.child("ipFamilyPolicy"));
    }
    let before: Vec<&str> = texts(old_spec, "clusterIPs").collect();
    let mut wrong = false;
    for (n, address) in texts(spec, "clusterIPs").enumerate() {
        if n == 0 && address == "None" {
            if ips.len() > 1 {
                wrong = true;
                errors.push(FieldError::invalid(&ips_path, all(), "'None' must be the first and only value"));
            }
            continue;
        }
        wrong |= !ip::check(errors, address, &before, &ips_path.index(n));
    }
    if ips.len() > 2 {
        errors.push(FieldError::invalid(&ips_path, all(), "may only hold up to 2 values"));
    }
    if wrong {
        return;
    }
    if ips.len() > 1 {
        let v6 = texts(spec, "clusterIPs").filter(|address| ip::is_v6(address)).count();
        if v6 == 0 || v6 == ips.len() {
            errors.push(FieldError::invalid(&ips_path, all(), "may specify no more than one IP for each IP family"));
        }
    }
    if is_headless(spec) {
        return;
    }
    for (n, (address, family)) in texts(spec, "clusterIPs").zip(texts(spec, "ipFamilies")).enumerate() {
        if (family == "IPv4" && ip::is_v6(address)) || (family == "IPv6" && !ip::is_v6(address)) {
            errors.push(FieldError::invalid(
                &ips_path.index(n),
                address,
                format!("expected an {family} value as indicated by `ipFamilies[{n}]`"),
            ));
        }
    }
}

fn check_port_numbers(errors: &mut Errors, spec: &Value, path: &Path) {
    let ports = list(spec, "ports");
    let node_port = |port: &Value| int(port, "nodePort").unwrap_or(0);
    if kind(spec) == "ClusterIP" {
        for (n, _) in ports.iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
            errors.push(FieldError::forbidden(
                &path.index(n).child("nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            ));
        }
    }
    for (n, port) in ports.iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
        let same =
            |other: &Value| node_port(other) == node_port(port) && text(other, "protocol") == text(port, "protocol");
        if ports[..n].iter().any(same) {
            errors.push(FieldError::duplicate(&path.index(n).child("nodePort"), node_port(port)));
        }
    }
    for (n, port) in ports.iter().enumerate() {
        let same = |other: &Value| {
            int(other, "port") == int(port, "port") && text(other, "protocol") == text(port, "protocol")
        };
        if ports[..n].iter().any(same) {
            let key = json!({"port": sub(port, "port"), "protocol": sub(port, "protocol"), "targetPort": 0});
            errors.push(FieldError::duplicate(&path.index(n), key).with_shown("ServicePort"));
        }
    }
}

fn check_source_ranges(errors: &mut Errors, service: &Value, old: Option<&Value>, path: &Path) {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    const WHY: &str = "may only be used when `type` is 'LoadBalancer'";
    let spec = sub(service, "spec");
    let balancer = kind(spec) == "LoadBalancer";
    if !list(spec, "loadBalancerSourceRanges").is_empty() {
        let path = path.child("LoadBalancerSourceRanges");
        if !balancer {
            errors.push(FieldError::forbidden(&path, WHY));
        }
        let old_spec = old.map_or(&Value::Null, |old| sub(old, "spec"));
        let before: Vec<&str> = texts(old_spec, "loadBalancerSourceRanges").map(str::trim).collect();
        for (n, range) in texts(spec, "loadBalancerSourceRanges").enumerate() {
            ip::check_cidr(errors, range.trim(), &before, &path.index(n));
        }
    } else if let Some(ranges) = meta::annotation(service, ANNOTATION) {
        let path = Path::new("metadata").child("annotations").key(ANNOTATION);
        if !balancer {
            errors.push(FieldError::forbidden(&path, WHY));
        }
        let unchanged = old.is_some_and(|old| meta::annotation(old, ANNOTATION) == Some(ranges));
        for range in ranges.split(',').map(str::trim).filter(|_| !unchanged && !ranges.trim().is_empty()) {
            ip::check_cidr(errors, range, &[], &path);
        }
    }
}

fn check_balancer_class(errors: &mut Errors, spec: &Value, path: &Path) {
    let Some(class) = maybe_text(spec, "loadBalancerClass") else { return };
    let path = path.child("loadBalancerClass");
    if kind(spec) == "LoadBalancer" {
        invalid_each(errors, names::qualified_name(class), || path.clone(), class);
    } else {
        errors.push(FieldError::forbidden(&path, "may only be used when `type` is 'LoadBalancer'"));
    }
}

fn check_traffic(errors: &mut Errors, spec: &Value, path: &Path) {
    let external = text(spec, "externalTrafficPolicy");
    let external_path = || path.child("externalTrafficPolicy");
    if is_external(spec) {
        word(errors, external, &["Cluster", "Local"], &external_path());
    } else if !external.is_empty() {
        errors.push(FieldError::invalid(
            &external_path(),
            external,
            "may only be set for externally-accessible services",
        ));
    }
    let health = int(spec, "healthCheckNodePort").unwrap_or(0);
    let health_path = || path.child("healthCheckNodePort");
    match (needs_health_check(spec), health) {
        (false, 0) => {}
        (false, _) => errors.push(FieldError::invalid(
            &health_path(),
            health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )),
        (true, 0) => errors.push(FieldError::required(&health_path(), "")),
        (true, _) => port_number(errors, health, &health_path()),
    }
    let internal_path = || path.child("internalTrafficPolicy");
    match maybe_text(spec, "internalTrafficPolicy") {
        None if matches!(kind(spec), "NodePort" | "LoadBalancer" | "ClusterIP") => {
            errors.push(FieldError::required(&internal_path(), ""));
        }
        None => {}
        Some(policy) => member(errors, policy, &["Cluster", "Local"], &internal_path()),
    }
    if let Some(distribution) = maybe_text(spec, "trafficDistribution") {
        const KNOWN: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
        member(errors, distribution, KNOWN, &path.child("trafficDistribution"));
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, old_spec, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
    check_pinned(errors, spec, old_spec, "clusterIPs", "clusterIP", &path);
    if is_headless(spec) == is_headless(old_spec) && !is_headless(spec) {
        check_pinned(errors, spec, old_spec, "ipFamilies", "ipFamily", &path);
    }
    if kind(spec) == "LoadBalancer"
        && kind(old_spec) == "LoadBalancer"
        && get(spec, "loadBalancerClass") != get(old_spec, "loadBalancerClass")
    {
        errors.push(FieldError::invalid(
            &path.child("loadBalancerClass"),
            sub(spec, "loadBalancerClass").clone(),
            "may not change once set",
        ));
    }
    if needs_health_check(spec)
        && needs_health_check(old_spec)
        && get(spec, "healthCheckNodePort") != get(old_spec, "healthCheckNodePort")
    {
        errors.push(FieldError::forbidden(&path.child("healthCheckNodePort"), "field is immutable"));
    }
    check_service(new, Some(old), errors);
}

/// Addresses and families: the first stays, a second may come, and may go with the policy `SingleStack`.
fn check_pinned(errors: &mut Errors, spec: &Value, old_spec: &Value, field: &'static str, one: &str, path: &Path) {
    if kind(spec) == "ExternalName" || kind(old_spec) == "ExternalName" {
        return;
    }
    if field == "clusterIPs" && is_headless(spec) && is_headless(old_spec) {
        return;
    }
    let (new, old) = (list(spec, field), list(old_spec, field));
    let mut refuse = |n: usize, why: String| {
        errors.push(FieldError::invalid(&path.child(field).index(n), Value::from(new.to_vec()), why));
    };
    if new.len() == old.len() {
        for n in (0..old.len()).filter(|n| new[*n] != old[*n]) {
            refuse(if field == "clusterIPs" { n } else { 0 }, "may not change once set".into());
        }
        return;
    }
    match (new.first(), old.first()) {
        (None, _) => refuse(0, format!("primary {one} can not be unset")),
        (Some(new), Some(old)) if new != old => refuse(0, "may not change once set".into()),
        _ => {}
    }
    if new.len() == 1 && old.len() > 1 && text(spec, "ipFamilyPolicy") != "SingleStack" {
        errors.push(FieldError::invalid(
            &path.child("ipFamilyPolicy"),
            sub(spec, "ipFamilyPolicy").clone(),
            format!("must be set to 'SingleStack' when releasing the secondary {one}"),
        ));
    }
}

fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let ingress = |service| list(sub(sub(service, "status"), "loadBalancer"), "ingress");
    if kind(sub(new, "spec")) != "LoadBalancer" && !ingress(new).is_empty() {
        errors.push(FieldError::forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'"));
        return;
    }
    let before: Vec<&str> = ingress(old).iter().map(|point| text(point, "ip")).collect();
    for (n, point) in ingress(new).iter().enumerate() {
        let path = path.index(n);
        let address = text(point, "ip");
        if !address.is_empty() {
            ip::check(errors, address, &before, &path.child("ip"));
        }
        match (maybe_text(point, "ipMode"), address.is_empty()) {
            (None, false) => {
                errors.push(FieldError::required(&path.child("ipMode"), "must be specified when `ip` is set"));
            }
            (Some(_), true) => {
                errors.push(FieldError::forbidden(&path.child("ipMode"), "may not be specified when `ip` is not set"))
            }
            (Some(mode), false) => member(errors, mode, &["Proxy", "VIP"], &path.child("ipMode")),
            (None, true) => {}
        }
        let host = text(point, "hostname");
        if !host.is_empty() {
            invalid_each(errors, names::dns1123_subdomain(host), || path.child("hostname"), host);
            if ip::parse(host).is_some() {
                errors.push(FieldError::invalid(
                    &path.child("hostname"),
                    host,
                    "must be a DNS name, not an IP address",
                ));
            }
        }
    }
}

fn warnings(service: &Value, _: Option<&Value>) -> Vec<String> {
    let (spec, path) = (sub(service, "spec"), Path::new("spec"));
    let mut said = Vec::new();
    let external_name = kind(spec) == "ExternalName";
    let headless = kind(spec) == "ClusterIP" && text(spec, "clusterIP") == "None";
    let outside = !list(spec, "externalIPs").is_empty();
    if meta::annotation(service, TOPOLOGY_HINTS).is_some() {
        said.push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    if !matches!(text(spec, "clusterIP"), "" | "None") && !external_name {
        addresses_advice(&mut said, spec, "clusterIPs", &path);
    }
    if headless {
        if !text(spec, "loadBalancerIP").is_empty() {
            said.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if outside {
            said.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if text(spec, "sessionAffinity") != "None" {
            said.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    addresses_advice(&mut said, spec, "externalIPs", &path);
    if outside && !headless && !external_name {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    let balancer = text(spec, "loadBalancerIP");
    if !balancer.is_empty() {
        said.extend(ip::advice(balancer, &path.child("loadBalancerIP")));
    }
    for (n, range) in texts(spec, "loadBalancerSourceRanges").enumerate() {
        said.extend(ip::cidr_advice(range, &path.child("loadBalancerSourceRanges").index(n)));
    }
    if external_name && outside {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !external_name && !text(spec, "externalName").is_empty() {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        said.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    said
}

fn addresses_advice(said: &mut Vec<String>, spec: &Value, field: &'static str, path: &Path) {
    for (n, address) in texts(spec, field).enumerate() {
        said.extend(ip::advice(address, &path.child(field).index(n)));
    }
}

/// Advice about the addresses that a balancer has, of a Service or an Ingress.
pub(super) fn balancer_advice(object: &Value) -> Vec<String> {
    let balancer = sub(sub(object, "status"), "loadBalancer");
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let points = list(balancer, "ingress").iter().enumerate();
    points.filter_map(|(n, point)| ip::advice(text(point, "ip"), &path.index(n))).collect()
}
