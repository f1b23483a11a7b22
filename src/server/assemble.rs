//! What is started, in which order, and how it stops.
//!
//! ```text
//! (join) -> keys and certificates -> store -> authorization, admission, registry -> router -> port
//!        -> caught up with the other servers -> clients are answered
//! while it leads: bootstrap objects -> ready -> controllers, scheduler
//! stop: the port drains, the control loops end, another server takes the lead, the store closes last
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use ipnet::IpNet;
use mk8s_client::Informers;
use mk8s_store::Store;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    aggregation::{self, Aggregation},
    audit::Audit,
    auth::{
        self, Authentication, Authorization, Pki, PkiError, PkiOptions, Providers, TokenIssuer, User,
        pki::{Role, kubeconfig},
        tokens::{BootstrapTokens, SigningKey, TokenReader, note_uses},
        webhook::TokenWebhook,
    },
    bootstrap::{self, Bootstrap},
    cluster::{
        self, Cluster, Lines, Record, Removed,
        members::{self, Member},
        while_leading,
    },
    encryption, flow,
    http::{
        Router,
        listener::{self, ALPN, Port},
        router::RouterParts,
    },
    options::ServerOptions,
    registry::{BY_NODE, Registry, Resources, ServiceRanges, expire_events},
    relay::Relay,
    snapshot::schedule,
    usage, webhook,
};

/// How long another server may take to lead.
const HAND_OVER: Duration = Duration::from_millis(1200);

/// How long what was started may take to end.
const STOP_WITHIN: Duration = Duration::from_millis(2000);

/// Uses of Secrets' tokens beyond so many that wait to be noted are forgotten.
const USES_WAITING: usize = 256;

/// A running server.
pub struct Server {
    router: Router,
    pki: Arc<Pki>,
    address: SocketAddr,
    /// This member's number.
    me: u64,
    store: Store,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// Ends what goes on between servers.
    end: CancellationToken,
}

/// What a router needs beside a store.
pub struct ApiOptions {
    pub signing_key: Arc<SigningKey>,
    /// Who signs service-account tokens; also the audience they are for by default.
    pub token_issuer: String,
    pub admin_token: Option<String>,
    /// The secret of the server's join token.
    pub join_secret: Option<String>,
    pub services: ServiceRanges,
    /// How many requests are served at once; 0 serves all.
    pub seats: u32,
    pub stop: CancellationToken,
}

/// Whom tokens are for that are for this cluster.
fn api_audiences(token_issuer: &str) -> Vec<String> {
    vec![token_issuer.to_owned(), "mk8s".to_owned()]
}

/// The API over a store: all of the server that needs no socket.
pub fn router(store: &Store, options: ApiOptions) -> Router {
    let ApiOptions { signing_key, token_issuer, admin_token, join_secret, services, seats, stop } = options;
    let audiences = api_audiences(&token_issuer);
    let reader = TokenReader::new(store.clone(), signing_key.clone(), &token_issuer, audiences.clone());
    let authorization = Authorization::new(store.clone());
    let relay = Relay::default();
    let backends = webhook::Client::new(store.clone(), relay.clone());
    let resources = Resources::new(store, backends.clone());
    let aggregation = Aggregation::new(store.clone(), backends.clone());
    let admission = Admission::new(store.clone(), authorization.clone(), backends, resources.presenter());
    Router::new(RouterParts {
        registry: Registry::new(store.clone(), resources, admission, services),
        authentication: Authentication::new(reader, BootstrapTokens::new(store.clone()), admin_token, join_secret),
        authorization,
        tokens: TokenIssuer::new(store.clone(), signing_key, &token_issuer, audiences),
        relay,
        aggregation,
        seats,
        stop,
    })
}

/// Runs a server until `stop`.
pub async fn run(options: ServerOptions, stop: CancellationToken) -> anyhow::Result<()> {
    let server = Server::start(options, stop.clone()).await?;
    stop.cancelled().await;
    server.stopped().await;
    Ok(())
}

