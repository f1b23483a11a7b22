//! The containers of a pod or a pod template.

use super::{
    fields::{Clock, go_list, int, int_or_text, keys, list, or_none, quantity, text, truth, words},
    page::{Page, line, put},
};
use mk8s_api::quantity::Quantity;
use serde_json::Value;

/// What surrounds the containers: the running pod, or nothing for a template.
pub(super) struct Around<'a> {
    pub(super) pod: Option<&'a Value>,
    pub(super) clock: &'a Clock,
    /// Spaces before the title: templates are further in.
    pub(super) space: &'static str,
}

pub(super) fn write(title: &str, containers: &Value, statuses: &Value, around: &Around<'_>, page: &mut Page) {
    let containers = list(containers);
    let none = if containers.is_empty() { " <none>" } else { "" };
    line!(page, 0, "{}{title}:{none}", around.space);
    for container in containers {
        let status = list(statuses).iter().rfind(|status| status["name"] == container["name"]);
        basics(container, status, around, page);
        words_of("Command", &container["command"], page);
        words_of("Args", &container["args"], page);
        if let Some(status) = status {
            state(status, around.clock, page);
        }
        resources(&container["resources"], 2, page);
        for (title, field) in
            [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
        {
            if !container[field].is_null() {
                line!(page, 2, "{title}:\t{}", probe(&container[field]));
            }
        }
        environment_from(container, page);
        environment(container, around.pod, page);
        mounts(container, page);
    }
}

fn basics(container: &Value, status: Option<&Value>, around: &Around<'_>, page: &mut Page) {
    let indent = if around.space.is_empty() { "" } else { " " };
    line!(page, 1, "{indent}{}:", text(&container["name"]));
    if let Some(status) = status {
        line!(page, 2, "Container ID:\t{}", text(&status["containerID"]));
    }
    line!(page, 2, "Image:\t{}", text(&container["image"]));
    if let Some(status) = status {
        line!(page, 2, "Image ID:\t{}", text(&status["imageID"]));
    }
    for (one, many, field) in [("Port", "Ports", "containerPort"), ("Host Port", "Host Ports", "hostPort")] {
        let ports = ports(&container["ports"], field);
        if ports.contains(',') {
            line!(page, 2, "{many}:\t{ports}");
        } else {
            line!(page, 2, "{one}:\t{}", or_none(&ports));
        }
    }
    let seccomp = &container["securityContext"]["seccompProfile"];
    if !seccomp.is_null() {
        line!(page, 2, "SeccompProfile:\t{}", text(&seccomp["type"]));
        if seccomp["type"] == "Localhost" {
            line!(page, 3, "LocalhostProfile:\t{}", text(&seccomp["localhostProfile"]));
        }
    }
}

fn ports(ports: &Value, field: &str) -> String {
    let all: Vec<String> = list(ports)
        .iter()
        .map(|port| {
            let number = format!("{}/{}", int(&port[field]), text(&port["protocol"]));
            match text(&port["name"]) {
                "" => number,
                name => format!("{number} ({name})"),
            }
        })
        .collect();
    all.join(", ")
}

fn words_of(title: &str, arguments: &Value, page: &mut Page) {
    if list(arguments).is_empty() {
        return;
    }
    line!(page, 2, "{title}:");
    for part in words(arguments).into_iter().flat_map(|word| word.split('\n')) {
        line!(page, 3, "{part}");
    }
}

/// Limits and requests.
pub(super) fn resources(resources: &Value, level: usize, page: &mut Page) {
    for (title, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let amounts = &resources[field];
        let names = keys(amounts);
        if !names.is_empty() {
            line!(page, level, "{title}:");
        }
        for name in names {
            line!(page, level + 1, "{name}:\t{}", quantity(&amounts[name]));
        }
    }
}

fn state(status: &Value, clock: &Clock, page: &mut Page) {
    one_state("State", &status["state"], clock, page);
    if !status["lastState"]["terminated"].is_null() {
        one_state("Last State", &status["lastState"], clock, page);
    }
    line!(page, 2, "Ready:\t{}", if truth(&status["ready"]) { "True" } else { "False" });
    line!(page, 2, "Restart Count:\t{}", int(&status["restartCount"]));
}

fn one_state(title: &str, state: &Value, clock: &Clock, page: &mut Page) {
    let (running, waiting, ended) = (&state["running"], &state["waiting"], &state["terminated"]);
    let optional = |title: &str, value: &Value, page: &mut Page| {
        if !text(value).is_empty() {
            line!(page, 3, "{title}:\t{}", text(value));
        }
    };
    if !running.is_null() {
        line!(page, 2, "{title}:\tRunning");
        line!(page, 3, "Started:\t{}", clock.time(&running["startedAt"]));
    } else if !waiting.is_null() || ended.is_null() {
        line!(page, 2, "{title}:\tWaiting");
        optional("Reason", &waiting["reason"], page);
    } else {
        line!(page, 2, "{title}:\tTerminated");
        optional("Reason", &ended["reason"], page);
        optional("Message", &ended["message"], page);
        line!(page, 3, "Exit Code:\t{}", int(&ended["exitCode"]));
        if int(&ended["signal"]) > 0 {
            line!(page, 3, "Signal:\t{}", int(&ended["signal"]));
        }
        line!(page, 3, "Started:\t{}", clock.time(&ended["startedAt"]));
        line!(page, 3, "Finished:\t{}", clock.time(&ended["finishedAt"]));
    }
}

fn probe(probe: &Value) -> String {
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        int(&probe["initialDelaySeconds"]),
        int(&probe["timeoutSeconds"]),
        int(&probe["periodSeconds"]),
        int(&probe["successThreshold"]),
        int(&probe["failureThreshold"])
    );
    let (exec, http, tcp, grpc) = (&probe["exec"], &probe["httpGet"], &probe["tcpSocket"], &probe["grpc"]);
    if !exec.is_null() {
        return format!("exec {} {attributes}", go_list(&words(&exec["command"])));
    }
    if !http.is_null() {
        return format!("http-get {} {attributes}", url(http));
    }
    if !tcp.is_null() {
        return format!("tcp-socket {}:{} {attributes}", text(&tcp["host"]), int_or_text(&tcp["port"]));
    }
    if !grpc.is_null() {
        return format!("grpc <pod>:{} {} {attributes}", int(&grpc["port"]), text(&grpc["service"]));
    }
    format!("unknown {attributes}")
}

