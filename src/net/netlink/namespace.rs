//! Working inside another network namespace.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use super::NetlinkError;

/// An open network namespace; it stays alive while this is held.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: String,
}

impl Namespace {
    /// Opens `/var/run/netns/NAME`, `/proc/PID/ns/net` or the like. `Ok(None)` when it does not exist (any more).
    pub fn open(path: &Path) -> Result<Option<Self>, NetlinkError> {
        let shown = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Some(Self { file, path: shown })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                Err(NetlinkError::Namespace { what: format!("cannot open network namespace {shown}"), source })
            }
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether this is the namespace the process itself runs in.
    pub fn is_current(&self) -> bool {
        let Ok(current) = std::fs::metadata("/proc/thread-self/ns/net") else { return false };
        self.file.metadata().is_ok_and(|own| own.ino() == current.ino() && own.dev() == current.dev())
    }
}

/// Runs a future to its end on a fresh thread that has joined `namespace`, with a runtime of its own; the thread is thrown
/// away after it, so no other work can ever run in the wrong namespace.
pub fn within<T, F>(namespace: &Namespace, work: impl FnOnce() -> F + Send) -> Result<T, NetlinkError>
where
    T: Send,
    F: Future<Output = T>,
{
    let failed = |what: &str, source| NetlinkError::Namespace { what: format!("{what} {}", namespace.path), source };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, || {
            setns(&namespace.file, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| failed("cannot enter network namespace", errno.into()))?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| failed("cannot start a runtime in network namespace", source))?;
            Ok(runtime.block_on(work()))
        });
        let thread = thread.map_err(|source| failed("cannot start a thread for network namespace", source))?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
