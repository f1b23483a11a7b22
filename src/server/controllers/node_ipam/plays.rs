//! Nodes that come and go, given their ranges by leaders that die: no two have the same.

use crate::{
    Options,
    common::{
        fake::FakeApi,
        succession::{Scene, check_facts, play},
    },
};
use expect_test::expect;
use ipnet::Ipv4Net;
use serde_json::json;
use std::collections::BTreeSet;

fn scene() -> Scene {
    let node = |n: usize| format!("---\nkind: Node\nmetadata: {{name: n{n}}}\nspec: {{}}\n");
    let cluster_cidr = Ipv4Net::new_assert([10, 42, 0, 0].into(), 22);
    Scene {
        options: Options { cluster_cidr, ..Options::default() },
        objects: (0..3).map(node).collect(),
        others: |api, asked| match asked {
            // One leaves, and two come for the two ranges that are left.
            0 => {
                api.delete("Node", &json!({}), |node| node["metadata"]["name"] == "n1");
                for name in ["n4", "n5"] {
                    api.add(json!({"kind": "Node", "metadata": {"name": name}, "spec": {}}));
                }
                true
            }
            _ => false,
        },
        holds: |api| {
            let ranges: Vec<String> = ranges(api);
            let different: BTreeSet<&String> = ranges.iter().collect();
            if different.len() == ranges.len() { Ok(()) } else { Err(format!("two have the same: {ranges:?}")) }
        },
        facts: |api| {
            let mut ranges = ranges(api);
            ranges.sort();
            ranges.join("\n")
        },
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), "")
    }
}

fn ranges(api: &FakeApi) -> Vec<String> {
    let nodes = api.all("Node");
    nodes.iter().filter_map(|node| node["spec"]["podCIDR"].as_str()).map(str::to_owned).collect()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check_facts(
        &scene(),
        &expect![[r#"
        10.42.0.0/24
        10.42.1.0/24
        10.42.2.0/24
        10.42.3.0/24"#]],
    );
}

#[test]
fn a_node_for_which_nothing_is_left_is_told_of() {
    let full = Scene {
        others: |api, asked| {
            let more = asked < 3;
            if more {
                api.add(json!({"kind": "Node", "metadata": {"name": format!("more{asked}")}, "spec": {}}));
            }
            more
        },
        ..scene()
    };
    let played = play(&full, || usize::MAX).expect("no hot loop");
    expect![[r#"
        Normal CIDRNotAvailable Node more1: Node more1 status is now: CIDRNotAvailable
        Normal CIDRNotAvailable Node more2: Node more2 status is now: CIDRNotAvailable
    "#]]
    .assert_eq(&played.said());
    assert_eq!(ranges(&played).len(), 4);
}
