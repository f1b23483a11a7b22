//! `mk8s`: which of its programs is asked for, and their wiring. Nothing else.

use anyhow::Context;
use clap::Parser;
use mk8s_agent::{
    AgentOptions, ClusterNetwork, Connection, EmbeddedImage, Identity, ImageArgs, JoinOptions, Paths, Servers,
};
use mk8s_cli::TokenArgs;
use mk8s_net::{NetOptions, Overlay};
use mk8s_server::{
    LogFormat, Server, ServerArgs, ServerOptions,
    agent::{AgentArgs, NodeOptions},
    auth::{Pki, User, pki::Role},
    cluster::ClusterArgs,
    encryption::SecretsEncryptArgs,
    node::NodeSettings,
    snapshot::SnapshotArgs,
};
use std::{
    ffi::OsString,
    io::IsTerminal,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// glibc's allocator keeps most of what a burst of requests took: a server that had once deleted 65,000 objects stayed four
/// times as large as it had to be.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));
static HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// What is not kubectl's.
#[derive(Parser)]
#[command(
    name = "mk8s",
    version = mk8s_api::version::GIT_VERSION,
    about = "A complete Kubernetes cluster in one executable",
    after_help = "Every other verb is kubectl's, with or without the word: mk8s get pods, mk8s kubectl get pods.",
    arg_required_else_help = true
)]
enum Command {
    /// Run the control plane, and the node beside it unless --disable-agent is given.
    Server(Box<ServerArgs>),
    /// Run the node of a cluster whose servers are elsewhere.
    Agent(Box<AgentArgs>),
    /// Import and list the container images of this machine.
    Image(ImageArgs),
    /// Show and change the servers of the cluster.
    Cluster(ClusterArgs),
    /// Save the cluster's state to a file, and begin a cluster with one.
    Snapshot(SnapshotArgs),
    /// Show how Secrets are encrypted at rest, and change the key.
    SecretsEncrypt(SecretsEncryptArgs),
    /// Make, list and remove the tokens that let machines join.
    Token(TokenArgs),
}

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let program = argv.first().map(Path::new).and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or("mk8s");
    match (program, argv.get(1).and_then(|verb| verb.to_str())) {
        ("mk8s-cni" | "loopback", _) => mk8s_net::cni_main(),
        ("kubectl", _) => mk8s_cli::main(argv),
        (
            _,
            None
            | Some(
                "server" | "agent" | "image" | "token" | "cluster" | "snapshot" | "secrets-encrypt" | "--version"
                | "-V" | "--help" | "-h",
            ),
        ) => run(Command::parse()),
        _ => mk8s_cli::main(argv),
    }
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Server(arguments) => serve(*arguments),
        Command::Agent(arguments) => join(*arguments),
        Command::Image(arguments) => images(&arguments),
        Command::Cluster(arguments) => printed(mk8s_server::cluster::command(arguments)),
        Command::Snapshot(arguments) => printed(mk8s_server::snapshot::command(arguments)),
        Command::SecretsEncrypt(arguments) => printed(mk8s_server::encryption::command(arguments)),
        Command::Token(arguments) => printed(mk8s_cli::token_command(arguments)),
    }
}

fn serve(arguments: ServerArgs) -> ExitCode {
    match arguments.resolve() {
        // Each thread keeps memory of its own, and a witness is to be small.
        Ok(options) if options.witness => {
            mk8s_server::witness::give_back_at_once();
            daemon(options.node.log_format, runtime_of(1), server(options))
        }
        Ok(options) => daemon(options.node.log_format, runtime(), server(options)),
        Err(error) => unusable(&error),
    }
}

fn join(arguments: AgentArgs) -> ExitCode {
    match arguments.resolve() {
        Ok(options) => daemon(options.node.log_format, runtime(), agent(options)),
        Err(error) => unusable(&error),
    }
}

fn unusable(error: &mk8s_server::OptionsError) -> ExitCode {
    mk8s_cli::errln!("error: {error}");
    ExitCode::FAILURE
}

