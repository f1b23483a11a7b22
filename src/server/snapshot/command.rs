//! `mk8s snapshot`: what an administrator on a server's machine does with snapshots.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    about::About,
    folder::{self, Writing},
    restore::restore,
    schedule,
};
use crate::cluster::{
    Access,
    talk::{self, Answer, Question},
};

/// The flags of `mk8s snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a snapshot; the server goes on working
    Save {
        /// The file to write [default: <data-dir>/server/snapshots/<name>-<time>.snapshot]
        file: Option<PathBuf>,
        /// What the file is named for
        #[arg(long, default_value = "on-demand")]
        name: String,
    },
    /// Check snapshots, and say what they are of
    Ls {
        /// Files [default: those in <data-dir>/server/snapshots]
        files: Vec<PathBuf>,
    },
    /// Begin a cluster with a snapshot; mk8s must not run
    Restore {
        file: PathBuf,
        /// Token of the snapshot's cluster, where --data-dir does not hold its keys
        #[arg(long, env = "MK8S_TOKEN", value_name = "TOKEN", hide_env_values = true)]
        token: Option<String>,
    },
    /// Remove all snapshots of a name but the newest
    Prune {
        /// How many to keep
        #[arg(long, default_value_t = 5)]
        keep: usize,
        /// What the files are named for
        #[arg(long, default_value = schedule::NAME)]
        name: String,
    },
}

/// Carries the command out; gives the lines to print.
///
/// # Errors
/// What is wrong, and what to do.
pub async fn command(arguments: SnapshotArgs) -> anyhow::Result<Vec<String>> {
    let SnapshotArgs { verb, access } = arguments;
    let server_dir = access.server_dir();
    match verb {
        Verb::Save { file, name } => save(&access, file, &name).await,
        Verb::Ls { files } => Ok(ls(&server_dir, &files)?),
        Verb::Restore { file, token } => {
            let (about, rebuilt) = restore(&file, &server_dir, token.as_deref(), Timestamp::now())?;
            let mut lines = vec![format!(
                "restored: {} keys of the cluster {}, as they were at {}; this is member {} now",
                about.keys, about.cluster, about.taken, rebuilt.member
            )];
            lines.extend(rebuilt.before.map(|before| format!("the store that was here is in {}", before.display())));
            lines.push("start mk8s server here; on every other server remove the data directory and join again".into());
            Ok(lines)
        }
        Verb::Prune { keep, name } => {
            let gone = folder::prune(&folder::of(&server_dir), &name, keep)?;
            Ok(gone.iter().map(|path| format!("{} removed", path.display())).collect())
        }
    }
}

async fn save(access: &Access, file: Option<PathBuf>, name: &str) -> anyhow::Result<Vec<String>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        bail!("--name {name:?}: use letters, digits, '-', '_' and '.'");
    }
    let path = match file {
        Some(path) => path,
        None => {
            let folder = folder::of(&access.server_dir());
            folder::make(&folder)?;
            folder.join(folder::file_name(name, Timestamp::now()))
        }
    };
    let (address, tls) = access.to_server()?;
    let (answer, mut rest) = talk::ask_for_more(&address, tls, &Question::Snapshot).await?;
    match answer {
        Answer::Follows => {}
        Answer::Refused { why } | Answer::Later { why } => bail!(why),
        _ => bail!("{address} answers something else than was asked: is it of another version?"),
    }
    let mut writing = Writing::begin(&path)?;
    while let Some(chunk) = rest.next().await? {
        writing.write(&chunk)?;
    }
    let about = writing.finish()?;
    Ok(vec![format!("{}: {} keys at revision {}", path.display(), about.keys, about.revision)])
}

fn ls(server_dir: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let files: Vec<(PathBuf, u64)> = match files {
        [] => folder::list(&folder::of(server_dir))?.into_iter().map(|kept| (kept.path, kept.size)).collect(),
        files => {
            let size = |path: &PathBuf| {
                let read = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()));
                read.map(|found| (path.clone(), found.len()))
            };
            files.iter().map(size).collect::<Result<_, _>>()?
        }
    };
    Ok(table(files.iter().map(|(path, size)| (path.as_path(), *size, folder::check(path)))))
}

fn table<'a>(rows: impl Iterator<Item = (&'a Path, u64, Result<About, folder::FolderError>)>) -> Vec<String> {
    let head = ["FILE", "SIZE", "TAKEN", "CLUSTER", "SERVER", "REVISION", "KEYS", "STATE"].map(str::to_owned);
    let row = |(path, size, checked): (&Path, u64, Result<About, folder::FolderError>)| {
        let (file, size) = (path.display().to_string(), size.to_string());
        match checked {
            Ok(about) => {
                let About { cluster, server, taken, revision, keys, .. } = about;
                [file, size, taken, cluster, server, revision.to_string(), keys.to_string(), "good".to_owned()]
            }
            Err(error) => {
                let dash = || "-".to_owned();
                let why = match error {
                    folder::FolderError::Unusable { source, .. } => source.to_string(),
                    other => other.to_string(),
                };
                [file, size, dash(), dash(), dash(), dash(), dash(), why]
            }
        }
    };
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(rows.map(row)).collect();
    crate::cluster::columns(&rows)
}
