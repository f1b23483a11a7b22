//! `create service ...`

use super::Generate;
use anyhow::{Result, anyhow, bail};
use mk8s_api::names;
use serde_json::{Value, json};

/// A number when it is one, a name otherwise.
pub(crate) fn port_value(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

#[derive(clap::Args, Debug)]
pub(crate) struct ClusterIp {
    name: String,
    /// Port pairs, as <port>:<targetPort>.
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    /// The ClusterIP to assign; None for a headless service.
    #[arg(long, default_value = "", hide_default_value = true)]
    clusterip: String,
}

#[derive(clap::Args, Debug)]
pub(crate) struct NodePort {
    name: String,
    /// Port pairs, as <port>:<targetPort>.
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    /// The port to expose on each node.
    #[arg(long)]
    node_port: Option<u16>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct LoadBalancer {
    name: String,
    /// Port pairs, as <port>:<targetPort>.
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ExternalName {
    name: String,
    /// Port pairs, as <port>:<targetPort>.
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    /// The name to resolve to.
    #[arg(long)]
    external_name: String,
}

fn ports(pairs: &[String]) -> Result<Vec<Value>> {
    pairs
        .iter()
        .map(|pair| {
            let mut parts = pair.split(':');
            let port = parts.next().unwrap_or_default();
            let number = port_number(port)?;
            let target = match parts.next() {
                None => number.into(),
                Some(target) => target_port(target)?,
            };
            let name = pair.replace(':', "-");
            Ok(json!({"name": name, "port": number, "protocol": "TCP", "targetPort": target}))
        })
        .collect()
}

fn port_number(text: &str) -> Result<u16> {
    let why = match text.parse::<u64>() {
        Ok(number) => match u16::try_from(number) {
            Ok(number) => return Ok(number),
            Err(_) => "value out of range",
        },
        Err(_) => "invalid syntax",
    };
    Err(anyhow!("strconv.ParseUint: parsing {text:?}: {why}"))
}

fn target_port(text: &str) -> Result<Value> {
    let faults = match text.parse::<i64>() {
        Ok(number) => names::port_number(number),
        Err(_) => names::port_name(text),
    };
    if !faults.is_empty() {
        bail!(faults.join(","));
    }
    Ok(port_value(text))
}

fn service(name: &str, kind: &str, tcp: &[String]) -> Result<Value> {
    let mut spec = json!({"selector": {"app": name}, "type": kind});
    let ports = ports(tcp)?;
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec,
        "status": {"loadBalancer": {}}}))
}

impl Generate for ClusterIp {
    fn generate(&self) -> Result<Value> {
        if self.tcp.is_empty() && self.clusterip != "None" {
            bail!("at least one tcp port specifier must be provided");
        }
        let mut object = service(&self.name, "ClusterIP", &self.tcp)?;
        if !self.clusterip.is_empty() {
            object["spec"]["clusterIP"] = self.clusterip.clone().into();
        }
        Ok(object)
    }
}

impl Generate for NodePort {
    fn generate(&self) -> Result<Value> {
        if self.tcp.is_empty() {
            bail!("at least one tcp port specifier must be provided");
        }
        let mut object = service(&self.name, "NodePort", &self.tcp)?;
        if let Some(port) = self.node_port.filter(|port| *port != 0) {
            let ports = object["spec"]["ports"].as_array_mut().into_iter().flatten();
            ports.for_each(|one| one["nodePort"] = port.into());
        }
        Ok(object)
    }
}

impl Generate for LoadBalancer {
    fn generate(&self) -> Result<Value> {
        if self.tcp.is_empty() {
            bail!("at least one tcp port specifier must be provided");
        }
        service(&self.name, "LoadBalancer", &self.tcp)
    }
}

impl Generate for ExternalName {
    fn generate(&self) -> Result<Value> {
        if !names::dns1123_subdomain(&self.external_name).is_empty() {
            bail!("invalid service external name {}", self.external_name);
        }
        let mut object = service(&self.name, "ExternalName", &self.tcp)?;
        object["spec"]["externalName"] = self.external_name.clone().into();
        Ok(object)
    }
}
