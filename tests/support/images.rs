//! Images that the tests run, packed from programs of this machine under the names that documents use.
//!
//! Every image has the same first layer (busybox, bash, users); programs come with the shared libraries that `ldd` names.
//! One archive in the format of `docker save` has all of them.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

/// One image under all of its names.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) names: Vec<&'static str>,
    pub(crate) config: Vec<u8>,
    /// Uncompressed tars.
    pub(crate) layers: Vec<Arc<Vec<u8>>>,
}

/// What a layer has, by path without the leading slash.
enum Item {
    File(Vec<u8>, u32),
    Link(&'static str),
    Folder(u32),
}

type Tree = BTreeMap<String, Item>;

const TOMCAT: &str = r#"#!/bin/sh
trap 'echo "INFO [Thread-1] org.apache.coyote.AbstractProtocol.stop Stopping ProtocolHandler"; exit 143' TERM
httpd -f -p 8080 -h "$CATALINA_HOME/webapps/ROOT" &
echo "INFO [main] org.apache.catalina.startup.Catalina.start Server startup in [42] milliseconds"
wait
"#;

const NGINX: &str = "user nobody nogroup;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 64; }
http {
  access_log /dev/stdout;
  server {
    listen 80;
    root /usr/share/nginx/html;
  }
}
";

/// All of them, packed once in a process.
pub(crate) fn all() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let base = Arc::new(layer(base()));
        let image = |names: &[&'static str], tree: Tree, config: Value| {
            let layers = vec![base.clone(), Arc::new(layer(tree))];
            Image { names: names.to_vec(), config: config_of(&layers, config), layers }
        };
        vec![
            image(&["busybox:1.28", "busybox:1.36", "busybox:latest"], Tree::new(), json!({"Cmd": ["sh"]})),
            image(&["nginx:1.14", "nginx:1.14.2"], nginx("1.14.2"), nginx_config("1.14.2")),
            image(&["nginx:latest", "nginx:1.25"], nginx("1.25.5"), nginx_config("1.25.5")),
            image(&["redis:latest", "redis:7"], redis(), json!({"Cmd": ["redis-server"], "WorkingDir": "/data"})),
            image(&["tomcat:9.0.55"], tomcat("9.0.55"), tomcat_config("9.0.55")),
            image(&["tomcat:10.1.11"], tomcat("10.1.11"), tomcat_config("10.1.11")),
        ]
    })
}

/// Puts the archive where a server imports it from at its start.
pub(crate) fn place(folder: &Path) {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    let archive = ARCHIVE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images.tar");
        let own = path.with_extension(std::process::id().to_string());
        fs::write(&own, docker_archive(all())).expect("the archive can be written");
        fs::rename(&own, &path).expect("the archive can be put in place");
        path
    });
    fs::create_dir_all(folder).expect("the images' folder");
    let target = folder.join("tests.tar");
    // The same file where that is possible: it is never changed, only replaced.
    if fs::hard_link(archive, &target).is_err() {
        fs::copy(archive, &target).expect("the archive can be copied");
    }
}

/// What `docker save` would write.
pub(crate) fn docker_archive(images: &[Image]) -> Vec<u8> {
    let mut files: BTreeMap<String, &[u8]> = BTreeMap::new();
    let mut manifest = Vec::new();
    for image in images {
        let config = format!("{}.json", digest(&image.config));
        let names: Vec<String> = image.layers.iter().map(|l| format!("{}/layer.tar", digest(l))).collect();
        files.insert(config.clone(), &image.config);
        files.extend(names.iter().cloned().zip(image.layers.iter().map(|l| l.as_slice())));
        manifest.push(json!({"Config": config, "RepoTags": image.names, "Layers": names}));
    }
    let manifest = Value::from(manifest).to_string();
    files.insert("manifest.json".to_owned(), manifest.as_bytes());
    let mut out = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_size(bytes.len() as u64);
        out.append_data(&mut header, path, bytes).expect("memory does not fail");
    }
    out.into_inner().expect("memory does not fail")
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn config_of(layers: &[Arc<Vec<u8>>], mut config: Value) -> Vec<u8> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let more = config["Env"].take();
    config["Env"] = std::iter::once(json!(path)).chain(more.as_array().into_iter().flatten().cloned()).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let ids: Vec<String> = layers.iter().map(|l| format!("sha256:{}", digest(l))).collect();
    json!({"architecture": architecture, "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": ids}})
        .to_string()
        .into_bytes()
}