impl Server {
    /// Starts everything; returns once the port is open and the API answers.
    pub async fn start(options: ServerOptions, stop: CancellationToken) -> anyhow::Result<Server> {
        let dir = options.server_dir();
        let listen = SocketAddr::new(options.bind_address, options.https_listen_port);
        let listener = listen_on(listen).await?;
        let address = listener.local_addr().context("the port that was opened has no address")?;
        let me = Member {
            id: 0,
            name: options.node.node_name.clone(),
            address: SocketAddr::new(options.node.node_ip, address.port()).to_string(),
            seals: true,
            witness: false,
            full: false,
        };
        let record = member_record(&options, &me.address).await?;
        let pki = Arc::new(Pki::load_or_create(pki_options(&options), SystemTime::now())?);
        let end = CancellationToken::new();
        let removed = Removed::default();
        let lines =
            Lines::new(record.id, me.address.clone(), pki.clone(), &record.members, removed.clone(), end.clone());
        let store_options = mk8s_store::Options {
            sealing: Some(encryption::sealing(&pki, &options.encrypted)),
            dir: Some(dir.join("store")),
            identity: Some(record.identity(pki.cluster_name())),
            node_id: record.id,
            founders: Some(if record.founder { vec![record.id] } else { Vec::new() }),
            index: Some(BY_NODE),
            ..mk8s_store::Options::default()
        };
        let store = Store::open_with(store_options, lines.transport()).await?;
        let me = Member { id: record.id, ..me };
        let tls = Arc::new(pki.server_config(&ALPN)?);
        let api = ApiOptions {
            signing_key: pki.signing_key(),
            token_issuer: options.token_issuer(),
            admin_token: Some(pki.admin_token().to_string()),
            join_secret: Some(pki.join_secret().to_string()),
            services: service_ranges(&options)?,
            seats: options.seats(),
            stop: stop.clone(),
        };
        let router = router(&store, api);
        if options.disable_agent {
            router.relay().go_through_nodes();
        }
        if let Some(audit) = options.audit.clone() {
            let path = audit.log.path.clone();
            router.audit_to(
                Audit::open(audit).with_context(|| format!("cannot write the audit log {}", path.display()))?,
            );
        }
        let providers = Arc::new(Providers::new(&options.oidc, &options.node.node_name)?);
        router.authentication().trust(providers.clone());
        router.authentication().take_anonymous(options.anonymous.clone());
        let asker = webhook::Client::new(store.clone(), router.relay().clone());
        if let Some(remote) = options.token_webhook.clone() {
            let audiences = api_audiences(&options.token_issuer());
            router.authentication().ask(TokenWebhook::new(remote, audiences, asker.clone()));
        }
        router.authorization().ask(options.authorizers.clone(), &asker);
        if let Some((_, text)) = &options.authorization_config {
            router.authorization().obey_file(&options.node.node_name, text);
        }
        write_kubeconfig(&options, &pki)?;
        router.aggregation().identify_as(front_proxy(&pki)?);
        let mut server =
            Server { router, pki, address, me: me.id, store, tasks: JoinSet::new(), stop, end: end.clone() };
        if let Some(file) = options.authorization_config.clone() {
            let (authorization, authorizers) = (server.router.authorization().clone(), options.authorizers.clone());
            let (asker, stop) = (asker.clone(), server.stop.clone());
            server.tasks.spawn(auth::authorizers::keep(authorization, file, authorizers, asker, stop));
        }
        if !options.oidc.is_empty() {
            server.tasks.spawn(auth::oidc::keep(providers, options.oidc.clone(), asker, server.stop.clone()));
        }
        let remedy: Arc<str> = cluster::remedy(record.id, &dir).into();
        let cluster = Cluster {
            store: server.store.clone(),
            pki: server.pki.clone(),
            me,
            lines: lines.clone(),
            remembered: Arc::default(),
            removed,
            remedy,
            end,
        };
        if record.removed {
            server.router.retire(cluster.remedy.to_string());
        } else {
            server.tasks.spawn(retire_when_removed(
                server.router.clone(),
                cluster.clone(),
                record,
                dir,
                server.stop.clone(),
            ));
        }
        let filled = server.serve(listener, tls, cluster, lines);
        if filled.await {
            tracing::info!(%address, "the API is served");
            server.spawn(options);
        }
        Ok(server)
    }