fn url(http: &Value) -> String {
    let (host, port) = (text(&http["host"]), int_or_text(&http["port"]));
    let host = match port.as_str() {
        "" => host.to_owned(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    };
    let path = escaped_path(text(&http["path"]));
    let slash = if path.is_empty() || path.starts_with('/') || host.is_empty() { "" } else { "/" };
    let scheme = text(&http["scheme"]).to_lowercase();
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}:") };
    format!("{scheme}//{host}{slash}{path}")
}

/// What Go's URL leaves of a path.
fn escaped_path(path: &str) -> String {
    let mut escaped = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => escaped.push(byte as char),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                escaped.push(byte as char)
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn environment_from(container: &Value, page: &mut Page) {
    let sources = list(&container["envFrom"]);
    if sources.is_empty() {
        return;
    }
    line!(page, 2, "Environment Variables from:");
    for source in sources {
        let (kind, reference) = match (&source["configMapRef"], &source["secretRef"]) {
            (Value::Null, Value::Null) => ("", &Value::Null),
            (Value::Null, secret) => ("Secret", secret),
            (config_map, _) => ("ConfigMap", config_map),
        };
        let with = match text(&source["prefix"]) {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        line!(page, 3, "{}\t{kind}{with}\tOptional: {}", text(&reference["name"]), truth(&reference["optional"]));
    }
}

fn environment(container: &Value, pod: Option<&Value>, page: &mut Page) {
    let variables = list(&container["env"]);
    line!(page, 2, "Environment:{}", if variables.is_empty() { "\t<none>" } else { "" });
    for variable in variables {
        let (name, from) = (text(&variable["name"]), &variable["valueFrom"]);
        if from.is_null() {
            for (index, part) in text(&variable["value"]).split('\n').enumerate() {
                match index {
                    0 => line!(page, 3, "{name}:\t{part}"),
                    _ => line!(page, 3, "\t{part}"),
                }
            }
            continue;
        }
        let (field, resource) = (&from["fieldRef"], &from["resourceFieldRef"]);
        let (secret, config_map) = (&from["secretKeyRef"], &from["configMapKeyRef"]);
        if !field.is_null() {
            let path = text(&field["fieldPath"]);
            let value = pod.and_then(|pod| field_value(pod, path)).unwrap_or_default();
            line!(page, 3, "{name}:\t{value} ({}:{path})", text(&field["apiVersion"]));
        } else if !resource.is_null() {
            let which = text(&resource["resource"]);
            line!(page, 3, "{name}:\t{} ({which})", resource_value(container, resource));
        } else if !secret.is_null() {
            let (key, from) = (text(&secret["key"]), text(&secret["name"]));
            line!(
                page,
                3,
                "{name}:\t<set to the key '{key}' in secret '{from}'>\tOptional: {}",
                truth(&secret["optional"])
            );
        } else if !config_map.is_null() {
            let (key, from) = (text(&config_map["key"]), text(&config_map["name"]));
            let optional = truth(&config_map["optional"]);
            line!(page, 3, "{name}:\t<set to the key '{key}' of config map '{from}'>\tOptional: {optional}");
        }
    }
}

/// The value of a downward field; upstream only resolves these two.
fn field_value<'a>(pod: &'a Value, path: &str) -> Option<&'a str> {
    let name = path.strip_prefix("metadata.").filter(|name| matches!(*name, "name" | "namespace"))?;
    Some(text(&pod["metadata"][name]))
}

