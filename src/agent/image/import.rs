//! Import of images that are at hand: embedded programs, and archives in `<data-dir>/agent/images`.

use crate::EmbeddedImage;
use mk8s_cri::{Containerd, CriError, archive};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

#[derive(Debug, thiserror::Error)]
pub enum ImageFailure {
    #[error("cannot read the image archive {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot import {what}: {source}")]
    Import {
        what: String,
        #[source]
        source: CriError,
    },
    #[error("cannot ask containerd on {socket}: {source}")]
    Ask {
        socket: PathBuf,
        #[source]
        source: CriError,
    },
}

/// Imports an archive by hand: the names it had in it.
pub(super) async fn image_import(socket: &Path, path: &Path) -> Result<Vec<String>, ImageFailure> {
    let containerd =
        Containerd::new(socket).map_err(|source| ImageFailure::Ask { socket: socket.to_owned(), source })?;
    import_file(&containerd, path, false).await
}

/// Names and digests of the images of a node, sorted.
pub(super) async fn image_names(socket: &Path) -> Result<BTreeMap<String, String>, ImageFailure> {
    let failed = |source| ImageFailure::Ask { socket: socket.to_owned(), source };
    let images = Containerd::new(socket).map_err(failed)?.image_names().await.map_err(failed)?;
    let named = images.into_iter().filter(|image| !image.name.starts_with("sha256:"));
    Ok(named.map(|image| (image.name, image.target.map(|target| target.digest).unwrap_or_default())).collect())
}

/// Imports the programs that mk8s brings along, where they are not there yet.
pub async fn import_embedded(containerd: &Containerd, images: &[EmbeddedImage]) -> Result<(), ImageFailure> {
    let known = containerd.image_names().await.unwrap_or_default();
    for image in images {
        let failed = |source| ImageFailure::Import { what: image.reference.clone(), source };
        let contents = archive::of_program(&image.reference, &image.name, image.binary).map_err(failed)?;
        let there = contents.names.iter().all(|(name, descriptor)| {
            known.iter().any(|k| &k.name == name && k.target.as_ref().is_some_and(|t| t.digest == descriptor.digest))
        });
        if !there {
            containerd.import(contents, &mut io::empty(), true).await.map_err(failed)?;
            tracing::info!(image = image.reference, "embedded image imported");
        }
    }
    Ok(())
}

/// What was imported from which archive of a folder: a restart passes over those that are as they were.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Imported(BTreeMap<String, Archive>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Archive {
    size: u64,
    /// Nanoseconds since 1970.
    modified: u128,
    names: Vec<String>,
}

impl Imported {
    /// Anything but such a record is as good as none.
    fn load(path: &Path) -> Imported {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn save(&self, path: &Path) {
        let text = serde_json::to_vec(self).expect("texts and numbers have a JSON form");
        if let Err(error) = std::fs::write(path, text) {
            tracing::warn!(%error, path = %path.display(), "the next start imports all archives again");
        }
    }
}

impl Archive {
    fn of(path: &Path, names: Vec<String>) -> Option<Archive> {
        let meta = path.metadata().ok()?;
        let modified = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        Some(Archive { size: meta.len(), modified, names })
    }
}

/// Imports and pins every archive of a folder that changed since `record` was written; one that is broken is reported and
/// passed over.
pub async fn import_folder(containerd: &Containerd, folder: &Path, record: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    files.sort();
    let mut before = Imported::load(record);
    let mut now = Imported::default();
    let there: HashSet<String> =
        containerd.image_names().await.unwrap_or_default().into_iter().map(|image| image.name).collect();
    for path in files {
        let file = path.display().to_string();
        if let Some(known) = before.0.remove(&file)
            && Archive::of(&path, known.names.clone()).as_ref() == Some(&known)
            && known.names.iter().all(|name| there.contains(name))
        {
            now.0.insert(file, known);
            continue;
        }
        match import_file(containerd, &path, true).await {
            Ok(names) => {
                tracing::info!(path = file, ?names, "images imported");
                if let Some(archive) = Archive::of(&path, names) {
                    now.0.insert(file, archive);
                }
            }
            Err(error) => tracing::error!(%error, "an image archive is passed over"),
        }
    }
    now.save(record);
}

async fn import_file(containerd: &Containerd, path: &Path, pinned: bool) -> Result<Vec<String>, ImageFailure> {
    let read = |source| ImageFailure::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    import_seekable(containerd, &path.display().to_string(), &mut file, pinned).await
}

/// Imports an archive from wherever it is; `what` names it in errors.
pub async fn import_seekable(
    containerd: &Containerd,
    what: &str,
    file: &mut (impl Read + Seek + Send),
    pinned: bool,
) -> Result<Vec<String>, ImageFailure> {
    let failed = |source| ImageFailure::Import { what: what.to_owned(), source };
    let contents = archive::read(file).map_err(failed)?;
    containerd.import(contents, file, pinned).await.map_err(failed)
}
