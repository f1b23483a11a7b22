//! Several servers, beside each other in one network with a port of its own each, or each in a network of its own: joining,
//! dying, being asked, beginning anew.

mod asking;
mod faults;
mod harm;
mod load;
mod nodes;
mod renewal;
mod sealing;
mod strangers;
mod witness;

use crate::support::{host::Host, tools, tools::Kubectl};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output},
    sync::Mutex,
    time::{Duration, Instant},
};

/// A server without a node, on a port of its own.
struct Server<'a> {
    host: &'a Host,
    name: String,
    port: u16,
    dir: PathBuf,
    flags: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl<'a> Server<'a> {
    /// Prepares one that does not run.
    fn new(host: &'a Host, name: &str, port: u16, flags: Vec<String>) -> Server<'a> {
        let dir = host.scratch(name);
        Server { host, name: name.to_owned(), port, dir, flags, child: Mutex::new(None) }
    }

    fn start(host: &'a Host, name: &str, port: u16, flags: Vec<String>) -> Server<'a> {
        let server = Server::new(host, name, port, flags);
        server.run();
        server
    }

    fn run(&self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).expect("the log");
        let mut command = self.host.command(tools::mk8s());
        command.args(["server", "--disable-agent", "--node-name", &self.name, "--node-ip", &self.host.address]);
        command.args(["--tls-san", &self.host.outside]);
        command.args(["--https-listen-port", &self.port.to_string(), "--data-dir"]).arg(self.data_dir());
        command.arg("--write-kubeconfig").arg(self.kubeconfig()).args(&self.flags);
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        *self.child.lock().expect("not poisoned") = Some(command.spawn().expect("nsenter can be started"));
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    fn token(&self) -> String {
        let token = fs::read_to_string(self.data_dir().join("server/token")).expect("a token");
        token.trim().to_owned()
    }

    /// The flags that join a server to this one.
    fn joining(&self, token: &str) -> Vec<String> {
        let url = format!("https://{}:{}", self.host.address, self.port);
        ["--join", &url, "--token", token].map(str::to_owned).to_vec()
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = self.child.lock().expect("not poisoned").as_ref() {
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
            kill(pid, signal).expect("it can be signalled");
        }
    }

    /// Ends it with a signal.
    fn end(&self, signal: Signal) {
        self.signal(signal);
        if let Some(mut child) = self.child.lock().expect("not poisoned").take() {
            child.wait().expect("it can be waited for");
        }
    }

    fn kill(&self) {
        self.end(Signal::SIGKILL);
    }

    fn kubectl(&self, arguments: &[&str]) -> Option<String> {
        let mut command = self.host.command(Kubectl::Newest.program());
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        output(&mut command).ok()
    }

    /// `mk8s VERB ...` with this server's directory and address.
    fn mk8s(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.host.command(tools::mk8s());
        command.args(arguments).arg("--data-dir").arg(self.data_dir());
        output(command.args(["--server", &format!("https://{}:{}", self.host.address, self.port)]))
    }

    fn cluster(&self, arguments: &[&str]) -> Option<String> {
        self.mk8s(&[&["cluster"], arguments].concat()).ok()
    }

    /// A client from the root namespace.
    async fn client(&self) -> Client {
        let mut kubeconfig = Kubeconfig::read_from(self.kubeconfig()).expect("the kubeconfig is good");
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.server = Some(format!("https://{}:{}", self.host.outside, self.port));
        }
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the kubeconfig is good");
        config.connect_timeout = Some(Duration::from_secs(1));
        Client::try_from(config).expect("a client can be made")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The last lines of its log.
    fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn wait<T>(&self, what: &str, within: Duration, mut seen: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(seen) = seen(self) {
                return seen;
            }
            assert!(Instant::now() < deadline, "{}: not within {within:?}: {what}\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait_until_ready(&self) {
        self.wait("it is ready", Duration::from_secs(60), |server| server.kubectl(&["get", "--raw", "/readyz"]));
    }

    /// Waits until this server knows a leader and so many voters beside it.
    fn wait_for_voters(&self, voters: usize) {
        self.wait("all vote", Duration::from_secs(60), |server| {
            let members = server.cluster(&["members"])?;
            let whole = with_role(&members, "voter").len() == voters && with_role(&members, "leader").len() == 1;
            whole.then_some(())
        });
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What it printed, or what it said went wrong.
fn output(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().expect("nsenter can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
}

/// The names of the servers that have a role.
fn with_role(members: &str, role: &str) -> Vec<String> {
    let rows = members.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&role)).map(|row| row[1].to_owned()).collect()
}

/// Three servers that all vote.
fn three(host: &Host) -> [Server<'_>; 3] {
    let first = Server::start(host, "a", 6443, Vec::new());
    first.wait_until_ready();
    let joining = first.joining(&first.token());
    let others = [("b", 6444), ("c", 6445)].map(|(name, port)| Server::start(host, name, port, joining.clone()));
    let [second, third] = others;
    let servers = [first, second, third];
    for server in &servers {
        server.wait_for_voters(2);
    }
    servers
}

/// The one that leads, as any of them says.
fn leader<'s, 'h>(servers: &'s [Server<'h>]) -> &'s Server<'h> {
    servers[0].wait("somebody knows the leader", Duration::from_secs(30), |_| {
        let name = servers.iter().find_map(|server| with_role(&server.cluster(&["members"])?, "leader").pop())?;
        servers.iter().find(|server| server.name == name)
    })
}