fn base() -> Tree {
    let mut tree = Tree::new();
    for folder in ["dev", "etc", "home", "proc", "root", "run", "sys", "usr/bin", "usr/sbin", "var/log"] {
        tree.insert(folder.to_owned(), Item::Folder(0o755));
    }
    for folder in ["tmp", "var/tmp"] {
        tree.insert(folder.to_owned(), Item::Folder(0o1777));
    }
    let busybox = found(&["/bin/busybox", "/usr/bin/busybox", "/usr/sbin/busybox"], "busybox-static");
    let list = Command::new(&busybox).arg("--list").output().expect("busybox runs").stdout;
    for applet in String::from_utf8_lossy(&list).lines().filter(|applet| *applet != "busybox") {
        tree.insert(format!("bin/{applet}"), Item::Link("/bin/busybox"));
    }
    add_program(&mut tree, &busybox, "bin/busybox");
    add_program(&mut tree, &found(&["/bin/bash"], "bash"), "bin/bash");
    let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    add_text(&mut tree, "etc/passwd", users);
    add_text(&mut tree, "etc/group", "root:x:0:\nnogroup:x:65534:\n");
    tree
}

fn nginx(version: &str) -> Tree {
    let mut tree = Tree::new();
    add_program(&mut tree, &found(&["/usr/sbin/nginx"], "nginx"), "usr/sbin/nginx");
    add_text(&mut tree, "etc/nginx/nginx.conf", NGINX);
    let page = format!("<html><title>Welcome to nginx!</title><body>{version}</body></html>\n");
    add_text(&mut tree, "usr/share/nginx/html/index.html", &page);
    for folder in ["var/lib/nginx", "var/log/nginx", "var/cache/nginx"] {
        tree.insert(folder.to_owned(), Item::Folder(0o755));
    }
    tree
}

fn nginx_config(version: &str) -> Value {
    let command = ["nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"];
    json!({"Cmd": command, "Env": [format!("NGINX_VERSION={version}")], "ExposedPorts": {"80/tcp": {}}})
}

fn redis() -> Tree {
    let mut tree = Tree::new();
    tree.insert("data".to_owned(), Item::Folder(0o755));
    let server = found(&["/usr/bin/redis-server", "/usr/bin/redis-check-rdb"], "redis-tools");
    add_program(&mut tree, &server, "usr/bin/redis-server");
    add_program(&mut tree, &found(&["/usr/bin/redis-cli"], "redis-tools"), "usr/bin/redis-cli");
    tree
}

fn tomcat(version: &str) -> Tree {
    let mut tree = Tree::new();
    tree.insert("usr/local/tomcat/bin/catalina.sh".to_owned(), Item::File(TOMCAT.as_bytes().to_vec(), 0o755));
    add_text(
        &mut tree,
        "usr/local/tomcat/webapps/ROOT/index.html",
        &format!("<title>Apache Tomcat/{version}</title>\n"),
    );
    tree
}

fn tomcat_config(version: &str) -> Value {
    let env = ["CATALINA_HOME=/usr/local/tomcat".to_owned(), format!("TOMCAT_VERSION={version}")];
    json!({"Cmd": ["/usr/local/tomcat/bin/catalina.sh", "run"], "Env": env, "WorkingDir": "/usr/local/tomcat"})
}

fn found(places: &[&str], package: &str) -> PathBuf {
    let place = places.iter().map(PathBuf::from).find(|path| path.exists());
    place.unwrap_or_else(|| panic!("{} is missing (package {package}): run `sudo tests/run --tools`", places[0]))
}

fn add_text(tree: &mut Tree, path: &str, text: &str) {
    tree.insert(path.to_owned(), Item::File(text.as_bytes().to_vec(), 0o644));
}

/// A program and the libraries it is linked with, those where the loader looks for them.
fn add_program(tree: &mut Tree, program: &Path, path: &str) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    tree.insert(path.to_owned(), Item::File(read(program), 0o755));
    // A static program is linked with none, which ldd calls an error.
    let listed = Command::new("ldd").arg(program).output().expect("ldd can be started").stdout;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    for library in listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))) {
        tree.insert(library.trim_start_matches('/').to_owned(), Item::File(read(Path::new(library)), 0o755));
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

fn layer(tree: Tree) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    let mut parents: BTreeSet<PathBuf> = BTreeSet::new();
    for path in tree.keys() {
        parents.extend(Path::new(path).ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).map(PathBuf::from));
    }
    for parent in parents.iter().filter(|parent| !tree.contains_key(&*parent.to_string_lossy())) {
        let entry = out.append_data(&mut header(tar::EntryType::Directory, 0o755), parent, &[][..]);
        entry.expect("memory does not fail");
    }
    for (path, item) in tree {
        match item {
            Item::Folder(mode) => out.append_data(&mut header(tar::EntryType::Directory, mode), path, &[][..]),
            Item::Link(target) => out.append_link(&mut header(tar::EntryType::Symlink, 0o777), path, target),
            Item::File(bytes, mode) => {
                let mut header = header(tar::EntryType::Regular, mode);
                header.set_size(bytes.len() as u64);
                out.append_data(&mut header, path, bytes.as_slice())
            }
        }
        .expect("memory does not fail");
    }
    out.into_inner().expect("memory does not fail")
}
