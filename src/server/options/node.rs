//! The flags that every node has, with a server or without.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;
use mk8s_api::names;

use super::{LogFormat, OptionsError, absolute, config::Setting, host, missing, parse, wrong};

/// The part of a command line that [`super::ServerArgs`] and [`super::agent::AgentArgs`] share.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeArgs {
    /// Directory for state, certificates, images and pods [default: /var/lib/mk8s]
    #[arg(long, env = "MK8S_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// YAML file with the same keys as these flags [default: /etc/mk8s/config.yaml, if there is one]
    #[arg(long, short, env = "MK8S_CONFIG_FILE", value_name = "FILE")]
    pub config: Option<String>,
    /// Name of this node [default: the host's name]
    #[arg(long, env = "MK8S_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address of this node [default: the one from which a joined server is reached, or that of the default route]
    #[arg(long, env = "MK8S_NODE_IP", value_name = "IP")]
    pub node_ip: Option<String>,
    /// Labels this node registers with, KEY=VALUE
    #[arg(long, env = "MK8S_NODE_LABEL", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub node_label: Vec<String>,
    /// Taints this node registers with the first time, KEY=VALUE:EFFECT
    #[arg(long, env = "MK8S_NODE_TAINT", value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    pub node_taint: Vec<String>,
    /// Socket of a container runtime to use instead of the private containerd
    #[arg(long, env = "MK8S_CONTAINER_RUNTIME_ENDPOINT", value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Resolver configuration for pods [default: /etc/resolv.conf, or systemd-resolved's own]
    #[arg(long, env = "MK8S_RESOLV_CONF", value_name = "FILE")]
    pub resolv_conf: Option<String>,
    /// How log lines are written: text or json [default: text]
    #[arg(long, env = "MK8S_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// What these flags say, checked.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    pub data_dir: PathBuf,
    pub node_name: String,
    pub node_ip: IpAddr,
    /// Whether that is the address that was found, not one that was given.
    pub node_ip_found: bool,
    pub node_labels: Vec<(String, String)>,
    pub node_taints: Vec<String>,
    pub container_runtime_endpoint: Option<String>,
    pub resolv_conf: Option<PathBuf>,
    pub log_format: LogFormat,
}

impl NodeArgs {
    pub(super) fn settings(&mut self) -> Vec<(&'static str, Setting<'_>)> {
        use Setting::{Many, One};
        vec![
            ("data-dir", One(&mut self.data_dir)),
            ("node-name", One(&mut self.node_name)),
            ("node-ip", One(&mut self.node_ip)),
            ("node-label", Many(&mut self.node_label)),
            ("node-taint", Many(&mut self.node_taint)),
            ("container-runtime-endpoint", One(&mut self.container_runtime_endpoint)),
            ("resolv-conf", One(&mut self.resolv_conf)),
            ("log-format", One(&mut self.log_format)),
        ]
    }

    /// `reached`: the address of this machine that others reach, as far as it shows.
    pub(super) fn resolve(
        self,
        reached: impl FnOnce() -> Result<IpAddr, OptionsError>,
    ) -> Result<NodeSettings, OptionsError> {
        let node_ip = match self.node_ip.as_deref() {
            Some(text) => parse("node-ip", text, "use an address of this machine, such as 192.0.2.10")?,
            None => reached()?,
        };
        check_address(node_ip)?;
        Ok(NodeSettings {
            data_dir: absolute("data-dir", self.data_dir.as_deref().unwrap_or("/var/lib/mk8s"))?,
            node_name: node_name(self.node_name)?,
            node_ip,
            node_ip_found: self.node_ip.is_none(),
            node_labels: self.node_label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
            node_taints: self.node_taint.iter().map(|text| taint(text)).collect::<Result<_, _>>()?,
            container_runtime_endpoint: self.container_runtime_endpoint.map(endpoint).transpose()?,
            resolv_conf: self.resolv_conf.map(|path| absolute("resolv-conf", &path)).transpose()?,
            log_format: log_format(self.log_format.as_deref().unwrap_or("text"))?,
        })
    }
}

fn check_address(ip: IpAddr) -> Result<(), OptionsError> {
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(wrong(
            "node-ip",
            ip.to_string(),
            "is not the address of a machine; use one other nodes reach this machine by",
        ));
    }
    if ip.is_loopback() {
        return Err(wrong(
            "node-ip",
            ip.to_string(),
            "is a loopback address, which Endpoints may not have; use one other nodes reach this machine by",
        ));
    }
    Ok(())
}

fn node_name(given: Option<String>) -> Result<String, OptionsError> {
    let name = match given {
        Some(name) => name,
        None => host::name().ok_or_else(|| missing("node-name", "this machine has no host name"))?.to_ascii_lowercase(),
    };
    match names::dns1123_subdomain(&name).first() {
        None => Ok(name),
        Some(why) => Err(wrong("node-name", name, why.clone())),
    }
}

fn label(text: &str) -> Result<(String, String), OptionsError> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| wrong("node-label", text, "has no value; write KEY=VALUE"))?;
    match names::qualified_name(key).into_iter().chain(names::label_value(value)).next() {
        None => Ok((key.to_string(), value.to_string())),
        Some(why) => Err(wrong("node-label", text, why)),
    }
}

/// `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
fn taint(text: &str) -> Result<String, OptionsError> {
    let bad = |why: String| wrong("node-taint", text, why);
    let (head, effect) =
        text.rsplit_once(':').ok_or_else(|| bad("has no effect; write KEY=VALUE:NoSchedule".into()))?;
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(bad("has no known effect; use NoSchedule, PreferNoSchedule or NoExecute".into()));
    }
    let (key, value) = head.split_once('=').unwrap_or((head, ""));
    match names::qualified_name(key).into_iter().chain(names::label_value(value)).next() {
        None => Ok(text.to_string()),
        Some(why) => Err(bad(why)),
    }
}

/// `unix:///run/x.sock` or the path alone.
fn endpoint(text: String) -> Result<String, OptionsError> {
    let path = text.strip_prefix("unix://").unwrap_or(&text);
    match path.starts_with('/') {
        true => Ok(text),
        false => Err(wrong(
            "container-runtime-endpoint",
            text,
            "is not a socket; use a path such as unix:///run/containerd/containerd.sock",
        )),
    }
}

fn log_format(text: &str) -> Result<LogFormat, OptionsError> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(wrong("log-format", other, "is no format; use text or json")),
    }
}
