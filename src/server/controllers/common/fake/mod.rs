//! A server in memory, as far as control loops can tell: objects with versions, finalizers, owners' policies and
//! subresources, and watches.
//!
//! It judges nothing (no validation, no admission, no rights) and does no one else's work: kubelets, the scheduler and
//! users are played by the test.

mod kinds;
mod wire;

use jiff::Timestamp;
use kinds::Served;
use mk8s_api::{
    at::{list, sub, text},
    select::{FieldSelector, LabelSelector},
};
use mk8s_client::Key;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::mpsc::UnboundedSender;

/// Requests after which a play is said to have no end.
const REQUESTS_MAX: usize = 20_000;

/// Cheap to clone; all clones are the same server.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The kinds that discovery tells of.
    kinds: BTreeSet<Served>,
    objects: BTreeMap<(Served, Key), Value>,
    version: u64,
    /// How many names were made up for each prefix.
    made_up: BTreeMap<String, usize>,
    changes: Vec<Change>,
    watchers: Vec<Watcher>,
    story: Vec<String>,
    said: BTreeSet<String>,
    /// The folders for volumes that nodes were asked for.
    folders: BTreeSet<String>,
    requests: usize,
}

struct Change {
    served: Served,
    version: u64,
    before: Option<Value>,
    after: Option<Value>,
}

/// What of a kind is asked for.
#[derive(Default)]
struct Wanted {
    namespace: Option<String>,
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
}

struct Watcher {
    served: Served,
    wanted: Wanted,
    sender: UnboundedSender<String>,
}

struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
    cause: Option<&'static str>,
}

fn refuse(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, reason, message: message.into(), cause: None }
}

fn key_of(object: &Value) -> Key {
    let meta = sub(object, "metadata");
    Key::new(text(meta, "namespace"), text(meta, "name"))
}

fn finalizers(object: &Value) -> Vec<String> {
    let known = list(sub(object, "metadata"), "finalizers").iter();
    known.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

impl Wanted {
    fn has(&self, object: &Value) -> bool {
        let meta = sub(object, "metadata");
        let labels: BTreeMap<String, String> =
            serde_json::from_value(meta["labels"].clone()).ok().flatten().unwrap_or_default();
        let at = |path: &str| path.split('.').fold(object, |value, part| &value[part]).as_str();
        self.namespace.as_ref().is_none_or(|namespace| text(meta, "namespace") == namespace)
            && self.labels.as_ref().is_none_or(|labels_wanted| labels_wanted.matches(&Some(labels.clone())))
            && self.fields.as_ref().is_none_or(|fields| fields.matches(at))
    }
}

impl Change {
    /// As who follows the wanted ones sees it.
    fn event(&self, wanted: &Wanted) -> Option<String> {
        let before = self.before.as_ref().filter(|object| wanted.has(object));
        let after = self.after.as_ref().filter(|object| wanted.has(object));
        let event = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) => json!({"type": "ADDED", "object": after}),
            (Some(_), Some(after)) => json!({"type": "MODIFIED", "object": after}),
            (Some(before), None) => {
                let mut last = before.clone();
                last["metadata"]["resourceVersion"] = json!(self.version.to_string());
                json!({"type": "DELETED", "object": last})
            }
        };
        Some(format!("{event}\n"))
    }
}

impl State {
    fn get(&self, served: Served, key: &Key) -> Result<&Value, Refusal> {
        let missing =
            || refuse(404, "NotFound", format!("{}.{} {:?} not found", served.plural, served.group, key.name));
        self.objects.get(&(served, key.clone())).ok_or_else(missing)
    }

    fn list(&self, served: Served, wanted: &Wanted) -> Vec<&Value> {
        let of_kind = self.objects.iter().filter(|((kind, _), _)| *kind == served);
        of_kind.map(|(_, object)| object).filter(|object| wanted.has(object)).collect()
    }

