//! A disk without room: what is refused and what is taken, and how it is shown.

use std::time::{Duration, Instant};

use mk8s_store::{Alone, Options, engine::MemoryEngine};

use super::*;
use crate::cluster::{
    members::{self, Member},
    room,
};

/// Waits until the Node's condition has this status and reason.
async fn says(api: &Api, status: &str, reason: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, node) = api.get("/api/v1/nodes/n").await;
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let own = conditions.iter().find(|condition| condition["type"] == "ServerReadOnly");
        if own.is_some_and(|own| own["status"] == status && own["reason"] == reason) {
            return;
        }
        assert!(Instant::now() < deadline, "it does not say {status} {reason}: {node}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_full_disk_is_shown_and_takes_deletes() {
    let engine = MemoryEngine::default();
    let store = Store::start(Arc::new(engine.clone()), Box::new(Alone), Options::default()).expect("memory opens");
    let api = Api::over(store.clone()).await;
    let me = Member { id: 1, name: "n".into(), address: "a:1".into(), seals: true, witness: false, full: false };
    members::say(&store, &me).await.expect("there is room");
    let (code, made) = api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(code, 201, "{made}");
    api.config_map("before", "1").await;
    let stop = CancellationToken::new();
    tokio::spawn(room::keep(store.clone(), 1, stop.clone()));
    let client = api.router.client_when_full(User::control_plane("system:apiserver"));
    tokio::spawn(room::tell(store.clone(), client, stop.clone()));

    engine.set_free_bytes(Some(10));
    says(&api, "True", "ServerDiskFull").await;
    let (code, refused) = api.post(CONFIG_MAPS, json!({"metadata": {"name": "after"}})).await;
    assert_eq!((code, &refused["reason"]), (507, &json!("InsufficientStorage")), "{refused}");
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/before")).await.0, 200);
    assert_eq!(api.delete(&format!("{CONFIG_MAPS}/before")).await.0, 200);
    // Who was told already hears nothing again.
    members::say(&store, &me).await.expect("there is nothing to write");
    assert!(members::all(&store.view())[&1].full);

    engine.set_free_bytes(None);
    says(&api, "False", "ServerDiskHasRoom").await;
    api.config_map("after", "1").await;
    let told = async || {
        let (_, events) = api.get("/api/v1/namespaces/default/events").await;
        let is_it = |event: &Value| {
            event["involvedObject"]["name"] == "n" && event["type"] == "Warning" && event["reason"] == "ServerDiskFull"
        };
        events["items"].as_array().is_some_and(|events| events.iter().any(is_it))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !told().await {
        assert!(Instant::now() < deadline, "there is no event");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
}
