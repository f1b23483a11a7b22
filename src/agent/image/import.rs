//! Import of images that are at hand: embedded programs, and archives in `<data-dir>/agent/images`.

use crate::EmbeddedImage;
use mk8s_cri::{Containerd, CriError, archive};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
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

/// Imports and pins every archive of a folder; one that is broken is reported and passed over.
pub async fn import_folder(containerd: &Containerd, folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    files.sort();
    for path in files {
        match import_file(containerd, &path, true).await {
            Ok(names) => tracing::info!(path = %path.display(), ?names, "images imported"),
            Err(error) => tracing::error!(%error, "an image archive is passed over"),
        }
    }
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