    /// Puts an object in the place of what was there, and tells of it.
    fn put(&mut self, served: Served, key: Key, after: Option<Value>) -> Option<Value> {
        self.version += 1;
        let version = self.version;
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            object
        });
        let before = match &after {
            Some(object) => self.objects.insert((served, key), object.clone()),
            None => self.objects.remove(&(served, key)),
        };
        let change = Change { served, version, before, after: after.clone() };
        self.watchers.retain(|watcher| {
            let event = if watcher.served == served { change.event(&watcher.wanted) } else { None };
            event.is_none_or(|event| watcher.sender.send(event).is_ok())
        });
        self.changes.push(change);
        after
    }

    fn create(&mut self, served: Served, mut object: Value) -> Result<Value, Refusal> {
        let namespace = text(sub(&object, "metadata"), "namespace").to_owned();
        let home = (Served::of_kind("Namespace"), Key::new("", &namespace));
        if served.namespaced && self.objects.get(&home).is_some_and(is_going) {
            let message =
                format!("unable to create new content in namespace {namespace} because it is being terminated");
            return Err(Refusal { cause: Some("NamespaceTerminating"), ..refuse(403, "Forbidden", message) });
        }
        let meta = sub(&object, "metadata");
        if text(meta, "name").is_empty() {
            let prefix = text(meta, "generateName").to_owned();
            let made_up = self.made_up.entry(prefix.clone()).or_default();
            *made_up += 1;
            object["metadata"]["name"] = json!(format!("{prefix}{made_up}"));
        }
        let key = key_of(&object);
        if self.objects.contains_key(&(served, key.clone())) {
            return Err(refuse(409, "AlreadyExists", format!("{} {:?} already exists", served.plural, key.name)));
        }
        self.born(served, &mut object);
        Ok(self.put(served, key, Some(object)).unwrap_or_default())
    }

    fn born(&mut self, served: Served, object: &mut Value) {
        object["apiVersion"] = json!(served.api_version());
        object["kind"] = json!(served.kind);
        let uid = format!("{}-{}", text(sub(object, "metadata"), "name"), self.version + 1);
        let meta = &mut object["metadata"];
        meta["uid"] = meta.get("uid").cloned().unwrap_or(json!(uid));
        meta["generation"] = meta.get("generation").cloned().unwrap_or(json!(1));
        let now = json!("2026-01-01T11:00:00Z");
        meta["creationTimestamp"] = meta.get("creationTimestamp").cloned().unwrap_or(now);
        if served.kind == "Pod" && object["status"]["phase"].is_null() {
            object["status"]["phase"] = json!("Pending");
        }
        if served.kind == "Namespace" && object["spec"]["finalizers"].is_null() {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
        }
    }

    fn update(&mut self, served: Served, key: &Key, part: &str, new: Value) -> Result<Value, Refusal> {
        let old = self.get(served, key)?.clone();
        let (known, meant) = (sub(&old, "metadata"), sub(&new, "metadata"));
        for field in ["uid", "resourceVersion"] {
            let (known, meant) = (text(known, field), text(meant, field));
            if !meant.is_empty() && known != meant {
                let message = format!("Operation cannot be fulfilled on {} {:?}", served.plural, key.name);
                return Err(refuse(409, "Conflict", format!("{message}: {field} is {known} and not {meant}")));
            }
        }
        let mut next = match part {
            "" => {
                let mut next = new;
                next["status"] = old["status"].clone();
                for field in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generation"] {
                    next["metadata"][field] = old["metadata"][field].clone();
                }
                next
            }
            "finalize" => {
                let mut next = old.clone();
                next["spec"]["finalizers"] = new["spec"]["finalizers"].clone();
                next
            }
            "scale" => {
                let mut next = old.clone();
                next["spec"]["replicas"] = new["spec"]["replicas"].clone();
                next
            }
            _ => {
                let mut next = old.clone();
                next["status"] = new["status"].clone();
                // Who reports that it has done its part may let go in the same write.
                next["metadata"]["finalizers"] = new["metadata"]["finalizers"].clone();
                next
            }
        };
        next["apiVersion"] = old["apiVersion"].clone();
        next["kind"] = old["kind"].clone();
        without_nulls(&mut next);
        if next["spec"] != old["spec"] {
            next["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        if next == old {
            return Ok(old);
        }
        let kept = next.clone();
        let stays = !is_going(&next) || holds_on(served, &next);
        Ok(self.put(served, key.clone(), stays.then_some(next)).unwrap_or(kept))
    }

    /// What is left of the object; nothing when it is gone at once.
    fn delete(&mut self, served: Served, key: &Key, options: &Value) -> Result<Option<Value>, Refusal> {
        let mut object = self.get(served, key)?.clone();
        for field in ["uid", "resourceVersion"] {
            let (known, wanted) = (text(sub(&object, "metadata"), field), text(sub(options, "preconditions"), field));
            if !wanted.is_empty() && known != wanted {
                return Err(refuse(409, "Conflict", format!("the {field} is {known} and not {wanted}")));
            }
        }
        let policy = text(options, "propagationPolicy");
        if !policy.is_empty() {
            let mut kept = finalizers(&object);
            kept.retain(|finalizer| finalizer != "orphan" && finalizer != "foregroundDeletion");
            kept.extend(match policy {
                "Orphan" => Some("orphan".to_owned()),
                "Foreground" => Some("foregroundDeletion".to_owned()),
                _ => None,
            });
            object["metadata"]["finalizers"] = json!(kept);
        }
        let graceful = served.kind == "Pod"
            && options["gracePeriodSeconds"] != json!(0)
            && !text(sub(&object, "spec"), "nodeName").is_empty()
            && !matches!(text(sub(&object, "status"), "phase"), "Succeeded" | "Failed");
        object["metadata"]["deletionGracePeriodSeconds"] = json!(if graceful { 30 } else { 0 });
        if !is_going(&object) {
            object["metadata"]["deletionTimestamp"] = json!(Timestamp::now().to_string());
        }
        let stays = holds_on(served, &object);
        if stays && self.objects.get(&(served, key.clone())) == Some(&object) {
            return Ok(Some(object));
        }
        Ok(self.put(served, key.clone(), stays.then_some(object)))
    }
}

