//! What a node without a server is started with. The flags that it shares with `mk8s server` are checked alike.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use super::{
    LogFormat, OptionsError, absolute,
    config::{self, Setting},
    endpoint, host, joined, label, log_format, missing, node_name, parse, taint, wrong,
};

/// The flags of `mk8s agent`. Each can also be given as `MK8S_<NAME>` and as a key of the `--config` file; a flag wins over
/// the environment, which wins over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct AgentArgs {
    /// A server of the cluster to join: https://HOST:6443
    #[arg(long, short = 's', alias = "server", env = "MK8S_URL", value_name = "URL")]
    pub join: Option<String>,
    /// What lets this machine join, from "mk8s token create" on a server; needed the first time only
    #[arg(long, short, env = "MK8S_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Directory for certificates, images and pods [default: /var/lib/mk8s]
    #[arg(long, env = "MK8S_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// YAML file with the same keys as these flags [default: /etc/mk8s/config.yaml, if there is one]
    #[arg(long, short, env = "MK8S_CONFIG_FILE", value_name = "FILE")]
    pub config: Option<String>,
    /// Name of this node [default: the host's name]
    #[arg(long, env = "MK8S_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address of this node [default: the one from which the server is reached]
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

/// Checked settings of a node.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// `https://host:port`.
    pub server: String,
    pub token: Option<String>,
    pub data_dir: PathBuf,
    pub node_name: String,
    pub node_ip: IpAddr,
    pub node_labels: Vec<(String, String)>,
    pub node_taints: Vec<String>,
    pub container_runtime_endpoint: Option<String>,
    pub resolv_conf: Option<PathBuf>,
    pub log_format: LogFormat,
}

impl AgentArgs {
    /// Reads the configuration file, fills in what follows, and checks everything.
    ///
    /// # Errors
    /// The setting that cannot be used.
    pub fn resolve(mut self) -> Result<NodeOptions, OptionsError> {
        if let Some((path, text)) = config::read(self.config.as_deref())? {
            config::fill(settings(&mut self), &path, &text)?;
        }
        let url = self.join.ok_or_else(|| missing("join", "give the address of a server: https://HOST:6443"))?;
        let address = joined(&url)?;
        let node_ip = match self.node_ip.as_deref() {
            Some(text) => parse("node-ip", text, "use an address of this machine, such as 192.0.2.10")?,
            None => host::address_for(&address).or_else(host::address).ok_or_else(|| {
                missing(
                    "node-ip",
                    "there is no route to the server yet, give the address other nodes reach this machine by",
                )
            })?,
        };
        if node_ip.is_unspecified() || node_ip.is_multicast() || node_ip.is_loopback() {
            return Err(wrong(
                "node-ip",
                node_ip.to_string(),
                "other nodes cannot reach this machine by it; use another of its addresses",
            ));
        }
        Ok(NodeOptions {
            server: format!("https://{address}"),
            token: self.token,
            data_dir: absolute("data-dir", self.data_dir.as_deref().unwrap_or("/var/lib/mk8s"))?,
            node_name: node_name(self.node_name)?,
            node_ip,
            node_labels: self.node_label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
            node_taints: self.node_taint.iter().map(|text| taint(text)).collect::<Result<_, _>>()?,
            container_runtime_endpoint: self.container_runtime_endpoint.map(endpoint).transpose()?,
            resolv_conf: self.resolv_conf.map(|path| absolute("resolv-conf", &path)).transpose()?,
            log_format: log_format(self.log_format.as_deref().unwrap_or("text"))?,
        })
    }
}

fn settings(args: &mut AgentArgs) -> Vec<(&'static str, Setting<'_>)> {
    use Setting::{Many, One};
    vec![
        ("join", One(&mut args.join)),
        ("token", One(&mut args.token)),
        ("data-dir", One(&mut args.data_dir)),
        ("node-name", One(&mut args.node_name)),
        ("node-ip", One(&mut args.node_ip)),
        ("node-label", Many(&mut args.node_label)),
        ("node-taint", Many(&mut args.node_taint)),
        ("container-runtime-endpoint", One(&mut args.container_runtime_endpoint)),
        ("resolv-conf", One(&mut args.resolv_conf)),
        ("log-format", One(&mut args.log_format)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, "join: https://192.0.2.1\ntoken: a\nnode-name: file\nnode-taint: [a=b:NoSchedule]\n")
            .expect("written");
        let args = AgentArgs {
            config: Some(file.display().to_string()),
            node_name: Some("flag".into()),
            node_ip: Some("192.0.2.9".into()),
            ..AgentArgs::default()
        };
        let options = args.resolve().expect("good");
        assert_eq!((options.server.as_str(), options.node_name.as_str()), ("https://192.0.2.1:6443", "flag"));
        assert_eq!(
            (options.token.as_deref(), options.node_taints.as_slice()),
            (Some("a"), &["a=b:NoSchedule".to_string()][..])
        );
        std::fs::write(&file, "join: https://192.0.2.1\nnode-tain: x\n").expect("written");
        let args = AgentArgs { config: Some(file.display().to_string()), ..AgentArgs::default() };
        assert!(args.resolve().expect_err("unknown").to_string().contains("did you mean node-taint?"));
    }
}
