use super::*;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{ResourceExt, client::Body};
use serde_json::{Value, json};
use std::{collections::VecDeque, convert::Infallible};
use tokio::sync::mpsc;

type Frames = mpsc::UnboundedReceiver<Value>;

/// What a scripted server answers, in order.
enum Answer {
    Json(u16, Value),
    Stream(Frames),
}

/// A server that says its lines; the requests it got come out of the receiver.
fn server(script: Vec<Answer>) -> (Client, mpsc::UnboundedReceiver<String>) {
    let (asked, requests) = mpsc::unbounded_channel();
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let service = tower::service_fn(move |request: Request<Body>| {
        asked.send(request.uri().path_and_query().expect("a path").to_string()).expect("the test listens");
        let answer = script.lock().pop_front();
        async move {
            match answer {
                Some(Answer::Json(code, body)) => {
                    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
                    Ok::<_, Infallible>(Response::builder().status(code).body(body).expect("well formed"))
                }
                Some(Answer::Stream(frames)) => {
                    let frames = tokio_stream(frames)
                        .map(|frame| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(format!("{frame}\n")))));
                    Ok(Response::new(BodyExt::boxed(StreamBody::new(frames))))
                }
                None => std::future::pending().await,
            }
        }
    });
    (Client::new(service, "default"), requests)
}

fn tokio_stream(frames: Frames) -> impl futures::Stream<Item = Value> {
    futures::stream::unfold(frames, |mut frames| async { frames.recv().await.map(|frame| (frame, frames)) })
}

fn map(name: &str, version: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": name, "namespace": "ns", "uid": name, "resourceVersion": version.to_string(), "labels": {"app": name},
        "managedFields": [{"manager": "x"}]}})
}

fn list(version: u64, items: &[Value]) -> Answer {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMapList",
        "metadata": {"resourceVersion": version.to_string()}, "items": items});
    Answer::Json(200, body)
}

fn stream() -> (mpsc::UnboundedSender<Value>, Answer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Answer::Stream(receiver))
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn told(change: Option<Change<ConfigMap>>) -> String {
    let version = |object: &ConfigMap| object.resource_version().unwrap_or_default();
    match change.expect("the informer lives") {
        Change::Added(new) => format!("added {}@{}", new.name_any(), version(&new)),
        Change::Updated { old, new } => format!("updated {}@{}-{}", new.name_any(), version(&old), version(&new)),
        Change::Deleted(old) => format!("deleted {}@{}", old.name_any(), version(&old)),
    }
}

#[tokio::test]
async fn lists_then_watches_from_there() {
    let (events, watch) = stream();
    let (client, mut requests) = server(vec![list(7, &[map("a", 3), map("b", 4)]), watch]);
    let informers = Informers::new(client, CancellationToken::new());
    let maps = informers.all::<ConfigMap>();
    let mut changes = maps.subscribe(16);
    maps.synced().await;
    assert_eq!(maps.list_in("ns").len(), 2);
    assert_eq!(told(changes.next().await), "added a@3");
    assert_eq!(told(changes.next().await), "added b@4");
    for frame in [event("ADDED", map("c", 8)), event("MODIFIED", map("a", 9)), event("DELETED", map("b", 10))] {
        events.send(frame).expect("watched");
    }
    assert_eq!(told(changes.next().await), "added c@8");
    assert_eq!(told(changes.next().await), "updated a@3-9");
    assert_eq!(told(changes.next().await), "deleted b@10");
    assert!(maps.get("ns", "b").is_none());
    assert!(maps.get("ns", "a").expect("there").metadata.managed_fields.is_none());
    assert_eq!(requests.recv().await.expect("listed"), "/api/v1/configmaps?&limit=500");
    let watched = requests.recv().await.expect("watched");
    assert!(watched.contains("resourceVersion=7") && watched.contains("allowWatchBookmarks=true"), "{watched}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_resumes_where_it_was_and_an_expired_one_lists_again() {
    let (first, first_answer) = stream();
    let (second, second_answer) = stream();
    let (_third, third_answer) = stream();
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old"});
    let script = vec![
        list(7, &[map("a", 3), map("b", 4)]),
        first_answer,
        Answer::Json(503, json!({"kind": "Status", "status": "Failure", "code": 503, "message": "starting"})),
        second_answer,
        list(30, &[map("b", 25), map("c", 26)]),
        third_answer,
    ];
    let (client, mut requests) = server(script);
    let informers = Informers::new(client, CancellationToken::new());
    let maps = informers.all::<ConfigMap>();
    let mut changes = maps.subscribe(16);
    for expected in ["added a@3", "added b@4"] {
        assert_eq!(told(changes.next().await), expected);
    }
    let bookmark = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "12"}});
    first.send(event("BOOKMARK", bookmark)).expect("watched");
    drop(first);
    second.send(event("ERROR", gone)).expect("watched");
    let mut rest = Vec::new();
    for _ in 0..3 {
        rest.push(told(changes.next().await));
    }
    assert_eq!(rest, ["updated b@4-25", "added c@26", "deleted a@3"]);
    let mut versions = Vec::new();
    for _ in 0..6 {
        let request = requests.recv().await.expect("asked");
        let version = request.split_once("resourceVersion=").map(|(_, rest)| rest.split('&').next().unwrap_or(""));
        versions.push(version.unwrap_or("list").to_owned());
    }
    assert_eq!(versions, ["list", "7", "12", "12", "list", "30"]);
}

