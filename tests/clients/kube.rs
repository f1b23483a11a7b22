//! The `kube` crate, from outside of the host's network.

use crate::support::{client::client, shared, space::Space};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{
        wait::{await_condition, conditions},
        watcher,
    },
};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn parsed<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).expect("the object is good")
}

#[tokio::test]
async fn objects_are_created_watched_patched_and_deleted() {
    let space = Space::new(shared(), "client-kube");
    let api: Api<ConfigMap> = Api::namespaced(client(shared()).await, space.name);
    let named = WatchParams::default().fields("metadata.name=settings");
    let mut events = api.watch(&named, "0").await.expect("a watch begins").boxed();

    let map = parsed(json!({"metadata": {"name": "settings"}, "data": {"a": "1"}}));
    let created: ConfigMap = api.create(&PostParams::default(), &map).await.expect("a ConfigMap is created");
    let again = api.create(&PostParams::default(), &map).await.expect_err("it is there already");
    assert!(
        matches!(&again, kube::Error::Api(status) if status.reason == "AlreadyExists" && status.code == 409),
        "{again}"
    );

    let merge = Patch::Merge(json!({"data": {"a": "2"}}));
    api.patch("settings", &PatchParams::default(), &merge).await.expect("a merge patch");
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "3"}}));
    let applied = api.patch("settings", &PatchParams::apply("tests"), &apply).await.expect("a server-side apply");
    assert_eq!(applied.data.expect("data").len(), 2);
    let conflict = api.replace("settings", &PostParams::default(), &created).await.expect_err("the version is old");
    assert!(matches!(&conflict, kube::Error::Api(status) if status.reason == "Conflict"), "{conflict}");
    assert_eq!(api.list(&ListParams::default().fields("metadata.name=settings")).await.expect("a list").items.len(), 1);
    api.delete("settings", &DeleteParams::default()).await.expect("a deletion");

    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.expect("the watch goes on") {
        seen.push(match event {
            WatchEvent::Added(map) => format!("added {}", map.data.expect("data")["a"]),
            WatchEvent::Modified(map) => format!("modified {}", map.data.expect("data")["a"]),
            WatchEvent::Deleted(map) => format!("deleted {}", map.name_any()),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(error) => panic!("{error:?}"),
        });
        if seen.len() == 4 {
            break;
        }
    }
    assert_eq!(seen, ["added 1", "modified 2", "modified 2", "deleted settings"]);
}

#[tokio::test]
async fn pods_run_log_and_execute() {
    let space = Space::new(shared(), "client-kube-pods");
    let api: Api<Pod> = Api::namespaced(client(shared()).await, space.name);
    let command = ["sh", "-c", "trap 'exit 0' TERM; echo started; sleep 3600 & wait"];
    let pod = json!({"metadata": {"name": "worker"}, "spec": {"containers": [{"name": "main", "image": "busybox:1.36", "command": command}]}});
    api.create(&PostParams::default(), &parsed(pod)).await.expect("a pod is created");
    let running = await_condition(api.clone(), "worker", conditions::is_pod_running());
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("in time").expect("the pod runs");

    let following = LogParams { follow: true, ..LogParams::default() };
    let mut lines = api.log_stream("worker", &following).await.expect("a log");
    let mut line = [0; 8];
    futures::AsyncReadExt::read_exact(&mut lines, &mut line).await.expect("a line");
    assert_eq!(&line, b"started\n");

    let script = ["sh", "-c", "read x; echo got $x; exit 3"];
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut process = api.exec("worker", script, &params).await.expect("a process");
    let mut input = process.stdin().expect("its input");
    input.write_all(b"this\n").await.expect("it reads");
    let mut text = String::new();
    process.stdout().expect("its output").read_to_string(&mut text).await.expect("it writes");
    assert_eq!(text, "got this\n");
    let status = process.take_status().expect("a status").await.expect("it ends");
    assert_eq!(status.status.as_deref(), Some("Failure"));
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    assert_eq!(code.and_then(|cause| cause.message.as_deref()), Some("3"));

    api.delete("worker", &DeleteParams::default().grace_period(0)).await.expect("a deletion");
    // The runtime's watcher lists with what the newest servers offer.
    let mut watching = watcher(api, watcher::Config::default().streaming_lists()).boxed();
    let first = tokio::time::timeout(Duration::from_secs(10), watching.next()).await.expect("in time");
    assert!(matches!(first, Some(Ok(watcher::Event::Init))), "{first:?}");
}
