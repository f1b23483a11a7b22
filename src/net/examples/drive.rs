//! Scratch driver; not part of the tree.
use std::io::BufRead;
use std::sync::Arc;
fn main() -> std::process::ExitCode {
    let mode = std::env::args().nth(1);
    if mode.as_deref() == Some("net") || mode.as_deref() == Some("cleanup") {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
        let rt = tokio::runtime::Runtime::new().unwrap();
        let o = mk8s_net::NetOptions { node_name: "here".into(), node_ip: "192.168.77.1".parse().unwrap(), resolv_conf: "/tmp/mk8snet-resolv.conf".into(), ..Default::default() };
        return rt.block_on(async {
            if mode.as_deref() == Some("cleanup") { mk8s_net::cleanup(o).await.unwrap(); return std::process::ExitCode::SUCCESS; }
            let config = kube::Config::new("http://127.0.0.1:8001".parse().unwrap());
            let client = kube::Client::try_from(config).unwrap();
            let stop = tokio_util::sync::CancellationToken::new();
            let s2 = stop.clone();
            tokio::spawn(async move { tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap().recv().await; s2.cancel() });
            mk8s_net::run(client, o, stop).await.unwrap();
            std::process::ExitCode::SUCCESS
        });
    }
    if mode.as_deref() != Some("proxy") {
        return mk8s_net::cni_main();
    }
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(async {
        let (tx, rx) = tokio::sync::mpsc::channel(100000);
        let frame = mk8s_net::service::Frame { family: mk8s_net::nft::Family::V4, cluster_cidr: "10.42.0.0/16".parse().unwrap(), service_cidr: "10.43.0.0/16".parse().unwrap(), cluster_dns: Some("10.43.0.10".parse().unwrap()) };
        let proxy = mk8s_net::service::Proxy::new(frame, "here");
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let line = line.unwrap();
                if line == "synced" { for _ in 0..3 { tx.blocking_send(mk8s_net::Change::Synced).unwrap(); } continue; }
                let v: serde_json::Value = serde_json::from_str(&line).unwrap();
                let key = |v: &serde_json::Value| (Arc::from(v["metadata"]["namespace"].as_str().unwrap()), Arc::from(v["metadata"]["name"].as_str().unwrap()));
                let k = key(&v);
                let gone = v["gone"] == true;
                let c = if v["kind"] == "Service" { mk8s_net::Change::Service(k, (!gone).then(|| Arc::new(serde_json::from_value(v).unwrap()))) } else { mk8s_net::Change::Slice(k, (!gone).then(|| Arc::new(serde_json::from_value(v).unwrap()))) };
                tx.blocking_send(c).unwrap();
            }
        });
        mk8s_net::service::run(proxy, Arc::new(mk8s_net::nft::NftProgram::default()), rx, Default::default()).await;
    });
    std::process::ExitCode::SUCCESS
}
