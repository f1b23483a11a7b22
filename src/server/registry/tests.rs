//! Verbs that need several kinds at once are tested with the whole API in `http::tests`; here is what time does alone.

use jiff::{SignedDuration, Timestamp};
use mk8s_store::{Expect, Op, Options, Store, Txn};
use serde_json::json;

use super::{encode, expiry, keys};

#[tokio::test]
async fn old_events_are_swept() {
    let store = Store::open(Options::default()).await.expect("memory opens");
    let prefix = keys::kind_prefix("", "events");
    let now: Timestamp = "2026-01-01T10:00:00Z".parse().expect("a time");
    for (name, created) in [("old", "2026-01-01T08:59:59Z"), ("new", "2026-01-01T09:30:00Z")] {
        let event = json!({"metadata": {"name": name, "creationTimestamp": created}});
        let put = Op::Put {
            key: keys::object(&prefix, "default", name),
            value: encode::encode(&event),
            expect: Expect::Absent,
        };
        store.commit(Txn::one(put)).await.expect("memory takes it");
    }
    expiry::sweep(&store, &prefix, now).await;
    let left: Vec<_> = store
        .view()
        .prefix(prefix.as_bytes())
        .map(|entry| keys::namespace_and_name(&prefix, entry).1.to_string())
        .collect();
    assert_eq!(left, ["new"]);
    expiry::sweep(&store, &prefix, now + SignedDuration::from_hours(1)).await;
    assert_eq!(store.view().count(prefix.as_bytes()), 0);
}
