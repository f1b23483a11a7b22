//! Events do not live long: they go an hour after they were last written.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use mk8s_api::meta;
use mk8s_store::{Expect, Op, Store, Txn};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{encode, keys};

const LIFETIME_S: i64 = 3600;
const EVERY: Duration = Duration::from_secs(120);

/// Deletes old events until `stop`.
pub async fn expire_events(store: Store, stop: CancellationToken) {
    // The same objects are stored once, whichever of the two groups they were written through.
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        sweep(&store, &keys::kind_prefix("", "events"), Timestamp::now()).await;
    }
}

/// Deletes the events under a prefix that are over at `now`. An event written meanwhile stays.
pub(super) async fn sweep(store: &Store, prefix: &str, now: Timestamp) {
    let view = store.view();
    let over: Vec<_> = view
        .range(prefix.as_bytes(), &keys::end_of(prefix))
        .filter(|entry| is_over(&encode::decode(&entry.value), now))
        .map(Arc::clone)
        .collect();
    for entry in over {
        let delete = Op::Delete { key: entry.key.clone(), expect: Expect::Revision(entry.modified) };
        if let Err(error) = store.commit(Txn::one(delete)).await {
            tracing::debug!(%error, "an old event stays for now");
        }
    }
}

fn is_over(event: &Value, now: Timestamp) -> bool {
    let series = event["series"]["lastObservedTime"].as_str();
    let times = [meta::creation_timestamp(event), event["lastTimestamp"].as_str(), event["eventTime"].as_str(), series];
    let newest = times.into_iter().flatten().filter_map(meta::parse_time).max();
    newest.is_none_or(|time| now.as_second() - time.as_second() >= LIFETIME_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_over_after_an_hour() {
        let now = meta::parse_time("2026-01-01T01:00:00Z").expect("a time");
        let cases = [
            (json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}), true),
            (json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:01Z"}}), false),
            (
                json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "lastTimestamp": "2026-01-01T00:30:00Z"}),
                false,
            ),
            (json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "lastTimestamp": null}), true),
        ];
        for (event, over) in cases {
            assert_eq!(is_over(&event, now), over, "{event}");
        }
    }
}
