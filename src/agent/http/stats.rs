//! What the node and its pods use: `stats/summary`, and the same numbers for Prometheus.

use super::{Answer, text};
use crate::{
    cgroup::{self, Usage},
    pod::{Pods, facts, labels, resources},
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use mk8s_api::status::Status;
use mk8s_cri::v1;
use serde_json::{Value, json};
use std::{fmt::Write, sync::Arc};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One container's numbers.
struct Measured {
    namespace: String,
    pod: String,
    container: String,
    id: String,
    usage: Usage,
    /// When the processor's time was read.
    cpu_at: Option<Timestamp>,
    disk_bytes: u64,
}

async fn containers(pods: &Pods) -> Result<Vec<Measured>, Status> {
    let stats = pods.host().runtime.container_stats().await;
    let stats = stats.map_err(|error| Status::internal(error.description()))?;
    Ok(stats.into_iter().filter_map(measured).collect())
}

fn measured(stats: v1::ContainerStats) -> Option<Measured> {
    let attributes = stats.attributes?;
    let label = |key: &str| attributes.labels.get(key).cloned();
    let value = |value: Option<v1::UInt64Value>| value.map(|value| value.value).unwrap_or_default();
    let (cpu, memory) = (stats.cpu.unwrap_or_default(), stats.memory.unwrap_or_default());
    let cpu_at = Timestamp::from_nanosecond(cpu.timestamp.into()).ok().filter(|at| *at > Timestamp::UNIX_EPOCH);
    Some(Measured {
        namespace: label(labels::POD_NAMESPACE)?,
        pod: label(labels::POD_NAME)?,
        container: label(labels::CONTAINER_NAME)?,
        id: attributes.id.clone(),
        usage: Usage {
            cpu_nanoseconds: value(cpu.usage_core_nano_seconds),
            memory_bytes: value(memory.usage_bytes),
            working_set_bytes: value(memory.working_set_bytes),
            rss_bytes: value(memory.rss_bytes),
            page_faults: value(memory.page_faults),
            major_page_faults: value(memory.major_page_faults),
            pids: 0,
        },
        cpu_at,
        disk_bytes: value(stats.writable_layer.unwrap_or_default().used_bytes),
    })
}

fn pod_usage(pod: &Pod) -> Option<Usage> {
    cgroup::usage_at(&cgroup::parent_of(resources::qos_class(pod), facts::uid(pod)))
}

fn cpu_and_memory(usage: &Usage, at: Timestamp) -> (Value, Value) {
    // With fractions: a rate is made of two of these.
    let time = format!("{at:.3}");
    let cpu = json!({"time": time, "usageCoreNanoSeconds": usage.cpu_nanoseconds});
    let memory = json!({
        "time": time,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    });
    (cpu, memory)
}

/// When a container of a pod was started last.
fn started(pod: &Pod, container: &str) -> Option<Time> {
    let status = pod.status.as_ref()?;
    let all = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut all = all.into_iter().flatten().flatten();
    all.find(|known| known.name == container)?.state.as_ref()?.running.as_ref()?.started_at.clone()
}

pub(super) async fn summary(pods: &Pods) -> Answer {
    let now = Timestamp::now();
    let all = containers(pods).await?;
    let one = |pod: &Arc<Pod>| {
        let (cpu, memory) = cpu_and_memory(&pod_usage(pod).unwrap_or_default(), now);
        let own = all.iter().filter(|c| c.pod == facts::name(pod) && c.namespace == facts::namespace(pod));
        let containers: Vec<Value> = own
            .map(|container| {
                let (cpu, memory) = cpu_and_memory(&container.usage, container.cpu_at.unwrap_or(now));
                json!({
                    "name": container.container,
                    "startTime": started(pod, &container.container),
                    "cpu": cpu,
                    "memory": memory,
                    "rootfs": {"usedBytes": container.disk_bytes},
                })
            })
            .collect();
        let start = pod.status.as_ref().and_then(|status| status.start_time.clone());
        json!({
            "podRef": {"name": facts::name(pod), "namespace": facts::namespace(pod), "uid": facts::uid(pod)},
            "startTime": start,
            "cpu": cpu,
            "memory": memory,
            "containers": containers,
        })
    };
    let (cpu, memory) = cpu_and_memory(&cgroup::usage_at("/").unwrap_or_default(), now);
    let listed: Vec<Value> = pods.list().iter().map(one).collect();
    let node = json!({"nodeName": pods.host().options.node_name, "cpu": cpu, "memory": memory});
    text("application/json", json!({"node": node, "pods": listed}).to_string())
}

/// A family of metrics in the exposition format.
struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    fn begin(out: &'a mut String, name: &'static str, kind: &str, help: &str) -> Family<'a> {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { out, name }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.out, "{}{labels} {value}", self.name);
    }
}