/// A request or limit of the container in units of the divisor, rounded up.
fn resource_value(container: &Value, reference: &Value) -> String {
    let resource = text(&reference["resource"]);
    let Some((field, name)) = resource.split_once('.') else { return String::new() };
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !known || !matches!(field, "limits" | "requests") {
        return String::new();
    }
    let read = |value: &Value| Quantity::from_json(value).unwrap_or(Quantity::ZERO);
    let amount = read(&container["resources"][field][name]);
    let divisor = match read(&reference["divisor"]) {
        zero if zero.is_zero() => Quantity::from_millis(1000),
        divisor => divisor,
    };
    let (amount, divisor) =
        if name == "cpu" { (amount.millis(), divisor.millis()) } else { (amount.value(), divisor.value()) };
    let units = (amount as f64 / divisor as f64).ceil() as i64;
    if units == 0 && field == "limits" && matches!(name, "cpu" | "memory") {
        return "node allocatable".to_owned();
    }
    units.to_string()
}

fn mounts(container: &Value, page: &mut Page) {
    let mut mounts: Vec<&Value> = list(&container["volumeMounts"]).iter().collect();
    mounts.sort_by_key(|mount| text(&mount["mountPath"]));
    let none = if mounts.is_empty() { "\t<none>" } else { "" };
    line!(page, 2, "Mounts:{none}");
    for mount in mounts {
        put!(page, 3, "{} from {}", text(&mount["mountPath"]), text(&mount["name"]));
        put!(page, 0, " ({}", if truth(&mount["readOnly"]) { "ro" } else { "rw" });
        if !text(&mount["subPath"]).is_empty() {
            put!(page, 0, ",path={:?}", text(&mount["subPath"]));
        }
        line!(page, 0, ")");
    }
    let mut devices: Vec<&Value> = list(&container["volumeDevices"]).iter().collect();
    devices.sort_by_key(|device| text(&device["devicePath"]));
    if !devices.is_empty() {
        line!(page, 2, "Devices:{none}");
    }
    for device in devices {
        line!(page, 3, "{} from {}", text(&device["devicePath"]), text(&device["name"]));
    }
}
