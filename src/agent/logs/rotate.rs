//! Rotation: a log that has grown is renamed, the runtime opens a new one, old ones are compressed and the oldest go.

use jiff::Timestamp;
use mk8s_cri::{Runtime, v1};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

const SIZE_MAX: u64 = 10 << 20;
/// Files a container keeps, the present one included.
const FILES_MAX: usize = 5;
const LOOK: Duration = Duration::from_secs(10);

/// Looks at the logs of running containers until it is dropped. `log_dir` is where they are.
pub async fn rotate_forever(runtime: Runtime, log_dir: PathBuf) {
    loop {
        tokio::time::sleep(LOOK).await;
        let large = tokio::task::spawn_blocking({
            let log_dir = log_dir.clone();
            move || any_large(&log_dir)
        });
        // The runtime is asked only when there is something to do.
        if large.await.unwrap_or_default() {
            rotate_all(&runtime).await;
        }
    }
}

/// Whether some log below the directory is too large: `<pod>/<container>/<n>.log`.
fn any_large(log_dir: &Path) -> bool {
    let below = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = below(log_dir.to_owned()).flat_map(below).flat_map(below);
    let is_log = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
    logs.filter(is_log).any(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > SIZE_MAX))
}

async fn rotate_all(runtime: &Runtime) {
    let containers = runtime.containers(&[]).await.unwrap_or_default();
    for container in containers.into_iter().filter(|c| c.state == v1::ContainerState::ContainerRunning as i32) {
        let Ok(status) = runtime.container_status(&container.id).await else { continue };
        let path = PathBuf::from(status.log_path);
        if fs::metadata(&path).map_or(true, |metadata| metadata.len() <= SIZE_MAX) {
            continue;
        }
        if let Err(error) = rotate(runtime, &container.id, &path).await {
            tracing::warn!(path = %path.display(), %error, "a log cannot be rotated");
        }
    }
}

async fn rotate(runtime: &Runtime, id: &str, path: &Path) -> io::Result<()> {
    let old = path.with_extension(format!("log.{}", Timestamp::now().strftime("%Y%m%d-%H%M%S")));
    fs::rename(path, &old)?;
    if let Err(error) = runtime.reopen_log(id).await {
        // Back, or what is written from now on is lost.
        fs::rename(&old, path)?;
        return Err(io::Error::other(error.to_string()));
    }
    let path = path.to_owned();
    let cleaned = tokio::task::spawn_blocking(move || clean(&path));
    cleaned.await.map_err(io::Error::other)?
}

/// Compresses all but the newest of the old logs and removes the oldest.
fn clean(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut old: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    old.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)));
    old.sort();
    let surplus = old.len().saturating_sub(FILES_MAX - 1);
    for path in old.drain(..surplus) {
        fs::remove_file(path)?;
    }
    old.pop();
    for path in old.iter().filter(|path| path.extension().is_none_or(|end| end != "gz")) {
        compress(path)?;
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let mut target = path.as_os_str().to_owned();
    target.push(".gz");
    let mut encoder = flate2::write::GzEncoder::new(fs::File::create(&target)?, flate2::Compression::default());
    io::copy(&mut fs::File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_logs_are_few_and_compressed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for i in 1..=6 {
            fs::write(temp.path().join(format!("0.log.2026010{i}-000000")), "x").expect("written");
        }
        fs::write(temp.path().join("0.log"), "x").expect("written");
        clean(&temp.path().join("0.log")).expect("cleaned");
        let mut names: Vec<_> = fs::read_dir(temp.path())
            .expect("there")
            .flatten()
            .map(|e| e.file_name().into_string().expect("text"))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "0.log",
                "0.log.20260103-000000.gz",
                "0.log.20260104-000000.gz",
                "0.log.20260105-000000.gz",
                "0.log.20260106-000000"
            ]
        );
    }
}