#[allow(clippy::cast_precision_loss)] // metrics are floating point
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[allow(clippy::cast_precision_loss)]
fn number(value: u64) -> f64 {
    value as f64
}

pub(super) async fn resource(pods: &Pods) -> Answer {
    let all = containers(pods).await?;
    let listed: Vec<(Arc<Pod>, Usage)> =
        pods.list().into_iter().filter_map(|pod| Some((pod.clone(), pod_usage(&pod)?))).collect();
    let node = cgroup::usage_at("/").unwrap_or_default();
    let mut out = String::new();
    let labels =
        |c: &Measured| [("container", c.container.clone()), ("namespace", c.namespace.clone()), ("pod", c.pod.clone())];
    let mut family = Family::begin(
        &mut out,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
    );
    for container in &all {
        let labels = labels(container);
        family.add(
            &labels.each_ref().map(|(key, value)| (*key, value.as_str())),
            seconds(container.usage.cpu_nanoseconds),
        );
    }
    let mut family = Family::begin(
        &mut out,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
    );
    for container in &all {
        let labels = labels(container);
        family.add(
            &labels.each_ref().map(|(key, value)| (*key, value.as_str())),
            number(container.usage.working_set_bytes),
        );
    }
    Family::begin(
        &mut out,
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
    )
    .add(&[], seconds(node.cpu_nanoseconds));
    Family::begin(&mut out, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes")
        .add(&[], number(node.working_set_bytes));
    let mut family = Family::begin(
        &mut out,
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
    );
    for (pod, usage) in &listed {
        family.add(&[("namespace", facts::namespace(pod)), ("pod", facts::name(pod))], seconds(usage.cpu_nanoseconds));
    }
    let mut family =
        Family::begin(&mut out, "pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
    for (pod, usage) in &listed {
        family.add(&[("namespace", facts::namespace(pod)), ("pod", facts::name(pod))], number(usage.working_set_bytes));
    }
    Family::begin(
        &mut out,
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
    )
    .add(&[], 0.0);
    text(PROMETHEUS, out)
}

pub(super) async fn cadvisor(pods: &Pods) -> Answer {
    let all = containers(pods).await?;
    let mut out = String::new();
    type Column = (&'static str, &'static str, &'static str, fn(&Measured) -> f64);
    let columns: [Column; 4] = [
        ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", |c| {
            seconds(c.usage.cpu_nanoseconds)
        }),
        (
            "container_memory_usage_bytes",
            "gauge",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            |c| number(c.usage.memory_bytes),
        ),
        ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |c| {
            number(c.usage.working_set_bytes)
        }),
        (
            "container_fs_usage_bytes",
            "gauge",
            "Number of bytes that are consumed by the container on this filesystem.",
            |c| number(c.disk_bytes),
        ),
    ];
    for (name, kind, help, value) in columns {
        let mut family = Family::begin(&mut out, name, kind, help);
        for container in &all {
            let labels = [
                ("container", &container.container),
                ("id", &container.id),
                ("namespace", &container.namespace),
                ("pod", &container.pod),
            ];
            family.add(&labels.map(|(key, value)| (key, value.as_str())), value(container));
        }
    }
    text(PROMETHEUS, out)
}

/// What the agent says of itself.
pub(super) fn own(pods: &Pods) -> Answer {
    let listed = pods.list();
    let running = listed.iter().filter(|pod| facts::phase(pod) == "Running").count();
    let mut out = String::new();
    Family::begin(&mut out, "kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox")
        .add(&[], number(running as u64));
    Family::begin(
        &mut out,
        "kubelet_active_pods",
        "gauge",
        "The number of pods the kubelet considers active and which are being considered when admitting new pods.",
    )
    .add(&[("static", "false")], number(listed.len() as u64));
    text(PROMETHEUS, out)
}
