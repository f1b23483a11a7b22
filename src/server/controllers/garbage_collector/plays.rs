//! Owners and dependents, deleted in all ways, with leaders that die: whose owner lives stays, whose owners are gone goes.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, check_facts, play, with_inventory},
};
use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn scene(objects: &str) -> Scene {
    Scene {
        others: |api, _| api.end_pods(),
        ..Scene::new(|ctx| Box::pin(with_inventory(ctx, super::prepare)), objects)
    }
}

/// A Widget, and how its deletion stands.
fn widget(name: &str, owners: &[&str], state: &str) -> String {
    let owners: Vec<String> = owners
        .iter()
        .map(|owner| {
            let (owner, blocks) = (owner.trim_end_matches('!'), owner.ends_with('!'));
            format!("{{apiVersion: example.com/v1, kind: Widget, name: {owner}, uid: {owner}, blockOwnerDeletion: {blocks}}}")
        })
        .collect();
    let state = match state {
        "" => String::new(),
        finalizer => format!(", deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [{finalizer}]"),
    };
    format!(
        "---\nkind: Widget\nmetadata: {{name: {name}, namespace: n, uid: {name}, ownerReferences: [{}]{state}}}\n",
        owners.join(", ")
    )
}

#[test]
fn what_lost_its_owners_goes_with_all_that_depends_on_it() {
    let objects = [
        widget("parent", &["gone"], ""),
        widget("child", &["parent"], ""),
        widget("grandchild", &["child"], ""),
        widget("shared", &["parent", "other"], ""),
        widget("other", &[], ""),
    ];
    check(
        &scene(&objects.concat()),
        &expect![[r#"
            delete Widget parent (background)
            delete Widget child (background)
            patch Widget shared ownerReferences
            delete Widget grandchild (background)
        "#]],
        &expect![[r#"
            Widget other
            Widget shared of other
        "#]],
    );
}

#[test]
fn an_owner_that_waits_goes_last() {
    let pods = "---
kind: ReplicaSet
metadata: {name: set, namespace: n, uid: set, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: web, blockOwnerDeletion: true}]}
---
kind: Deployment
metadata: {name: web, namespace: n, uid: web, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [foregroundDeletion]}
---
kind: Pod
metadata: {name: a, namespace: n, uid: a, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: set, uid: set, blockOwnerDeletion: true}]}
spec: {nodeName: one}
---
kind: Pod
metadata: {name: b, namespace: n, uid: b, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: set, uid: set, blockOwnerDeletion: true}]}
";
    check_facts(&scene(pods), &expect![[""]]);
}

