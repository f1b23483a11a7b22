//! The server in memory as a client has it: requests over HTTP without a wire.

use super::{FakeApi, REQUESTS_MAX, Refusal, Served, State, Wanted, Watcher, kinds::discovery, refuse};
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use mk8s_api::{
    at::{sub, text},
    patch::merge_patch,
    select::{FieldSelector, LabelSelector},
};
use mk8s_client::{
    Key,
    kube::{Client, client::Body},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, future::pending, sync::Arc};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::{bytes::Bytes, sync::CancellationToken};

/// The life of one client: so many writes are done, the answer to the last one never comes, and nothing is done any more.
#[derive(Clone)]
pub(crate) struct Life {
    left: Arc<Mutex<usize>>,
    over: CancellationToken,
}

impl Life {
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    fn wrote(&self) {
        let mut left = self.left.lock();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.over.cancel();
        }
    }
}

enum Answer {
    Object(Value),
    Events(UnboundedReceiver<String>),
}

/// A request, taken apart.
struct Asked {
    method: String,
    served: Served,
    key: Key,
    part: String,
    query: BTreeMap<String, String>,
    body: Value,
}

const PARTS: &[&str] = &["status", "finalize", "scale", "approval"];

impl Asked {
    fn read(method: &str, path: &str, query: &str, body: &[u8]) -> Result<Asked, Refusal> {
        let missing = || refuse(404, "NotFound", "the server could not find the requested resource");
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return Err(missing()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !PARTS.contains(&rest[0]) => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, part) = match rest {
            [plural] => (plural, "", ""),
            [plural, name] => (plural, *name, ""),
            [plural, name, part] => (plural, *name, *part),
            _ => return Err(missing()),
        };
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Asked {
            method: method.to_owned(),
            served: Served::of_path(group, plural).ok_or_else(missing)?,
            key: Key::new(namespace, decoded(name)),
            part: part.to_owned(),
            query: pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_slice(body).expect("JSON") },
        })
    }

    fn wanted(&self) -> Wanted {
        let selector = |name: &str| self.query.get(name).filter(|text| !text.is_empty());
        Wanted {
            namespace: Some(self.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            labels: selector("labelSelector").map(|text| LabelSelector::parse(text).expect("labels")),
            fields: selector("fieldSelector").map(|text| FieldSelector::parse(text).expect("fields")),
        }
    }

    fn is_write(&self) -> bool {
        self.method != "GET" && self.served.kind != "SubjectAccessReview" && self.served.kind != "Event"
    }

    /// What is written, in words.
    fn words(&self) -> String {
        let (verb, more) = match self.method.as_str() {
            "POST" => {
                let meta = sub(&self.body, "metadata");
                let name = [text(meta, "name"), text(meta, "generateName")].concat();
                return format!("create {} {name}", self.served.kind);
            }
            "PUT" => ("update", String::new()),
            "PATCH" => ("patch", format!(" {}", patched(&self.body).join(" "))),
            _ if self.key.name.is_empty() => return format!("delete every {}", self.served.kind),
            _ => {
                let policy = text(&self.body, "propagationPolicy").to_lowercase();
                ("delete", if policy.is_empty() { policy } else { format!(" ({policy})") })
            }
        };
        let part = if self.part.is_empty() { String::new() } else { format!("{} of ", self.part) };
        format!("{verb} {part}{} {}{more}", self.served.kind, self.key.name).replace("  ", " ")
    }
}

