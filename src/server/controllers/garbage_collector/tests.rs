use super::{
    graph::Graph,
    plan::{Action, Owner, Policy, needs_owners, plan},
};
use crate::inventory::{ApiKind, Record};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use mk8s_client::Key;
use std::sync::Arc;

fn record(uid: &str, owners: &[&str], state: &str) -> Record {
    let reference = |owner: &&str| OwnerReference {
        api_version: "v1".into(),
        kind: "Thing".into(),
        name: owner.trim_end_matches('!').into(),
        uid: owner.trim_end_matches('!').into(),
        controller: None,
        block_owner_deletion: Some(owner.ends_with('!')),
    };
    let finalizers = match state {
        "foreground" => vec!["foregroundDeletion".to_owned()],
        "orphan" => vec!["orphan".to_owned()],
        _ => Vec::new(),
    };
    Record {
        kind: Arc::new(ApiKind::example("", "Thing", true)),
        key: Key::new("n", uid),
        uid: uid.into(),
        version: "1".into(),
        owners: owners.iter().map(reference).collect(),
        finalizers,
        is_being_deleted: !state.is_empty(),
    }
}

fn graph(records: &[Record]) -> Graph {
    let mut graph = Graph::default();
    for record in records {
        assert!(graph.apply(Arc::new(record.clone())).is_empty(), "incomplete");
    }
    graph
}

/// What happens to `uid` when the server has none of the owners that the graph does not know.
fn fate(graph: &Graph, uid: &str) -> Action {
    let (record, dependents) = graph.look(uid).expect("known");
    let owners: Vec<_> = match needs_owners(&record) {
        true => record
            .owners
            .iter()
            .map(|owner| (owner.clone(), graph.owner(&record, owner).unwrap_or(Owner::Absent)))
            .collect(),
        false => Vec::new(),
    };
    plan(&record, &dependents, graph.waits_for_itself(uid), &owners)
}

#[test]
fn completing_the_graph_finds_what_is_due() {
    let mut graph = graph(&[
        record("lost", &["nobody"], ""),
        record("child", &["parent"], ""),
        record("parent", &[], ""),
        record("waits", &[], "foreground"),
        record("leaves", &[], "orphan"),
    ]);
    let mut due = graph.complete();
    due.sort();
    assert_eq!(due, ["leaves", "lost", "waits"]);
    assert_eq!(fate(&graph, "lost"), Action::Delete(Policy::Background));
    assert_eq!(fate(&graph, "child"), Action::Nothing);
    assert_eq!(fate(&graph, "waits"), Action::DropFinalizer);
    assert_eq!(fate(&graph, "leaves"), Action::Orphan);
}

#[test]
fn dependents_follow_their_owner() {
    let mut graph = graph(&[
        record("parent", &[], ""),
        record("a", &["parent"], ""),
        record("b", &["parent", "other"], ""),
        record("other", &[], ""),
    ]);
    assert!(graph.complete().is_empty());
    assert_eq!(graph.remove(&record("parent", &[], "")), ["a", "b"]);
    assert_eq!(fate(&graph, "a"), Action::Delete(Policy::Background));
    assert_eq!(fate(&graph, "b"), Action::DropOwners(vec!["parent".into()]));
}

#[test]
fn an_owner_waits_for_dependents_that_block_it() {
    let mut graph = graph(&[
        record("parent", &[], ""),
        record("blocks", &["parent!"], ""),
        record("free", &["parent"], ""),
        record("grandchild", &["blocks!"], ""),
    ]);
    graph.complete();
    let due = graph.apply(Arc::new(record("parent", &[], "foreground")));
    assert_eq!(due, ["blocks", "free", "parent"]);
    assert_eq!(fate(&graph, "parent"), Action::Press(vec!["blocks".into()]));
    assert_eq!(fate(&graph, "free"), Action::Delete(Policy::Background));
    assert_eq!(fate(&graph, "blocks"), Action::Delete(Policy::Foreground), "it has dependents of its own");
    graph.apply(Arc::new(record("blocks", &["parent!"], "foreground")));
    assert_eq!(fate(&graph, "parent"), Action::Nothing, "it waits");
    graph.remove(&record("grandchild", &[], ""));
    assert_eq!(fate(&graph, "blocks"), Action::DropFinalizer);
    assert_eq!(graph.remove(&record("blocks", &[], "")), ["parent"]);
    assert_eq!(fate(&graph, "parent"), Action::DropFinalizer);
}

#[test]
fn a_circle_does_not_wait_for_itself() {
    let mut graph = graph(&[record("a", &["b!"], "foreground"), record("b", &["a!"], "")]);
    graph.complete();
    assert_eq!(fate(&graph, "b"), Action::Unblock);
    graph.apply(Arc::new(record("b", &["a!"], "foreground")));
    assert_eq!(fate(&graph, "b"), Action::DropFinalizer, "they would wait for each other");
    graph.apply(Arc::new(record("b", &["a"], "foreground")));
    assert_eq!(fate(&graph, "b"), Action::Nothing, "it does not block the other");
}

#[test]
fn a_reference_must_mean_the_object_with_its_uid() {
    let mut graph = graph(&[record("parent", &[], "")]);
    graph.complete();
    let mut wrong = record("a", &["parent"], "");
    wrong.owners[0].name = "someone".into();
    assert_eq!(graph.apply(Arc::new(wrong.clone())), ["a"]);
    assert_eq!(graph.owner(&wrong, &wrong.owners[0]), None, "the server is asked");
}

#[test]
fn what_cannot_be_judged_lives() {
    let item = record("a", &["x", "y"], "");
    let owners = [(item.owners[0].clone(), Owner::Absent), (item.owners[1].clone(), Owner::Unknown)];
    assert_eq!(plan(&item, &[], false, &owners), Action::Nothing);
}