fn daemon(
    format: LogFormat,
    runtime: anyhow::Result<Runtime>,
    work: impl Future<Output = anyhow::Result<()>>,
) -> ExitCode {
    log_to_stderr(format);
    match runtime.and_then(|runtime| runtime.block_on(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn images(arguments: &ImageArgs) -> ExitCode {
    let work =
        mk8s_agent::image_command(arguments, |line| mk8s_cli::outln!("{line}"), |line| mk8s_cli::errln!("{line}"));
    match runtime().and_then(|runtime| runtime.block_on(work).map_err(anyhow::Error::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mk8s_cli::errln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that gives lines.
fn printed(command: impl Future<Output = anyhow::Result<Vec<String>>>) -> ExitCode {
    match runtime().and_then(|runtime| runtime.block_on(command)) {
        Ok(lines) => {
            lines.iter().for_each(|line| mk8s_cli::outln!("{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            mk8s_cli::errln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("starting threads")
}

fn runtime_of(threads: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().context("starting threads")
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MK8S_LOG").unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
}

/// Cancelled by SIGINT and SIGTERM.
fn asked_to_stop() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        asked.cancel();
    });
    Ok(stop)
}

async fn server(options: ServerOptions) -> anyhow::Result<()> {
    let stop = asked_to_stop()?;
    let node = (!options.disable_agent).then(|| options.clone());
    let (node_ip, found, joined) = (options.node.node_ip, options.node.node_ip_found, options.join.clone());
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if options.witness {
        parts.spawn(mk8s_server::witness::run(options, stop.clone()));
        if found {
            parts.spawn(until_moved(node_ip, joined, stop.clone()));
        }
        return ended(parts, &stop).await;
    }
    let server = Server::start(options, stop.clone()).await?;
    if let Some(options) = node {
        let identity = node_identity(server.pki().clone(), stop.clone())?;
        let ca_pem = server.pki().ca_pem().to_owned();
        let own = SocketAddr::new(options.node.node_ip, server.address().port()).to_string();
        let kept = Paths::new(&options.node.data_dir).servers();
        let servers = Servers::beside(&options.local_url(), &own, &kept)?;
        let connection = Connection { servers, ca_pem, identity };
        let (agent, net) = node_parts(&options.node, &network_of(&options), connection)?;
        let client = server.router().client(User::control_plane("system:kube-proxy"));
        let (ended, network) = (stop.clone(), stop.clone());
        parts.spawn(async move { mk8s_agent::run(agent, ended).await.context("the node") });
        parts.spawn(async move { mk8s_net::run(client, net, network).await.context("the node's network") });
    }
    if found {
        parts.spawn(until_moved(node_ip, joined, stop.clone()));
    }
    let outcome = ended(parts, &stop).await;
    server.stopped().await;
    outcome
}

/// Runs until all parts have ended. One that cannot go on ends the others; whoever started the process starts it again.
async fn ended(mut parts: JoinSet<anyhow::Result<()>>, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        outcome = outcome.and(ended.context("a part of the node panicked").and_then(|result| result));
        stop.cancel();
    }
    outcome
}

/// A node whose servers are elsewhere.
async fn agent(options: NodeOptions) -> anyhow::Result<()> {
    let stop = asked_to_stop()?;
    let join = JoinOptions {
        server: options.server.clone(),
        token: options.token.clone(),
        dir: Paths::new(&options.node.data_dir).root,
        servers_file: Paths::new(&options.node.data_dir).servers(),
        node_name: options.node.node_name.clone(),
    };
    let Some(joined) = mk8s_agent::join(join, stop.clone()).await.context("cannot join the cluster")? else {
        return Ok(());
    };
    let client = joined.client("kube-proxy")?;
    let connection = Connection {
        servers: joined.servers.clone(),
        ca_pem: joined.ca_pem.clone(),
        identity: joined.identity.clone(),
    };
    let (agent, net) = node_parts(&options.node, &joined.network, connection)?;
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (running, network, fresh) = (stop.clone(), stop.clone(), stop.clone());
    parts.spawn(async move { mk8s_agent::run(agent, running).await.context("the node") });
    parts.spawn(async move { mk8s_net::run(client, net, network).await.context("the node's network") });
    parts.spawn(async move {
        joined.keep_fresh(fresh).await;
        Ok(())
    });
    if options.node.node_ip_found {
        parts.spawn(until_moved(options.node.node_ip, Some(options.server), stop.clone()));
    }
    ended(parts, &stop).await
}

/// Ends when the machine has another address than the one that was found at the start: towards a server, if there is one.
async fn until_moved(node_ip: IpAddr, server: Option<String>, stop: CancellationToken) -> anyhow::Result<()> {
    match mk8s_server::moved(node_ip, server, stop).await {
        Some(moved) => Err(moved.into()),
        None => Ok(()),
    }
}

/// What a node's parts are started with.
fn node_parts(
    node: &NodeSettings,
    network: &ClusterNetwork,
    connection: Connection,
) -> anyhow::Result<(AgentOptions, NetOptions)> {
    let overlay: Overlay = network.overlay.parse().map_err(anyhow::Error::msg).context("the cluster's overlay")?;
    let mut agent = AgentOptions::new(&node.data_dir, &node.node_name, node.node_ip, connection);
    agent.cluster_dns = network.cluster_dns;
    agent.cluster_domain = network.cluster_domain.clone();
    agent.cluster_cidr = network.cluster_cidr.to_string();
    agent.mtu_overhead = overlay.overhead();
    agent.container_runtime_endpoint = node.container_runtime_endpoint.as_ref().map(Into::into);
    agent.node_labels = node.node_labels.iter().cloned().collect();
    agent.node_taints = node.node_taints.clone();
    agent.embedded_images = embedded_images();
    let mut net = NetOptions {
        node_name: node.node_name.clone(),
        node_ip: node.node_ip,
        cluster_cidr: network.cluster_cidr,
        service_cidr: network.service_cidr,
        cluster_dns: network.cluster_dns,
        cluster_domain: network.cluster_domain.clone(),
        overlay,
        data_dir: node.data_dir.clone(),
        ..NetOptions::default()
    };
    if let Some(file) = &node.resolv_conf {
        agent.resolv_conf = file.clone();
        net.resolv_conf = file.clone();
    }
    Ok((agent, net))
}

fn embedded_images() -> Vec<EmbeddedImage> {
    let image = |name: &str, binary| EmbeddedImage {
        reference: format!("docker.io/mk8s/{name}:1"),
        name: name.to_owned(),
        binary,
    };
    vec![image("pause", PAUSE), image("hello", HELLO)]
}

/// The certificate that the server keeps for the node beside it, and its successors.
fn node_identity(pki: Arc<Pki>, stop: CancellationToken) -> anyhow::Result<Identity> {
    let leaf = pki.leaf(Role::Agent);
    let identity = Identity::from_pem(&leaf.cert_pem, &leaf.key_pem)?;
    let (mut renewals, renewed) = (pki.renewals(), identity.clone());
    tokio::spawn(async move {
        while let Some(Ok(())) = stop.run_until_cancelled(renewals.changed()).await {
            let leaf = pki.leaf(Role::Agent);
            if let Err(error) = renewed.replace(&leaf.cert_pem, &leaf.key_pem) {
                tracing::error!(%error, "the node keeps its old certificate");
            }
        }
    });
    Ok(identity)
}

/// What a server tells the nodes that join, for the node beside it.
fn network_of(options: &ServerOptions) -> ClusterNetwork {
    ClusterNetwork {
        cluster_cidr: options.cluster_cidr,
        service_cidr: options.service_cidr,
        cluster_dns: options.cluster_dns,
        cluster_domain: options.cluster_domain.clone(),
        overlay: options.overlay.clone(),
    }
}
