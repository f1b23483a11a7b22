//! What tutorials of Kubernetes have their readers type, on one node: every document of `documents/` is played with
//! `kubectl` being the newest stock one, the stock one of the server's version, and ours.
//!
//! One host for each `kubectl`, one Kubernetes namespace for each document. Images come from a registry that stands for
//! Docker Hub and from the archive that the node imports, under the names that tutorials use.

mod play;
mod script;

use crate::support::{host::Host, images, registry::Registry, tools::Kubectl};
use std::sync::OnceLock;

/// A host with what the documents need around it.
struct Stage {
    host: Host,
    /// Kept running as long as the host.
    _registries: Vec<Registry>,
}

impl Stage {
    fn build(name: &str) -> Stage {
        let mut host = Host::prepare(name, &[]);
        let hub = Registry::open(&host, 5000);
        hub.stands_for(&host, "docker.io");
        hub.fill(&host);
        let private = Registry::closed(&host, 5001);
        private.stands_for(&host, "registry.cn-hangzhou.aliyuncs.com");
        let shop = images::all().iter().find(|image| image.names.contains(&"nginx:1.14.2")).expect("there is nginx");
        private.push(&host, shop, "fox666/tulingmall-product", "0.0.5");
        host.start_server();
        Stage { host, _registries: vec![hub, private] }
    }
}

fn stage(kubectl: Kubectl) -> &'static Stage {
    static STAGES: [OnceLock<Stage>; 3] = [const { OnceLock::new() }; 3];
    let (place, name) = match kubectl {
        Kubectl::Newest => (&STAGES[0], "newest"),
        Kubectl::Matching => (&STAGES[1], "matching"),
        Kubectl::Own => (&STAGES[2], "own"),
    };
    place.get_or_init(|| Stage::build(name))
}

macro_rules! documents {
    ($($name:ident)*) => {
        mod stock_newest {
            $(#[test] fn $name() { super::play(super::Kubectl::Newest, stringify!($name), include_str!(concat!("documents/", stringify!($name), ".md"))); })*
        }
        mod stock_1_36 {
            $(#[test] fn $name() { super::play(super::Kubectl::Matching, stringify!($name), include_str!(concat!("documents/", stringify!($name), ".md"))); })*
        }
        mod own {
            $(#[test] fn $name() { super::play(super::Kubectl::Own, stringify!($name), include_str!(concat!("documents/", stringify!($name), ".md"))); })*
        }
    };
}

documents! {
    config_maps
    deployments
    namespaces
    pods
    redis
    rollouts
    secrets
    self_healing
    services
    storage
}

fn play(kubectl: Kubectl, name: &str, document: &str) {
    let steps = script::parse(document).unwrap_or_else(|error| panic!("documents/{name}.md: {error}"));
    if let Err(failure) = play::play(&stage(kubectl).host, kubectl, name, &steps) {
        panic!(
            "documents/{name}.md with {kubectl:?} kubectl\n{failure}\n--- server:\n{}",
            stage(kubectl).host.log_tail()
        );
    }
}
