//! What the server is started with: flags, environment, a configuration file, and what follows from them.
//!
//! ```text
//! ServerArgs (text: flags, then MK8S_* variables) + --config FILE (YAML, the same names)  --resolve-->  ServerOptions
//! ```
//!
//! Everything is text until [`ServerArgs::resolve`], so that a flag and a line of the file are checked by the same code and
//! complained about in the same words.

pub mod agent;
mod config;
mod host;
mod issuers;
pub mod node;
#[cfg(test)]
mod tests;
mod webhooks;

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::Args;
use ipnet::IpNet;
use mk8s_api::{cron::Schedule, duration, names};

pub use self::host::{Moved, moved};
use self::node::{NodeArgs, NodeSettings};
use crate::{
    audit::{AuditOptions, LogOptions, Policy},
    auth::{AuthorizerOptions, OidcOptions, oidc::form::Anonymous, webhook::TokenWebhookOptions},
    encryption::Resource,
    snapshot::schedule as snapshot,
};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// A setting that cannot be used: which, its value, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("--{flag} {value:?}: {why}")]
    Value { flag: &'static str, value: String, why: String },
    #[error("--config {path}: {why}")]
    Config { path: PathBuf, why: String },
    #[error("--{flag} is needed: {why}")]
    Missing { flag: &'static str, why: String },
}

/// The flags of `mk8s server`. Each can also be given as `MK8S_<NAME>` and as a key of the `--config` file; a flag wins over
/// the environment, which wins over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    pub node: NodeArgs,
    /// Address to listen on [default: all]
    #[arg(long, env = "MK8S_BIND_ADDRESS", value_name = "IP")]
    pub bind_address: Option<String>,
    /// Port to listen on [default: 6443]
    #[arg(long, env = "MK8S_HTTPS_LISTEN_PORT", value_name = "PORT")]
    pub https_listen_port: Option<String>,
    /// Network of the pods [default: 10.42.0.0/16]
    #[arg(long, env = "MK8S_CLUSTER_CIDR", value_name = "CIDR")]
    pub cluster_cidr: Option<String>,
    /// Network of the Services [default: 10.43.0.0/16]
    #[arg(long, env = "MK8S_SERVICE_CIDR", value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// Address of the cluster's DNS server [default: the 10th of --service-cidr]
    #[arg(long, env = "MK8S_CLUSTER_DNS", value_name = "IP")]
    pub cluster_dns: Option<String>,
    /// Domain of the cluster's names [default: cluster.local]
    #[arg(long, env = "MK8S_CLUSTER_DOMAIN", value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Ports for Services of type NodePort [default: 30000-32767]
    #[arg(long, env = "MK8S_SERVICE_NODE_PORT_RANGE", value_name = "LOW-HIGH")]
    pub service_node_port_range: Option<String>,
    /// More host names or addresses for the server's certificate
    #[arg(long, env = "MK8S_TLS_SAN", value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Secret that lets other machines join [default: made at first start]
    #[arg(long, short, env = "MK8S_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Join the cluster of this server, as a further server: https://HOST:6443
    #[arg(long, env = "MK8S_JOIN", value_name = "URL")]
    pub join: Option<String>,
    /// Where the administrator's kubeconfig goes [default: /etc/mk8s/mk8s.yaml]
    #[arg(long, short = 'o', env = "MK8S_KUBECONFIG_OUTPUT", value_name = "FILE")]
    pub write_kubeconfig: Option<String>,
    /// Permissions of that file, octal [default: 600]
    #[arg(long, env = "MK8S_KUBECONFIG_MODE", value_name = "MODE")]
    pub write_kubeconfig_mode: Option<String>,
    /// Components and manifests that are not wanted
    #[arg(long, env = "MK8S_DISABLE", value_name = "NAME", value_delimiter = ',')]
    pub disable: Vec<String>,
    /// Do not run pods on this machine
    #[arg(long, env = "MK8S_DISABLE_AGENT", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_agent: Option<String>,
    /// Join as a witness: a vote and the log, no data and no API, so that two servers survive the loss of either
    #[arg(long, env = "MK8S_WITNESS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub witness: Option<String>,
    /// A KubeSchedulerConfiguration: profiles of the scheduler [default: one profile, default-scheduler]
    #[arg(long, env = "MK8S_KUBE_SCHEDULER_CONFIG", value_name = "FILE")]
    pub kube_scheduler_config: Option<String>,
    /// Encrypt Secrets in the store, on the way to other servers and in snapshots [default: true]
    #[arg(long, env = "MK8S_SECRETS_ENCRYPTION", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub secrets_encryption: Option<String>,
    /// What is encrypted: resources, with their groups [default: secrets]
    #[arg(long, env = "MK8S_SECRETS_ENCRYPTION_RESOURCES", value_name = "RESOURCE", value_delimiter = ',')]
    pub secrets_encryption_resources: Vec<String>,
    /// When snapshots are saved to <data-dir>/server/snapshots: five fields of cron in UTC, or @daily and the like
    #[arg(long, env = "MK8S_SNAPSHOT_SCHEDULE", value_name = "SCHEDULE")]
    pub snapshot_schedule: Option<String>,
    /// How many of these snapshots are kept [default: 5]
    #[arg(long, env = "MK8S_SNAPSHOT_RETENTION", value_name = "NUMBER")]
    pub snapshot_retention: Option<String>,
    /// How pods' packets go between nodes: vxlan, or host-gw where all nodes are on one link [default: vxlan]
    #[arg(long, env = "MK8S_OVERLAY", value_name = "NAME")]
    pub overlay: Option<String>,
    /// How many reading requests are served at once; 0 is as many as come [default: 400]
    #[arg(long, env = "MK8S_MAX_REQUESTS_INFLIGHT", value_name = "NUMBER")]
    pub max_requests_inflight: Option<String>,
    /// How many writing requests are served at once; 0 is as many as come [default: 200]
    #[arg(long, env = "MK8S_MAX_MUTATING_REQUESTS_INFLIGHT", value_name = "NUMBER")]
    pub max_mutating_requests_inflight: Option<String>,
    /// For how long events are kept after they were last written, such as 90m; 0 is for ever [default: 1h]
    #[arg(long, env = "MK8S_EVENT_TTL", value_name = "DURATION")]
    pub event_ttl: Option<String>,
    /// An AuthenticationConfiguration: providers of tokens, and anonymous requests; read again when it changes [default: none]
    #[arg(long, env = "MK8S_AUTHENTICATION_CONFIG", value_name = "FILE")]
    pub authentication_config: Option<String>,
    /// Take requests without credentials, as system:anonymous [default: true]
    #[arg(long, env = "MK8S_ANONYMOUS_AUTH", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub anonymous_auth: Option<String>,
    /// OpenID Connect provider whose ID tokens are accepted, an https URL [default: none]
    #[arg(long, env = "MK8S_OIDC_ISSUER_URL", value_name = "URL")]
    pub oidc_issuer_url: Option<String>,
    /// Whom its tokens must be for
    #[arg(long, env = "MK8S_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,
    /// Claim with the user's name [default: sub]
    #[arg(long, env = "MK8S_OIDC_USERNAME_CLAIM", value_name = "CLAIM")]
    pub oidc_username_claim: Option<String>,
    /// What stands before the user's name, `-` for nothing [default: the URL and #, nothing for the claim email]
    #[arg(long, env = "MK8S_OIDC_USERNAME_PREFIX", value_name = "PREFIX")]
    pub oidc_username_prefix: Option<String>,
    /// Claim with the user's groups [default: none]
    #[arg(long, env = "MK8S_OIDC_GROUPS_CLAIM", value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,
    /// What stands before the groups' names
    #[arg(long, env = "MK8S_OIDC_GROUPS_PREFIX", value_name = "PREFIX")]
    pub oidc_groups_prefix: Option<String>,
    /// Claims that tokens must have
    #[arg(long, env = "MK8S_OIDC_REQUIRED_CLAIM", value_name = "CLAIM=VALUE", value_delimiter = ',')]
    pub oidc_required_claim: Vec<String>,
    /// Algorithms that its tokens may be signed with [default: RS256]
    #[arg(long, env = "MK8S_OIDC_SIGNING_ALGS", value_name = "ALGORITHM", value_delimiter = ',')]
    pub oidc_signing_algs: Vec<String>,
    /// Certificates that the provider is trusted by, PEM [default: those that the system trusts]
    #[arg(long, env = "MK8S_OIDC_CA_FILE", value_name = "FILE")]
    pub oidc_ca_file: Option<String>,
    /// A kubeconfig of the webhook that is asked, by TokenReview, whose a token is [default: none]
    #[arg(long, env = "MK8S_AUTHENTICATION_TOKEN_WEBHOOK_CONFIG_FILE", value_name = "FILE")]
    pub authentication_token_webhook_config_file: Option<String>,
    /// Version of the TokenReview that is sent, v1 or v1beta1 [default: v1beta1]
    #[arg(long, env = "MK8S_AUTHENTICATION_TOKEN_WEBHOOK_VERSION", value_name = "VERSION")]
    pub authentication_token_webhook_version: Option<String>,
    /// How long its answers count [default: 2m]
    #[arg(long, env = "MK8S_AUTHENTICATION_TOKEN_WEBHOOK_CACHE_TTL", value_name = "DURATION")]
    pub authentication_token_webhook_cache_ttl: Option<String>,
    /// An AuthorizationConfiguration: who is asked what users may do; read again when it changes [default: none]
    #[arg(long, env = "MK8S_AUTHORIZATION_CONFIG", value_name = "FILE")]
    pub authorization_config: Option<String>,
    /// Who is asked what users may do, in order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny [default: Node,RBAC]
    #[arg(long, env = "MK8S_AUTHORIZATION_MODE", value_name = "MODE", value_delimiter = ',')]
    pub authorization_mode: Vec<String>,
    /// A kubeconfig of the webhook that --authorization-mode=Webhook asks, by SubjectAccessReview [default: none]
    #[arg(long, env = "MK8S_AUTHORIZATION_WEBHOOK_CONFIG_FILE", value_name = "FILE")]
    pub authorization_webhook_config_file: Option<String>,
    /// Version of the SubjectAccessReview that is sent, v1 or v1beta1 [default: v1beta1]
    #[arg(long, env = "MK8S_AUTHORIZATION_WEBHOOK_VERSION", value_name = "VERSION")]
    pub authorization_webhook_version: Option<String>,
    /// How long its yes counts [default: 5m]
    #[arg(long, env = "MK8S_AUTHORIZATION_WEBHOOK_CACHE_AUTHORIZED_TTL", value_name = "DURATION")]
    pub authorization_webhook_cache_authorized_ttl: Option<String>,
    /// How long its no counts [default: 30s]
    #[arg(long, env = "MK8S_AUTHORIZATION_WEBHOOK_CACHE_UNAUTHORIZED_TTL", value_name = "DURATION")]
    pub authorization_webhook_cache_unauthorized_ttl: Option<String>,
    /// A Policy of audit.k8s.io/v1: which requests are written to the audit log [default: none]
    #[arg(long, env = "MK8S_AUDIT_POLICY_FILE", value_name = "FILE")]
    pub audit_policy_file: Option<String>,
    /// Where the audit log goes, `-` for standard output [default: <data-dir>/server/logs/audit.log]
    #[arg(long, env = "MK8S_AUDIT_LOG_PATH", value_name = "FILE")]
    pub audit_log_path: Option<String>,
    /// For how many days old audit logs are kept, 0 for ever [default: 30]
    #[arg(long, env = "MK8S_AUDIT_LOG_MAXAGE", value_name = "DAYS")]
    pub audit_log_maxage: Option<String>,
    /// How many old audit logs are kept, 0 for all [default: 10]
    #[arg(long, env = "MK8S_AUDIT_LOG_MAXBACKUP", value_name = "NUMBER")]
    pub audit_log_maxbackup: Option<String>,
    /// How large an audit log becomes before the next one is begun [default: 100]
    #[arg(long, env = "MK8S_AUDIT_LOG_MAXSIZE", value_name = "MEBIBYTES")]
    pub audit_log_maxsize: Option<String>,
}

