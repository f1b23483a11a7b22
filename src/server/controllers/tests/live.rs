//! Scratch: the loops over the real API in memory, with a pretended kubelet.
#![allow(clippy::print_stdout)]
use futures::StreamExt;
use k8s_openapi::api::{apps::v1::*, core::v1::*, discovery::v1::EndpointSlice, coordination::v1::Lease};
use kube::{api::*, runtime::watcher, Api, Client, ResourceExt};
use mk8s_server::{assemble::{ApiOptions, router}, auth::{User, tokens::SigningKey}, registry::ServiceRanges};
use serde_json::{json, Value};
use std::{sync::Arc, time::{Duration, Instant}};
use tokio_util::sync::CancellationToken;

async fn kubelet(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events = watcher(pods, watcher::Config::default()).boxed();
    let mut n = 10u32;
    while let Some(event) = events.next().await {
        let pod = match event { Ok(watcher::Event::Apply(p) | watcher::Event::InitApply(p)) => p, _ => continue };
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        let name = pod.name_any();
        n += 1;
        let client = client.clone();
        tokio::spawn(async move {
            if pod.metadata.deletion_timestamp.is_some() {
                let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
                return;
            }
            if pod.spec.as_ref().and_then(|s| s.node_name.clone()).is_none() {
                let b: Binding = serde_json::from_value(json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}})).unwrap();
                let r: Result<Value, _> = api.create_subresource("binding", &name, &PostParams::default(), &b).await;
                if let Err(e) = r { println!("bind {name}: {e}"); }
                let _ = client;
            } else if pod.status.as_ref().and_then(|s| s.pod_ip.clone()).is_none() {
                let done = pod.labels().get("finish").is_some();
                let ip = format!("10.42.{}.{}", n / 200, n % 200 + 2);
                let phase = if done { "Succeeded" } else { "Running" };
                let r = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}],
                    "startTime": jiff::Timestamp::now().to_string().split('.').next().map(|s| format!("{}Z", s.trim_end_matches('Z'))),
                    "conditions": [{"type": "Ready", "status": if done {"False"} else {"True"}, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))).await;
                if let Err(e) = r { println!("status {name}: {e}"); }
            }
        });
    }
}

