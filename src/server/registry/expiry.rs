//! Events do not live long: they go when nobody has written them for a while.
//!
//! What counts is when an event was last written, not the times that its author put into it. The store knows the revision
//! of each write, so the time is written down beside the revision now and then, in one entry of the keyspace:
//!
//! ```text
//! marks   10:00 ▸ 4711   10:01 ▸ 4980   10:02 ▸ 5203   ...   11:01 ▸ 9120
//!                              └ the newest that is a lifetime old: what was last written up to 4980 goes
//! ```
//!
//! Invariant: a sweep keeps nothing of its own; whoever leads next goes on with the marks.
//! Invariant: an event never goes before its time; it goes within a thirtieth of the lifetime after it.
//! Invariant: where no event is written, no mark is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use mk8s_store::{CommitError, Entry, Expect, Op, Stamped, Store, Txn};
use tokio_util::sync::CancellationToken;

use super::keys;

/// Where the marks are.
const MARKS: &[u8] = b"/mk8s/events/marks";
/// How many marks are set in a lifetime.
const PARTS: u32 = 60;
/// How many events go in one transaction.
const BATCH: usize = 500;

/// Deletes events that were not written for `lifetime`, until `stop`; without a lifetime they stay.
pub async fn expire_events(store: Store, lifetime: Duration, stop: CancellationToken) {
    if lifetime.as_secs() == 0 {
        return;
    }
    let every = (lifetime / PARTS).max(Duration::from_secs(1));
    // The same objects are stored once, whichever of the two groups they were written through.
    let prefix = keys::kind_prefix("", "events");
    loop {
        if let Err(error) = sweep(&store, &prefix, lifetime, Timestamp::now()).await {
            tracing::debug!(%error, "old events stay for now");
        }
        if stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
            return;
        }
    }
}