/// Checked settings of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub node: NodeSettings,
    pub bind_address: IpAddr,
    pub https_listen_port: u16,
    pub cluster_cidr: IpNet,
    pub service_cidr: IpNet,
    pub cluster_dns: IpAddr,
    pub cluster_domain: String,
    pub service_node_port_range: RangeInclusive<u16>,
    pub tls_sans: Vec<String>,
    pub token: Option<String>,
    /// A server of the cluster to join.
    pub join: Option<String>,
    pub write_kubeconfig: PathBuf,
    pub write_kubeconfig_mode: u32,
    pub disable: Vec<String>,
    pub disable_agent: bool,
    /// A vote and the log, and no data.
    pub witness: bool,
    /// The text of the scheduler's configuration, which is good.
    pub kube_scheduler_config: Option<String>,
    /// What is encrypted at rest.
    pub encrypted: Vec<Resource>,
    /// The snapshots that this server saves by itself.
    pub snapshots: Option<snapshot::Plan>,
    /// `vxlan` or `host-gw`.
    pub overlay: String,
    pub max_requests_inflight: u32,
    pub max_mutating_requests_inflight: u32,
    /// Events that were not written for this long go; zero keeps them.
    pub event_ttl: Duration,
    /// Who issues tokens beside the cluster itself.
    pub oidc: OidcOptions,
    /// Where requests without credentials are taken.
    pub anonymous: Anonymous,
    pub token_webhook: Option<TokenWebhookOptions>,
    /// Who is asked what users may do, in order.
    pub authorizers: Vec<AuthorizerOptions>,
    /// The file that names them, if it is one, and what was read of it.
    pub authorization_config: Option<(PathBuf, String)>,
    pub audit: Option<AuditOptions>,
}

