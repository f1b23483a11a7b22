//! How fast the scheduler alone decides: pods a second on five thousand nodes, without API and store.
//!
//!     cargo bench -p mk8s-scheduler --bench schedule -- [--nodes N] [--pods N] [--only NAME]
//!
//! A pod counts from the moment it is known until it is seen on its node; with preemption that includes the eviction of
//! its victims and its second attempt. The goal stands beside each figure.

use k8s_openapi::api::core::v1::Node;
use mk8s_client::pod::Pod;
use mk8s_scheduler::{
    config::Configured,
    cycle::Chance,
    pod_facts::PodFacts,
    scheduler::{Decision, Scheduler},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

struct Plan {
    nodes: usize,
    pods: Option<usize>,
    only: Option<String>,
}

/// One kind of pods on one kind of cluster.
struct Scenario {
    name: &'static str,
    /// Pods that are there before, and pods that are measured.
    before: usize,
    measured: usize,
    goal: f64,
    pod_before: fn(usize) -> Value,
    pod: fn(usize) -> Value,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "plain", before: 1000, measured: 20_000, goal: 5000.0, pod_before: plain, pod: plain },
    Scenario { name: "spread", before: 5000, measured: 5000, goal: 2000.0, pod_before: plain, pod: spread },
    Scenario { name: "anti-affinity", before: 1000, measured: 3000, goal: 1000.0, pod_before: apart, pod: apart },
    Scenario { name: "affinity", before: 5000, measured: 5000, goal: 1000.0, pod_before: together, pod: together },
    Scenario { name: "preemption", before: 20_000, measured: 5000, goal: 1000.0, pod_before: lesser, pod: greater },
];

fn node(n: usize) -> Node {
    let name = format!("node-{n}");
    let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", n % 3)});
    let allocatable = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    read(json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}}))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of this program's own")
}

fn pod(cpu: &str, labels: Value, spec: Value) -> Value {
    let requests = json!({"cpu": cpu, "memory": "500Mi"});
    let mut whole = json!({"containers": [{"name": "c", "image": "pause", "resources": {"requests": requests}}]});
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    json!({"metadata": {"namespace": "bench", "labels": labels}, "spec": whole})
}

fn plain(_: usize) -> Value {
    pod("100m", json!({"app": "plain"}), json!({}))
}

fn spread(_: usize) -> Value {
    let constraint = json!([{
        "maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }, {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }]);
    pod("100m", json!({"color": "blue"}), json!({"topologySpreadConstraints": constraint}))
}

fn affinity(kind: &str, color: &str, topology: &str) -> Value {
    let term = json!([{"topologyKey": topology, "labelSelector": {"matchLabels": {"color": color}}}]);
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": term});
    pod("10m", json!({"color": color}), json!({"affinity": {kind: required}}))
}

fn apart(_: usize) -> Value {
    affinity("podAntiAffinity", "green", "kubernetes.io/hostname")
}

fn together(_: usize) -> Value {
    affinity("podAffinity", "red", "topology.kubernetes.io/zone")
}

fn lesser(_: usize) -> Value {
    pod("900m", json!({}), json!({"priority": 0}))
}

fn greater(_: usize) -> Value {
    pod("3000m", json!({}), json!({"priority": 10}))
}

/// A scheduler with its cluster, and what the API would do.
struct Trial {
    scheduler: Scheduler,
    created: usize,
    random: u64,
}

impl Trial {
    fn new(nodes: usize) -> Self {
        let Configured { profiles, backoff, .. } = Configured::default();
        let mut scheduler = Scheduler::new(profiles, backoff);
        for n in 0..nodes {
            scheduler.node_applied(node(n), Instant::now());
        }
        Self { scheduler, created: 0, random: 88_172_645_463_325_252 }
    }

    fn objects(&mut self, count: usize, make: fn(usize) -> Value) -> Vec<Arc<Pod>> {
        let mut one = |n: usize| {
            self.created += 1;
            let mut object = make(n);
            let name = format!("pod-{}", self.created);
            object["metadata"]["uid"] = format!("00000000-0000-4000-8000-{:012}", self.created).into();
            object["metadata"]["name"] = name.into();
            Arc::new(read(object))
        };
        (0..count).map(&mut one).collect()
    }

    fn chance(&mut self) -> Chance {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Chance { tie_break: self.random, offset: (self.random >> 40) as usize, ..Chance::default() }
    }

    /// Places pods until all are on a node; returns how long it took, and how many were evicted.
    fn place(&mut self, pods: Vec<Arc<Pod>>) -> (Duration, usize) {
        let wanted = pods.len();
        let start = Instant::now();
        for pod in pods {
            self.scheduler.pod_applied(pod, Instant::now());
        }
        let (mut placed, mut evicted) = (0, 0);
        while placed < wanted {
            let now = Instant::now();
            let chance = self.chance();
            match self.scheduler.next(now, chance) {
                Some(Decision::Bind { pod, node, .. }) => {
                    placed += 1;
                    self.scheduler.bound(&pod.uid, true, now);
                    self.scheduler.pod_applied(on_node(&pod, &node), now);
                }
                Some(Decision::Fail { pod, message, victims, .. }) => {
                    assert!(!victims.is_empty(), "a pod of the benchmark does not fit: {message}");
                    evicted += victims.len();
                    for victim in &victims {
                        self.scheduler.pod_deleted(&victim.uid, now);
                    }
                    self.scheduler.preempted(&pod.uid, false, now);
                }
                None => panic!("{} pods are neither placed nor tried", wanted - placed),
            }
        }
        (start.elapsed(), evicted)
    }
}

fn on_node(pod: &Arc<PodFacts>, node: &str) -> Arc<Pod> {
    let mut placed = Pod::clone(&pod.pod);
    placed.spec.get_or_insert_default().node_name = Some(node.to_owned());
    Arc::new(placed)
}

fn plan() -> Plan {
    let mut plan = Plan { nodes: 5000, pods: None, only: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse().ok()).expect("a number follows");
        match argument.as_str() {
            "--nodes" => plan.nodes = number(),
            "--pods" => plan.pods = Some(number()),
            "--only" => plan.only = arguments.next(),
            _ => {}
        }
    }
    plan
}

fn main() -> std::io::Result<()> {
    let plan = plan();
    let mut out = std::io::stdout();
    writeln!(out, "{:<16}{:>8}{:>8}{:>10}{:>10}{:>8}", "pods", "placed", "evicted", "pods/s", "goal", "ratio")?;
    for scenario in SCENARIOS.iter().filter(|scenario| plan.only.as_deref().is_none_or(|only| only == scenario.name)) {
        let mut trial = Trial::new(plan.nodes);
        let before = trial.objects(scenario.before, scenario.pod_before);
        trial.place(before);
        let measured = plan.pods.unwrap_or(scenario.measured);
        let pods = trial.objects(measured, scenario.pod);
        let (took, evicted) = trial.place(pods);
        let rate = measured as f64 / took.as_secs_f64();
        let Scenario { name, goal, .. } = scenario;
        writeln!(out, "{name:<16}{measured:>8}{evicted:>8}{rate:>10.0}{goal:>10.0}{:>8.2}", rate / goal)?;
    }
    Ok(())
}
