//! `create service ...`

use super::Generate;
use anyhow::{Result, anyhow, bail};
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
            let (port, target) = pair.split_once(':').unwrap_or((pair, ""));
            let number: u16 = port.parse().map_err(|_| anyhow!("{port} is not a valid port number"))?;
            let target = if target.is_empty() { number.into() } else { port_value(target) };
            let name = pair.replace(':', "-");
            Ok(json!({"name": name, "port": number, "protocol": "TCP", "targetPort": target}))
        })
        .collect()
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
        if self.clusterip == "None" && !self.tcp.is_empty() {
            bail!("can not map ports with clusterip=None");
        }
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
        if let Some(port) = self.node_port {
            object["spec"]["ports"][0]["nodePort"] = port.into();
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
        let mut object = service(&self.name, "ExternalName", &self.tcp)?;
        object["spec"]["externalName"] = self.external_name.clone().into();
        Ok(object)
    }
}