impl ServerOptions {
    /// The address of the `kubernetes` Service: the first of the service network.
    pub fn service_ip(&self) -> IpAddr {
        nth_address(&self.service_cidr, 1)
    }

    /// Where clients on this machine reach the server: the loopback address unless only another one is bound.
    pub fn local_url(&self) -> String {
        let address = match self.bind_address {
            address if address.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            address => address,
        };
        format!("https://{}", SocketAddr::new(address, self.https_listen_port))
    }

    /// Who signs service-account tokens, and whom they are for.
    pub fn token_issuer(&self) -> String {
        token_issuer(&self.cluster_domain)
    }

    /// How many requests are served at once, of both kinds together; 0 serves all.
    pub fn seats(&self) -> u32 {
        self.max_requests_inflight.saturating_add(self.max_mutating_requests_inflight)
    }

    /// `<data-dir>/server`: store, certificates, tokens.
    pub fn server_dir(&self) -> PathBuf {
        self.node.data_dir.join("server")
    }
}

impl ServerArgs {
    /// Reads the configuration file, fills in what follows, and checks everything.
    pub fn resolve(mut self) -> Result<ServerOptions, OptionsError> {
        if let Some((path, text)) = config::read(self.node.config.as_deref())? {
            config::fill(config::settings(&mut self), &path, &text)?;
        }
        let cluster_cidr: IpNet =
            parsed("cluster-cidr", self.cluster_cidr.as_deref(), "10.42.0.0/16", "use a network such as 10.42.0.0/16")?;
        let service_cidr: IpNet =
            parsed("service-cidr", self.service_cidr.as_deref(), "10.43.0.0/16", "use a network such as 10.43.0.0/16")?;
        check_networks(&cluster_cidr, &service_cidr)?;
        let (cluster_cidr, service_cidr) = (cluster_cidr.trunc(), service_cidr.trunc());
        let audit = self.audit()?;
        let token_webhook = webhooks::token(&self)?;
        let (authorizers, authorization_config) = webhooks::authorizers(&self)?;
        let cluster_domain = domain(self.cluster_domain.as_deref().unwrap_or("cluster.local"))?;
        let (oidc, anonymous) = issuers::read(&self, token_issuer(&cluster_domain), &authorizers)?;
        let node = self.node.resolve(|| {
            let remedy = "this machine has no default route, give the address other nodes reach it by";
            host::address().ok_or_else(|| missing("node-ip", remedy))
        })?;
        check_node_ip(node.node_ip, &cluster_cidr, &service_cidr)?;
        let default_bind = if node.node_ip.is_ipv4() { "0.0.0.0" } else { "::" };
        Ok(ServerOptions {
            node,
            bind_address: parsed(
                "bind-address",
                self.bind_address.as_deref(),
                default_bind,
                "use an address of this machine, or 0.0.0.0 for all",
            )?,
            https_listen_port: port(self.https_listen_port.as_deref())?,
            cluster_dns: cluster_dns(self.cluster_dns.as_deref(), &service_cidr)?,
            cluster_cidr,
            service_cidr,
            cluster_domain,
            service_node_port_range: port_range(self.service_node_port_range.as_deref().unwrap_or("30000-32767"))?,
            tls_sans: self.tls_san.into_iter().map(san).collect::<Result<_, _>>()?,
            token: self.token.map(token).transpose()?,
            join: self.join.map(|url| joined(&url).map(|_| url)).transpose()?,
            write_kubeconfig: absolute(
                "write-kubeconfig",
                self.write_kubeconfig.as_deref().unwrap_or("/etc/mk8s/mk8s.yaml"),
            )?,
            write_kubeconfig_mode: mode(self.write_kubeconfig_mode.as_deref().unwrap_or("600"))?,
            disable: self.disable,
            disable_agent: parsed("disable-agent", self.disable_agent.as_deref(), "false", "use true or false")?,
            witness: parsed("witness", self.witness.as_deref(), "false", "use true or false")?,
            kube_scheduler_config: self.kube_scheduler_config.map(scheduler_config).transpose()?,
            encrypted: encrypted(self.secrets_encryption.as_deref(), self.secrets_encryption_resources)?,
            snapshots: snapshots(self.snapshot_schedule, self.snapshot_retention.as_deref())?,
            overlay: overlay(self.overlay.as_deref().unwrap_or("vxlan"))?,
            max_requests_inflight: parsed(
                "max-requests-inflight",
                self.max_requests_inflight.as_deref(),
                "400",
                "use a number of requests",
            )?,
            max_mutating_requests_inflight: parsed(
                "max-mutating-requests-inflight",
                self.max_mutating_requests_inflight.as_deref(),
                "200",
                "use a number of requests",
            )?,
            event_ttl: lifetime("event-ttl", self.event_ttl.as_deref().unwrap_or("1h"))?,
            oidc,
            anonymous,
            token_webhook,
            authorizers,
            authorization_config,
            audit,
        })
    }
}

