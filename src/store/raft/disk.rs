//! The disk of a replica that has peers: a thread that writes, so that a slow disk holds up nothing else.
//!
//! What waits meanwhile is written together, with one fsync. A full disk is a slow one: a write that finds no room waits
//! until there is some, and whoever leads meanwhile is another one.

use super::{Request, Write};
use crate::{engine::Engine, metrics::Metrics};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often a write is tried that found no room.
const AGAIN: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Disk {
    writes: Option<Sender<Write>>,
    thread: Option<JoinHandle<()>>,
    /// What finds no room is given up.
    ends: Arc<AtomicBool>,
}

impl Disk {
    pub(super) fn start(engine: Arc<dyn Engine>, metrics: Arc<Metrics>, done: Sender<Request>) -> io::Result<Self> {
        let (writes, waiting) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let until = ends.clone();
        let work = move || run(&waiting, &*engine, &metrics, &done, &until);
        let thread = std::thread::Builder::new().name("store-disk".to_owned()).spawn(work)?;
        Ok(Self { writes: Some(writes), thread: Some(thread), ends })
    }

    pub(super) fn write(&self, write: Write) {
        if let Some(writes) = &self.writes {
            // The thread ends only after it told of an error, or with this.
            drop(writes.send(write));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.writes = None;
        self.ends.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the disk's thread does not panic");
        }
    }
}

fn run(waiting: &Receiver<Write>, engine: &dyn Engine, metrics: &Metrics, done: &Sender<Request>, ends: &AtomicBool) {
    let mut next = None;
    while let Some(mut write) = next.take().or_else(|| waiting.recv().ok()) {
        while let Ok(later) = waiting.try_recv() {
            if let Err(apart) = write.merge(later) {
                next = Some(*apart);
                break;
            }
        }
        let begun = Instant::now();
        let outcome = perform(&write, engine, ends);
        metrics.synced(begun.elapsed());
        let failed = outcome.is_err();
        // The owner is gone when the store was closed meanwhile.
        if done.send(Request::Written(write.number, outcome)).is_err() || failed {
            return;
        }
    }
}

/// Does a write, as soon as there is room for it.
fn perform(write: &Write, engine: &dyn Engine, ends: &AtomicBool) -> io::Result<()> {
    let mut waits = false;
    loop {
        match write.perform(engine) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && !ends.load(Relaxed) => {
                if !std::mem::replace(&mut waits, true) {
                    tracing::warn!(%error, "the disk has no room for the store's log; it is written when there is some");
                }
                std::thread::sleep(AGAIN);
            }
            outcome => {
                if waits && outcome.is_ok() {
                    tracing::info!("the disk has room for the store's log again");
                }
                return outcome;
            }
        }
    }
}