    /// Opens the port to the other servers at once, and to clients when there is something to answer from; the future
    /// says when that is, or that it will not be.
    fn serve(
        &mut self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        cluster: Cluster,
        lines: Lines,
    ) -> impl Future<Output = bool> + use<> {
        let (fill, filled) = watch::channel(false);
        let port = Port { router: self.router.clone(), cluster: cluster.clone(), filled };
        self.tasks.spawn(listener::serve(listener, tls, port, self.stop.clone()));
        self.tasks.spawn(lines.clone().doubt(self.store.clone()));
        self.tasks.spawn(lines.follow(self.store.clone()));
        let (store, stop, me, removed) = (self.store.clone(), self.stop.clone(), cluster.me.id, cluster.removed);
        let retired = self.router.is_retired();
        self.tasks.spawn(say_where(self.store.clone(), cluster.me, self.stop.clone()));
        async move {
            let ready = async {
                catch_up(&store).await;
                // Before the first client comes, so that no Secret was ever written plainly.
                encryption::begin(&store, me).await;
            };
            let filled = async {
                tokio::select! {
                    () = ready, if !retired => {}
                    () = removed.known(), if !retired => {}
                    else => {}
                }
            };
            let filled = stop.run_until_cancelled(filled).await.is_some();
            fill.send_replace(filled);
            filled
        }
    }

    fn spawn(&mut self, options: ServerOptions) {
        let (router, stop) = (self.router.clone(), self.stop.clone());
        let (pki, until) = (self.pki.clone(), stop.clone());
        self.tasks.spawn(async move { pki.keep_fresh(until).await });
        self.tasks.spawn(encryption::keep(self.store.clone(), self.me, stop.clone()));
        self.tasks.spawn(cluster::room::keep(self.store.clone(), self.me, stop.clone()));
        self.tasks.spawn(renew_kubeconfig(self.pki.clone(), options.clone(), stop.clone()));
        self.tasks.spawn(renew_front_proxy(self.pki.clone(), router.aggregation().clone(), stop.clone()));
        self.tasks.spawn(aggregation::keep(router.clone(), stop.clone()));
        self.tasks.spawn(usage::keep(router.clone(), stop.clone()));
        let (used, uses) = mpsc::channel(USES_WAITING);
        router.authentication().tell_uses(used);
        let noting = router.client(User::control_plane("system:apiserver"));
        self.tasks.spawn(note_uses(noting, uses, stop.clone()));
        if let Some(plan) = options.snapshots.clone() {
            let source = schedule::Source {
                store: self.store.clone(),
                pki: self.pki.clone(),
                server: options.node.node_name.clone(),
                server_dir: options.server_dir(),
            };
            self.tasks.spawn(schedule::keep(source, plan, stop.clone()));
        }
        self.tasks.spawn(flow::follow(router.flow(), self.store.clone(), stop.clone()));
        let wanted = wanted_objects(&options, &self.pki, self.address.port());
        let loops = loop_options(&options, &self.pki);
        let store = self.store.clone();
        if self.store.revision() > 0 {
            // Another server, or this one in an earlier life, has made the first objects.
            let (store, router) = (self.store.clone(), router.clone());
            let led =
                async move { drop(store.leadership().wait_for(|now| now.leader.is_some_and(|_| !now.here)).await) };
            let until = stop.clone();
            self.tasks.spawn(async move {
                if until.run_until_cancelled(led).await.is_some() {
                    router.set_ready();
                }
            });
        }
        let counted = Arc::new(mk8s_scheduler::metrics::Metrics::new(&scheduler_profiles(&options)));
        router.show_scheduling(counted.clone());
        self.tasks.spawn(while_leading(self.store.clone(), stop, move |stop| {
            let scheduling = (scheduler_profiles(&options), counted.clone());
            let plane =
                control_plane(router.clone(), store.clone(), wanted.clone(), loops.clone(), scheduling, stop.clone());
            let expiry = expire_events(store.clone(), options.event_ttl, stop);
            async move {
                tokio::join!(plane, expiry);
            }
        }));
    }

