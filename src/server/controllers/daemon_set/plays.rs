//! A DaemonSet, its nodes and pods, played through an update and the coming and going of nodes.

use super::{
    POD_HASH,
    plan::{Action, Observed, new_pod, plan},
};
use crate::common::{
    fixtures::{noon, one, shared},
    interruption::{self, Pods, World, Write, write},
};
use expect_test::expect;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone)]
struct Set {
    set: DaemonSet,
    nodes: Vec<Arc<Node>>,
    pods: Pods,
    hash: &'static str,
    rounds: usize,
}

fn nodes(names: &[&str]) -> Vec<Arc<Node>> {
    let yaml: Vec<String> = names.iter().map(|name| format!("---\nkind: Node\nmetadata: {{name: {name}}}\n")).collect();
    shared(&yaml.concat())
}

impl World for Set {
    fn writes(&self) -> Vec<Write<Set>> {
        let observed = Observed {
            set: Arc::new(self.set.clone()),
            pods: self.pods.all(),
            nodes: self.nodes.clone(),
            hash: self.hash.into(),
            paused: BTreeMap::new(),
        };
        let plan = plan(noon(), &observed);
        let mut writes = vec![];
        for action in plan.actions {
            match action {
                Action::Create { nodes } => {
                    for node in nodes {
                        let pod = new_pod(&self.set, &node, self.hash);
                        writes.push(write(format!("start {} on {node}", self.hash), move |world: &mut Set| {
                            let mut pod = pod;
                            // As the scheduler does.
                            pod.spec.get_or_insert_default().node_name = Some(node);
                            world.pods.create(&pod);
                        }));
                    }
                }
                Action::Delete { pods } => {
                    for name in pods {
                        let pod = &self.pods.by_name[&name];
                        let what = format!("stop {} on {}", hash(pod), crate::common::pods::node(pod));
                        writes.push(write(what, move |world: &mut Set| world.pods.delete(&name)));
                    }
                }
                Action::Adopt { .. } | Action::Release { .. } => unreachable!("all pods are the set's"),
            }
        }
        writes
            .extend(plan.status.map(|status| write("status", move |world: &mut Set| world.set.status = Some(status))));
        writes
    }

    fn others(&mut self) -> bool {
        self.rounds += 1;
        match self.rounds {
            8 => self.nodes = nodes(&["a", "c", "d"]),
            16 => self.hash = "new",
            _ => {}
        }
        self.pods.start_all() || self.rounds <= 16
    }

    fn holds(&self) -> Result<(), String> {
        let mut on: Vec<&str> = self.pods.by_name.values().map(crate::common::pods::node).collect();
        on.sort_unstable();
        let count = on.len();
        on.dedup();
        if on.len() == count { Ok(()) } else { Err("a node has two pods".into()) }
    }

    fn facts(&self) -> String {
        let mut pods: Vec<String> = (self.pods.by_name.values())
            .map(|pod| format!("{} on {}\n", hash(pod), crate::common::pods::node(pod)))
            .collect();
        pods.sort();
        let status = self.set.status.clone().unwrap_or_default();
        let counts = (status.desired_number_scheduled, status.current_number_scheduled, status.number_ready);
        format!("{}{counts:?} updated {:?}\n", pods.concat(), status.updated_number_scheduled)
    }
}

fn hash(pod: &Pod) -> &str {
    pod.labels().get(POD_HASH).map(String::as_str).unwrap_or_default()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let set = one(
        "kind: DaemonSet\nmetadata: {name: d, namespace: n, uid: d, generation: 1}\nspec:\n  selector: {matchLabels: {app: \
         d}}\n  updateStrategy: {rollingUpdate: {maxUnavailable: 1}}\n  template: {metadata: {labels: {app: d}}, spec: \
         {containers: [{name: c}]}}\n",
    );
    let world = Set { set, nodes: nodes(&["a", "b", "c"]), pods: Pods::default(), hash: "old", rounds: 0 };
    interruption::check(
        &world,
        &expect![[r#"
        start old on a
        start old on b
        start old on c
        status
        status
        stop old on b
        start old on d
        status
        status
        stop old on a
        status
        start new on a
        status
        stop old on c
        status
        start new on c
        status
        stop old on d
        status
        start new on d
        status
        status
    "#]],
        &expect![[r#"
        new on a
        new on c
        new on d
        (3, 3, 3) updated Some(3)
    "#]],
    );
}
