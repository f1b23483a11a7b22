//! Snapshots that a server makes by itself, and how many of them it keeps.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use mk8s_api::cron::Schedule;
use mk8s_store::{Store, Unavailable, snapshot::Chunks};
use tokio_util::sync::CancellationToken;

use super::{
    about::{self, DescribeError},
    folder::{self, FolderError, Writing},
};
use crate::auth::Pki;

/// What those that a server makes by itself are named for.
pub const NAME: &str = "scheduled";

/// When, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub schedule: Schedule,
    pub keep: usize,
}

/// What is needed to make one.
#[derive(Clone)]
pub struct Source {
    pub store: Store,
    pub pki: Arc<Pki>,
    pub server: String,
    /// `<data-dir>/server`.
    pub server_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum ScheduleError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Describe(#[from] DescribeError),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Makes snapshots until `stop`. One that fails is told of and left out.
pub async fn keep(source: Source, plan: Plan, stop: CancellationToken) {
    let mut last = Timestamp::MIN;
    // The clock that is slept by may be ahead of the one that schedules are about.
    while let Some(due) = plan.schedule.next(Timestamp::now().max(last)) {
        last = due;
        let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        if let Err(error) = make(&source, plan.keep, due).await {
            tracing::error!(error = %format!("{:#}", anyhow::Error::new(error)), "the scheduled snapshot could not be made");
        }
    }
}

async fn make(source: &Source, keep: usize, due: Timestamp) -> Result<(), ScheduleError> {
    let view = source.store.fresh().await?;
    let about = about::describe(&source.pki, &source.server, &view, Timestamp::now())?;
    let folder = folder::of(&source.server_dir);
    let pieces = source.store.pieces(view);
    let written = move || -> Result<(), FolderError> {
        folder::make(&folder)?;
        let path = folder.join(folder::file_name(NAME, due));
        let mut writing = Writing::begin(&path)?;
        Chunks::new(&about, pieces).try_for_each(|chunk| writing.write(&chunk))?;
        let about = writing.finish()?;
        tracing::info!(path = %path.display(), revision = about.revision, keys = about.keys, "snapshot saved");
        for gone in folder::prune(&folder, NAME, keep)? {
            tracing::info!(path = %gone.display(), "old snapshot removed");
        }
        Ok(())
    };
    Ok(tokio::task::spawn_blocking(written).await.expect("writing a file does not panic")?)
}