    /// A client inside the process with the rights of the administrator.
    pub fn client(&self) -> kube::Client {
        self.router.client(User::control_plane("system:admin"))
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    pub fn pki(&self) -> &Arc<Pki> {
        &self.pki
    }

    /// Where the port is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets another server lead before this one goes, so that nobody has to miss a leader first.
    async fn hand_over(&self) {
        let mut leadership = self.store.leadership();
        let now = *leadership.borrow();
        if now.here && !now.alone {
            self.store.transfer_lead(None);
            drop(tokio::time::timeout(HAND_OVER, leadership.wait_for(|now| !now.here)).await);
        }
    }

    /// Waits for the end of what was started, after `stop`; the store closes last.
    pub async fn stopped(mut self) {
        self.stop.cancelled().await;
        self.hand_over().await;
        self.end.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "not everything ended in time");
            self.tasks.abort_all();
        }
        self.router.flush_audit().await;
        self.store.close().await;
    }
}

/// How long a server that has data of its own waits for the others before it serves that.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Until there is something to serve: everything, or, when the others are not there, what was here before.
async fn catch_up(store: &Store) {
    let begun = tokio::time::Instant::now();
    while store.barrier().await.is_err() {
        if store.revision() > 0 && begun.elapsed() >= CATCH_UP {
            return tracing::warn!(
                "the other servers cannot be reached; what is known here is served, and no write is taken"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A server that hears that it was removed answers no more, in its next life either.
async fn retire_when_removed(router: Router, cluster: Cluster, record: Record, dir: PathBuf, stop: CancellationToken) {
    if stop.run_until_cancelled(cluster.removed.known()).await.is_none() {
        return;
    }
    tracing::error!("{}", cluster.remedy);
    router.retire(cluster.remedy.to_string());
    if let Err(error) = (Record { removed: true, ..record }).save(&dir) {
        tracing::warn!(%error, "it cannot be written down that this server was removed");
    }
}

/// Tells the others where this server is.
async fn say_where(store: Store, me: Member, stop: CancellationToken) {
    let said = async {
        while let Err(error) = members::say(&store, &me).await {
            tracing::debug!(%error, "the others cannot be told where this server is, trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    stop.run_until_cancelled(said).await;
}

/// Which member this server is: as it was before, or by joining, or as the first one.
pub(crate) async fn member_record(options: &ServerOptions, address: &str) -> anyhow::Result<Record> {
    let dir = options.server_dir();
    if let Some(record) = Record::load(&dir)? {
        let dir = dir.display();
        return match (record.witness, options.witness) {
            (true, false) => Err(anyhow::anyhow!(
                "{dir} is that of a witness, which has no data: start it with --witness, or remove {dir} and join again"
            )),
            (false, true) => Err(anyhow::anyhow!(
                "{dir} is that of a server with data: start it without --witness, or choose another --data-dir for a witness"
            )),
            _ => Ok(record),
        };
    }
    let record = match &options.join {
        Some(url) => {
            return Ok(cluster::join::join(
                url,
                options.token.as_deref(),
                &dir,
                &options.node.node_name,
                address,
                options.witness,
            )
            .await?);
        }
        None if options.witness => {
            anyhow::bail!(
                "--witness: a witness joins a cluster that is there; give --join https://HOST:6443 and --token"
            )
        }
        None => Record::founder(),
    };
    record.save(&dir)?;
    Ok(record)
}

/// Fills the cluster with what every cluster has, and then runs its loops.
async fn control_plane(
    router: Router,
    store: Store,
    wanted: Bootstrap,
    loops: mk8s_controllers::Options,
    (profiles, counted): (mk8s_scheduler::config::Configured, Arc<mk8s_scheduler::metrics::Metrics>),
    stop: CancellationToken,
) {
    // It has little to write, and nothing begins before that is written.
    let admin = router.client_when_full(User::control_plane("system:apiserver"));
    let mut wanted = wanted;
    look_for_servers(&store, &mut wanted).await;
    let booted = async {
        let mut pause = Duration::from_secs(1);
        while let Err(error) = bootstrap::run(&admin, &wanted).await {
            tracing::error!(error = %format!("{:#}", anyhow::Error::new(error)), ?pause, "the cluster's first objects could not be made, trying again");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(30));
        }
    };
    if stop.run_until_cancelled(booted).await.is_none() {
        return;
    }
    router.set_ready();
    let flow_objects =
        if wanted.disabled.iter().any(|name| name == "flowcontrol") { Vec::new() } else { bootstrap::flow_control() };
    let fairness = flow::keep_objects(store.clone(), admin.clone(), flow_objects, stop.clone());
    let aggregator = router.client(User::control_plane("system:kube-aggregator"));
    let registered = aggregation::keep_local(store.clone(), aggregator, stop.clone());
    let servers = say_servers(&admin, &store, wanted.clone(), stop.clone());
    let rooms = cluster::room::tell(store.clone(), admin.clone(), stop.clone());
    let controllers = router.client(User::control_plane("system:kube-controller-manager"));
    let scheduler = router.client(User::control_plane("system:kube-scheduler"));
    let informers = Informers::new(controllers, stop.clone());
    tokio::join!(
        registered,
        servers,
        rooms,
        fairness,
        mk8s_controllers::run(informers.clone(), loops, stop.clone()),
        mk8s_scheduler::run(scheduler, informers, profiles, counted, stop),
    );
}

/// How often it is looked which servers there are.
const LOOK_FOR_SERVERS: Duration = Duration::from_secs(2);

/// Keeps the addresses behind the `kubernetes` Service those of the servers that answer, and tells nodes of all there are.
async fn say_servers(admin: &kube::Client, store: &Store, mut wanted: Bootstrap, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_FOR_SERVERS)).await.is_some() {
        let before = wanted.clone();
        if !look_for_servers(store, &mut wanted).await {
            continue;
        }
        if let Err(error) = bootstrap::say_servers(admin, &wanted).await {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "it cannot be said where the servers are, trying again");
            wanted = before;
        }
    }
}

/// Sees which servers there are now; whether that is new.
async fn look_for_servers(store: &Store, wanted: &mut Bootstrap) -> bool {
    let own = SocketAddr::new(wanted.node_ip, wanted.port).to_string();
    let known = members::all(&store.view()).into_values().filter(|member| !member.witness).map(|member| member.address);
    let members: BTreeSet<String> = known.chain([own]).collect();
    let others = others(store, wanted).await;
    let news = members != wanted.members || others != wanted.others;
    (wanted.members, wanted.others) = (members, others);
    news
}

/// The other servers that answer, as far as they do so on the same port: that is said once for all.
async fn others(store: &Store, wanted: &Bootstrap) -> BTreeSet<IpAddr> {
    let known = members::all(&store.view());
    let active = store.members().await.unwrap_or_default().into_iter().filter(|member| member.active == Some(true));
    let serving = active.filter_map(|member| known.get(&member.id)).filter(|member| !member.witness);
    let addresses = serving.filter_map(|member| member.address.parse::<SocketAddr>().ok());
    let alike = |address: &SocketAddr| {
        address.port() == wanted.port && address.is_ipv4() == wanted.node_ip.is_ipv4() && address.ip() != wanted.node_ip
    };
    addresses.filter(alike).map(|address| address.ip()).collect()
}

/// Opens the port, or says why not and what to do.
pub(crate) async fn listen_on(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: stop what uses the port, or choose another one with --https-listen-port or --bind-address")
    })
}

pub(crate) fn pki_options(options: &ServerOptions) -> PkiOptions {
    PkiOptions {
        dir: options.server_dir(),
        node_name: options.node.node_name.clone(),
        node_ip: options.node.node_ip,
        service_ip: options.service_ip(),
        cluster_domain: options.cluster_domain.clone(),
        tls_sans: names_of(options),
        token: options.token.clone(),
    }
}

/// The names asked for, and the address that is bound when it is one.
fn names_of(options: &ServerOptions) -> Vec<String> {
    let bound = Some(options.bind_address).filter(|address| !address.is_unspecified());
    options.tls_sans.iter().cloned().chain(bound.map(|address| address.to_string())).collect()
}

fn service_ranges(options: &ServerOptions) -> anyhow::Result<ServiceRanges> {
    match options.service_cidr {
        IpNet::V4(addresses) => Ok(ServiceRanges { addresses, node_ports: options.service_node_port_range.clone() }),
        IpNet::V6(network) => anyhow::bail!(
            "--service-cidr {network}: Services have IPv4 addresses only; use an IPv4 network such as 10.43.0.0/16"
        ),
    }
}

fn scheduler_profiles(options: &ServerOptions) -> mk8s_scheduler::config::Configured {
    let read = |text: &String| mk8s_scheduler::config::read(text).expect("the options have read it already");
    options.kube_scheduler_config.as_ref().map(read).unwrap_or_default()
}

fn loop_options(options: &ServerOptions, pki: &Pki) -> mk8s_controllers::Options {
    let mut loops = mk8s_controllers::Options {
        root_ca_pem: pki.ca_pem().to_string(),
        cluster_signing_cert_pem: Some(pki.ca_pem().to_string()),
        cluster_signing_key_pem: Some(pki.ca_key_pem()),
        token_signer: Some(pki.signing_key()),
        ..Default::default()
    };
    if let IpNet::V4(cidr) = options.cluster_cidr {
        loops.cluster_cidr = cidr;
    }
    if let IpNet::V4(cidr) = options.service_cidr {
        loops.service_cidr = cidr;
    }
    loops
}

fn wanted_objects(options: &ServerOptions, pki: &Pki, port: u16) -> Bootstrap {
    Bootstrap {
        node_ip: options.node.node_ip,
        port,
        others: BTreeSet::new(),
        members: BTreeSet::new(),
        service_ip: options.service_ip(),
        service_cidr: options.service_cidr,
        ca_pem: pki.ca_pem().to_string(),
        front_proxy_ca_pem: pki.front_proxy_ca_pem().to_string(),
        network: BTreeMap::from([
            ("clusterCIDR", options.cluster_cidr.to_string()),
            ("serviceCIDR", options.service_cidr.to_string()),
            ("clusterDNS", options.cluster_dns.to_string()),
            ("clusterDomain", options.cluster_domain.clone()),
            ("overlay", options.overlay.clone()),
        ]),
        disabled: options.disable.clone(),
        manifests_dir: options.server_dir().join("manifests"),
    }
}

fn write_kubeconfig(options: &ServerOptions, pki: &Pki) -> anyhow::Result<()> {
    let text = pki.admin_kubeconfig(&options.local_url());
    kubeconfig::write(&options.write_kubeconfig, &text, options.write_kubeconfig_mode).context("--write-kubeconfig")
}

/// What this server shows to extension API servers.
fn front_proxy(pki: &Pki) -> Result<webhook::Identity, PkiError> {
    let leaf = pki.leaf(Role::FrontProxy);
    Ok(webhook::Identity { cert_pem: leaf.cert_pem.as_str().into(), key: Arc::new(leaf.certified_key()?) })
}

async fn renew_front_proxy(pki: Arc<Pki>, aggregation: Aggregation, stop: CancellationToken) {
    let mut renewals = pki.renewals();
    while let Some(Ok(())) = stop.run_until_cancelled(renewals.changed()).await {
        match front_proxy(&pki) {
            Ok(identity) => aggregation.identify_as(identity),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(error, "extension API servers are shown the old certificate");
            }
        }
    }
}

async fn renew_kubeconfig(pki: Arc<Pki>, options: ServerOptions, stop: CancellationToken) {
    let mut renewals = pki.renewals();
    while let Some(Ok(())) = stop.run_until_cancelled(renewals.changed()).await {
        if let Err(error) = write_kubeconfig(&options, &pki) {
            tracing::error!(error = %format!("{error:#}"), "the kubeconfig keeps its old certificate");
        }
    }
}
