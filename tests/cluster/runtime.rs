//! Images that are brought by hand, and a runtime that is not mk8s' own.

use crate::support::{host::Host, images, shared, space::Space, tools};
use std::{fs, os::unix::fs::symlink, process::Stdio, time::Duration};

#[test]
fn an_image_is_imported_by_hand() {
    let space = Space::new(shared(), "by-hand");
    let archive = shared().scratch("by-hand").join("image.tar");
    let image = images::Image { names: vec!["by-hand:7"], ..images::all()[0].clone() };
    fs::write(&archive, images::docker_archive(&[image])).expect("the archive can be written");
    let run = |verb: &[&str]| {
        let mut command = shared().command(tools::mk8s());
        command
            .arg("image")
            .args(verb)
            .arg("--data-dir")
            .arg(&shared().data_dir)
            .output()
            .expect("nsenter can be started")
    };
    let output = run(&["import", &archive.display().to_string()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "docker.io/library/by-hand:7 imported\n");
    let list = run(&["ls"]).stdout;
    assert!(String::from_utf8_lossy(&list).lines().any(|line| line.starts_with("docker.io/library/by-hand:7 ")));
    space.kubectl(&["run", "one", "--image=by-hand:7", "--image-pull-policy=Never", "--", "sleep", "3600"]);
    space.ready("one");

    fs::write(&archive, "no archive").expect("the file can be written");
    let output = run(&["import", &archive.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("error: ") && said.contains("image.tar"), "{said}");
}

/// containerd as somebody may have it: its own directories, socket and pod network.
const CONTAINERD: &str = r#"version = 2
root = "DIR/root"
state = "DIR/state"
[grpc]
  address = "DIR/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "DIR/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/mk8s/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "DIR/bin"
    conf_dir = "DIR/net.d"
"#;

const NETWORK: &str = r#"{"cniVersion": "1.0.0", "name": "own", "plugins": [{
  "type": "mk8s-cni", "bridge": "own0", "podCidr": "10.42.9.0/24", "clusterCidr": "10.42.0.0/16", "mtu": 1500,
  "dataDir": "DIR/addresses", "capabilities": {"portMappings": true}}]}"#;

#[test]
fn a_runtime_of_ones_own_is_used() {
    let mut host = Host::prepare("own-runtime", &[]);
    let folder = host.scratch("containerd");
    let dir = folder.display().to_string();
    for name in ["bin", "net.d", "opt"] {
        fs::create_dir_all(folder.join(name)).expect("a directory");
    }
    for plugin in ["mk8s-cni", "loopback"] {
        symlink(tools::mk8s(), folder.join("bin").join(plugin)).expect("a link");
    }
    fs::write(folder.join("net.d/10-own.conflist"), NETWORK.replace("DIR", &dir)).expect("the network");
    fs::write(folder.join("config.toml"), CONTAINERD.replace("DIR", &dir)).expect("the configuration");
    let log = fs::File::create(folder.join("log")).expect("a log");
    let mut command = host.command("containerd");
    command.arg("--config").arg(folder.join("config.toml")).stdout(Stdio::null()).stderr(log);
    let mut containerd = command.spawn().expect("containerd can be started");
    let socket = folder.join("containerd.sock");
    host.wait("containerd listens", Duration::from_secs(30), |_| socket.exists());

    host.add_flags(&["--container-runtime-endpoint", &format!("unix://{}", socket.display())]);
    host.start_server();
    host.kubectl(&["run", "guest", "--image=mk8s/hello:1", "--port=8080"]);
    host.kubectl(&["wait", "--for=condition=Ready", "pod/guest", "--timeout=60s"]);
    let address = host.kubectl(&["get", "pod", "guest", "-o", "jsonpath={.status.podIP}"]);
    assert!(address.starts_with("10.42.9."), "the runtime's own network: {address}");
    assert!(host.curl(&format!("http://{address}:8080/")).is_some_and(|text| text.contains("guest")));
    assert_eq!(host.pids(&["agent/etc/containerd"]).len(), 0, "no private containerd beside it");
    host.kubectl(&["delete", "pod", "guest"]);
    drop(containerd.kill());
    drop(containerd.wait());
}
