//! The environment of a container: services, `envFrom`, `env` with its references and expansions.

use super::{expand::expand, facts, resources};
use crate::node::Capacity;
use k8s_openapi::api::core::v1::{Container, EnvVar, ObjectFieldSelector, Pod, ResourceFieldSelector, Service};
use mk8s_api::quantity::Quantity;
use std::collections::BTreeMap;

/// Looks up objects of the pod's namespace.
pub trait Sources {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, String>>;
    /// Values as bytes: not every one is text.
    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
}

/// What is known of the pod's surroundings.
pub struct Surroundings<'a> {
    pub host_ip: &'a str,
    pub pod_ips: &'a [String],
    pub capacity: Capacity,
    pub services: &'a [std::sync::Arc<Service>],
}

/// In the words of the waiting message of `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EnvError(pub String);

pub fn environment(
    pod: &Pod,
    container: &Container,
    sources: &dyn Sources,
    around: &Surroundings<'_>,
) -> Result<Vec<(String, String)>, EnvError> {
    let services = service_variables(pod, around.services);
    let mut result: BTreeMap<String, String> = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let named = |key: &str| format!("{prefix}{key}");
        if let Some(reference) = &from.config_map_ref {
            match sources.config_map(&reference.name) {
                Some(data) => result.extend(data.into_iter().map(|(key, value)| (named(&key), value))),
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError(format!("configmap \"{}\" not found", reference.name))),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secret(&reference.name) {
                Some(data) => result.extend(data.into_iter().map(|(key, value)| (named(&key), text(value)))),
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError(format!("secret \"{}\" not found", reference.name))),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let lookup = |name: &str| result.get(name).or_else(|| services.get(name)).cloned();
        if let Some(value) = value_of(pod, container, variable, sources, around, &lookup)? {
            result.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        result.entry(name).or_insert(value);
    }
    Ok(result.into_iter().collect())
}

/// `None`: the variable is left out.
fn value_of(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    sources: &dyn Sources,
    around: &Surroundings<'_>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, EnvError> {
    if let Some(value) = variable.value.as_ref().filter(|value| !value.is_empty()) {
        return Ok(Some(expand(value, lookup)));
    }
    let Some(from) = &variable.value_from else { return Ok(Some(String::new())) };
    if let Some(field) = &from.field_ref {
        return field_value(pod, field, around).map(Some);
    }
    if let Some(field) = &from.resource_field_ref {
        return resource_value(pod, container, field, around.capacity).map(Some);
    }
    if let Some(key) = &from.config_map_key_ref {
        let optional = key.optional == Some(true);
        return match sources.config_map(&key.name) {
            None if optional => Ok(None),
            None => Err(EnvError(format!("configmap \"{}\" not found", key.name))),
            Some(mut data) => match data.remove(&key.key) {
                None if optional => Ok(None),
                None => Err(missing_key(&key.key, "ConfigMap", pod, &key.name)),
                found => Ok(found),
            },
        };
    }
    if let Some(key) = &from.secret_key_ref {
        let optional = key.optional == Some(true);
        return match sources.secret(&key.name) {
            None if optional => Ok(None),
            None => Err(EnvError(format!("secret \"{}\" not found", key.name))),
            Some(mut data) => match data.remove(&key.key) {
                None if optional => Ok(None),
                None => Err(missing_key(&key.key, "Secret", pod, &key.name)),
                Some(value) => Ok(Some(text(value))),
            },
        };
    }
    Ok(Some(String::new()))
}

fn missing_key(key: &str, kind: &str, pod: &Pod, name: &str) -> EnvError {
    EnvError(format!("couldn't find key {key} in {kind} {}/{name}", facts::namespace(pod)))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn field_value(pod: &Pod, field: &ObjectFieldSelector, around: &Surroundings<'_>) -> Result<String, EnvError> {
    let first = around.pod_ips.first().cloned().unwrap_or_default();
    Ok(match field.field_path.as_str() {
        "status.hostIP" | "status.hostIPs" => around.host_ip.to_owned(),
        "status.podIP" => first,
        "status.podIPs" => around.pod_ips.join(","),
        path => return metadata_field(pod, path).ok_or_else(|| EnvError(format!("unsupported fieldPath: {path}"))),
    })
}

/// Fields that volumes may show too.
pub fn metadata_field(pod: &Pod, path: &str) -> Option<String> {
    let metadata = &pod.metadata;
    let spec = facts::spec(pod);
    let listed = |map: &Option<BTreeMap<String, String>>| {
        let lines = map.iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let keyed = |map: &Option<BTreeMap<String, String>>, prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default())
    };
    Some(match path {
        "metadata.name" => facts::name(pod).to_owned(),
        "metadata.namespace" => facts::namespace(pod).to_owned(),
        "metadata.uid" => facts::uid(pod).to_owned(),
        "metadata.labels" => listed(&metadata.labels),
        "metadata.annotations" => listed(&metadata.annotations),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "spec.restartPolicy" => facts::restart_policy(pod).to_owned(),
        _ => {
            return keyed(&metadata.labels, "metadata.labels")
                .or_else(|| keyed(&metadata.annotations, "metadata.annotations"));
        }
    })
}

/// A request or limit divided and rounded up; without one, what the node has.
pub fn resource_value(
    pod: &Pod,
    container: &Container,
    field: &ResourceFieldSelector,
    capacity: Capacity,
) -> Result<String, EnvError> {
    let named = field.container_name.as_deref().filter(|name| !name.is_empty());
    let other = named.and_then(|name| facts::container(pod, name)).map(|(_, container)| container);
    let container = match (named, &other) {
        (Some(name), None) => return Err(EnvError(format!("container {name} not found"))),
        (_, Some(other)) => other,
        (None, None) => container,
    };
    let unsupported = || EnvError(format!("unsupported container resource : {}", field.resource));
    let (list, name) = field.resource.split_once('.').ok_or_else(unsupported)?;
    let value = match list {
        "limits" => resources::limit(container, name).or(match name {
            "cpu" => Some(capacity.milli_cpu),
            "memory" => Some(capacity.memory),
            "ephemeral-storage" => Some(capacity.storage),
            _ => None,
        }),
        "requests" => resources::request(container, name),
        _ => return Err(unsupported()),
    };
    let value = i128::from(value.unwrap_or_default());
    let divisor = field.divisor.as_ref().and_then(|divisor| Quantity::parse(&divisor.0).ok());
    let divisor = divisor.filter(|divisor| !divisor.is_zero());
    let divisor = match (name, divisor) {
        ("cpu", Some(divisor)) => i128::from(divisor.millis()),
        ("cpu", None) => 1000,
        (_, Some(divisor)) => i128::from(divisor.value()),
        (_, None) => 1,
    };
    Ok(((value + divisor - 1) / divisor.max(1)).to_string())
}

/// `REDIS_SERVICE_HOST` and its siblings, for services of the pod's namespace and the API itself.
fn service_variables(pod: &Pod, services: &[std::sync::Arc<Service>]) -> BTreeMap<String, String> {
    let links = facts::spec(pod).enable_service_links.unwrap_or(true);
    let mut out = BTreeMap::new();
    for service in services {
        let (namespace, name) =
            (service.metadata.namespace.as_deref(), service.metadata.name.as_deref().unwrap_or_default());
        let master = namespace == Some("default") && name == "kubernetes";
        if !(master || links && namespace == Some(facts::namespace(pod))) {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { continue };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let prefix = name.to_uppercase().replace('-', "_");
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        out.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
        out.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        for port in ports {
            if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                let port_name = port_name.to_uppercase().replace('-', "_");
                out.insert(format!("{prefix}_SERVICE_PORT_{port_name}"), port.port.to_string());
            }
        }
        for (i, port) in ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
            if i == 0 {
                out.insert(format!("{prefix}_PORT"), url.clone());
            }
            let stem = format!("{prefix}_PORT_{}_{protocol}", port.port);
            out.insert(stem.clone(), url);
            out.insert(format!("{stem}_PROTO"), protocol.to_lowercase());
            out.insert(format!("{stem}_PORT"), port.port.to_string());
            out.insert(format!("{stem}_ADDR"), ip.to_owned());
        }
    }
    out
}
