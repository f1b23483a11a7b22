//! Starts an agent: the runtime, the images, the node, the pods, the tunnels. Whatever can happen at once does.

use crate::{
    AgentOptions, http, image, logs,
    node::{self, Machine, NodeShared, cni},
    objects::Objects,
    pod::{Host, Pods, verdicts::Verdicts},
    supervise,
    volume::Tokens,
};
use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, Service};
use mk8s_client::{EventRecorder, Informers, Selection, connect, servers};
use mk8s_cri::{Containerd, Runtime};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const COLLECT: Duration = Duration::from_secs(300);

/// Runs the agent until `stop`. Containers go on running after that.
pub async fn run(options: AgentOptions, stop: CancellationToken) -> anyhow::Result<()> {
    let paths = options.paths();
    for folder in [&paths.root, &paths.state, &paths.pods(), &paths.static_pods(), &paths.images(), &paths.streams()] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let client = connect::client(&options.servers, &options.ca_pem, &options.identity, "kubelet")?;
    let (socket, private) = match &options.container_runtime_endpoint {
        Some(socket) => (socket.clone(), false),
        None => {
            cni::link_plugins(&options).context("cannot link the CNI plugins")?;
            let started = stop.run_until_cancelled(supervise::containerd(&options, stop.clone())).await;
            match started {
                Some(socket) => (socket?, true),
                None => return Ok(()),
            }
        }
    };
    let runtime = Runtime::new(&socket)?;
    let containerd = Containerd::new(&socket)?;
    let is_containerd = private || containerd.version().await.is_ok();
    let machine = Machine::look(&options.data_dir, options.max_pods);
    let node = Arc::new(NodeShared::new(machine));
    let recorder = EventRecorder::new(client.clone(), "kubelet", Some(&options.node_name), stop.clone());
    let informers = Informers::new(client.clone(), stop.clone());
    let imported = CancellationToken::new();
    let host = Arc::new(Host {
        paths: paths.clone(),
        client: client.clone(),
        runtime: runtime.clone(),
        containerd: is_containerd.then(|| containerd.clone()),
        recorder: recorder.clone(),
        puller: image::Puller::new(runtime.clone(), imported.clone()),
        objects: Objects::new(&client),
        tokens: Tokens::default(),
        services: informers.all::<Service>(),
        node: node.clone(),
        verdicts: Verdicts::default(),
        alone: watch::channel(false).0,
        options: options.clone(),
    });
    if is_containerd {
        image::import_embedded(&containerd, &options.embedded_images).await?;
    }
    let pods = Pods::new(host.clone(), stop.clone()).context("cannot start the record of pods")?;
    let mine = Selection::fields(format!("spec.nodeName={}", options.node_name));
    let informer = informers.select::<Pod>(mine);
    tokio::spawn(servers::follow(options.servers.clone(), client.clone(), stop.clone()));
    let following = tokio::spawn(node::run(options.clone(), client, runtime.clone(), recorder, node, stop.clone()));
    let tunnels = tokio::spawn(http::run(pods.clone(), stop.clone()));
    let (folder, record) = (paths.images(), paths.imported());
    if is_containerd {
        // In the background: pods whose image is in there wait for it as for a pull.
        tokio::spawn(async move {
            image::import_folder(&containerd, &folder, &record).await;
            imported.cancel();
        });
    } else {
        imported.cancel();
    }
    let rotating = tokio::spawn(logs::rotate_forever(runtime.clone(), options.log_dir.clone()));
    let collecting = tokio::spawn(collect_images(options, runtime, host.containerd.clone(), stop.clone()));
    pods.run(informer).await;
    let _ = tokio::join!(following, tunnels);
    collecting.abort();
    rotating.abort();
    informers.stopped().await;
    Ok(())
}

async fn collect_images(
    options: AgentOptions,
    runtime: Runtime,
    containerd: Option<Containerd>,
    stop: CancellationToken,
) {
    let embedded = options.embedded_images.iter().map(|image| image.reference.clone());
    let needed: HashSet<String> = embedded.chain([options.pause_image.clone()]).collect();
    let mut clock = tokio::time::interval(COLLECT);
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        image::collect(&runtime, containerd.as_ref(), &options.data_dir, &needed).await;
    }
}
