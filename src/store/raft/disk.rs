//! The disk of a replica that has peers: a thread that writes, so that a slow disk holds up nothing else.
//!
//! What waits meanwhile is written together, with one fsync.

use super::{Request, Write};
use crate::{engine::Engine, metrics::Metrics};
use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Instant,
};

/// See the module.
pub(super) struct Disk {
    writes: Option<Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    pub(super) fn start(engine: Arc<dyn Engine>, metrics: Arc<Metrics>, done: Sender<Request>) -> io::Result<Self> {
        let (writes, waiting) = channel();
        let work = move || run(&waiting, &*engine, &metrics, &done);
        let thread = std::thread::Builder::new().name("store-disk".to_owned()).spawn(work)?;
        Ok(Self { writes: Some(writes), thread: Some(thread) })
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
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the disk's thread does not panic");
        }
    }
}

fn run(waiting: &Receiver<Write>, engine: &dyn Engine, metrics: &Metrics, done: &Sender<Request>) {
    let mut next = None;
    while let Some(mut write) = next.take().or_else(|| waiting.recv().ok()) {
        while let Ok(later) = waiting.try_recv() {
            if let Err(apart) = write.merge(later) {
                next = Some(*apart);
                break;
            }
        }
        let begun = Instant::now();
        let outcome = write.perform(engine);
        metrics.synced(begun.elapsed());
        let failed = outcome.is_err();
        // The owner is gone when the store was closed meanwhile.
        if done.send(Request::Written(write.number, outcome)).is_err() || failed {
            return;
        }
    }
}
