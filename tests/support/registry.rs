//! A registry in a host's network: Debian's `docker-registry` with the tests' images, and containerd told to use it.

use super::{host::Host, images};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

/// Runs until it is dropped.
pub(crate) struct Registry {
    /// `127.0.0.1:PORT`, as the host's own programs reach it.
    pub(crate) address: String,
    process: Child,
}

/// `fox666` with the password `xxx`, as htpasswd writes it.
const USERS: &str = "fox666:$2b$05$8zPjVsA5h2Le0x5VBXuYbO9jN/I8gCvN56IHSvC.5jNfWbVIOYx9W\n";
const LOGIN: &str = "fox666:xxx";

impl Registry {
    /// A registry that anyone may read.
    pub(crate) fn open(host: &Host, port: u16) -> Registry {
        Registry::start(host, port, "")
    }

    /// One that wants the login of the user `fox666`.
    pub(crate) fn closed(host: &Host, port: u16) -> Registry {
        let users = host.scratch("registry").join("users");
        fs::write(&users, USERS).expect("the users can be written");
        Registry::start(host, port, &format!("auth: {{htpasswd: {{realm: tests, path: {}}}}}\n", users.display()))
    }

    fn start(host: &Host, port: u16, more: &str) -> Registry {
        let folder = host.scratch("registry");
        let address = format!("127.0.0.1:{port}");
        let config = folder.join(format!("{port}.yaml"));
        let storage = folder.join(format!("{port}")).display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: '{address}'}}\n{more}"
        );
        fs::write(&config, text).expect("the configuration can be written");
        let mut command = host.command("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("docker-registry can be started: is the package installed?");
        let registry = Registry { address, process };
        host.wait("the registry answers", Duration::from_secs(10), |host| {
            registry.curl(host, &["-o", "/dev/null"], "/v2/").is_some()
        });
        registry
    }

    /// Makes containerd ask this registry for the images of another one.
    pub(crate) fn stands_for(&self, host: &Host, name: &str) {
        let folder = host.data_dir.join("agent/etc/containerd/certs.d").join(name);
        fs::create_dir_all(&folder).expect("the registry's folder");
        let text = format!(
            "server = \"http://{0}\"\n\n[host.\"http://{0}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
            self.address
        );
        fs::write(folder.join("hosts.toml"), text).expect("the registry's configuration");
    }

    /// Uploads every test image as `library/<name>`.
    pub(crate) fn fill(&self, host: &Host) {
        for image in images::all() {
            for name in &image.names {
                let (repository, tag) = name.split_once(':').expect("names have tags");
                self.push(host, image, &format!("library/{repository}"), tag);
            }
        }
    }

    /// Uploads an image under a name.
    pub(crate) fn push(&self, host: &Host, image: &images::Image, repository: &str, tag: &str) {
        let folder = host.scratch("upload");
        let layers: Vec<Value> = image
            .layers
            .iter()
            .map(|l| self.blob(host, &folder, repository, "application/vnd.docker.image.rootfs.diff.tar", l))
            .collect();
        let config =
            self.blob(host, &folder, repository, "application/vnd.docker.container.image.v1+json", &image.config);
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        let file = folder.join("manifest.json");
        fs::write(&file, manifest.to_string()).expect("the manifest can be written");
        let header = format!("Content-Type: {kind}");
        let upload = format!("@{}", file.display());
        let done = self.curl(
            host,
            &["-X", "PUT", "-H", &header, "--data-binary", &upload],
            &format!("/v2/{repository}/manifests/{tag}"),
        );
        assert!(done.is_some(), "the registry refuses the manifest of {repository}:{tag}");
    }

    fn blob(&self, host: &Host, folder: &Path, repository: &str, kind: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", images::digest(bytes));
        let descriptor = json!({"mediaType": kind, "size": bytes.len(), "digest": digest});
        if self.curl(host, &["-I"], &format!("/v2/{repository}/blobs/{digest}")).is_some() {
            return descriptor;
        }
        let begun = self.curl(host, &["-X", "POST", "-D", "-"], &format!("/v2/{repository}/blobs/uploads/"));
        let answer = begun.expect("the registry takes uploads");
        let place = answer
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
        let (_, place) = place.expect("an upload has a place");
        let path = place.trim().split_once(&self.address).map_or(place.trim(), |(_, path)| path);
        let file = folder.join("blob");
        fs::write(&file, bytes).expect("the blob can be written");
        let upload = format!("@{}", file.display());
        let kind = "Content-Type: application/octet-stream";
        let done =
            self.curl(host, &["-X", "PUT", "-H", kind, "--data-binary", &upload], &format!("{path}&digest={digest}"));
        assert!(done.is_some(), "the registry refuses a blob of {repository}");
        descriptor
    }

    fn curl(&self, host: &Host, arguments: &[&str], path: &str) -> Option<String> {
        let mut command = host.command("curl");
        command
            .args(["-sf", "--max-time", "20", "-u", LOGIN])
            .args(arguments)
            .arg(format!("http://{}{path}", self.address));
        let output = command.output().expect("curl can be started");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
