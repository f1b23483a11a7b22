//! One host: a network namespace with an address, a data directory, and the executable running in it.
//!
//! ```text
//!   root namespace                          namespace t-N
//!   link t-N 10.98.N.254  <--- veth --->    eth0 10.98.N.1   mk8s server -- containerd -- pods
//! ```
//!
//! [`Host::beside`] makes another one that runs an agent, on a bridge in the namespace of the first:
//!
//! ```text
//!   namespace t-N: lan 10.97.N.1 (bridge)  <--- veth --->  lan0 10.97.N.2, .3, ...  mk8s agent, namespaces t-M
//! ```
//!
//! A host is taken down when it is dropped or when the tests' process ends, pods and mounts included, whatever the
//! outcome: [`Guard`] waits for either in a process of its own.

use super::{images, tools};
use crate::support::tools::Kubectl;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// See the module.
pub(crate) struct Host {
    /// The node's name.
    pub(crate) name: String,
    /// The node's address.
    pub(crate) address: String,
    /// The address at which the root namespace reaches it: the same, unless it is in a network with other hosts.
    pub(crate) outside: String,
    pub(crate) data_dir: PathBuf,
    namespace: String,
    server: Option<Child>,
    /// What the program does, with the flags that belong to that.
    verb: Vec<String>,
    flags: Vec<String>,
    kubeconfig: PathBuf,
    directory: PathBuf,
    _guard: Guard,
}

impl Host {
    /// A fresh namespace with a server whose node is Ready and has the tests' images.
    pub(crate) fn start(name: &str, flags: &[&str]) -> Host {
        let mut host = Host::prepare(name, flags);
        host.start_server();
        host
    }

    /// The same without the server.
    pub(crate) fn prepare(name: &str, flags: &[&str]) -> Host {
        assert!(geteuid().is_root(), "cluster tests need root: run `sudo tests/run`");
        let directory = tempfile::Builder::new().prefix("mk8s-").tempdir().expect("a scratch directory").keep();
        let (number, namespace) = namespace();
        let guard = Guard::new(&directory, &namespace);
        let kubeconfig = directory.join("data/kubeconfig.yaml");
        let host = Host {
            name: name.to_owned(),
            address: format!("10.98.{number}.1"),
            outside: format!("10.98.{number}.1"),
            data_dir: directory.join("data"),
            namespace,
            server: None,
            verb: vec!["server".into(), "--write-kubeconfig".into(), kubeconfig.display().to_string()],
            kubeconfig,
            flags: flags.iter().map(|f| (*f).to_owned()).collect(),
            directory,
            _guard: guard,
        };
        let outside = format!("10.98.{number}.254");
        run("ip", &["address", "add", &format!("{outside}/24"), "dev", &host.namespace]);
        run("ip", &["link", "set", &host.namespace, "up"]);
        host.inside("ip", &["link", "set", "lo", "up"]);
        host.inside("ip", &["address", "add", &format!("{}/24", host.address), "dev", "eth0"]);
        host.inside("ip", &["link", "set", "eth0", "up"]);
        host.inside("ip", &["route", "add", "default", "via", &outside]);
        images::place(&host.data_dir.join("agent/images"));
        host
    }

    /// The network in which other hosts will be; from now on this host's address is the one that it has there.
    pub(crate) fn open_lan(&mut self) {
        let number = self.address.split('.').nth(2).expect("an address has parts");
        self.address = format!("10.97.{number}.1");
        self.inside("ip", &["link", "add", "lan", "type", "bridge"]);
        self.inside("ip", &["address", "add", &format!("{}/24", self.address), "dev", "lan"]);
        self.inside("ip", &["link", "set", "lan", "up"]);
        // The bridge stands for a switch, which knows no rules of packets.
        let switch = "file=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $file ] || echo 0 >$file";
        self.inside("sh", &["-c", switch]);
    }

    /// A host in the same network, the `n`th address of it, with an agent that is not started yet.
    pub(crate) fn beside(&self, name: &str, n: u8, join: &[&str]) -> Host {
        let mut host = Host::prepare(name, &[]);
        host.address = format!("{}.{n}", self.address.rsplit_once('.').expect("an address has parts").0);
        host.verb = ["agent"].iter().chain(join).map(|word| (*word).to_owned()).collect();
        host.kubeconfig.clone_from(&self.kubeconfig);
        let port = format!("lan{n}");
        self.inside("ip", &["link", "add", &port, "type", "veth", "peer", "name", "lan0", "netns", &host.namespace]);
        self.inside("ip", &["link", "set", &port, "master", "lan", "up"]);
        host.inside("ip", &["address", "add", &format!("{}/24", host.address), "dev", "lan0"]);
        host.inside("ip", &["link", "set", "lan0", "up"]);
        host
    }

