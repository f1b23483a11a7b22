//! Role based access control, as `rbac.authorization.k8s.io/v1` defines it.
//!
//! Reading order: [`rule`] (what one rule says), `index` (who has which rules), [`Rbac`] (kept fresh by watching the store).
//!
//! Invariant: a role or binding that was written is obeyed by every request that starts after the write was answered.

mod index;
pub mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mk8s_store::{Event, EventKind, Store, View};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use self::{
    index::{ClusterRole, Index, Stored},
    rule::Rule,
};
use super::{
    Attributes, Authorizer, Decision, User,
    follow::{Follow, Follower},
};

const PREFIX: &[u8] = b"/registry/rbac.authorization.k8s.io/";

/// The RBAC authorizer.
pub struct Rbac {
    state: Mutex<State>,
}

struct State {
    follower: Follower,
    stored: Stored,
    index: Arc<Index>,
}

impl Rbac {
    pub fn new(store: Store) -> Rbac {
        Rbac {
            state: Mutex::new(State {
                follower: Follower::new(store, PREFIX),
                stored: Stored::default(),
                index: Arc::default(),
            }),
        }
    }

    fn index(&self) -> Arc<Index> {
        let mut state = self.state.lock();
        let State { follower, stored, index } = &mut *state;
        if follower.catch_up(stored) {
            *index = Arc::new(Index::compile(stored));
        }
        index.clone()
    }

    /// Why the request is allowed, in upstream's words; `None` when it is not.
    pub fn explain(&self, attributes: &Attributes<'_>) -> Option<String> {
        self.index().allowing(attributes).map(|source| format!("RBAC: allowed by {source}"))
    }

    /// All rules a user has cluster-wide and in `namespace` (SelfSubjectRulesReview, escalation checks).
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.index().rules(user, namespace)
    }

    /// The rules of a role as it is now; `None` when there is none. `namespace` is for kind `Role`.
    pub fn rules_of_role(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<[Rule]>> {
        self.index();
        let state = self.state.lock();
        match kind {
            "ClusterRole" => index::cluster_role_rules(&state.stored, name),
            _ => state.stored.roles.get(&(namespace.to_string(), name.to_string())).cloned(),
        }
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let index = self.index();
        if index.allowing(attributes).is_some() {
            return Decision::Allow;
        }
        let missing = index.missing_roles(attributes.user, attributes.namespace);
        Decision::NoOpinion(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }
}

impl Follow for Stored {
    fn rebuild(&mut self, view: &View) {
        *self = Stored::default();
        for entry in view.prefix(PREFIX) {
            self.put(&entry.key, &entry.value);
        }
    }

    fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Put => self.put(&event.entry.key, &event.entry.value),
            EventKind::Delete => self.delete(&event.entry.key),
        }
    }
}

/// Plural, namespace (empty when cluster-scoped) and name of a key under [`PREFIX`].
fn split(key: &[u8]) -> Option<(&str, &str, &str)> {
    let (plural, rest) = std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?.split_once('/')?;
    let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
    Some((plural, namespace, name))
}

impl Stored {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let (Some((plural, namespace, name)), Ok(object)) = (split(key), serde_json::from_slice::<Value>(value)) else {
            return;
        };
        let key = (namespace.to_string(), name.to_string());
        match plural {
            "roles" => {
                self.roles.insert(key, index::rules_of(&object));
            }
            "clusterroles" => {
                self.cluster_roles.insert(key.1, ClusterRole::new(&object));
            }
            "rolebindings" | "clusterrolebindings" => match Deserialize::deserialize(&object) {
                Ok(binding) => {
                    self.bindings.insert(key, binding);
                }
                Err(_) => {
                    self.bindings.remove(&key);
                }
            },
            _ => {}
        }
    }

    fn delete(&mut self, key: &[u8]) {
        let Some((plural, namespace, name)) = split(key) else { return };
        let key = (namespace.to_string(), name.to_string());
        match plural {
            "roles" => drop(self.roles.remove(&key)),
            "clusterroles" => drop(self.cluster_roles.remove(name)),
            "rolebindings" | "clusterrolebindings" => drop(self.bindings.remove(&key)),
            _ => {}
        }
    }
}