/// Deletes the events that are over at `now`, and sets a mark if events were written since the last one.
async fn sweep(store: &Store, prefix: &str, lifetime: Duration, now: Timestamp) -> Result<(), CommitError> {
    let view = store.view();
    let now = now.as_second();
    let read = view.get(MARKS).map(|entry| Marks::read(&entry.value)).unwrap_or_default();
    let mut marks = read.clone().at(now, i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
    let over_to = marks.over_to(now, lifetime.as_secs());
    let (mut over, mut newest) = (vec![], 0);
    for entry in view.prefix(prefix.as_bytes()) {
        newest = newest.max(entry.modified);
        if entry.modified <= over_to {
            over.push(entry.clone());
        }
    }
    if newest > marks.last() {
        marks.0.push((now, view.revision()));
    }
    if marks != read {
        let put = Op::Put {
            key: Bytes::from_static(MARKS),
            value: Stamped::plain(serde_json::to_vec(&marks.0).expect("numbers are JSON")),
            expect: Expect::Any,
        };
        store.commit(Txn::one(put)).await?;
    }
    for batch in over.chunks(BATCH) {
        delete(store, batch).await?;
    }
    Ok(())
}

/// Deletes those of a batch that were not written meanwhile.
async fn delete(store: &Store, batch: &[Arc<Entry>]) -> Result<(), CommitError> {
    let delete = |entry: &Arc<Entry>| Op::Delete { key: entry.key.clone(), expect: Expect::Revision(entry.modified) };
    let mut ops: Vec<Op> = batch.iter().map(delete).collect();
    while !ops.is_empty() {
        match store.commit(Txn { ops: ops.clone() }).await {
            Err(CommitError::Conflict { op, .. }) => drop(ops.remove(op)),
            done => return done.map(drop),
        }
    }
    Ok(())
}

/// Which revision the store had when, in seconds: oldest first.
#[derive(Debug, Default, Clone, PartialEq)]
struct Marks(Vec<(i64, u64)>);

impl Marks {
    /// What cannot be read is begun anew: events live once more as long as they would have.
    fn read(text: &[u8]) -> Marks {
        Marks(serde_json::from_slice(text).unwrap_or_default())
    }

    /// The marks that still say something: not those from a time that is still to come, for the clock was put back, and of
    /// those that are a lifetime old the newest.
    fn at(mut self, now: i64, lifetime: i64) -> Marks {
        self.0.retain(|(time, _)| *time <= now);
        let old = self.0.iter().take_while(|(time, _)| now.saturating_sub(*time) >= lifetime).count();
        self.0.drain(..old.saturating_sub(1));
        self
    }

    /// What was last written at this revision or before is over.
    fn over_to(&self, now: i64, lifetime: u64) -> u64 {
        let is_old = |time: i64| u64::try_from(now.saturating_sub(time)).is_ok_and(|age| age >= lifetime);
        self.0.iter().rev().find(|(time, _)| is_old(*time)).map_or(0, |(_, revision)| *revision)
    }

    fn last(&self) -> u64 {
        self.0.last().map_or(0, |(_, revision)| *revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mk8s_store::Options;
    use std::path::Path;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Fixture {
        store: Store,
        prefix: String,
        start: Timestamp,
    }

    impl Fixture {
        async fn open(dir: Option<&Path>) -> Fixture {
            let options = Options { dir: dir.map(Path::to_path_buf), ..Options::default() };
            let store = Store::open(options).await.expect("the store opens");
            let start = "2026-01-01T10:00:00Z".parse().expect("a time");
            Fixture { store, prefix: keys::kind_prefix("", "events"), start }
        }

        async fn write(&self, names: impl IntoIterator<Item = String>) {
            let put = |name: String| Op::Put {
                key: keys::object(&self.prefix, "default", &name),
                value: Stamped::plain("{}"),
                expect: Expect::Any,
            };
            let ops: Vec<Op> = names.into_iter().map(put).collect();
            for ops in ops.chunks(1000) {
                self.store.commit(Txn { ops: ops.to_vec() }).await.expect("the store takes it");
            }
        }

        async fn event(&self, name: &str) {
            self.write([name.to_owned()]).await;
        }

        /// What is left after a sweep this many minutes after the start.
        async fn left_at(&self, minutes: i64) -> Vec<String> {
            let now = self.start + jiff::SignedDuration::from_mins(minutes);
            sweep(&self.store, &self.prefix, HOUR, now).await.expect("the store takes it");
            let view = self.store.view();
            let left = view.prefix(self.prefix.as_bytes());
            left.map(|entry| keys::namespace_and_name(&self.prefix, entry).1.to_owned()).collect()
        }

        fn marks(&self) -> Marks {
            self.store.view().get(MARKS).map(|entry| Marks::read(&entry.value)).unwrap_or_default()
        }
    }

    #[tokio::test]
    async fn events_go_an_hour_after_they_were_last_written() {
        let fixture = Fixture::open(None).await;
        fixture.event("a").await;
        fixture.event("b").await;
        assert_eq!(fixture.left_at(0).await, ["a", "b"]);
        fixture.event("b").await;
        fixture.event("c").await;
        assert_eq!(fixture.left_at(1).await, ["a", "b", "c"]);
        assert_eq!(fixture.left_at(59).await, ["a", "b", "c"]);
        assert_eq!(fixture.left_at(60).await, ["b", "c"], "each write prolongs");
        assert_eq!(fixture.left_at(61).await, [""; 0]);
    }

    #[tokio::test]
    async fn no_event_goes_early_when_sweeps_are_rare() {
        let fixture = Fixture::open(None).await;
        fixture.event("a").await;
        assert_eq!(fixture.left_at(0).await, ["a"]);
        fixture.event("b").await;
        // Nobody swept for half an hour: b may have been written just now.
        assert_eq!(fixture.left_at(30).await, ["a", "b"]);
        assert_eq!(fixture.left_at(60).await, ["b"]);
        assert_eq!(fixture.left_at(89).await, ["b"]);
        assert_eq!(fixture.left_at(90).await, [""; 0]);
    }

    #[tokio::test]
    async fn quiet_clusters_write_no_marks() {
        let fixture = Fixture::open(None).await;
        assert_eq!(fixture.left_at(0).await, [""; 0]);
        assert_eq!(fixture.store.revision(), 0);
        fixture.event("a").await;
        fixture.left_at(1).await;
        let revision = fixture.store.revision();
        for minute in 2..61 {
            fixture.left_at(minute).await;
        }
        assert_eq!(fixture.store.revision(), revision);
        assert_eq!(fixture.left_at(61).await, [""; 0]);
        // Marks are few however long events are written.
        for minute in 62..300 {
            fixture.event("a").await;
            fixture.left_at(minute).await;
        }
        assert_eq!(fixture.marks().0.len(), 61);
    }

    #[tokio::test]
    async fn a_restart_forgets_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let fixture = Fixture::open(Some(dir.path())).await;
        fixture.event("a").await;
        fixture.left_at(0).await;
        fixture.event("b").await;
        fixture.left_at(20).await;
        fixture.store.close().await;
        let fixture = Fixture::open(Some(dir.path())).await;
        assert_eq!(fixture.left_at(59).await, ["a", "b"]);
        assert_eq!(fixture.left_at(61).await, ["b"]);
        assert_eq!(fixture.left_at(81).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_clock_that_was_put_back_makes_events_live_longer_and_not_for_ever() {
        let fixture = Fixture::open(None).await;
        fixture.event("a").await;
        fixture.left_at(1000).await;
        assert_eq!(fixture.left_at(0).await, ["a"]);
        assert_eq!(fixture.left_at(59).await, ["a"]);
        assert_eq!(fixture.left_at(60).await, [""; 0]);
        assert_eq!(Marks::read(b"no marks"), Marks::default());
    }

    #[tokio::test]
    async fn what_is_written_meanwhile_stays() {
        let fixture = Fixture::open(None).await;
        fixture.write((0..4).map(|number| format!("e{number}"))).await;
        let over: Vec<_> = fixture.store.view().prefix(fixture.prefix.as_bytes()).cloned().collect();
        fixture.event("e0").await;
        fixture.event("e3").await;
        delete(&fixture.store, &over).await.expect("the store takes it");
        assert_eq!(fixture.left_at(0).await, ["e0", "e3"]);
    }

    #[tokio::test]
    async fn many_events_go_in_few_transactions() {
        let fixture = Fixture::open(None).await;
        fixture.write((0..20_000).map(|number| format!("e{number}"))).await;
        fixture.left_at(0).await;
        let before = std::time::Instant::now();
        assert_eq!(fixture.left_at(60).await, [""; 0]);
        assert!(before.elapsed() < Duration::from_secs(10), "took {:?}", before.elapsed());
    }
}