/// What a patch changes, without what it makes sure of.
fn patched(patch: &Value) -> Vec<String> {
    let guards = ["uid", "resourceVersion", "name"];
    let of = |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    let mut names = Vec::new();
    for section in of(patch).unwrap_or_default() {
        let fields = of(&patch[&section]).unwrap_or_default();
        names.extend(fields.into_iter().filter(|field| section != "metadata" || !guards.contains(&field.as_str())));
    }
    names
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.expect("two digits")));
                u8::from_str_radix(&digits.iter().collect::<String>(), 16).expect("a byte")
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Result<Answer, Refusal> {
        let Asked { served, key, body, .. } = asked;
        let object = match asked.method.as_str() {
            "GET" if asked.query.contains_key("watch") => return Ok(Answer::Events(self.watch(asked))),
            "GET" if key.name.is_empty() => {
                let (items, next) = self.page(asked);
                json!({
                    "kind": format!("{}List", served.kind), "apiVersion": served.api_version(),
                    "metadata": {"resourceVersion": self.version.to_string(), "continue": next}, "items": items,
                })
            }
            "GET" if asked.part == "scale" => scale(self.get(*served, key)?),
            "GET" => self.get(*served, key)?.clone(),
            "POST" if served.kind == "Event" => {
                let event = body;
                let about = sub(event, "involvedObject");
                self.said.insert(format!(
                    "{} {} {} {}: {}",
                    text(event, "type"),
                    text(event, "reason"),
                    text(about, "kind"),
                    text(about, "name"),
                    text(event, "message")
                ));
                body.clone()
            }
            "POST" if served.kind == "SubjectAccessReview" => {
                merge_patch(body.clone(), &json!({"status": {"allowed": true}}))
            }
            "POST" => {
                let mut object = body.clone();
                if served.namespaced {
                    object["metadata"]["namespace"] = json!(key.namespace);
                }
                self.create(*served, object)?
            }
            "PUT" => self.update(*served, key, &asked.part, body.clone())?,
            "PATCH" if served.kind == "Event" => body.clone(),
            "PATCH" => {
                let old = self.get(*served, key)?.clone();
                let written = self.update(*served, key, &asked.part, merge_patch(old, body))?;
                if asked.part == "scale" { scale(&written) } else { written }
            }
            "DELETE" if key.name.is_empty() => {
                let (items, next) = self.page(asked);
                for key in items.iter().map(super::key_of) {
                    self.delete(*served, &key, body)?;
                }
                json!({"metadata": {"continue": next}, "items": items})
            }
            _ => {
                let left = self.delete(*served, key, body)?;
                left.unwrap_or_else(|| json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
        };
        Ok(Answer::Object(object))
    }

    /// A node makes or removes a folder for a volume.
    fn keep_folder(&mut self, method: &str, node: &str, folder: &str) -> String {
        let place = format!("{node}/{folder}");
        let (verb, changed) = match method {
            "DELETE" => ("remove", self.folders.remove(&place)),
            _ => ("make", self.folders.insert(place.clone())),
        };
        self.version += u64::from(changed);
        format!("{verb} folder {place}{}", if changed { "" } else { ": nothing new" })
    }

    /// What a list shows of the objects, and where it goes on.
    fn page(&self, asked: &Asked) -> (Vec<Value>, Option<String>) {
        let limit = asked.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let place = |object: &Value| super::key_of(object).to_string();
        let after = asked.query.get("continue");
        let mut items: Vec<&Value> = self.list(asked.served, &asked.wanted());
        items.retain(|object| after.is_none_or(|after| place(object) > *after));
        let next = items.get(limit).and_then(|_| Some(place(items[limit.checked_sub(1)?])));
        (items.into_iter().take(limit).cloned().collect(), next)
    }

    fn watch(&mut self, asked: &Asked) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        let since: u64 = asked.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let wanted = asked.wanted();
        let missed = self.changes.iter().filter(|change| change.served == asked.served && change.version > since);
        for event in missed.filter_map(|change| change.event(&wanted)) {
            sender.send(event).expect("the receiver is here");
        }
        self.watchers.push(Watcher { served: asked.served, wanted, sender });
        receiver
    }
}

/// The node and the folder that a request behind `nodes/proxy` is about.
fn folder_of(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/api/v1/nodes/")?.split_once("/proxy/storage/")
}

fn scale(object: &Value) -> Value {
    let labels = object["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
    let selector: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object["metadata"],
        "spec": {"replicas": object["spec"]["replicas"]},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
    })
}

type Body8 = BoxBody<Bytes, Infallible>;

fn response(answer: Result<Answer, Refusal>) -> Response<Body8> {
    let (code, body) = match answer {
        Ok(Answer::Events(events)) => {
            let lines = futures::stream::unfold(events, |mut events| async {
                events.recv().await.map(|event| (event, events))
            });
            let frames = lines.map(|line| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(line))));
            return Response::new(BodyExt::boxed(StreamBody::new(frames)));
        }
        Ok(Answer::Object(object)) => (200, object),
        Err(refusal) => {
            let causes: Vec<Value> = refusal.cause.iter().map(|cause| json!({"reason": cause})).collect();
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refusal.code,
                "reason": refusal.reason, "message": refusal.message, "details": {"causes": causes},
            });
            (refusal.code, status)
        }
    };
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    Response::builder().status(code).body(BodyExt::boxed(body)).expect("well formed")
}

impl FakeApi {
    /// A client that dies once it has written so often.
    pub(crate) fn connect(&self, writes: usize) -> (Client, Life) {
        let life = Life { left: Arc::new(Mutex::new(writes)), over: CancellationToken::new() };
        let (api, same) = (self.clone(), life.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (api, life) = (api.clone(), same.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("a body in memory").to_bytes();
                if life.over.is_cancelled() {
                    return pending().await;
                }
                let query = parts.uri.query().unwrap_or_default();
                let answer = api.serve(&life, parts.method.as_str(), parts.uri.path(), query, &body);
                if life.over.is_cancelled() {
                    return pending().await;
                }
                Ok::<_, Infallible>(response(answer))
            }
        });
        (Client::new(service, "default"), life)
    }

    fn serve(&self, life: &Life, method: &str, path: &str, query: &str, body: &[u8]) -> Result<Answer, Refusal> {
        let mut state = self.state.lock();
        state.requests += 1;
        if state.requests > REQUESTS_MAX {
            life.over.cancel();
        }
        if let "/api" | "/apis" = path {
            return Ok(Answer::Object(discovery(&state.kinds, path == "/api")));
        }
        if let Some((node, folder)) = folder_of(path) {
            let words = state.keep_folder(method, node, folder);
            state.story.push(words);
            life.wrote();
            return Ok(Answer::Object(json!({"path": format!("/data/{folder}")})));
        }
        let asked = Asked::read(method, path, query, body)?;
        let words = asked.is_write().then(|| asked.words());
        let before = state.version;
        let answer = state.answer(&asked);
        let same = state.version == before;
        if let Some(words) = words {
            state.story.push(match &answer {
                Err(refusal) => format!("{words}: {}", refusal.reason),
                Ok(_) if same => format!("{words}: nothing new"),
                Ok(_) => words,
            });
            life.wrote();
        }
        answer
    }
}