impl ServerArgs {
    /// What is written down of requests; nothing without a policy.
    fn audit(&self) -> Result<Option<AuditOptions>, OptionsError> {
        let Some(path) = &self.audit_policy_file else { return Ok(None) };
        let path = absolute("audit-policy-file", path)?;
        let policy = Policy::read(&path)
            .map_err(|error| wrong("audit-policy-file", path.display().to_string(), error.to_string()))?;
        let log = match self.audit_log_path.as_deref() {
            Some("-") => PathBuf::from("-"),
            Some(path) => absolute("audit-log-path", path)?,
            None => absolute("data-dir", self.node.data_dir.as_deref().unwrap_or("/var/lib/mk8s"))?
                .join("server/logs/audit.log"),
        };
        let mebibytes: u64 =
            parsed("audit-log-maxsize", self.audit_log_maxsize.as_deref(), "100", "use a number of MiB")?;
        Ok(Some(AuditOptions {
            policy,
            log: LogOptions {
                path: log,
                max_bytes: mebibytes.max(1).saturating_mul(1 << 20),
                max_backups: parsed(
                    "audit-log-maxbackup",
                    self.audit_log_maxbackup.as_deref(),
                    "10",
                    "use a number of files",
                )?,
                max_days: parsed("audit-log-maxage", self.audit_log_maxage.as_deref(), "30", "use a number of days")?,
            },
        }))
    }
}