/// Whether something keeps an object that is being deleted.
fn holds_on(served: Served, object: &Value) -> bool {
    let graceful = served.kind == "Pod" && object["metadata"]["deletionGracePeriodSeconds"] == json!(30);
    let namespace = served.kind == "Namespace" && !list(sub(object, "spec"), "finalizers").is_empty();
    graceful || namespace || !finalizers(object).is_empty()
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

impl FakeApi {
    /// Holds the objects of a stream of YAML documents; versions, uids and times are given to those without. Discovery
    /// tells of their kinds, and of that of a document that is no object for lack of a name.
    pub(crate) fn new(yaml: &str) -> FakeApi {
        let api = FakeApi::default();
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let object = Value::deserialize(document).expect("YAML");
            api.state.lock().kinds.insert(Served::of_kind(text(&object, "kind")));
            if !key_of(&object).name.is_empty() {
                api.add(object);
            }
        }
        api
    }

    /// Somebody creates an object.
    pub(crate) fn add(&self, mut object: Value) {
        let served = Served::of_kind(text(&object, "kind"));
        let mut state = self.state.lock();
        state.born(served, &mut object);
        let key = key_of(&object);
        state.put(served, key, Some(object));
    }

    pub(crate) fn all(&self, kind: &str) -> Vec<Value> {
        let state = self.state.lock();
        state.list(Served::of_kind(kind), &Wanted::default()).into_iter().cloned().collect()
    }

    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.all(kind).iter().any(|object| key_of(object).name == name)
    }

    /// Somebody changes objects; whether any became another one. What is kept by nothing any more is gone afterwards.
    pub(crate) fn change(&self, kind: &str, change: impl Fn(&mut Value)) -> bool {
        let served = Served::of_kind(kind);
        let mut any = false;
        for old in self.all(kind) {
            let mut new = old.clone();
            change(&mut new);
            if new != old {
                let stays = !is_going(&new) || holds_on(served, &new);
                self.state.lock().put(served, key_of(&old), stays.then_some(new));
                any = true;
            }
        }
        any
    }

    /// Somebody deletes objects, with these options; whether there were any.
    pub(crate) fn delete(&self, kind: &str, options: &Value, which: impl Fn(&Value) -> bool) -> bool {
        let chosen: Vec<Value> = self.all(kind).into_iter().filter(which).collect();
        for object in &chosen {
            let deleted = self.state.lock().delete(Served::of_kind(kind), &key_of(object), options);
            assert!(deleted.is_ok(), "it was there");
        }
        !chosen.is_empty()
    }

    /// Kubelets end the pods that are to end; whether there were any.
    pub(crate) fn end_pods(&self) -> bool {
        self.delete("Pod", &json!({"gracePeriodSeconds": 0}), |pod| {
            is_going(pod) && pod["metadata"]["deletionGracePeriodSeconds"] == json!(30)
        })
    }

    /// Grows whenever anything becomes different.
    pub(crate) fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// What was written so far, a line each.
    pub(crate) fn story(&self) -> Vec<String> {
        self.state.lock().story.clone()
    }

    /// The events that were told: each once, in the order of the alphabet.
    pub(crate) fn said(&self) -> String {
        self.state.lock().said.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The folders that nodes hold, as `NODE/FOLDER`.
    pub(crate) fn folders(&self) -> Vec<String> {
        self.state.lock().folders.iter().cloned().collect()
    }

    pub(crate) fn is_overrun(&self) -> bool {
        self.state.lock().requests > REQUESTS_MAX
    }

    /// Every object, with its owners and what keeps it.
    pub(crate) fn census(&self) -> String {
        let state = self.state.lock();
        let line = |((served, key), object): (&(Served, Key), &Value)| {
            let owners = list(sub(object, "metadata"), "ownerReferences").iter();
            let owners: Vec<&str> = owners.map(|owner| text(owner, "name")).collect();
            let mut line = format!("{} {}", served.kind, key.name);
            if !owners.is_empty() {
                line += &format!(" of {}", owners.join(", "));
            }
            if is_going(object) {
                line += &format!(" going, held by {:?}", finalizers(object));
            }
            line + "\n"
        };
        state.objects.iter().map(line).collect()
    }
}
