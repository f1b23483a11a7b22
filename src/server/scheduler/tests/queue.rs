//! Who is next, and when.

use super::{facts, yaml};
use crate::{
    pod_facts::PodFacts,
    profile::PluginSet,
    queue::{Failure, Queue},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn pod(name: &str, priority: i32) -> Arc<PodFacts> {
    facts(yaml(&format!("{{metadata: {{name: {name}}}, spec: {{priority: {priority}, containers: []}}}}")))
}

fn rejected() -> Failure {
    let mut plugins = PluginSet::default();
    plugins.insert(3);
    Failure::Rejected(plugins)
}

fn next(queue: &mut Queue, now: Instant) -> Option<String> {
    queue.pop(now).map(|pod| pod.name().to_owned())
}

#[test]
fn priority_goes_first_then_who_waits_longest() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for (name, priority) in [("low", 0), ("first", 10), ("second", 10)] {
        queue.add(pod(name, priority));
    }
    let order: Vec<String> = std::iter::from_fn(|| next(&mut queue, now)).collect();
    assert_eq!(order, ["first", "second", "low"]);
}

#[test]
fn a_rejected_pod_waits_for_what_helps_and_its_back_off() {
    let start = Instant::now();
    let at = |s: u64| start + Duration::from_secs(s);
    let mut queue = Queue::default();
    queue.add(pod("a", 0));
    queue.add(pod("b", 0));
    assert_eq!(next(&mut queue, at(0)).as_deref(), Some("a"));
    queue.failed("a", rejected(), at(0));
    assert_eq!(queue.lengths(), (1, 0, 1));
    queue.notify(at(0), "NodeAdd", |_, _| false);
    assert_eq!(queue.lengths(), (1, 0, 1), "a change that does not help");
    queue.notify(at(0), "NodeAdd", |_, plugins| plugins.contains(3));
    assert_eq!(queue.lengths(), (1, 1, 0), "one that helps, before the back-off is over");
    assert_eq!(next(&mut queue, at(0)).as_deref(), Some("b"));
    assert_eq!(next(&mut queue, at(0)).as_deref(), Some("a"), "nobody else is there: it need not wait");
}

#[test]
fn an_error_waits_its_time_out() {
    let start = Instant::now();
    let at = |s: u64| start + Duration::from_secs(s);
    let mut queue = Queue::default();
    queue.add(pod("a", 0));
    for (when, pause) in [(0, 1), (1, 2), (3, 4), (7, 8), (15, 10), (25, 10)] {
        assert_eq!(next(&mut queue, at(when)).as_deref(), Some("a"), "after {when} s");
        queue.failed("a", Failure::Error, at(when));
        assert_eq!(queue.next_release(), Some(at(when + pause)));
        assert!(!queue.is_ready());
        assert!(queue.pop(at(when)).is_none());
    }
}

#[test]
fn after_five_minutes_a_pod_is_tried_in_any_case() {
    let start = Instant::now();
    let mut queue = Queue::default();
    queue.add(pod("a", 0));
    queue.pop(start);
    queue.failed("a", rejected(), start);
    assert!(queue.pop(start + Duration::from_secs(299)).is_none());
    assert!(queue.pop(start + Duration::from_secs(300)).is_some());
}

#[test]
fn a_pod_that_evicts_is_left_alone_until_it_has() {
    let start = Instant::now();
    let later = start + Duration::from_secs(60);
    let mut queue = Queue::default();
    queue.add(pod("a", 0));
    queue.pop(start);
    queue.failed("a", rejected(), start);
    queue.preemption_begins("a");
    queue.notify(later, "NodeAdd", |_, _| true);
    assert_eq!(queue.lengths(), (0, 0, 1));
    queue.preemption_ends("a", false, later);
    assert_eq!(queue.lengths(), (1, 0, 0), "what helped meanwhile helps now");
    queue.remove("a");
    assert_eq!(queue.lengths(), (0, 0, 0));
}