/// Who signs service-account tokens of a cluster with this domain.
fn token_issuer(cluster_domain: &str) -> String {
    format!("https://kubernetes.default.svc.{cluster_domain}")
}

fn wrong(flag: &'static str, value: impl Into<String>, why: impl Into<String>) -> OptionsError {
    OptionsError::Value { flag, value: value.into(), why: why.into() }
}

fn missing(flag: &'static str, why: &str) -> OptionsError {
    OptionsError::Missing { flag, why: why.to_string() }
}

fn parse<T: FromStr<Err: Display>>(flag: &'static str, text: &str, remedy: &str) -> Result<T, OptionsError> {
    text.trim().parse().map_err(|error| wrong(flag, text, format!("{error}; {remedy}")))
}

fn parsed<T: FromStr<Err: Display>>(
    flag: &'static str,
    text: Option<&str>,
    default: &str,
    remedy: &str,
) -> Result<T, OptionsError> {
    parse(flag, text.unwrap_or(default), remedy)
}

fn check_networks(cluster: &IpNet, service: &IpNet) -> Result<(), OptionsError> {
    if cluster.addr().is_ipv4() != service.addr().is_ipv4() {
        return Err(wrong(
            "service-cidr",
            service.to_string(),
            format!("is of another IP family than --cluster-cidr {cluster}; use the same for both"),
        ));
    }
    if cluster.contains(service) || service.contains(cluster) {
        return Err(wrong(
            "service-cidr",
            service.to_string(),
            format!("overlaps with --cluster-cidr {cluster}; choose networks apart from each other"),
        ));
    }
    let width = cluster.max_prefix_len();
    if service.prefix_len() > width - 4 {
        return Err(wrong(
            "service-cidr",
            service.to_string(),
            format!("has too few addresses; use a prefix of /{} or shorter", width - 4),
        ));
    }
    if service.prefix_len() + 20 < width {
        return Err(wrong(
            "service-cidr",
            service.to_string(),
            format!("has more addresses than can be handed out; use a prefix of /{} or longer", width - 20),
        ));
    }
    let node_prefix = if cluster.addr().is_ipv4() { 24 } else { 64 };
    if cluster.prefix_len() > node_prefix {
        let why = format!(
            "is smaller than the network of one node (/{node_prefix}); use a prefix of /{node_prefix} or shorter"
        );
        return Err(wrong("cluster-cidr", cluster.to_string(), why));
    }
    Ok(())
}

