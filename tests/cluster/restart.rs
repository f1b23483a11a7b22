//! What dies comes back and finds everything as it was: the server, the runtime.

use crate::support::{client::client, host::Host, say, space::Space};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use nix::sys::signal::{Signal, kill};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const TWO: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: two}
spec:
  replicas: 2
  selector: {matchLabels: {app: two}}
  template:
    metadata: {labels: {app: two}}
    spec: {containers: [{name: hello, image: 'mk8s/hello:1', ports: [{containerPort: 8080}]}]}
";

/// Which containers run, and how often each was started again.
fn containers(host: &Host) -> String {
    let path = "{range .items[*].status.containerStatuses[*]}{.containerID} {.restartCount}{\"\\n\"}{end}";
    host.kubectl(&["get", "pods", "-l", "app=two", "-o", &format!("jsonpath={path}")])
}

fn with_two(name: &str) -> Host {
    let host = Host::start(name, &[]);
    host.apply(TWO);
    host.kubectl(&["rollout", "status", "deployment/two", "--timeout=60s"]);
    host
}

type Names = Arc<Mutex<BTreeSet<String>>>;

/// Creates ConfigMaps until told to stop, and keeps the names of those that the server acknowledged.
async fn write(api: Api<ConfigMap>, writer: usize, acknowledged: Names, stop: Arc<AtomicBool>) {
    for number in 0.. {
        let name = format!("w{writer}-{number}");
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.clone());
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match api.create(&PostParams::default(), &map).await {
                Ok(_) => {
                    acknowledged.lock().expect("no test panicked with it").insert(name);
                    break;
                }
                // Written, and the answer lost with the server.
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Notes all names that a watch tells of, as long as it is polled.
async fn observe(api: Api<ConfigMap>, seen: Names) {
    let mut events = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    loop {
        if let Ok(Some(map)) = events.try_next().await {
            seen.lock().expect("no test panicked with it").insert(map.name_any());
        }
    }
}

#[test]
fn a_server_killed_under_load_has_every_acknowledged_write() {
    let mut host = with_two("killed");
    let before = containers(&host);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let api: Api<ConfigMap> = Api::default_namespaced(runtime.block_on(client(&host)));
    let (acknowledged, seen, stop) = (Names::default(), Names::default(), Arc::new(AtomicBool::new(false)));
    let watching = runtime.spawn(observe(api.clone(), seen.clone()));
    let writers: Vec<_> =
        (0..8).map(|n| runtime.spawn(write(api.clone(), n, acknowledged.clone(), stop.clone()))).collect();

    let written = |names: &Names| names.lock().expect("no test panicked with it").len();
    for round in 0..3 {
        let mark = written(&acknowledged);
        host.wait("writes go on", Duration::from_secs(20), |_| written(&acknowledged) > mark + 100);
        host.stop_server(Signal::SIGKILL);
        let took = host.start_server();
        say(format_args!("killed in round {round} after {} writes: Ready again in {took:?}", written(&acknowledged)));
        assert!(took < Duration::from_secs(20), "Ready again after {took:?}");
    }
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(futures::future::join_all(writers));

    let list = runtime.block_on(api.list(&ListParams::default())).expect("a list");
    let stored: BTreeSet<String> = list.items.iter().map(ResourceExt::name_any).collect();
    let acknowledged = acknowledged.lock().expect("no test panicked with it").clone();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    host.wait("the watch has told of every write", Duration::from_secs(30), |_| {
        seen.lock().expect("no test panicked with it").is_superset(&acknowledged)
    });
    watching.abort();
    assert_eq!(before, containers(&host), "the containers are those from before");
}

#[test]
fn a_stopped_server_leaves_pods_running() {
    let mut host = with_two("stopped");
    let before = containers(&host);
    let address = host.kubectl(&["get", "pods", "-l", "app=two", "-o", "jsonpath={.items[0].status.podIP}"]);
    let took = host.stop_server(Signal::SIGTERM);
    say(format_args!("stopped in {took:?}"));
    assert!(took < Duration::from_secs(3), "stopped after {took:?}");
    let url = format!("http://{address}:8080/");
    assert!(host.curl(&url).is_some(), "the pod answers while the server is away");
    host.start_server();
    assert_eq!(before, containers(&host), "the containers are those from before");
    assert!(host.curl(&url).is_some(), "the pod answers when the server is back");
}

#[test]
fn a_killed_runtime_comes_back_and_its_pods_are_adopted() {
    let host = with_two("runtime");
    let before = containers(&host);
    let runtime = || host.pids(&["containerd", "--config"]);
    let old = runtime();
    assert_eq!(old.len(), 1, "one private containerd");
    kill(old[0], Signal::SIGKILL).expect("it can be killed");
    let begun = Instant::now();
    host.wait("containerd is back", Duration::from_secs(20), |_| runtime().iter().any(|pid| !old.contains(pid)));
    host.wait("a command runs in a pod from before", Duration::from_secs(30), |host| {
        // The image has no other program; that it is looked for shows that containerd knows the container.
        let output = host.run_kubectl(&["exec", "deployment/two", "--", "/hello", "--version"]);
        !String::from_utf8_lossy(&output.stderr).contains("connect")
    });
    say(format_args!("containerd is back in {:?}", begun.elapsed()));
    let space = Space::new(&host, "after");
    space.kubectl(&["run", "new", "--image=mk8s/hello:1"]);
    space.ready("new");
    assert_eq!(before, containers(&host), "the containers are those from before");
    drop(space);
}
