//! `mk8s image`: what is done with the images of this machine by hand.

use super::import::{ImageFailure, image_import, image_names};
use crate::Paths;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// `mk8s image ...`
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    verb: Verb,
    /// Data directory of the server or agent whose containerd is meant.
    #[arg(long, global = true, value_name = "DIR", env = "MK8S_DATA_DIR", default_value = "/var/lib/mk8s")]
    data_dir: PathBuf,
    /// Socket of the containerd that is meant, when it is not mk8s' own.
    #[arg(long, global = true, value_name = "SOCKET", env = "MK8S_CONTAINER_RUNTIME_ENDPOINT")]
    container_runtime_endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Import image archives, as `docker save` or `ctr image export` write them.
    Import {
        /// Archives in docker or OCI layout.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the images that pods find on this machine.
    Ls,
}

/// Runs the verb; each line of the result goes to `say`, what is being done to `progress`.
pub async fn image_command(
    arguments: &ImageArgs,
    mut say: impl FnMut(String),
    mut progress: impl FnMut(String),
) -> Result<(), ImageFailure> {
    let socket = match &arguments.container_runtime_endpoint {
        Some(endpoint) => PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint)),
        None => Paths::new(&arguments.data_dir).containerd_socket(),
    };
    match &arguments.verb {
        Verb::Import { files } => {
            for (at, file) in files.iter().enumerate() {
                progress(format!("[{}/{}] {}{}", at + 1, files.len(), file.display(), size(file)));
                for name in image_import(&socket, file).await? {
                    say(format!("{name} imported"));
                }
            }
        }
        Verb::Ls => {
            let names = image_names(&socket).await?;
            let width = names.keys().map(String::len).max().unwrap_or_default().max("IMAGE".len());
            say(format!("{:width$}   DIGEST", "IMAGE"));
            for (name, digest) in names {
                say(format!("{name:width$}   {digest}"));
            }
        }
    }
    Ok(())
}

fn size(file: &Path) -> String {
    std::fs::metadata(file).map(|meta| format!(" ({} MiB)", meta.len().div_ceil(1 << 20))).unwrap_or_default()
}
