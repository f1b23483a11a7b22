//! `mk8s token`: what lets machines join. A token is a bootstrap token of Kubernetes (a Secret in `kube-system`); what is
//! printed is a join token, which carries the hash of the cluster's CA, too.
//!
//! Reading order: [`TokenArgs`], [`token_command`], [`secret`] (tokens as Secrets, pure).

mod secret;

use crate::{flags::Globals, kubeconfig};
use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use mk8s_client::JoinToken;
use secret::{Token, Wanted};
use serde_json::Value;
use std::path::PathBuf;

/// Make, list and remove the tokens that let machines join.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// Kubeconfig of an administrator [default: as for kubectl; /etc/mk8s/mk8s.yaml on a server]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Subcommand, Debug)]
enum TokenVerb {
    /// Make a token and print it
    Create(Create),
    /// List the tokens
    List,
    /// Remove tokens, by their ids or whole
    Delete {
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
    /// Replace a token by a new one with the same rights and as long a life, and print that
    Rotate {
        #[arg(value_name = "TOKEN")]
        token: String,
    },
}

/// What may join with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Agent,
    Server,
}

#[derive(Args, Debug)]
struct Create {
    /// Id and secret of the token, ID.SECRET of 6 and 16 letters and digits [default: made by chance]
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// How long the token can be used; 0 is without end
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    ttl: String,
    /// What joins with it. Servers join with the token of <data-dir>/server/token, which has no end
    #[arg(long, value_enum, default_value = "agent")]
    role: Role,
    /// What the token is for, to be seen in the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Further groups of who uses it, below system:bootstrappers:
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    groups: Vec<String>,
    /// Print the whole command for the machine that joins
    #[arg(long)]
    print_join_command: bool,
    /// The server's data directory, for --role server
    #[arg(long, env = "MK8S_DATA_DIR", value_name = "DIR", default_value = "/var/lib/mk8s")]
    data_dir: PathBuf,
}

const NAMESPACE: &str = "kube-system";

/// Runs the command; what it prints.
///
/// # Errors
/// What the user did, or the server said.
pub async fn token_command(args: TokenArgs) -> Result<Vec<String>> {
    let globals = Globals { kubeconfig: args.kubeconfig, ..Globals::default() };
    let config = kubeconfig::target(&globals).await?.config;
    let client = Client::try_from(config).context("invalid configuration")?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let now = Timestamp::now();
    match args.verb {
        TokenVerb::Create(create) => {
            let cluster = Cluster::look(&client).await?;
            let token = match create.role {
                Role::Agent => {
                    let token = add(&secrets, &wanted(&create, now)?).await?;
                    cluster.token(JoinToken::NODE, &token.text())
                }
                Role::Server => {
                    let path = create.data_dir.join("server/token");
                    let text = std::fs::read_to_string(&path).with_context(|| {
                        format!("cannot read {}: run this as root on a server, with its --data-dir", path.display())
                    })?;
                    text.trim().to_owned()
                }
            };
            Ok(vec![if create.print_join_command { cluster.command(create.role, &token) } else { token }])
        }
        TokenVerb::List => {
            let all =
                secrets.list(&ListParams::default().fields(&format!("type={}", secret::TYPE))).await.map_err(told)?;
            let tokens: Vec<Token> = all.items.iter().filter_map(Token::read).collect();
            Ok(secret::table(&tokens, now))
        }
        TokenVerb::Delete { tokens } => {
            let mut said = Vec::new();
            for token in tokens {
                let id = id_of(&token)?;
                secrets
                    .delete(&secret::name(&id), &DeleteParams::default())
                    .await
                    .map_err(|error| missing(error, &id))?;
                said.push(format!("token {id:?} deleted"));
            }
            Ok(said)
        }
        TokenVerb::Rotate { token } => {
            let id = id_of(&token)?;
            let found = secrets.get(&secret::name(&id)).await.map_err(|error| missing(error, &id))?;
            let old =
                Token::read(&found).ok_or_else(|| anyhow!("Secret {NAMESPACE}/{} is no token", found.name_any()))?;
            let life = secret::lifetime(&found, &old);
            let cluster = Cluster::look(&client).await?;
            let fresh = add(&secrets, &old.renewed(life, now)?).await?;
            secrets.delete(&secret::name(&id), &DeleteParams::default()).await.map_err(|error| missing(error, &id))?;
            Ok(vec![cluster.token(JoinToken::NODE, &fresh.text())])
        }
    }
}

