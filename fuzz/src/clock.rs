//! How long a processor was had: what waits for one on a busy machine does not hang.

use std::{fs, time::Duration};

/// By the main thread of a process; nothing of one that is gone.
pub fn had_by(process: u32) -> Duration {
    read(&format!("/proc/{process}/schedstat"))
}

/// By this thread.
pub fn had_here() -> Duration {
    read("/proc/thread-self/schedstat")
}

/// The first number is nanoseconds on a processor.
fn read(path: &str) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0))
}
