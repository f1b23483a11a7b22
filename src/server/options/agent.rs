//! What a node without a server is started with. The flags that it shares with `mk8s server` are checked alike.

use clap::Args;

use super::{
    OptionsError,
    config::{self, Setting},
    host, joined, missing,
    node::{NodeArgs, NodeSettings},
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
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Checked settings of a node.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// `https://host:port`.
    pub server: String,
    pub token: Option<String>,
    pub node: NodeSettings,
}

impl AgentArgs {
    /// Reads the configuration file, fills in what follows, and checks everything.
    ///
    /// # Errors
    /// The setting that cannot be used.
    pub fn resolve(mut self) -> Result<NodeOptions, OptionsError> {
        if let Some((path, text)) = config::read(self.node.config.as_deref())? {
            config::fill(settings(&mut self), &path, &text)?;
        }
        let url = self.join.ok_or_else(|| missing("join", "give the address of a server: https://HOST:6443"))?;
        let address = joined(&url)?;
        let node = self.node.resolve(|| {
            let remedy = "there is no route to the server yet, give the address other nodes reach this machine by";
            let reached = host::address_for(&address).or_else(host::address);
            reached.ok_or_else(|| missing("node-ip", remedy))
        })?;
        Ok(NodeOptions { server: format!("https://{address}"), token: self.token, node })
    }
}

fn settings(args: &mut AgentArgs) -> Vec<(&'static str, Setting<'_>)> {
    let mut settings = vec![("join", Setting::One(&mut args.join)), ("token", Setting::One(&mut args.token))];
    settings.extend(args.node.settings());
    settings
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
            node: NodeArgs {
                config: Some(file.display().to_string()),
                node_name: Some("flag".into()),
                node_ip: Some("192.0.2.9".into()),
                ..NodeArgs::default()
            },
            ..AgentArgs::default()
        };
        let options = args.resolve().expect("good");
        assert_eq!((options.server.as_str(), options.node.node_name.as_str()), ("https://192.0.2.1:6443", "flag"));
        assert_eq!(
            (options.token.as_deref(), options.node.node_taints.as_slice()),
            (Some("a"), &["a=b:NoSchedule".to_string()][..])
        );
        std::fs::write(&file, "join: https://192.0.2.1\nnode-tain: x\n").expect("written");
        let args = AgentArgs {
            node: NodeArgs { config: Some(file.display().to_string()), ..NodeArgs::default() },
            ..AgentArgs::default()
        };
        assert!(args.resolve().expect_err("unknown").to_string().contains("did you mean node-taint?"));
    }
}