    /// More flags for the server, from its next start on.
    pub(crate) fn add_flags(&mut self, flags: &[&str]) {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    /// Starts the server and waits until its node is Ready; returns how long that took.
    pub(crate) fn start_server(&mut self) -> Duration {
        let begun = Instant::now();
        self.spawn_server();
        self.wait("the node is Ready", Duration::from_secs(60), |host| {
            host.try_kubectl(&["get", "node", &host.name, "--no-headers"])
                .is_some_and(|out| out.split_whitespace().nth(1) == Some("Ready"))
        });
        begun.elapsed()
    }

    /// Starts the server and waits for nothing.
    pub(crate) fn spawn_server(&mut self) {
        fs::create_dir_all(&self.data_dir).expect("the data directory");
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("the server's log");
        let mut command = self.command(tools::mk8s());
        command
            .args(&self.verb)
            .args(["--node-name", &self.name, "--node-ip", &self.address, "--data-dir"])
            .arg(&self.data_dir)
            .args(&self.flags)
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .process_group(0);
        self.server = Some(command.spawn().expect("nsenter can be started"));
    }

    /// Sends a signal to the server and waits until it has ended; pods go on.
    pub(crate) fn stop_server(&mut self, signal: Signal) -> Duration {
        let begun = Instant::now();
        if let Some(mut server) = self.server.take() {
            kill(pid_of(&server), signal).expect("the server can be signalled");
            while server.try_wait().expect("the server can be waited for").is_none() {
                if begun.elapsed() > Duration::from_secs(20) {
                    drop(server.kill());
                    panic!("{signal} does not end the server\n{}", self.log_tail());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        begun.elapsed()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// A place for the test's own files, gone with the host.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).expect("a scratch directory");
        path
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }

    /// The last part of the server's log, for messages.
    pub(crate) fn log_tail(&self) -> String {
        self.log_end(40)
    }

    /// The last lines of the server's log.
    pub(crate) fn log_end(&self, count: usize) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// A program in the host's network. `ip netns exec` would hide the control groups.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg(program.as_ref())
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in the host's network and returns what it printed; it must succeed.
    pub(crate) fn inside(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("nsenter can be started");
        self.succeeded(&format!("{program} {}", arguments.join(" ")), &output)
    }

    /// Stock kubectl against this host; it must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.run_kubectl(arguments);
        self.succeeded(&format!("kubectl {}", arguments.join(" ")), &output)
    }

    /// Stock kubectl; `None` when it fails.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Option<String> {
        let output = self.run_kubectl(arguments);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stock kubectl, whatever its outcome.
    pub(crate) fn run_kubectl(&self, arguments: &[&str]) -> Output {
        self.command(Kubectl::Newest.program()).args(arguments).output().expect("nsenter can be started")
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &str) {
        self.apply_with(&[], manifest);
    }

    /// Applies a manifest with more flags.
    pub(crate) fn apply_with(&self, flags: &[&str], manifest: &str) {
        let mut command = self.command(Kubectl::Newest.program());
        command
            .args(["apply", "-f", "-"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter can be started");
        let mut input = child.stdin.take().expect("it is piped");
        // A program that does not read its input says why itself.
        drop(input.write_all(manifest.as_bytes()));
        drop(input);
        let output = child.wait_with_output().expect("the program can be waited for");
        self.succeeded("kubectl apply", &output);
    }

    /// What a URL answers, asked from inside.
    pub(crate) fn curl(&self, url: &str) -> Option<String> {
        let output = self.command("curl").args(["-sf", "--max-time", "2", url]).output().expect("curl can be started");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until something holds; fails with the server's log after `within`.
    pub(crate) fn wait(&self, what: &str, within: Duration, mut holds: impl FnMut(&Host) -> bool) {
        let deadline = Instant::now() + within;
        while !holds(self) {
            assert!(Instant::now() < deadline, "not within {within:?}: {what}\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a program's output is as wished; fails with the last output.
    pub(crate) fn wait_for(&self, arguments: &[&str], within: Duration, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + within;
        loop {
            let output = self.run_kubectl(arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && holds(&text) {
                return text;
            }
            assert!(
                Instant::now() < deadline,
                "not within {within:?}: kubectl {}\n{text}{}\n--- server:\n{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr),
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Pids of processes whose command line has all the words and this host's data or state directory.
    pub(crate) fn pids(&self, words: &[&str]) -> Vec<Pid> {
        let (directory, state) = (self.directory.display().to_string(), state_of(&self.data_dir).display().to_string());
        let of = |entry: fs::DirEntry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
            let ours = line.contains(&directory) || line.contains(&state);
            (ours && words.iter().all(|word| line.contains(word))).then(|| Pid::from_raw(pid))
        };
        fs::read_dir("/proc").expect("there is /proc").flatten().filter_map(of).collect()
    }

    fn succeeded(&self, what: &str, output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what} failed: {text}{errors}\n--- server:\n{}", self.log_tail());
        text
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop_server(Signal::SIGKILL);
    }
}

/// Cleans up after a host once its pipe is closed: by dropping, or by the end of this process.
struct Guard(Option<Child>);

impl Guard {
    fn new(directory: &Path, namespace: &str) -> Guard {
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("clean.sh"), "clean"])
            .arg(directory)
            .arg(state_of(&directory.join("data")))
            .arg(namespace);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Guard(Some(command.spawn().expect("there is a shell")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            drop(child.wait());
        }
    }
}

/// Where the agent keeps sockets: the data directory's path hashed, as in `mk8s_agent::Paths`.
fn state_of(data_dir: &Path) -> PathBuf {
    let hash = Sha256::digest(data_dir.to_string_lossy().as_bytes());
    let name: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Path::new("/run/mk8s").join(name)
}

/// A new namespace `t-N` and the link of the same name that leads to it; two processes never get the same number.
fn namespace() -> (u8, String) {
    for number in 1..250 {
        let name = format!("t-{number}");
        if !quiet("ip", &["netns", "add", &name]) {
            continue;
        }
        if quiet("ip", &["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name]) {
            return (number, name);
        }
        quiet("ip", &["netns", "delete", &name]);
    }
    panic!("no network namespace can be made: is this the root user, and does the kernel have veth?");
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("the program can be started");
    assert!(status.success(), "{program} {} failed", arguments.join(" "));
}

/// Whether it succeeded; what it says is of no interest.
fn quiet(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
