//! Priority and fairness: when the server is busy, who waits for whom, and who is sent away.
//!
//! ```text
//! request ─▶ schema (the first FlowSchema that matches) ─▶ its level: enough seats? ─▶ go on
//!                                                             └─ fair queues ─▶ go on, or 429
//! ```
//!
//! Reading order: [`Flow`], `schema` (FlowSchemas), `config` (all of them, and how many seats each level has), `seats` (a
//! level at work) with `fair` (its queues), `keep` (the objects and what goes on beside requests), `metrics`.
//!
//! Invariant: while there are seats, a request costs a walk over the schemas and some atomics: no lock, no allocation.
//! Invariant: `system:masters`, and so the control loops of this server, are never held up.

mod config;
mod fair;
mod keep;
mod metrics;
mod schema;
mod seats;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use mk8s_api::meta;
use serde_json::Value;

use self::{
    config::Config,
    seats::{Counts, Rejected, Seat},
};
pub(crate) use self::{
    keep::{follow, keep_objects},
    schema::Schema,
};
use crate::{auth::Attributes, bootstrap};

/// How long a request waits at most.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most seats that one request takes.
const MAX_SEATS: u32 = 10;
/// How many objects a list reads for a seat.
const OBJECTS_PER_SEAT: usize = 100;
/// The objects that there are in any case.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// Priority and fairness of a server.
pub(crate) struct Flow {
    config: ArcSwap<Config>,
    /// All seats; none: requests are not classified.
    seats: u32,
}

/// A request that may go on, until this ends.
pub(crate) struct Running {
    counts: Arc<Counts>,
    _seat: Seat,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.counts.executing.fetch_sub(1, Relaxed);
    }
}

/// What became of a request.
pub(crate) enum Admitted {
    /// Nobody knows it.
    Unclassified,
    Running(Arc<Schema>, Running),
    /// Too many others are there.
    Rejected(Arc<Schema>),
}

impl Flow {
    /// `seats` is how many requests are served at once; 0 serves all.
    pub(crate) fn new(seats: u32) -> Flow {
        let flow = Flow { config: ArcSwap::default(), seats };
        flow.configure(&[], &[]);
        flow
    }

    /// Takes on what schemas and levels say.
    fn configure(&self, schemas: &[Value], levels: &[Value]) {
        let with_mandatory = |objects: &[Value], kind: &str| -> Vec<Value> {
            let mut all = objects.to_vec();
            let mandatory = bootstrap::flow_control();
            let missing = mandatory.into_iter().filter(|object| {
                meta::kind(object) == kind
                    && MANDATORY.contains(&meta::name(object))
                    && !objects.iter().any(|known| meta::name(known) == meta::name(object))
            });
            all.extend(missing);
            all
        };
        let schemas = with_mandatory(schemas, "FlowSchema");
        let levels = with_mandatory(levels, "PriorityLevelConfiguration");
        let before = self.config.load_full();
        self.config.store(Arc::new(Config::new(&schemas, &levels, self.seats, &before)));
    }

    fn lend(&self) {
        self.config.load().lend(self.seats);
    }

    /// Lets a request go on, now or when it is its turn. `objects`: how many it will read.
    pub(crate) async fn admit(&self, request: &Attributes<'_>, objects: impl FnOnce() -> usize) -> Admitted {
        if self.seats == 0 {
            return Admitted::Unclassified;
        }
        let Some(schema) = self.config.load().classify(request).cloned() else { return Admitted::Unclassified };
        let (level, counts) = (&schema.level, &schema.counts);
        let seats = if level.is_exempt() { 1 } else { width(objects()) };
        let outcome = match level.try_admit(seats) {
            Some(seat) => Ok(seat),
            None => {
                let started = Instant::now();
                counts.waiting.fetch_add(1, Relaxed);
                let left = Left(counts);
                let outcome = level.admit(|| schema.flow(request), seats, PATIENCE).await;
                drop(left);
                counts.waited.fetch_add(1, Relaxed);
                counts.waited_us.fetch_add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
                outcome
            }
        };
        match outcome {
            Ok(seat) => {
                counts.dispatched.fetch_add(1, Relaxed);
                counts.executing.fetch_add(1, Relaxed);
                let running = Running { counts: counts.clone(), _seat: seat };
                Admitted::Running(schema, running)
            }
            Err(why) => {
                let index = Rejected::ALL.iter().position(|known| *known == why).unwrap_or(0);
                counts.rejected[index].fetch_add(1, Relaxed);
                Admitted::Rejected(schema)
            }
        }
    }

    pub(crate) fn metrics_text(&self) -> String {
        metrics::render(&self.config.load())
    }
}

/// Counts a request as waiting while it lives.
struct Left<'a>(&'a Counts);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Schema {
    /// Says on an answer how its request was classified.
    pub(crate) fn label(&self, headers: &mut HeaderMap) {
        if let Some(uids) = &self.headers {
            config::label(headers, uids);
        }
    }
}

/// The seats of a request that reads so many objects.
fn width(objects: usize) -> u32 {
    let seats = objects.div_ceil(OBJECTS_PER_SEAT);
    u32::try_from(seats).unwrap_or(MAX_SEATS).clamp(1, MAX_SEATS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;

    #[tokio::test]
    async fn what_is_mandatory_is_there_without_a_store() {
        let flow = Flow::new(600);
        let admin = User::control_plane("admin");
        let somebody = User::new("x", ["system:authenticated"]);
        for (user, expected) in [(&admin, "exempt"), (&somebody, "catch-all")] {
            let request = Attributes::for_resource(user, "get", "", "nodes");
            match flow.admit(&request, || 0).await {
                Admitted::Running(schema, _) => assert_eq!(schema.name, expected),
                _ => panic!("{expected}"),
            }
        }
        let text = flow.metrics_text();
        let counted =
            "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"catch-all\",priority_level=\"catch-all\"} 1";
        assert!(text.contains(counted), "{text}");
        assert!(
            text.contains("apiserver_flowcontrol_current_executing_seats{priority_level=\"catch-all\"} 0"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn who_is_too_many_is_sent_away() {
        let flow = Flow::new(1);
        let somebody = User::new("x", ["system:authenticated"]);
        let request = Attributes::for_resource(&somebody, "get", "", "nodes");
        let Admitted::Running(_, first) = flow.admit(&request, || 0).await else { panic!("there is a seat") };
        assert!(matches!(flow.admit(&request, || 0).await, Admitted::Rejected(_)));
        let admin = User::control_plane("admin");
        let exempt = Attributes { user: &admin, ..request };
        assert!(matches!(flow.admit(&exempt, || 0).await, Admitted::Running(..)));
        drop(first);
        assert!(matches!(flow.admit(&request, || 0).await, Admitted::Running(..)));
    }

    #[test]
    fn lists_take_more_seats() {
        let cases = [(0, 1), (1, 1), (100, 1), (101, 2), (5000, 10), (usize::MAX, 10)];
        for (objects, seats) in cases {
            assert_eq!(width(objects), seats);
        }
    }
}