fn wanted(create: &Create, now: Timestamp) -> Result<Wanted> {
    let ttl = crate::flags::duration(&create.ttl)?;
    let expires = match ttl.is_zero() {
        true => None,
        false => Some(now.checked_add(ttl).map_err(|_| anyhow!("--ttl {:?} is too long", create.ttl))?),
    };
    let (id, secret) = match &create.token {
        Some(text) => secret::split(text).map(|(id, secret)| (id.to_owned(), secret.to_owned())).ok_or_else(|| {
            anyhow!("the token must be ID.SECRET, of 6 and of 16 small letters and digits: \"abcdef.0123456789abcdef\"")
        })?,
        None => secret::random(),
    };
    if let Some(odd) = create.groups.iter().find(|group| !secret::is_group(group)) {
        bail!(
            "--groups {odd:?}: groups of tokens begin with system:bootstrappers: and go on in small letters, digits, - and :"
        );
    }
    Ok(Wanted { id, secret, expires, description: create.description.clone(), groups: create.groups.clone() })
}

async fn add(secrets: &Api<Secret>, wanted: &Wanted) -> Result<Token> {
    let made = secrets.create(&PostParams::default(), &wanted.object()).await.map_err(told)?;
    Token::read(&made)
        .ok_or_else(|| anyhow!("the server changed the token; look at Secret {NAMESPACE}/{}", made.name_any()))
}

/// The id, of an id or of a whole token of any form.
fn id_of(text: &str) -> Result<String> {
    let secret = JoinToken::parse(Some(text)).map_or_else(|_| text.to_owned(), |token| token.secret);
    let id = secret.split('.').next().unwrap_or_default();
    match secret::is_id(id) {
        true => Ok(id.to_owned()),
        false => bail!("{text:?} is neither a token nor the id of one; \"mk8s token list\" shows the ids"),
    }
}

fn told(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!(status.message),
        other => anyhow::Error::new(other).context("the server cannot be asked"),
    }
}

fn missing(error: kube::Error, id: &str) -> anyhow::Error {
    match &error {
        kube::Error::Api(status) if status.code == 404 => {
            anyhow!("there is no token {id:?}; \"mk8s token list\" shows those that are there")
        }
        _ => told(error),
    }
}

/// What stands in the ConfigMap `cluster-info`.
struct Cluster {
    server: String,
    ca_pem: String,
}

impl Cluster {
    async fn look(client: &Client) -> Result<Cluster> {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
        let map = maps.get("cluster-info").await.map_err(told)?;
        let text = map.data.as_ref().and_then(|data| data.get("kubeconfig")).map(String::as_str).unwrap_or_default();
        Cluster::read(text).context("ConfigMap kube-public/cluster-info cannot be read; is this a cluster of mk8s?")
    }

    fn read(kubeconfig: &str) -> Result<Cluster> {
        let config: Value = serde_yaml::from_str(kubeconfig)?;
        let cluster = &config["clusters"][0]["cluster"];
        let text = |field: &str| cluster[field].as_str().ok_or_else(|| anyhow!("it has no {field}"));
        let ca = BASE64_STANDARD.decode(text("certificate-authority-data")?)?;
        Ok(Cluster { server: text("server")?.to_owned(), ca_pem: String::from_utf8(ca)? })
    }

    fn token(&self, user: &str, secret: &str) -> String {
        JoinToken::of(&self.ca_pem, user, secret).to_string()
    }

    fn command(&self, role: Role, token: &str) -> String {
        let role = match role {
            Role::Agent => "agent",
            Role::Server => "server",
        };
        format!("mk8s {role} --join {} --token {token}", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_server_and_ca() {
        let ca = BASE64_STANDARD.encode("PEM");
        let text =
            format!("clusters: [{{cluster: {{server: 'https://192.0.2.1:6443', certificate-authority-data: {ca}}}}}]");
        let cluster = Cluster::read(&text).expect("readable");
        let token = cluster.token("node", "abcdef.0123456789abcdef");
        assert!(JoinToken::parse(Some(&token)).expect("a token").is_of("PEM"));
        assert_eq!(
            cluster.command(Role::Agent, &token),
            format!("mk8s agent --join https://192.0.2.1:6443 --token {token}")
        );
        assert_eq!(id_of(&token).expect("a token"), "abcdef");
        assert_eq!(id_of("abcdef").expect("an id"), "abcdef");
        assert!(id_of("nonsense").is_err());
        assert!(Cluster::read("{}").is_err());
    }
}
