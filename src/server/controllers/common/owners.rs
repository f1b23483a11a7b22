//! Who looks again when an object changes that others control: its controllers, or those who would take it.

use super::{
    claims::controller_of,
    selectors::{self, Labels},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mk8s_client::{
    Change, Informer, Key, Kind, WorkQueue,
    kube::{Resource, ResourceExt, core::NamespaceResourceScope},
};

/// Queues the controllers of a kind that the object has or had.
pub(crate) fn queue<K: Kind>(change: &Change<K>, kind: &str, queue: &WorkQueue<Key>) {
    let namespace = change.object().namespace().unwrap_or_default();
    let metas = [Some(change.object().meta()), change.old().map(|old| old.meta())];
    for owner in metas.into_iter().flatten().filter_map(controller_of).filter(|owner| owner.kind == kind) {
        queue.add(Key::new(&namespace, &owner.name));
    }
}

/// Queues who selects an object that no one controls, when it is new or what decides about it has changed.
pub(crate) fn queue_adopters<K: Kind, O: Kind + Resource<Scope = NamespaceResourceScope>>(
    change: &Change<K>,
    owners: &Informer<O>,
    selects: impl Fn(&O, &Option<Labels>) -> bool,
    queue: &WorkQueue<Key>,
) {
    let meta = change.object().meta();
    let news = match change {
        Change::Added(_) => true,
        Change::Updated { old, .. } => {
            old.meta().labels != meta.labels || old.meta().owner_references != meta.owner_references
        }
        Change::Deleted(_) => false,
    };
    if controller_of(meta).is_some() || !news {
        return;
    }
    let owners = owners.list_in(&change.object().namespace().unwrap_or_default());
    owners.iter().filter(|owner| selects(owner, &meta.labels)).for_each(|owner| queue.add(Key::of(owner.as_ref())));
}

/// Whether a selector of an owner matches; one that is missing or cannot be read matches nothing.
pub(crate) fn matches(selector: Option<&LabelSelector>, labels: &Option<Labels>) -> bool {
    selectors::compile(selector).is_some_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{objects, one};
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use mk8s_client::pod::Pod;
    use std::sync::Arc;

    const SETS: &str = "kind: ReplicaSet\nmetadata: {name: a, namespace: n}\nspec: {selector: {matchLabels: {app: x}}}\n---\n\
                        kind: ReplicaSet\nmetadata: {name: b, namespace: n}\nspec: {selector: {matchLabels: {app: y}}}\n";

    fn pod(label: &str, owner: &str) -> Arc<Pod> {
        let owners = match owner {
            "" => String::new(),
            name => format!("[{{apiVersion: apps/v1, kind: ReplicaSet, name: {name}, uid: u, controller: true}}]"),
        };
        Arc::new(one(&format!(
            "kind: Pod\nmetadata: {{name: p, namespace: n, labels: {{app: {label}}}, ownerReferences: {owners}}}\n"
        )))
    }

    async fn queued(change: Change<Pod>) -> Vec<String> {
        let keys = WorkQueue::new("test");
        let sets = Informer::<ReplicaSet>::fixed(objects(SETS));
        queue(&change, "ReplicaSet", &keys);
        queue_adopters(
            &change,
            &sets,
            |set, labels| matches(set.spec.as_ref().map(|spec| &spec.selector), labels),
            &keys,
        );
        let mut names = Vec::new();
        while !keys.is_empty() {
            names.extend(keys.get().await.map(|key| key.name));
        }
        names.sort();
        names
    }

    #[tokio::test]
    async fn controllers_and_adopters_are_queued() {
        let changed = |old, new| Change::Updated { old, new };
        assert_eq!(queued(Change::Added(pod("x", ""))).await, ["a"]);
        assert_eq!(queued(Change::Added(pod("x", "c"))).await, ["c"]);
        assert_eq!(queued(Change::Deleted(pod("x", ""))).await, [""; 0]);
        assert_eq!(queued(changed(pod("x", ""), pod("x", ""))).await, [""; 0]);
        assert_eq!(queued(changed(pod("x", ""), pod("y", ""))).await, ["b"]);
        // Released by one, to be taken by another.
        assert_eq!(queued(changed(pod("x", "c"), pod("x", ""))).await, ["a", "c"]);
    }
}
