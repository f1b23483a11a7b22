//! The answer to an ADD.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Resolver settings, passed through from the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dns {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub mac: String,
    /// The namespace's path; `None` on the node.
    pub sandbox: Option<String>,
    pub mtu: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ip {
    pub address: IpNet,
    pub gateway: Option<IpAddr>,
    /// Index into the interfaces.
    pub interface: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AddResult {
    pub interfaces: Vec<Interface>,
    pub ips: Vec<Ip>,
    pub routes: Vec<(IpNet, Option<IpAddr>)>,
    pub dns: Dns,
}

impl AddResult {
    /// In the form of the asked version of the specification.
    pub(super) fn to_json(&self, version: &str) -> Value {
        let old = version.starts_with("0.");
        if version == "0.2.0" {
            return self.to_json_0_2();
        }
        let interfaces: Vec<Value> =
            self.interfaces.iter().map(|interface| interface_json(interface, version)).collect();
        let ips: Vec<Value> = self.ips.iter().map(|ip| ip_json(ip, old)).collect();
        let mut result = json!({
            "cniVersion": version,
            "interfaces": interfaces,
            "ips": ips,
            "dns": self.dns,
        });
        if !self.routes.is_empty() {
            result["routes"] = self.routes.iter().map(route_json).collect();
        }
        result
    }

    fn to_json_0_2(&self) -> Value {
        let mut result = json!({ "cniVersion": "0.2.0", "dns": self.dns });
        for ip in &self.ips {
            let key = if ip.address.addr().is_ipv4() { "ip4" } else { "ip6" };
            let routes: Vec<Value> = self.routes.iter().map(route_json).collect();
            result[key] = json!({ "ip": ip.address, "gateway": ip.gateway, "routes": routes });
        }
        result
    }
}

fn interface_json(interface: &Interface, version: &str) -> Value {
    let mut json = json!({ "name": interface.name, "mac": interface.mac });
    if let Some(sandbox) = &interface.sandbox {
        json["sandbox"] = json!(sandbox);
    }
    if version == "1.1.0" && interface.mtu != 0 {
        json["mtu"] = json!(interface.mtu);
    }
    json
}

fn ip_json(ip: &Ip, old: bool) -> Value {
    let mut json = json!({ "address": ip.address, "interface": ip.interface });
    if let Some(gateway) = ip.gateway {
        json["gateway"] = json!(gateway);
    }
    if old {
        json["version"] = json!(if ip.address.addr().is_ipv4() { "4" } else { "6" });
    }
    json
}

fn route_json((destination, gateway): &(IpNet, Option<IpAddr>)) -> Value {
    match gateway {
        Some(gateway) => json!({ "dst": destination, "gw": gateway }),
        None => json!({ "dst": destination }),
    }
}
