//! Two readings of each counter of a node, and what was used between them. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// A container that began this long before its first reading is measured from its beginning.
const FRESH: SignedDuration = SignedDuration::from_secs(60);
/// Readings closer than this say nothing about a rate.
const CLOSE: SignedDuration = SignedDuration::from_millis(500);

/// The part of an agent's `stats/summary` that is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    node: Figures,
    #[serde(default)]
    pods: Vec<PodFigures>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodFigures {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<ContainerFigures>,
}

#[derive(Debug, Deserialize)]
struct PodRef {
    name: String,
    namespace: String,
    #[serde(default)]
    uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerFigures {
    name: String,
    start_time: Option<Timestamp>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Deserialize)]
struct Figures {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

impl Figures {
    fn reading(&self) -> Option<Reading> {
        let cpu = self.cpu.as_ref()?;
        let memory_bytes = self.memory.as_ref()?.working_set_bytes?;
        Some(Reading { at: cpu.time, cpu_nanoseconds: cpu.usage_core_nano_seconds?, memory_bytes })
    }
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Timestamp,
    cpu_nanoseconds: u64,
    memory_bytes: u64,
}

/// The last reading of one thing, and the one before.
#[derive(Debug, Clone, Copy)]
struct Series {
    started: Option<Timestamp>,
    before: Option<Reading>,
    last: Reading,
}

/// What was used between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
    /// Billionths of a core.
    pub(super) cpu_nanocores: u64,
    pub(super) memory_bytes: u64,
}

impl Series {
    fn begin(started: Option<Timestamp>, reading: Reading) -> Series {
        let fresh = |started: &Timestamp| {
            let age = reading.at.duration_since(*started);
            age >= SignedDuration::from_secs(1) && age <= FRESH
        };
        let at_start = |at| Reading { at, cpu_nanoseconds: 0, memory_bytes: 0 };
        Series { started, before: started.filter(fresh).map(at_start), last: reading }
    }

    /// The series with one more reading; of something that began anew, a new one.
    fn then(self, started: Option<Timestamp>, reading: Reading) -> Series {
        if started != self.started || reading.cpu_nanoseconds < self.last.cpu_nanoseconds {
            return Series::begin(started, reading);
        }
        if reading.at.duration_since(self.last.at) < CLOSE {
            return self;
        }
        Series { started, before: Some(self.last), last: reading }
    }

    fn rate(&self) -> Option<Rate> {
        let before = self.before?;
        let window = self.last.at.duration_since(before.at);
        let used = u128::from(self.last.cpu_nanoseconds - before.cpu_nanoseconds);
        let nanos = u128::try_from(window.as_nanos()).ok().filter(|nanos| *nanos > 0)?;
        let cpu_nanocores = u64::try_from(used.saturating_mul(1_000_000_000) / nanos).unwrap_or(u64::MAX);
        Some(Rate { at: self.last.at, window, cpu_nanocores, memory_bytes: self.last.memory_bytes })
    }
}

/// What is known of a node and of the containers on it.
#[derive(Debug, Default)]
pub(super) struct NodeReadings {
    node: Option<Series>,
    /// By namespace and name.
    pods: HashMap<(String, String), PodReadings>,
}

#[derive(Debug, Default)]
struct PodReadings {
    uid: String,
    containers: BTreeMap<String, Series>,
}

impl NodeReadings {
    /// Takes in what the agent says now; what it does not name any more is forgotten.
    pub(super) fn note(&mut self, summary: &Summary) {
        if let Some(reading) = summary.node.reading() {
            self.node =
                Some(self.node.map_or_else(|| Series::begin(None, reading), |series| series.then(None, reading)));
        }
        let mut before = std::mem::take(&mut self.pods);
        for pod in &summary.pods {
            let key = (pod.pod_ref.namespace.clone(), pod.pod_ref.name.clone());
            let known = before.remove(&key).filter(|known| known.uid == pod.pod_ref.uid).unwrap_or_default();
            let series = |container: &ContainerFigures| {
                let (reading, started) = (container.figures.reading()?, container.start_time);
                let known = known.containers.get(&container.name);
                let series =
                    known.map_or_else(|| Series::begin(started, reading), |series| series.then(started, reading));
                Some((container.name.clone(), series))
            };
            let containers = pod.containers.iter().filter_map(series).collect();
            self.pods.insert(key, PodReadings { uid: pod.pod_ref.uid.clone(), containers });
        }
    }

    /// Whether rates can be had, so that the next reading has time.
    pub(super) fn settled(&self) -> bool {
        self.node.is_some_and(|series| series.before.is_some())
    }

    pub(super) fn node(&self) -> Option<Rate> {
        self.node.as_ref()?.rate()
    }

    /// The rates of a pod's containers; none while one is missing.
    pub(super) fn pod(&self, namespace: &str, name: &str, uid: &str) -> Option<Vec<(&str, Rate)>> {
        let pod = self.pods.get(&(namespace.to_owned(), name.to_owned())).filter(|pod| pod.uid == uid)?;
        let rates: Option<Vec<(&str, Rate)>> =
            pod.containers.iter().map(|(name, series)| Some((name.as_str(), series.rate()?))).collect();
        rates.filter(|rates| !rates.is_empty())
    }
}