async fn until<F: Future<Output = bool>>(what: &str, f: impl Fn() -> F) {
    let start = Instant::now();
    while !f().await {
        if start.elapsed() > Duration::from_secs(10) { println!("!!! {what}: NOT after 10 s"); return; }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("{what}: {:?}", start.elapsed());
}

fn make<T: serde::de::DeserializeOwned>(v: Value) -> T { serde_json::from_value(v).unwrap() }

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live() {
    tracing_subscriber::fmt().with_env_filter(std::env::var("RUST_LOG").unwrap_or("warn".into())).init();
    let store = mk8s_store::Store::open(mk8s_store::Options::default()).await.unwrap();
    let stop = CancellationToken::new();
    let options = ApiOptions { signing_key: Arc::new(SigningKey::generate().unwrap()), token_issuer: "https://kubernetes.default.svc".into(),
        admin_token: None, services: ServiceRanges::default(), stop: stop.clone() };
    let router = router(&store, options);
    let client = router.client(User::control_plane("system:admin"));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for ns in ["default", "kube-system", "kube-node-lease"] {
        namespaces.create(&PostParams::default(), &make(json!({"metadata": {"name": ns}}))).await.unwrap();
    }
    let c = router.client(User::control_plane("system:kube-controller-manager"));
    let run = tokio::spawn(mk8s_controllers::run(c, mk8s_controllers::Options { root_ca_pem: "PEM".into(), ..Default::default() }, stop.clone()));
    tokio::spawn(kubelet(client.clone()));
    let sas: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    until("default service account", || async { sas.get_opt("default").await.unwrap().is_some() }).await;
    let cms: Api<ConfigMap> = Api::default_namespaced(client.clone());
    until("root ca", || async { cms.get_opt("kube-root-ca.crt").await.unwrap().is_some() }).await;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &make(json!({"metadata": {"name": "n1"}}))).await.unwrap();
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Merge(json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}))).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    leases.create(&PostParams::default(), &make(json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1", "renewTime": "2026-01-01T00:00:00.000000Z"}}))).await.unwrap();
    until("podCIDR", || async { nodes.get("n1").await.unwrap().spec.unwrap_or_default().pod_cidr.is_some() }).await;
    until("no taints", || async { nodes.get("n1").await.unwrap().spec.unwrap_or_default().taints.unwrap_or_default().is_empty() }).await;

    let deps: Api<Deployment> = Api::default_namespaced(client.clone());
    let rss: Api<ReplicaSet> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let lp = ListParams::default();
    let dep = |name: &str, n: i32| json!({"metadata": {"name": name, "annotations": {"kubernetes.io/change-cause": "first"}}, "spec": {"replicas": n, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}]}]}}}});
    deps.create(&PostParams::default(), &make(dep("web", 30))).await.unwrap();
    until("30 pods created", || async { pods.list(&lp).await.unwrap().items.len() == 30 }).await;
    until("30 available", || async { deps.get("web").await.unwrap().status.unwrap_or_default().available_replicas == Some(30) }).await;
    let svcs: Api<Service> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    svcs.create(&PostParams::default(), &make(json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}))).await.unwrap();
    until("slice with 30", || async { slices.list(&lp).await.unwrap().items.iter().any(|s| s.endpoints.as_ref().is_some_and(|e| e.len() == 30)) }).await;
    let eps: Api<Endpoints> = Api::default_namespaced(client.clone());
    until("endpoints", || async { eps.get_opt("web").await.unwrap().is_some_and(|e| e.subsets.is_some_and(|s| s[0].addresses.as_ref().is_some_and(|a| a.len() == 30))) }).await;
    deps.patch("web", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"annotations": {"kubernetes.io/change-cause": "second"}}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}))).await.unwrap();
    until("rolled", || async { let d = deps.get("web").await.unwrap(); let s = d.status.unwrap_or_default();
        pods.list(&lp).await.unwrap().items.iter().all(|p| p.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("i:2")) && s.observed_generation == d.metadata.generation && s.updated_replicas == Some(30) && s.replicas == Some(30) && s.available_replicas == Some(30) }).await;
    let d = deps.get("web").await.unwrap();
    println!("{:?}\n{}", d.annotations(), serde_json::to_string(&d.status).unwrap());
    for rs in rss.list(&lp).await.unwrap().items { println!("{} {:?} {:?}", rs.name_any(), rs.annotations(), rs.spec.as_ref().unwrap().replicas); }
    // self healing
    let victim = pods.list(&lp).await.unwrap().items[0].name_any();
    pods.delete(&victim, &DeleteParams::default()).await.unwrap();
    until("healed", || async { let l = pods.list(&lp).await.unwrap(); l.items.len() == 30 && l.items.iter().all(|p| p.name_any() != victim) }).await;
    deps.patch("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}}))).await.unwrap();
    until("scaled to 3", || async { pods.list(&lp).await.unwrap().items.len() == 3 }).await;
    deps.delete("web", &DeleteParams::foreground()).await.unwrap();
    until("foreground gone", || async { deps.get_opt("web").await.unwrap().is_none() && pods.list(&lp).await.unwrap().items.is_empty() && rss.list(&lp).await.unwrap().items.is_empty() }).await;
    deps.create(&PostParams::default(), &make(dep("web2", 5))).await.unwrap();
    until("5 available", || async { deps.get("web2").await.unwrap().status.unwrap_or_default().available_replicas == Some(5) }).await;
    deps.delete("web2", &DeleteParams::background()).await.unwrap();
    until("background gone", || async { pods.list(&lp).await.unwrap().items.is_empty() && rss.list(&lp).await.unwrap().items.is_empty() }).await;
    deps.create(&PostParams::default(), &make(dep("web3", 2))).await.unwrap();
    until("2 available", || async { deps.get("web3").await.unwrap().status.unwrap_or_default().available_replicas == Some(2) }).await;
    deps.delete("web3", &DeleteParams::orphan()).await.unwrap();
    until("orphaned", || async { deps.get_opt("web3").await.unwrap().is_none() && rss.list(&lp).await.unwrap().items[0].owner_references().is_empty() }).await;
    deps.create(&PostParams::default(), &make(dep("web3", 2))).await.unwrap();
    until("adopted", || async { rss.list(&lp).await.unwrap().items.iter().all(|rs| !rs.owner_references().is_empty()) }).await;
    svcs.delete("web", &DeleteParams::default()).await.unwrap();
    until("slices and endpoints gone", || async { slices.list(&lp).await.unwrap().items.is_empty() && eps.get_opt("web").await.unwrap().is_none() }).await;
    // namespace
    namespaces.create(&PostParams::default(), &make(json!({"metadata": {"name": "gone"}}))).await.unwrap();
    let d2: Api<Deployment> = Api::namespaced(client.clone(), "gone");
    d2.create(&PostParams::default(), &make(dep("x", 3))).await.unwrap();
    until("3 in gone", || async { d2.get("x").await.unwrap().status.unwrap_or_default().available_replicas == Some(3) }).await;
    namespaces.delete("gone", &DeleteParams::default()).await.unwrap();
    until("namespace gone", || async { namespaces.get_opt("gone").await.unwrap().is_none() }).await;
    if let Some(ns) = namespaces.get_opt("gone").await.unwrap() { println!("{}", serde_json::to_string_pretty(&ns).unwrap()); }
    let evs: Api<Event> = Api::default_namespaced(client.clone());
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for e in evs.list(&lp).await.unwrap().items { *seen.entry(format!("{} {}", e.involved_object.kind.unwrap_or_default(), e.reason.unwrap_or_default())).or_default() += 1; }
    println!("{seen:?}");
    let t = Instant::now();
    stop.cancel();
    run.await.unwrap();
    println!("stopped in {:?}", t.elapsed());
    store.close().await;
}
