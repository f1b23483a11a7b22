//! The private containerd: started, watched, started again, and never taken along when mk8s ends.
//!
//! ```text
//! socket answers? ──yes──▶ adopt: watch it by its pid file
//!       │no
//!       ▼
//! start in a session of its own ──▶ wait for it ──▶ died: again after a backoff
//! ```
//!
//! Containers are children of their shims, and those of init: containerd's death stops none of them either.

mod config;
mod log;

use crate::{AgentOptions, options::Paths};
use config::ContainerdConfig;
use mk8s_cri::Containerd;
use std::{
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long containerd may take to answer after its start, on a slow disk with many images.
const START_LIMIT: Duration = Duration::from_secs(60);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error(
        "{program} is not installed: install the package {package}, or name a running runtime with --container-runtime-endpoint"
    )]
    Missing { program: &'static str, package: &'static str },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start {path}")]
    Start {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("containerd did not answer on {socket} within {} s; its log is {log}", START_LIMIT.as_secs())]
    Silent { socket: PathBuf, log: PathBuf },
    #[error(transparent)]
    Runtime(#[from] mk8s_cri::CriError),
}

/// Starts or adopts containerd and returns when it answers; then keeps it running until `stop`.
pub(crate) async fn containerd(options: &AgentOptions, stop: CancellationToken) -> Result<PathBuf, SuperviseError> {
    let paths = options.paths();
    let daemon = Daemon::prepare(options, &paths)?;
    let client = Containerd::new(&daemon.socket)?;
    let child = match answers(&client).await {
        true => {
            tracing::info!(socket = %daemon.socket.display(), "containerd runs already, adopting it");
            None
        }
        false => Some(daemon.start()?),
    };
    let (socket, log) = (daemon.socket.clone(), daemon.log.clone());
    daemon.await_answer(&client).await?;
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep(daemon, client, child) => {}
            () = log::keep_short(log) => {}
        }
    });
    Ok(socket)
}

struct Daemon {
    program: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    fn prepare(options: &AgentOptions, paths: &Paths) -> Result<Daemon, SuperviseError> {
        let program =
            find("containerd").ok_or(SuperviseError::Missing { program: "containerd", package: "containerd" })?;
        if find("runc").is_none() && find("crun").is_none() {
            return Err(SuperviseError::Missing { program: "runc", package: "runc" });
        }
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| SuperviseError::Write { path, source }
        };
        let config = ContainerdConfig::detect(options, paths);
        for folder in
            [&config.root, &config.state, &config.cni_bin, &config.cni_conf, &config.registries, &paths.images()]
        {
            std::fs::create_dir_all(folder).map_err(write(folder))?;
        }
        let daemon = Daemon {
            program,
            config: paths.root.join("etc/containerd/config.toml"),
            pid_file: paths.state.join("containerd.pid"),
            log: paths.root.join("containerd.log"),
            socket: config.socket.clone(),
        };
        std::fs::write(&daemon.config, config.to_toml()).map_err(write(&daemon.config))?;
        Ok(daemon)
    }

    fn start(&self) -> Result<Child, SuperviseError> {
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = open.map_err(|source| SuperviseError::Write { path: self.log.clone(), source })?;
        let log_too = log.try_clone().map_err(|source| SuperviseError::Write { path: self.log.clone(), source })?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).stdin(Stdio::null()).stdout(log).stderr(log_too);
        // Not told where systemd listens: it would report mk8s as ready.
        command.env_remove("NOTIFY_SOCKET");
        own_session(&mut command);
        let child = command.spawn().map_err(|source| SuperviseError::Start { path: self.program.clone(), source })?;
        if let Err(error) = std::fs::write(&self.pid_file, child.id().to_string()) {
            tracing::warn!(path = %self.pid_file.display(), %error, "the pid of containerd cannot be noted");
        }
        tracing::info!(pid = child.id(), log = %self.log.display(), "containerd started");
        Ok(child)
    }

    async fn await_answer(&self, client: &Containerd) -> Result<(), SuperviseError> {
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT {
            if answers(client).await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(SuperviseError::Silent { socket: self.socket.clone(), log: self.log.clone() })
    }

    /// An adopted containerd is no child; its pid file says whom to watch.
    async fn await_end_of_stranger(&self, client: &Containerd) {
        let pid = std::fs::read_to_string(&self.pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        loop {
            let lives = match pid {
                Some(pid) => nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok(),
                None => answers(client).await,
            };
            if !lives {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn keep(daemon: Daemon, client: Containerd, mut child: Option<Child>) {
    let mut backoff = Duration::from_millis(100);
    loop {
        let since = Instant::now();
        match child.take() {
            Some(child) => await_end(child).await,
            None => daemon.await_end_of_stranger(&client).await,
        }
        tracing::warn!(log = %daemon.log.display(), "containerd ended, starting it again");
        if since.elapsed() > Duration::from_secs(60) {
            backoff = Duration::from_millis(100);
        }
        loop {
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            match daemon.start() {
                Ok(started) => {
                    child = Some(started);
                    break;
                }
                Err(error) => tracing::error!(%error, "containerd cannot be started"),
            }
        }
    }
}

async fn await_end(mut child: Child) {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: containerd outlives mk8s, and the runtime's own threads are waited for when mk8s ends.
    std::thread::spawn(move || drop(tell.send(child.wait())));
    if let Ok(Ok(status)) = told.await {
        tracing::warn!(%status, "containerd ended");
    }
}

async fn answers(client: &Containerd) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(2), client.version()).await, Ok(Ok(_)))
}

/// A program of `PATH`, also where daemons live when `PATH` is short.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Signals for mk8s's terminal or process group do not reach the child.
#[allow(unsafe_code)]
fn own_session(command: &mut Command) {
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
}
