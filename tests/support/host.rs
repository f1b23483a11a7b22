//! One host: a network namespace with an address, a data directory, and the executable running in it.
//!
//! A host is taken down when it is dropped, pods and mounts included, whatever the test's outcome.

use std::{
    fs,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The executable under test.
pub const MK8S: &str = env!("CARGO_BIN_EXE_mk8s");

/// See the module.
pub struct Host {
    pub name: String,
    pub address: String,
    pub data_dir: PathBuf,
    server: Option<Child>,
    flags: Vec<String>,
    _directory: tempfile::TempDir,
}

impl Host {
    /// A fresh namespace with a server whose node is Ready. `name` is at most eight characters and unique among the
    /// tests.
    pub fn start(name: &str, flags: &[&str]) -> Host {
        assert!(nix::unistd::geteuid().is_root(), "cluster tests need root: run `sudo tests/run`");
        let directory = tempfile::Builder::new().prefix("mk8s-").tempdir().expect("a scratch directory");
        let namespace = format!("mk8s-{name}");
        let address = "10.99.0.1".to_owned();
        quiet("ip", &["netns", "delete", &namespace]);
        run("ip", &["netns", "add", &namespace]);
        let mut host = Host {
            name: name.to_owned(),
            address,
            data_dir: directory.path().join("data"),
            server: None,
            flags: flags.iter().map(|f| (*f).to_owned()).collect(),
            _directory: directory,
        };
        host.inside("ip", &["link", "set", "lo", "up"]);
        host.inside("ip", &["link", "add", "eth0", "type", "dummy"]);
        host.inside("ip", &["address", "add", &format!("{}/24", host.address), "dev", "eth0"]);
        host.inside("ip", &["link", "set", "eth0", "up"]);
        host.inside("ip", &["route", "add", "default", "via", "10.99.0.254"]);
        host.start_server();
        host
    }

    /// Starts the server and waits until its node is Ready; returns how long that took.
    pub fn start_server(&mut self) -> Duration {
        let begun = Instant::now();
        fs::create_dir_all(&self.data_dir).expect("the data directory");
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("the server's log");
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/mk8s-{}", self.name))
            .args([MK8S, "server", "--node-name", &self.name, "--node-ip", &self.address, "--data-dir"])
            .arg(&self.data_dir)
            .arg("--write-kubeconfig")
            .arg(self.kubeconfig())
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .process_group(0);
        self.server = Some(command.spawn().expect("nsenter can be started"));
        self.wait("the node is Ready", Duration::from_secs(60), |host| {
            host.try_kubectl(&["get", "nodes", "--no-headers"])
                .is_some_and(|out| out.lines().any(|l| l.split_whitespace().nth(1) == Some("Ready")))
        });
        begun.elapsed()
    }

    /// Sends a signal to the server and waits until it has ended; pods go on.
    pub fn stop_server(&mut self, signal: nix::sys::signal::Signal) -> Duration {
        let begun = Instant::now();
        if let Some(mut server) = self.server.take() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).expect("a pid"));
            nix::sys::signal::kill(pid, signal).expect("the server can be signalled");
            server.wait().expect("the server can be waited for");
        }
        begun.elapsed()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir.join("kubeconfig.yaml")
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }

    /// The last part of the server's log, for messages.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.log_path()) {
            // A log that cannot be read leaves the message without it.
            drop(file.read_to_string(&mut text));
        }
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Runs a program in the host's network.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/mk8s-{}", self.name))
            .arg(program.as_ref())
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in the host's network and returns what it printed; it must succeed.
    pub fn inside(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("nsenter can be started");
        self.succeeded(&format!("{program} {}", arguments.join(" ")), output)
    }

    /// Stock kubectl against this host; it must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.inside("kubectl", arguments)
    }

    /// Stock kubectl; `None` when it fails.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command("kubectl").args(arguments).output().expect("nsenter can be started");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) {
        let path = self.data_dir.with_extension("manifest.yaml");
        fs::write(&path, manifest).expect("the manifest can be written");
        self.kubectl(&["apply", "-f", path.to_str().expect("a plain path")]);
    }

    /// Waits until something holds; fails with the server's log after `within`.
    pub fn wait(&self, what: &str, within: Duration, mut holds: impl FnMut(&Host) -> bool) {
        let deadline = Instant::now() + within;
        while !holds(self) {
            assert!(Instant::now() < deadline, "not within {within:?}: {what}\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn succeeded(&self, what: &str, output: Output) -> String {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{what} failed: {text}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log_tail()
        );
        text
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop_server(nix::sys::signal::Signal::SIGKILL);
        let data = self.data_dir.to_str().unwrap_or_default().to_owned();
        // The private containerd, its shims and their containers all name the data directory or descend from one that does.
        let script = format!(
            r#"
below() {{ for c in $(cat /proc/$1/task/*/children 2>/dev/null); do below $c; done; echo $1; }}
for f in /proc/[0-9]*/cmdline; do
  p=${{f#/proc/}}; p=${{p%/cmdline}}
  [ $p != $$ ] && tr '\0' ' ' <$f 2>/dev/null | grep -q 'containerd.*{data}/' && for q in $(below $p); do kill -9 $q 2>/dev/null; done
done
for _ in 1 2; do awk -v a='{data}/' 'index($2, a) == 1 {{ print $2 }}' /proc/mounts | sort -r | while read m; do umount -l "$m"; done; done
true"#
        );
        quiet("sh", &["-c", &script]);
        quiet("ip", &["netns", "delete", &format!("mk8s-{}", self.name)]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("the program can be started");
    assert!(status.success(), "{program} {} failed", arguments.join(" "));
}

/// For clean-up: what is gone already is fine.
fn quiet(program: &str, arguments: &[&str]) {
    let command = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    drop(command);
}