#[test]
fn orphans_stay() {
    let objects = [
        widget("parent", &[], "orphan"),
        widget("a", &["parent!"], ""),
        widget("b", &["parent", "other"], ""),
        widget("other", &[], ""),
    ];
    check_facts(
        &scene(&objects.concat()),
        &expect![[r#"
        Widget a
        Widget b of other
        Widget other
    "#]],
    );
}

#[test]
fn loops_of_owners_end_when_one_of_them_is_deleted() {
    let waiting = [widget("a", &["b!"], "foregroundDeletion"), widget("b", &["a!"], "")];
    check_facts(&scene(&waiting.concat()), &expect![[""]]);
    let longer = [widget("a", &["c!"], "foregroundDeletion"), widget("b", &["a!"], ""), widget("c", &["b!"], "")];
    check_facts(&scene(&longer.concat()), &expect![[""]]);
    let both = [widget("a", &["b!"], "foregroundDeletion"), widget("b", &["a!"], "foregroundDeletion")];
    check_facts(&scene(&both.concat()), &expect![[""]]);
    let itself = [widget("a", &["a!"], "foregroundDeletion"), widget("b", &["b"], "")];
    check_facts(
        &scene(&itself.concat()),
        &expect![[r#"
        Widget b of b
    "#]],
    );
    // Nobody deletes one of them: they hold each other, for ever.
    let alive = [widget("a", &["b!"], ""), widget("b", &["a!"], "")];
    check_facts(
        &scene(&alive.concat()),
        &expect![[r#"
        Widget a of b
        Widget b of a
    "#]],
    );
}

#[test]
fn owners_of_kinds_that_nobody_serves_are_not_judged() {
    let objects = "---
kind: ConfigMap
metadata: {name: a, namespace: n, ownerReferences: [{apiVersion: gone.example.com/v1, kind: Thing, name: x, uid: x}]}
---
kind: Node
metadata: {name: b, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: y}]}
---
kind: ConfigMap
metadata: {name: c, namespace: n, ownerReferences: [{apiVersion: v1, kind: Node, name: b, uid: b}]}
";
    check(
        &scene(objects),
        &expect![[r#"
        delete ConfigMap c (background)
    "#]],
        &expect![[r#"
        ConfigMap a of x
        Node b of a
    "#]],
    );
}

#[test]
fn an_owner_in_another_namespace_is_none_and_that_is_told() {
    let objects = "---
kind: ConfigMap
metadata: {name: owner, namespace: other, uid: owner}
---
kind: ConfigMap
metadata: {name: a, namespace: n, uid: a, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: owner}]}
---
kind: Node
metadata: {name: b, uid: b, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: owner}]}
";
    check(
        &scene(objects),
        &expect![[r#"
        delete ConfigMap a (background)
    "#]],
        &expect![[r#"
        ConfigMap owner
        Node b of owner
    "#]],
    );
    let played = play(&scene(objects), || usize::MAX).expect("it ends");
    expect![[r#"
        Warning OwnerRefInvalidNamespace ConfigMap a: ownerRef [v1/ConfigMap, namespace: n, name: owner, uid: owner] does not exist in namespace "n"
        Warning OwnerRefInvalidNamespace Node b: ownerRef [v1/ConfigMap, namespace: , name: owner, uid: owner] does not exist in namespace ""
    "#]].assert_eq(&played.said());
}

#[derive(Debug, Clone)]
struct Forest {
    /// Owners of each widget by number, and whether it blocks them; numbers beyond the end were never there.
    owners: Vec<Vec<(usize, bool)>>,
    /// Which are deleted, in this order, and how.
    deleted: Vec<(usize, &'static str)>,
}

fn forests() -> impl Strategy<Value = Forest> {
    (2_usize..9).prop_flat_map(|size| {
        let owners = prop::collection::vec((0..size + 1, any::<bool>()), 0..3);
        let policies = prop_oneof![Just("Background"), Just("Foreground"), Just("Orphan")];
        (prop::collection::vec(owners, size), prop::collection::vec((0..size, policies), 0..4))
            .prop_map(|(owners, deleted)| Forest { owners, deleted })
    })
}

fn name(n: usize) -> String {
    format!("w{n}")
}

fn yaml(forest: &Forest) -> String {
    let one = |(n, owners): (usize, &Vec<(usize, bool)>)| {
        // One reference for each owner, as the server demands it.
        let owners: BTreeMap<usize, bool> = owners.iter().copied().collect();
        let owners: Vec<String> =
            owners.iter().map(|(owner, blocks)| name(*owner) + if *blocks { "!" } else { "" }).collect();
        widget(&name(n), &owners.iter().map(String::as_str).collect::<Vec<_>>(), "")
    };
    forest.owners.iter().enumerate().map(one).collect()
}

thread_local! {
    /// What the users of the play on this thread delete.
    static DELETED: std::cell::RefCell<Vec<(usize, &'static str)>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn users(api: &FakeApi, asked: usize) -> bool {
    let Some((n, policy)) = DELETED.with_borrow(|deleted| deleted.get(asked).copied()) else { return false };
    let named = |object: &Value| object["metadata"]["name"] == name(n);
    api.delete("Widget", &json!({"propagationPolicy": policy}), named);
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever owns whatever, whatever is deleted how, and whoever dies when.
    #[test]
    fn whose_owner_lives_stays_and_whose_owners_are_gone_goes(
        forest in forests(),
        lives in prop::collection::vec(1_usize..6, 0..6),
    ) {
        DELETED.set(forest.deleted.clone());
        let scene = Scene { others: users, ..scene(&yaml(&forest)) };
        let mut lives = lives.into_iter();
        let played = play(&scene, || lives.next().unwrap_or(usize::MAX)).map_err(TestCaseError::fail)?;
        let story = played.story().join("\n");
        for (n, owners) in forest.owners.iter().enumerate() {
            let by_user = forest.deleted.iter().any(|(deleted, _)| *deleted == n);
            let owned_by_the_living = owners.iter().any(|(owner, _)| played.has("Widget", &name(*owner)));
            let lives = played.has("Widget", &name(n));
            prop_assert!(lives || by_user || !owned_by_the_living, "{} had an owner\n{story}", name(n));
            prop_assert!(lives || by_user || !owners.is_empty(), "{} had no owners\n{story}", name(n));
        }
        for object in played.all("Widget") {
            let meta = &object["metadata"];
            prop_assert!(meta["deletionTimestamp"].is_null(), "{meta} still goes\n{story}");
            for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
                let there = played.has("Widget", owner["name"].as_str().unwrap_or_default());
                prop_assert!(there, "{meta} has an owner that is gone\n{story}");
            }
        }
    }
}
