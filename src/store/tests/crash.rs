//! Kills a writing process at random moments, a hundred times and more, and looks for what it had acknowledged.
//!
//! The child writes with many tasks and reports each acknowledgement on its standard output; the parent kills it, opens
//! the store itself and compares. The first line of a failure names the round.

#![expect(
    clippy::print_stdout,
    reason = "the child reports on its standard output, and the parent is its own test harness"
)]

use bytes::Bytes;
use mk8s_store::{Expect, Op, Options, Stamped, Store, Txn};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: u32 = 110;
const WRITERS: u32 = 16;
const KEYS: u32 = 200;

fn options(dir: &Path) -> Options {
    // Small checkpoints, so that kills fall into them too.
    Options { dir: Some(dir.to_owned()), checkpoint_bytes: 256 << 10, ..Options::default() }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match arguments.get(1).map(String::as_str) {
        Some("write") => runtime.block_on(write(Path::new(&arguments[2]), &arguments[3])),
        Some("--list") => println!("crash: test"),
        _ => {
            runtime.block_on(parent());
            println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        }
    }
}

/// Writes until killed; each line says `key value revision` of a write that was acknowledged.
async fn write(dir: &Path, round: &str) {
    let store = Store::open(options(dir)).await.expect("the store opens");
    println!("open {} 0", store.revision());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, round) = (store.clone(), round.to_owned());
        // Some values lie on the disk in several parts.
        let size = if writer == 0 { 30_000 } else { 300 };
        writers.spawn(async move {
            for n in 0u64.. {
                let key = format!("{writer}/{}", n % u64::from(KEYS / WRITERS));
                let value = format!("{round}-{writer}-{n}-{}", "x".repeat(size));
                let op = Op::Put {
                    key: Bytes::from(key.clone()),
                    value: Stamped::plain(value.clone()),
                    expect: Expect::Any,
                };
                let commit = store.commit(Txn::one(op)).await.expect("the commit stands");
                let line = format!("{key} {value} {}\n", commit.revision);
                std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent listens");
            }
        });
    }
    writers.join_next().await;
}

async fn parent() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = scratch.path().join("store");
    let mut seed = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    // By key: the newest acknowledged value and its revision.
    let mut acknowledged: HashMap<String, (String, u64)> = HashMap::new();
    let mut newest = 0;
    let mut total = 0u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["write", dir.to_str().expect("a plain path"), &round.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("the child speaks");
        let opened: u64 = first.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("`open REVISION`");
        assert!(opened >= newest, "round {round}: revision went from {newest} back to {opened}");
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let until = Instant::now() + Duration::from_millis(20 + seed % 180);
        let mut line = String::new();
        let mut killed = false;
        loop {
            if !killed && Instant::now() >= until {
                child.kill().expect("SIGKILL");
                killed = true;
            }
            line.clear();
            if lines.read_line(&mut line).expect("a line") == 0 {
                break;
            }
            // The kill may have cut the last line.
            if let [key, value, revision] = line.trim_end().split(' ').collect::<Vec<_>>()[..]
                && line.ends_with('\n')
            {
                let revision: u64 = revision.parse().expect("a revision");
                newest = newest.max(revision);
                total += 1;
                let known = acknowledged.entry(key.to_owned()).or_default();
                if revision > known.1 {
                    *known = (value.to_owned(), revision);
                }
            }
        }
        child.wait().expect("the child is gone");
        let store = Store::open(options(&dir)).await.expect("the store opens after a kill");
        assert!(
            store.revision() >= newest,
            "round {round}: revision {newest} was acknowledged, {} is here",
            store.revision()
        );
        let view = store.view();
        for (key, (value, revision)) in &acknowledged {
            let entry = view.get(key.as_bytes()).unwrap_or_else(|| panic!("round {round}: {key} is lost"));
            assert!(
                entry.modified >= *revision,
                "round {round}: {key} fell back from {revision} to {}",
                entry.modified
            );
            if entry.modified == *revision {
                assert_eq!(entry.value, value.as_bytes(), "round {round}: {key} has another value");
            }
        }
        store.close().await;
    }
    println!("{ROUNDS} kills, {total} acknowledged writes, none lost");
}