fn check_node_ip(ip: IpAddr, cluster: &IpNet, service: &IpNet) -> Result<(), OptionsError> {
    for (flag, network) in [("cluster-cidr", cluster), ("service-cidr", service)] {
        if network.contains(&ip) {
            return Err(wrong(
                flag,
                network.to_string(),
                format!("contains this node's address {ip}; choose a network that is not in use here"),
            ));
        }
    }
    Ok(())
}

fn port(text: Option<&str>) -> Result<u16, OptionsError> {
    let remedy = "use a port from 1 to 65535";
    match parsed("https-listen-port", text, "6443", remedy)? {
        0 => Err(wrong("https-listen-port", "0", remedy)),
        port => Ok(port),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, OptionsError> {
    let bad = |why: &str| wrong("service-node-port-range", text, format!("{why}; use a range such as 30000-32767"));
    let (low, high) = text.split_once('-').ok_or_else(|| bad("is not a range"))?;
    let number = |text: &str| {
        text.trim()
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| bad("is not a range of ports from 1 to 65535"))
    };
    let (low, high) = (number(low)?, number(high)?);
    if low > high {
        return Err(bad("begins above its end"));
    }
    Ok(low..=high)
}

/// The `n`th address of a network.
fn nth_address(network: &IpNet, n: u32) -> IpAddr {
    match network.network() {
        IpAddr::V4(base) => IpAddr::V4((u32::from(base).wrapping_add(n)).into()),
        IpAddr::V6(base) => IpAddr::V6((u128::from(base).wrapping_add(n.into())).into()),
    }
}

fn cluster_dns(text: Option<&str>, service: &IpNet) -> Result<IpAddr, OptionsError> {
    let Some(text) = text else { return Ok(nth_address(service, 10)) };
    let ip: IpAddr = parse("cluster-dns", text, "use an address of --service-cidr")?;
    if !service.contains(&ip) {
        return Err(wrong(
            "cluster-dns",
            text,
            format!("is not in --service-cidr {service}; use an address of that network"),
        ));
    }
    if ip == nth_address(service, 1) || ip == service.network() {
        return Err(wrong(
            "cluster-dns",
            text,
            format!("is taken by the kubernetes Service; use another address of {service}"),
        ));
    }
    Ok(ip)
}

fn domain(text: &str) -> Result<String, OptionsError> {
    let domain = text.trim_end_matches('.').to_ascii_lowercase();
    match names::dns1123_subdomain(&domain).first() {
        None => Ok(domain),
        Some(why) => Err(wrong("cluster-domain", text, why.clone())),
    }
}

/// A name (possibly with `*.` before it) or an address for the certificate.
fn san(text: String) -> Result<String, OptionsError> {
    let text = text.trim().to_string();
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text);
    }
    match names::dns1123_subdomain(text.strip_prefix("*.").unwrap_or(&text)).first() {
        None => Ok(text),
        Some(why) => Err(wrong("tls-san", text, format!("is neither an address nor a host name: {why}"))),
    }
}

