//! How fast the store commits: `bench [DIR] [WRITERS] [SECONDS] [KEYS]` prints commits a second, latencies and fsyncs.
//! Each write makes a new key, or with KEYS writes one of so many for each writer.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use bytes::Bytes;
use mk8s_store::{Expect, Op, Options, Stamped, Store, Txn};
use std::{
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "store-bench".to_owned()));
    let writers: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(64);
    let seconds: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(5);
    let keys: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    let store = Store::open(Options { dir: Some(dir), ..Options::default() }).await.expect("the store opens");
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let value = Bytes::from(vec![b'x'; 1024]);
            for n in 0u64.. {
                let start = Instant::now();
                if start >= until {
                    break;
                }
                let key = Bytes::from(format!("/bench/{writer}/{}", n % keys));
                let value = Stamped { bytes: value.clone(), stamp_at: Some(10) };
                store.commit(Txn::one(Op::Put { key, value, expect: Expect::Any })).await.expect("the commit stands");
                latencies.push(start.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let syncs = &store.metrics().sync_durations;
    let longest = latencies.last().copied().unwrap_or_default();
    println!(
        "{writers} writers: {:.0} commits/s, p50 {:?}, p99 {:?}, max {:?}, {:.1} commits per fsync, append {:.0} us, {} checkpoints",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        longest,
        latencies.len() as f64 / syncs.count() as f64,
        syncs.sum().as_secs_f64() * 1e6 / syncs.count() as f64,
        store.metrics().checkpoints.load(Ordering::Relaxed),
    );
    store.close().await;
}
