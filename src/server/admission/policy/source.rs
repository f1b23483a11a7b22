//! All policies that are bound, following the store.

use std::{collections::BTreeMap, sync::Arc};

use mk8s_store::{Event, EventKind, Store, View};
use parking_lot::Mutex;
use serde_json::Value;

use super::read::{self, Binding, Bound, Mutating, Policy, Validating};
use crate::auth::follow::{Follow, Follower};

const PREFIX: &[u8] = b"/registry/admissionregistration.k8s.io/";

/// What is bound, sorted by the names of policies.
#[derive(Default)]
pub(super) struct All {
    pub(super) validating: Vec<Bound<Validating>>,
    pub(super) mutating: Vec<Bound<Mutating>>,
}

pub(super) struct Source(Mutex<(Follower, Index)>);

impl Source {
    pub(super) fn new(store: Store) -> Source {
        Source(Mutex::new((Follower::new(store, PREFIX), Index::default())))
    }

    /// What is bound as of the last answered write.
    pub(super) fn bound(&self) -> Arc<All> {
        let (follower, index) = &mut *self.0.lock();
        if follower.catch_up(index) {
            index.bound = Arc::new(All {
                validating: bound(&index.validating, &index.validating_bindings),
                mutating: bound(&index.mutating, &index.mutating_bindings),
            });
        }
        index.bound.clone()
    }
}

fn bound<P>(policies: &Named<Policy<P>>, bindings: &Named<Binding>) -> Vec<Bound<P>> {
    let bindings_of = |name: &str| -> Vec<Arc<Binding>> {
        bindings.values().filter(|binding| binding.policy == name).cloned().collect()
    };
    let all = policies.values().map(|policy| Bound { policy: policy.clone(), bindings: bindings_of(&policy.name) });
    all.filter(|bound| !bound.bindings.is_empty()).collect()
}

type Named<T> = BTreeMap<String, Arc<T>>;

#[derive(Default)]
struct Index {
    validating: Named<Policy<Validating>>,
    validating_bindings: Named<Binding>,
    mutating: Named<Policy<Mutating>>,
    mutating_bindings: Named<Binding>,
    bound: Arc<All>,
}

/// Puts what was read under its name, or takes away what is no more.
fn keep<T>(into: &mut Named<T>, name: &str, object: Option<&Value>, read: fn(&Value) -> T) {
    match object {
        Some(object) => into.insert(name.to_string(), Arc::new(read(object))),
        None => into.remove(name),
    };
}

impl Index {
    fn put(&mut self, key: &[u8], object: Option<&Value>) {
        let key = String::from_utf8_lossy(key);
        let Some((kind, name)) =
            key.strip_prefix("/registry/admissionregistration.k8s.io/").and_then(|key| key.split_once('/'))
        else {
            return;
        };
        match kind {
            "validatingadmissionpolicies" => keep(&mut self.validating, name, object, read::validating),
            "validatingadmissionpolicybindings" => keep(&mut self.validating_bindings, name, object, read::binding),
            "mutatingadmissionpolicies" => keep(&mut self.mutating, name, object, read::mutating),
            "mutatingadmissionpolicybindings" => keep(&mut self.mutating_bindings, name, object, read::binding),
            _ => {}
        }
    }
}

impl Follow for Index {
    fn rebuild(&mut self, view: &View) {
        *self = Index::default();
        for entry in view.prefix(PREFIX) {
            // What cannot be read binds nobody.
            if let Ok(object) = serde_json::from_slice(&entry.value) {
                self.put(entry.key.as_ref(), Some(&object));
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        let object = match event.kind {
            EventKind::Put => serde_json::from_slice(&event.entry.value).ok(),
            EventKind::Delete => None,
        };
        self.put(event.entry.key.as_ref(), object.as_ref());
    }
}
