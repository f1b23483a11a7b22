//! A namespace that goes with all that is in it, emptied by leaders that die: nothing stays, and it goes last.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, play, with_inventory},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::json;

const NAMESPACE: &str = "
kind: Namespace
metadata: {name: n, uid: n, deletionTimestamp: \"2026-01-01T11:59:00Z\"}
spec: {finalizers: [kubernetes]}
---
kind: Namespace
metadata: {name: other, uid: other}
---
kind: ConfigMap
metadata: {name: neighbour, namespace: other}
---
kind: ConfigMap
metadata: {name: map, namespace: n}
---
kind: Secret
metadata: {name: secret, namespace: n}
---
kind: Widget
metadata: {name: widget, namespace: n}
---
kind: Pod
metadata: {name: pod, namespace: n}
spec: {nodeName: one}
---
kind: Pod
metadata: {name: unbound, namespace: n}
";

fn scene(objects: &str) -> Scene {
    Scene {
        others: |api, _| api.end_pods(),
        holds: |api| match api.has("Namespace", "n") || api.census().lines().all(|line| !line.contains(" map")) {
            true => Ok(()),
            false => Err("the namespace is gone before what was in it".to_owned()),
        },
        facts,
        ..Scene::new(|ctx| Box::pin(with_inventory(ctx, super::prepare)), objects)
    }
}

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for namespace in api.all("Namespace") {
        for condition in list(&namespace["status"], "conditions") {
            facts += &format!("{}={} {}\n", condition["type"], condition["status"], condition["message"]);
        }
    }
    facts
}

#[test]
fn all_that_is_in_it_goes_before_it() {
    check_facts(
        &scene(NAMESPACE),
        &expect![[r#"
        ConfigMap neighbour
        Namespace other
    "#]],
    );
}

#[test]
fn what_is_held_holds_the_namespace_and_the_conditions_say_by_whom() {
    let held = NAMESPACE.replace("{name: map, namespace: n}", "{name: map, namespace: n, finalizers: [example.com/x]}");
    check_facts(
        &scene(&held),
        &expect![[r#"
        ConfigMap map going, held by ["example.com/x"]
        ConfigMap neighbour
        Namespace n going, held by []
        Namespace other
        "NamespaceDeletionDiscoveryFailure"="False" "All resources successfully discovered"
        "NamespaceDeletionGroupVersionParsingFailure"="False" "All legacy kube types successfully parsed"
        "NamespaceDeletionContentFailure"="False" "All content successfully deleted, may be waiting on finalization"
        "NamespaceContentRemaining"="True" "Some resources are remaining: configmaps. has 1 resource instances"
        "NamespaceFinalizersRemaining"="True" "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances"
    "#]],
    );
    let freed = Scene {
        others: |api, asked| {
            let let_go = asked == 2
                && api.change("ConfigMap", |map| {
                    if let Some(meta) = map["metadata"].as_object_mut() {
                        meta.remove("finalizers");
                    }
                });
            api.end_pods() || let_go || asked < 2
        },
        ..scene(&held)
    };
    check_facts(
        &freed,
        &expect![[r#"
        ConfigMap neighbour
        Namespace other
    "#]],
    );
}

#[test]
fn others_finalizers_are_left_to_them() {
    let shared = NAMESPACE.replace("[kubernetes]", "[example.com/mine, kubernetes]");
    check_facts(
        &scene(&shared),
        &expect![[r#"
        ConfigMap neighbour
        Namespace n going, held by []
        Namespace other
        "NamespaceDeletionDiscoveryFailure"="False" "All resources successfully discovered"
        "NamespaceDeletionGroupVersionParsingFailure"="False" "All legacy kube types successfully parsed"
        "NamespaceDeletionContentFailure"="False" "All content successfully deleted, may be waiting on finalization"
        "NamespaceContentRemaining"="False" "All content successfully removed"
        "NamespaceFinalizersRemaining"="False" "All content-preserving finalizers finished"
    "#]],
    );
}

#[test]
fn what_is_born_meanwhile_goes_too() {
    let born = Scene {
        // Somebody who had begun before the namespace was deleted.
        others: |api, asked| {
            let late = asked == 0 && !api.has("Namespace", "gone");
            if late && api.has("Namespace", "n") {
                api.add(json!({"kind": "ConfigMap", "metadata": {"name": "late", "namespace": "n"}}));
            }
            api.end_pods() || late
        },
        ..scene(NAMESPACE)
    };
    check_facts(
        &born,
        &expect![[r#"
        ConfigMap neighbour
        Namespace other
    "#]],
    );
}

#[test]
fn very_many_are_deleted_in_pages() {
    let map = |n: usize| format!("---\nkind: ConfigMap\nmetadata: {{name: m{n:04}, namespace: n}}\n");
    let held = "---\nkind: ConfigMap\nmetadata: {name: held, namespace: n, finalizers: [example.com/x]}\n";
    let maps: String = (0..1200).map(map).collect();
    let namespace = "kind: Namespace\nmetadata: {name: n, deletionTimestamp: \"2026-01-01T11:59:00Z\"}\n";
    let played = play(&scene(&[namespace, held, &maps].concat()), || usize::MAX).expect("it ends");
    let deletions = played.story().iter().filter(|line| *line == "delete every ConfigMap").count();
    assert_eq!(deletions, 3);
    assert_eq!(played.all("ConfigMap").len(), 1);
    assert!(facts(&played).contains("configmaps. has 1 resource instances"), "{}", facts(&played));
}
