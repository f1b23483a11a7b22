//! What no pod may do that is not trusted with its node.

use std::collections::BTreeSet;

use mk8s_api::meta;
use serde_json::Value;

use super::{Check, Violation, containers, items, listed, named, own_users, plural, quoted, setters, text, unless};

/// By name, which is the order in which they are told.
pub(super) const CHECKS: [Check; 12] = [
    Check::new("appArmorProfile", &[(0, app_armor)]),
    Check::new("capabilities_baseline", &[(0, capabilities)]),
    Check::new("hostNamespaces", &[(0, host_namespaces)]),
    Check::new("hostPathVolumes", &[(0, host_paths)]),
    Check::new("hostPorts", &[(0, host_ports)]),
    Check::new("hostProbesAndHostLifecycle", &[(34, probe_hosts)]),
    Check::new("privileged", &[(0, privileged)]),
    Check::new("procMount", &[(0, proc_mount), (35, |pod| unless(own_users, pod, proc_mount))]),
    Check::new(
        "seLinuxOptions",
        &[(0, |pod| se_linux(pod, &SE_LINUX_TYPES[..4])), (31, |pod| se_linux(pod, &SE_LINUX_TYPES))],
    ),
    Check::new("seccompProfile_baseline", &[(0, seccomp_annotations), (19, seccomp)]),
    Check::new(
        "sysctls",
        &[
            (0, |pod| sysctls(pod, &SYSCTLS[..5])),
            (27, |pod| sysctls(pod, &SYSCTLS[..6])),
            (29, |pod| sysctls(pod, &SYSCTLS[..10])),
            (32, |pod| sysctls(pod, &SYSCTLS)),
        ],
    ),
    Check::new("windowsHostProcess", &[(0, host_process)]),
];

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// In the order in which they came to be allowed.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The last one came later.
const SE_LINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn capabilities(pod: &Value) -> Option<Violation> {
    let added = |container: &Value| -> Vec<String> {
        let list = items(&container["securityContext"]["capabilities"]["add"]);
        list.iter().map(text).filter(|c| !CAPABILITIES.contains(&c.as_str())).collect()
    };
    let bad = named(pod, |container| !added(container).is_empty());
    let all: BTreeSet<String> = containers(pod).flat_map(added).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "non-default capabilities",
        detail: format!(
            "{} must not include {} in securityContext.capabilities.add",
            listed("container", &bad),
            quoted(all)
        ),
    })
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| pod["spec"][**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!shared.is_empty()).then(|| Violation { reason: "host namespaces", detail: shared.join(", ") })
}

fn host_paths(pod: &Value) -> Option<Violation> {
    let volumes: Vec<String> = items(&pod["spec"]["volumes"])
        .iter()
        .filter(|volume| volume["hostPath"].is_object())
        .map(|volume| text(&volume["name"]))
        .collect();
    (!volumes.is_empty()).then(|| Violation { reason: "hostPath volumes", detail: listed("volume", &volumes) })
}

fn host_ports(pod: &Value) -> Option<Violation> {
    let ports_of = |container: &Value| -> Vec<String> {
        items(&container["ports"])
            .iter()
            .filter_map(|port| port["hostPort"].as_i64())
            .filter(|p| *p != 0)
            .map(|p| p.to_string())
            .collect()
    };
    let bad = named(pod, |container| !ports_of(container).is_empty());
    let ports: BTreeSet<String> = containers(pod).flat_map(ports_of).collect();
    let use_ = if bad.len() == 1 { "uses" } else { "use" };
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPort",
        detail: format!(
            "{} {use_} {} {}",
            listed("container", &bad),
            plural("hostPort", ports.len()),
            ports.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
    })
}

fn probe_hosts(pod: &Value) -> Option<Violation> {
    let hosts_of = |container: &Value| -> Vec<String> {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        let hosts = handlers
            .into_iter()
            .flat_map(|handler| [text(&handler["httpGet"]["host"]), text(&handler["tcpSocket"]["host"])]);
        hosts.filter(|host| !host.is_empty()).collect()
    };
    let mut bad = named(pod, |container| !hosts_of(container).is_empty());
    bad.sort();
    let hosts: BTreeSet<String> = containers(pod).flat_map(hosts_of).collect();
    let use_ = if bad.len() == 1 { "uses" } else { "use" };
    (!bad.is_empty()).then(|| Violation {
        reason: "probe or lifecycle host",
        detail: format!(
            "{} {use_} {} {}",
            listed("container", &bad),
            plural("probe or lifecycle host", hosts.len()),
            quoted(hosts)
        ),
    })
}

fn privileged(pod: &Value) -> Option<Violation> {
    let bad = named(pod, |container| container["securityContext"]["privileged"] == true);
    (!bad.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!("{} must not set securityContext.privileged=true", listed("container", &bad)),
    })
}