fn token(text: String) -> Result<String, OptionsError> {
    match text.trim() {
        "" => Err(wrong("token", text, "is empty; leave it away to have one made")),
        token => Ok(token.to_string()),
    }
}

/// `HOST:PORT` of a server's URL.
fn joined(url: &str) -> Result<String, OptionsError> {
    match crate::cluster::join::address_of(url) {
        Ok(address) => Ok(address),
        Err(error) => {
            let why = error.to_string();
            let why = why.rsplit_once(": ").map_or(why.clone(), |(_, why)| why.to_owned());
            Err(wrong("join", url, why))
        }
    }
}

fn mode(text: &str) -> Result<u32, OptionsError> {
    let remedy = "use octal permissions such as 600 or 644";
    match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        Ok(_) => Err(wrong("write-kubeconfig-mode", text, format!("is out of range; {remedy}"))),
        Err(error) => Err(wrong("write-kubeconfig-mode", text, format!("{error}; {remedy}"))),
    }
}

fn absolute(flag: &'static str, text: &str) -> Result<PathBuf, OptionsError> {
    if text.is_empty() {
        return Err(wrong(flag, text, "is empty; give a path"));
    }
    std::path::absolute(Path::new(text)).map_err(|error| wrong(flag, text, format!("{error}; use an absolute path")))
}

/// A file that is followed, and what it says now.
fn followed(flag: &'static str, given: &str) -> Result<(PathBuf, String), OptionsError> {
    let path = absolute(flag, given)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(wrong(flag, given, format!("cannot be read: {error}"))),
    }
}

/// Reads the file, and whether the scheduler can use it.
fn scheduler_config(path: String) -> Result<String, OptionsError> {
    let flag = "kube-scheduler-config";
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            return Err(wrong(
                flag,
                path,
                format!("cannot be read: {error}; give a file of kind KubeSchedulerConfiguration"),
            ));
        }
    };
    match mk8s_scheduler::config::read(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(wrong(flag, path, error.to_string())),
    }
}

fn snapshots(schedule: Option<String>, retention: Option<&str>) -> Result<Option<snapshot::Plan>, OptionsError> {
    let (flag, remedy) = ("snapshot-retention", "use a number from 1 on");
    let keep: usize = parsed(flag, retention, "5", remedy)?;
    if keep == 0 {
        return Err(wrong(flag, "0", remedy));
    }
    let Some(text) = schedule else { return Ok(None) };
    let remedy = "use five fields such as \"0 */6 * * *\", or @daily";
    match Schedule::parse(&text, jiff::tz::TimeZone::UTC) {
        Ok(schedule) if schedule.next(jiff::Timestamp::now()).is_some() => Ok(Some(snapshot::Plan { schedule, keep })),
        Ok(_) => Err(wrong("snapshot-schedule", text, format!("is never due; {remedy}"))),
        Err(error) => Err(wrong("snapshot-schedule", text, format!("{error}; {remedy}"))),
    }
}

fn encrypted(on: Option<&str>, resources: Vec<String>) -> Result<Vec<Resource>, OptionsError> {
    let flag = "secrets-encryption-resources";
    let resource = |text: &String| text.parse().map_err(|why| wrong(flag, text, why));
    let named: Vec<Resource> = resources.iter().map(resource).collect::<Result<_, _>>()?;
    match parsed("secrets-encryption", on, "true", "use true or false")? {
        false => Ok(Vec::new()),
        true if named.is_empty() => Ok(vec!["secrets".parse().expect("it is a resource")]),
        true => Ok(named),
    }
}

fn lifetime(flag: &'static str, text: &str) -> Result<Duration, OptionsError> {
    let remedy = "use a duration such as 90m or 1h30m";
    match duration::parse(text).map(u64::try_from) {
        Ok(Ok(nanoseconds)) => Ok(Duration::from_nanos(nanoseconds)),
        Ok(Err(_)) => Err(wrong(flag, text, format!("is negative; {remedy}"))),
        Err(why) => Err(wrong(flag, text, format!("{why}; {remedy}"))),
    }
}

fn overlay(text: &str) -> Result<String, OptionsError> {
    match text {
        "vxlan" | "host-gw" => Ok(text.to_string()),
        other => Err(wrong("overlay", other, "is no way between nodes; use vxlan or host-gw")),
    }
}