#[tokio::test]
async fn one_list_and_watch_serves_all_who_ask() {
    let (_events, watch) = stream();
    let (client, mut requests) = server(vec![list(7, &[map("a", 3)]), watch]);
    let informers = Informers::new(client, CancellationToken::new());
    let one = informers.all::<ConfigMap>();
    let two = informers.all::<ConfigMap>();
    one.synced().await;
    two.synced().await;
    let (first, second) = (one.get("ns", "a").expect("there"), two.get("ns", "a").expect("there"));
    assert!(Arc::ptr_eq(&first, &second), "decoded once");
    requests.recv().await.expect("the list");
    requests.recv().await.expect("the watch");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_slow_subscriber_is_resynced() {
    let informer = Informer::<ConfigMap>::fixed([]);
    let object = |name, version| serde_json::from_value::<ConfigMap>(map(name, version)).expect("a ConfigMap");
    let mut changes = informer.subscribe(2);
    informer.apply(object("a", 1));
    assert_eq!(told(changes.next().await), "added a@1");
    for version in 2..9 {
        informer.apply(object("b", version));
    }
    informer.remove(&Key::new("ns", "a"), None);
    informer.apply(object("c", 20));
    let mut rest = Vec::new();
    for _ in 0..3 {
        rest.push(told(changes.next().await));
    }
    assert_eq!(rest, ["deleted a@1", "added b@8", "added c@20"]);
    informer.apply(object("c", 21));
    assert_eq!(told(changes.next().await), "updated c@20-21");
}

#[test]
fn old_versions_do_not_return() {
    let informer = Informer::<ConfigMap>::fixed([]);
    let object = |version| serde_json::from_value::<ConfigMap>(map("a", version)).expect("a ConfigMap");
    informer.apply(object(9));
    informer.apply(object(8));
    assert_eq!(informer.get("ns", "a").and_then(|object| object.resource_version()).as_deref(), Some("9"));
}

#[test]
fn indexes_follow_the_objects() {
    let informer = Informer::<ConfigMap>::fixed([]);
    let object = |name: &str, version, app: &str| {
        let mut value = map(name, version);
        value["metadata"]["labels"]["app"] = json!(app);
        value["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Node", "name": "o", "uid": format!("owner-{app}")}]);
        serde_json::from_value::<ConfigMap>(value).expect("a ConfigMap")
    };
    informer.apply(object("a", 1, "x"));
    informer.index("app", |object| object.labels().get("app").cloned().into_iter().collect());
    informer.apply(object("b", 2, "x"));
    informer.apply(object("a", 3, "y"));
    let names = |objects: Vec<Arc<ConfigMap>>| objects.iter().map(|object| object.name_any()).collect::<Vec<_>>();
    assert_eq!(names(informer.indexed("app", "x")), ["b"]);
    assert_eq!(names(informer.indexed("app", "y")), ["a"]);
    assert_eq!(names(informer.owned_by("owner-y")), ["a"]);
    informer.remove(&Key::new("ns", "a"), None);
    assert!(informer.owned_by("owner-y").is_empty());
    assert!(informer.indexed("app", "y").is_empty());
}
