//! Three servers beside each other in one network: the leader is killed under load, again and again.

use crate::support::{host::Host, tools, tools::Kubectl};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;

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
    fn start(host: &'a Host, name: &str, port: u16, flags: Vec<String>) -> Server<'a> {
        let dir = host.scratch(name);
        let server = Server { host, name: name.to_owned(), port, dir, flags, child: Mutex::new(None) };
        server.run();
        server
    }

    fn run(&self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).expect("the log");
        let mut command = self.host.command(tools::mk8s());
        command.args(["server", "--disable-agent", "--node-name", &self.name, "--node-ip", &self.host.address]);
        command.args(["--https-listen-port", &self.port.to_string(), "--data-dir"]).arg(self.dir.join("data"));
        command.arg("--write-kubeconfig").arg(self.dir.join("kubeconfig")).args(&self.flags);
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        *self.child.lock().expect("not poisoned") = Some(command.spawn().expect("nsenter can be started"));
    }

    fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("not poisoned").take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
            kill(pid, Signal::SIGKILL).expect("it can be signalled");
            child.wait().expect("it can be waited for");
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> Option<String> {
        let mut command = self.host.command(Kubectl::Newest.program());
        command.env("KUBECONFIG", self.dir.join("kubeconfig")).args(arguments);
        output(&mut command)
    }

    fn cluster(&self, arguments: &[&str]) -> Option<String> {
        let mut command = self.host.command(tools::mk8s());
        command.arg("cluster").args(arguments).arg("--data-dir").arg(self.dir.join("data"));
        output(command.args(["--server", &format!("https://{}:{}", self.host.address, self.port)]))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
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
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().expect("nsenter can be started");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names of the servers that have a role.
fn with_role(members: &str, role: &str) -> Vec<String> {
    let rows = members.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&role)).map(|row| row[1].to_owned()).collect()
}

fn names(server: &Server<'_>) -> Option<BTreeSet<String>> {
    let listed = server.kubectl(&["get", "configmaps", "-o", "name"])?;
    Some(listed.lines().map(|line| line.trim_start_matches("configmap/").to_owned()).collect())
}

#[test]
fn leaders_are_killed_under_load_and_nothing_acknowledged_is_lost() {
    let host = Host::prepare("servers", &[]);
    let first = Server::start(&host, "a", 6443, Vec::new());
    first.wait("it answers", Duration::from_secs(60), |server| server.kubectl(&["get", "--raw", "/readyz"]));
    let token = fs::read_to_string(first.dir.join("data/server/token")).expect("a token");
    let join = |token: &str| {
        vec![
            "--join".to_owned(),
            format!("https://{}:6443", host.address),
            "--token".to_owned(),
            token.trim().to_owned(),
        ]
    };
    let stranger = Server::start(&host, "x", 6449, join(&format!("K10{}::server:abc", "0".repeat(64))));
    stranger.wait("it is refused", Duration::from_secs(20), |server| {
        server.log().contains("its CA is not the one that the token names").then_some(())
    });
    let others = [("b", 6444), ("c", 6445)].map(|(name, port)| Server::start(&host, name, port, join(&token)));
    let servers: Vec<&Server<'_>> = std::iter::once(&first).chain(&others).collect();
    for server in &servers {
        server.wait("all three vote", Duration::from_secs(60), |server| {
            let members = server.cluster(&["members"])?;
            (with_role(&members, "voter").len() == 2 && with_role(&members, "leader").len() == 1).then_some(())
        });
    }

    let acknowledged: Mutex<Vec<(String, Instant)>> = Mutex::default();
    let (done, mut waits) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        for (writer, server) in servers.iter().enumerate() {
            let (acknowledged, done) = (&acknowledged, &done);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(Relaxed) {
                        return;
                    }
                    let name = format!("w{writer}-{number}");
                    if server.kubectl(&["create", "configmap", &name]).is_some() {
                        acknowledged.lock().expect("not poisoned").push((name, Instant::now()));
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            let members = first.wait("somebody knows the members", Duration::from_secs(30), |_| {
                servers.iter().find_map(|server| server.cluster(&["members"]).filter(|m| m.contains("leader")))
            });
            let name = with_role(&members, "leader").remove(0);
            let leader = servers.iter().find(|server| server.name == name).expect("it is one of them");
            leader.kill();
            let killed = Instant::now();
            // Begun after the kill, whoever takes it.
            let survivor = servers.iter().find(|server| server.name != name).expect("there are others");
            let probe = format!("probe-{}", waits.len());
            survivor.wait("a write is taken", Duration::from_secs(20), |server| {
                server.kubectl(&["create", "configmap", &probe])
            });
            waits.push(killed.elapsed());
            acknowledged.lock().expect("not poisoned").push((probe, Instant::now()));
            leader.run();
            leader.wait("it is back", Duration::from_secs(60), |server| server.kubectl(&["get", "--raw", "/readyz"]));
        }
        done.store(true, Relaxed);
    });

    let acknowledged: BTreeSet<String> =
        acknowledged.into_inner().expect("not poisoned").into_iter().map(|(name, _)| name).collect();
    let views: Vec<BTreeSet<String>> =
        servers.iter().map(|server| server.wait("a list", Duration::from_secs(30), names)).collect();
    for (server, view) in servers.iter().zip(&views) {
        let lost: Vec<&String> = acknowledged.difference(view).collect();
        assert!(lost.is_empty(), "server {} has lost {lost:?}", server.name);
    }
    assert!(views.iter().all(|view| *view == views[0]), "the servers show different things");
    let longest = waits.iter().max().expect("there were rounds");
    assert!(*longest < Duration::from_secs(4), "a write waited {longest:?} after the leader was killed");
}
