//! From a Service to an address behind it that is ready, as the store has it now.

use std::net::{IpAddr, SocketAddr};

use mk8s_store::View;
use rand::seq::IndexedRandom;
use serde_json::Value;

use crate::stored;

/// Why a Service leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("service {0:?} not found")]
    NoService(String),
    #[error("no service port {1} found for service {0:?}")]
    NoPort(String, u16),
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
}

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub address: Address,
    /// The node it is on, when it is a pod's.
    pub node: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Socket(SocketAddr),
    /// Of a Service that is only another name.
    Name(String, u16),
}

/// A ready backend of a Service, any of them.
pub fn resolve(view: &View, namespace: &str, name: &str, port: u16) -> Result<Backend, Unresolved> {
    let service =
        stored::get(view, "", "services", namespace, name).ok_or_else(|| Unresolved::NoService(name.into()))?;
    if service["spec"]["type"] == "ExternalName" {
        let other = service["spec"]["externalName"].as_str().unwrap_or_default().to_string();
        return Ok(Backend { address: Address::Name(other, port), node: None });
    }
    let slices = stored::list(view, "discovery.k8s.io", "endpointslices", namespace);
    choose(&service, &slices, name, port)
}

fn choose(service: &Value, slices: &[Value], name: &str, port: u16) -> Result<Backend, Unresolved> {
    let ports = stored::items(&service["spec"]["ports"]);
    let wanted = ports.iter().find(|known| known["port"].as_u64() == Some(port.into()));
    let wanted = wanted.ok_or_else(|| Unresolved::NoPort(name.into(), port))?;
    let of_service = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
    let backends: Vec<Backend> = of_service.flat_map(|slice| ready(slice, &wanted["name"])).collect();
    backends.choose(&mut rand::rng()).cloned().ok_or_else(|| Unresolved::NoEndpoints(name.into()))
}

/// The ready addresses of a slice at the port of a name.
fn ready(slice: &Value, port_name: &Value) -> Vec<Backend> {
    let name = |port: &Value| port.as_str().unwrap_or_default().to_string();
    let port = stored::items(&slice["ports"]).iter().find(|port| name(&port["name"]) == name(port_name));
    let Some(port) = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok()) else { return Vec::new() };
    let endpoints = stored::items(&slice["endpoints"]).iter();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    ready
        .filter_map(|endpoint| {
            let ip: IpAddr = endpoint["addresses"][0].as_str()?.parse().ok()?;
            let node = endpoint["nodeName"].as_str().map(str::to_string);
            Some(Backend { address: Address::Socket(SocketAddr::new(ip, port)), node })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ready_endpoints_of_the_port_are_chosen() {
        let service = json!({"spec": {"ports": [{"name": "a", "port": 443}, {"name": "b", "port": 80}]}});
        let slice = |service: &str, ready: bool| {
            json!({"metadata": {"labels": {"kubernetes.io/service-name": service}},
                "ports": [{"name": "a", "port": 8443}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "nodeName": "n"}]})
        };
        let found =
            Backend { address: Address::Socket("10.0.0.1:8443".parse().expect("an address")), node: Some("n".into()) };
        let cases = [
            (vec![slice("s", true)], 443, Ok(found)),
            (vec![slice("s", false)], 443, Err("no endpoints available for service \"s\"")),
            (vec![slice("other", true)], 443, Err("no endpoints available for service \"s\"")),
            (vec![slice("s", true)], 80, Err("no endpoints available for service \"s\"")),
            (vec![slice("s", true)], 81, Err("no service port 81 found for service \"s\"")),
        ];
        for (slices, port, expected) in cases {
            let got = choose(&service, &slices, "s", port).map_err(|why| why.to_string());
            assert_eq!(got, expected.map_err(str::to_string));
        }
    }
}
