//! The configuration of the private containerd, version 2 of the format: 1.6 and 1.7 read it, 2.x converts it.

use crate::{AgentOptions, cgroup, options::Paths};
use std::{fmt::Write, path::PathBuf};

pub(super) struct ContainerdConfig {
    pub root: PathBuf,
    pub state: PathBuf,
    pub socket: PathBuf,
    pub cni_bin: PathBuf,
    pub cni_conf: PathBuf,
    pub registries: PathBuf,
    pub pause_image: String,
    /// The kernel refuses to make a process less likely to be killed without CAP_SYS_RESOURCE.
    pub restrict_oom_score_adj: bool,
    pub systemd_cgroup: bool,
    pub disable_apparmor: bool,
    pub runtime: &'static str,
}

impl ContainerdConfig {
    pub(super) fn detect(options: &AgentOptions, paths: &Paths) -> ContainerdConfig {
        ContainerdConfig {
            root: paths.containerd_root(),
            state: paths.state.join("containerd"),
            socket: paths.containerd_socket(),
            cni_bin: paths.cni_bin(),
            cni_conf: paths.cni_conf(),
            registries: paths.registries(),
            pause_image: options.pause_image.clone(),
            restrict_oom_score_adj: !cgroup::may_lower_oom_score(),
            systemd_cgroup: cgroup::systemd_driver(),
            disable_apparmor: super::find("apparmor_parser").is_none(),
            runtime: if super::find("runc").is_some() { "runc" } else { "crun" },
        }
    }

    pub(super) fn to_toml(&self) -> String {
        let mut out = String::from("# Written by mk8s at every start.\nversion = 2\n");
        let quote = |path: &PathBuf| format!("{:?}", path.display().to_string());
        let mut line = |text: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{text}");
        };
        line(format!("root = {}", quote(&self.root)));
        line(format!("state = {}", quote(&self.state)));
        line(String::new());
        line("[grpc]".into());
        line(format!("  address = {}", quote(&self.socket)));
        line(String::new());
        line("[plugins.\"io.containerd.internal.v1.opt\"]".into());
        line(format!("  path = {}", quote(&self.root.join("opt"))));
        line(String::new());
        line("[plugins.\"io.containerd.grpc.v1.cri\"]".into());
        line(format!("  sandbox_image = {:?}", self.pause_image));
        line(format!("  restrict_oom_score_adj = {}", self.restrict_oom_score_adj));
        line(format!("  disable_apparmor = {}", self.disable_apparmor));
        line("  stream_server_address = \"127.0.0.1\"".into());
        line("  stream_server_port = \"0\"".into());
        line("  max_container_log_line_size = 16384".into());
        line("  [plugins.\"io.containerd.grpc.v1.cri\".cni]".into());
        line(format!("    bin_dir = {}", quote(&self.cni_bin)));
        line(format!("    conf_dir = {}", quote(&self.cni_conf)));
        line("    max_conf_num = 1".into());
        line("  [plugins.\"io.containerd.grpc.v1.cri\".containerd]".into());
        line("    snapshotter = \"overlayfs\"".into());
        line("    default_runtime_name = \"runc\"".into());
        line("    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]".into());
        line("      runtime_type = \"io.containerd.runc.v2\"".into());
        line("      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]".into());
        line(format!("        SystemdCgroup = {}", self.systemd_cgroup));
        if self.runtime != "runc" {
            line(format!("        BinaryName = {:?}", self.runtime));
        }
        line("  [plugins.\"io.containerd.grpc.v1.cri\".registry]".into());
        line(format!("    config_path = {}", quote(&self.registries)));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn configuration_is_complete() {
        let config = ContainerdConfig {
            root: "/d/agent/containerd".into(),
            state: "/run/mk8s/1/containerd".into(),
            socket: "/run/mk8s/1/containerd.sock".into(),
            cni_bin: "/d/agent/cni/bin".into(),
            cni_conf: "/d/agent/cni/net.d".into(),
            registries: "/d/agent/etc/containerd/certs.d".into(),
            pause_image: "docker.io/mk8s/pause:1".into(),
            restrict_oom_score_adj: true,
            systemd_cgroup: false,
            disable_apparmor: true,
            runtime: "runc",
        };
        expect![[r#"
            # Written by mk8s at every start.
            version = 2
            root = "/d/agent/containerd"
            state = "/run/mk8s/1/containerd"

            [grpc]
              address = "/run/mk8s/1/containerd.sock"

            [plugins."io.containerd.internal.v1.opt"]
              path = "/d/agent/containerd/opt"

            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "docker.io/mk8s/pause:1"
              restrict_oom_score_adj = true
              disable_apparmor = true
              stream_server_address = "127.0.0.1"
              stream_server_port = "0"
              max_container_log_line_size = 16384
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "/d/agent/cni/bin"
                conf_dir = "/d/agent/cni/net.d"
                max_conf_num = 1
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "overlayfs"
                default_runtime_name = "runc"
                [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
                  runtime_type = "io.containerd.runc.v2"
                  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                    SystemdCgroup = false
              [plugins."io.containerd.grpc.v1.cri".registry]
                config_path = "/d/agent/etc/containerd/certs.d"
        "#]]
        .assert_eq(&config.to_toml());
    }
}