pub(super) fn proc_mount(pod: &Value) -> Option<Violation> {
    let kind = |container: &Value| {
        container["securityContext"]["procMount"].as_str().filter(|kind| *kind != "Default").map(str::to_string)
    };
    let bad = named(pod, |container| kind(container).is_some());
    let kinds: BTreeSet<String> = containers(pod).filter_map(kind).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "procMount",
        detail: format!("{} must not set securityContext.procMount to {}", listed("container", &bad), quoted(kinds)),
    })
}

fn se_linux(pod: &Value, allowed: &[&str]) -> Option<Violation> {
    let options = |holder: &Value| holder["securityContext"]["seLinuxOptions"].clone();
    let bad_type = |o: &Value| Some(text(&o["type"])).filter(|kind| !allowed.contains(&kind.as_str()));
    let set = |o: &Value, field: &str| !text(&o[field]).is_empty();
    let bad = |o: &Value| bad_type(o).is_some() || set(o, "user") || set(o, "role");
    let own = options(&pod["spec"]);
    let all: Vec<Value> = std::iter::once(own.clone()).chain(containers(pod).map(options)).collect();
    let types: BTreeSet<String> = all.iter().filter_map(bad_type).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", types.len()), quoted(&types)));
    }
    if all.iter().any(|o| set(o, "user")) {
        data.push("user may not be set".to_string());
    }
    if all.iter().any(|o| set(o, "role")) {
        data.push("role may not be set".to_string());
    }
    setters(bad(&own), &named(pod, |container| bad(&options(container)))).map(|who| Violation {
        reason: "seLinuxOptions",
        detail: format!("{who} set forbidden securityContext.seLinuxOptions: {}", data.join("; ")),
    })
}

/// A profile type other than the runtime's own or a local one.
pub(super) fn bad_seccomp(holder: &Value) -> Option<String> {
    let profile = &holder["securityContext"]["seccompProfile"];
    (profile.is_object() && !["RuntimeDefault", "Localhost"].contains(&text(&profile["type"]).as_str()))
        .then(|| text(&profile["type"]))
}

pub(super) fn seccomp(pod: &Value) -> Option<Violation> {
    let own = bad_seccomp(&pod["spec"]);
    let bad = named(pod, |container| bad_seccomp(container).is_some());
    let values: BTreeSet<String> = own.iter().cloned().chain(containers(pod).filter_map(bad_seccomp)).collect();
    setters(own.is_some(), &bad).map(|who| Violation {
        reason: "seccompProfile",
        detail: format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(values)),
    })
}

/// What said the same before there was a field for it.
fn seccomp_annotations(pod: &Value) -> Option<Violation> {
    let allowed =
        |profile: &str| matches!(profile, "runtime/default" | "docker/default") || profile.starts_with("localhost/");
    let keys = containers(pod).map(|container| format!("{SECCOMP_OF_CONTAINER}{}", text(&container["name"])));
    let keys: BTreeSet<String> = keys.chain([SECCOMP_OF_POD.to_owned()]).collect();
    let set = keys.iter().filter_map(|key| Some((key, meta::annotation(pod, key)?)));
    let bad: Vec<String> =
        set.filter(|(_, value)| !allowed(value)).map(|(key, value)| format!("{key}={value:?}")).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!("forbidden {} {}", plural("annotation", bad.len()), bad.join(", ")),
    })
}

fn sysctls(pod: &Value, allowed: &[&str]) -> Option<Violation> {
    let list = items(&pod["spec"]["securityContext"]["sysctls"]).iter().map(|sysctl| text(&sysctl["name"]));
    let bad: Vec<String> = list.filter(|name| !allowed.contains(&name.as_str())).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}

fn host_process(pod: &Value) -> Option<Violation> {
    let set = |holder: &Value| holder["securityContext"]["windowsOptions"]["hostProcess"] == true;
    setters(set(&pod["spec"]), &named(pod, set)).map(|who| Violation {
        reason: "hostProcess",
        detail: format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    })
}

fn app_armor(pod: &Value) -> Option<Violation> {
    let bad_type = |holder: &Value| {
        let profile = &holder["securityContext"]["appArmorProfile"];
        (profile.is_object() && !["RuntimeDefault", "Localhost"].contains(&text(&profile["type"]).as_str()))
            .then(|| text(&profile["type"]))
    };
    let own = bad_type(&pod["spec"]);
    let bad = named(pod, |container| bad_type(container).is_some());
    let mut values: Vec<String> =
        own.iter().cloned().chain(containers(pod).filter_map(bad_type)).collect::<BTreeSet<_>>().into_iter().collect();
    let allowed =
        |profile: &str| profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/");
    let annotations: Vec<String> = meta::annotations(pod)
        .iter()
        .filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value.as_str().unwrap_or_default()))
        .map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap_or_default()))
        .collect();
    let annotated = (!annotations.is_empty()).then(|| plural("annotation", annotations.len()));
    values.extend(annotations);
    let who: Vec<String> = setters(own.is_some(), &bad).into_iter().chain(annotated).collect();
    (!who.is_empty()).then(|| Violation {
        reason: if values.len() == 1 { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" },
        detail: format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values)),
    })
}
