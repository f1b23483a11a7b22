//! The network configuration on standard input.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CniError, Code};
use super::result::Dns;

/// The configuration as it comes. `validate` turns it into [`Conf`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetConf {
    #[serde(default)]
    pub cni_version: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "type", default)]
    pub plugin_type: String,
    bridge: Option<String>,
    pod_cidr: Option<String>,
    cluster_cidr: Option<String>,
    mtu: Option<u32>,
    data_dir: Option<PathBuf>,
    #[serde(default)]
    dns: Dns,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    prev_result: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments", default)]
    valid_attachments: Vec<ValidAttachment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeConfig {
    #[serde(default)]
    port_mappings: Vec<PortMappingConf>,
}

/// The specification begins the names with a small letter, containerd with a capital one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortMappingConf {
    #[serde(alias = "HostPort", default)]
    host_port: u32,
    #[serde(alias = "ContainerPort", default)]
    container_port: u32,
    #[serde(alias = "Protocol", default)]
    protocol: String,
    #[serde(rename = "hostIP", alias = "HostIP", default)]
    host_ip: String,
}

/// An attachment that the runtime still knows, in a GC request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ValidAttachment {
    #[serde(rename = "containerID")]
    pub container: String,
    pub ifname: String,
}

/// A port of the node that leads to a port of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMapping {
    /// `None`: any address of the node.
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: String,
}

/// A configuration the plugin can work with.
#[derive(Debug)]
pub(super) struct Conf {
    pub cni_version: String,
    pub network: String,
    pub bridge: String,
    pub pod_cidr: Ipv4Net,
    pub cluster_cidr: Ipv4Net,
    pub mtu: u32,
    pub data_dir: PathBuf,
    pub dns: Dns,
    pub port_mappings: Vec<PortMapping>,
    pub prev_result: Option<Value>,
    pub valid_attachments: Vec<ValidAttachment>,
}

impl Conf {
    /// The node's own address in the pods' network: the first one.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.pod_cidr.network()) + 1)
    }
}

impl NetConf {
    pub(super) fn parse(input: &[u8]) -> Result<Self, CniError> {
        let conf: Self = serde_json::from_slice(input)
            .map_err(|error| CniError::new(Code::Decode, "cannot decode the network configuration").because(&error))?;
        if !super::VERSIONS.contains(&conf.cni_version.as_str()) {
            return Err(CniError::new(
                Code::IncompatibleVersion,
                format!("incompatible CNI version {:?}, supported: {}", conf.cni_version, super::VERSIONS.join(", ")),
            ));
        }
        Ok(conf)
    }

    pub(super) fn validate(self) -> Result<Conf, CniError> {
        let pod_cidr = required_net("podCidr", self.pod_cidr.as_deref())?;
        if pod_cidr.prefix_len() > 29 {
            return Err(invalid("podCidr", &pod_cidr.to_string(), "a network of /29 or larger"));
        }
        let cluster_cidr = match self.cluster_cidr.as_deref() {
            Some(text) => required_net("clusterCidr", Some(text))?,
            None => pod_cidr,
        };
        let bridge = self.bridge.unwrap_or_else(|| "cni0".to_owned());
        if bridge.is_empty() || bridge.len() > 15 || bridge.contains(['/', ' ', '"', ':']) {
            return Err(invalid("bridge", &bridge, "an interface name of at most 15 bytes"));
        }
        if self.name.is_empty() || self.name.starts_with('.') || self.name.contains('/') {
            return Err(invalid("name", &self.name, "a network name"));
        }
        let mtu = self.mtu.filter(|mtu| *mtu != 0).unwrap_or(1500);
        if !(576..=65535).contains(&mtu) {
            return Err(invalid("mtu", &mtu.to_string(), "0 or 576 to 65535"));
        }
        let Some(data_dir) = self.data_dir else {
            return Err(CniError::new(Code::InvalidConfig, "dataDir is required"));
        };
        let mut port_mappings = Vec::new();
        for mapping in &self.runtime_config.port_mappings {
            port_mappings.extend(mapping.parse()?);
        }
        Ok(Conf {
            cni_version: self.cni_version,
            network: self.name,
            bridge,
            pod_cidr,
            cluster_cidr,
            mtu,
            data_dir,
            dns: self.dns,
            port_mappings,
            prev_result: self.prev_result,
            valid_attachments: self.valid_attachments,
        })
    }
}

impl PortMappingConf {
    /// `None` for mappings that concern no IPv4 port of the node.
    fn parse(&self) -> Result<Option<PortMapping>, CniError> {
        let port = |name: &str, value: u32| {
            u16::try_from(value)
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| invalid(name, &value.to_string(), "a port, 1 to 65535"))
        };
        if self.host_port == 0 {
            return Ok(None);
        }
        let protocol = self.protocol.to_ascii_lowercase();
        let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol };
        if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
            return Err(invalid("portMappings.protocol", &self.protocol, "tcp, udp or sctp"));
        }
        let host_ip = match self.host_ip.as_str() {
            "" => None,
            text => match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(address)) if address.is_unspecified() => None,
                Ok(IpAddr::V4(address)) => Some(address),
                Ok(IpAddr::V6(address)) if address.is_unspecified() => None,
                Ok(IpAddr::V6(_)) => return Ok(None),
                Err(_) => return Err(invalid("portMappings.hostIP", text, "an IP address")),
            },
        };
        Ok(Some(PortMapping {
            host_ip,
            host_port: port("portMappings.hostPort", self.host_port)?,
            container_port: port("portMappings.containerPort", self.container_port)?,
            protocol,
        }))
    }
}

fn required_net(field: &str, value: Option<&str>) -> Result<Ipv4Net, CniError> {
    let text = value.ok_or_else(|| CniError::new(Code::InvalidConfig, format!("{field} is required")))?;
    let net: Ipv4Net = text.parse().map_err(|_| invalid(field, text, "an IPv4 network such as 10.42.0.0/24"))?;
    Ok(net.trunc())
}

fn invalid(field: &str, value: &str, expected: &str) -> CniError {
    CniError::new(Code::InvalidConfig, format!("invalid {field} {value:?}: expected {expected}"))
}
