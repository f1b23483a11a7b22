//! How a command on a server's machine reaches the servers: with the certificate that lies there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use rustls::ClientConfig;

use super::{TALK, join, talk};
use crate::auth::pki::Leaf;

/// The flags that such commands have.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// Directory of the server on this machine, for its certificates
    #[arg(long, env = "MK8S_DATA_DIR", value_name = "DIR", default_value = "/var/lib/mk8s", global = true)]
    data_dir: PathBuf,
    /// A server of the cluster
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:6443", global = true)]
    server: String,
}

impl Access {
    /// `<data-dir>/server`.
    pub(crate) fn server_dir(&self) -> PathBuf {
        self.data_dir.join("server")
    }

    /// The server as the user named it.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Where the server is, and as whom it is asked.
    pub(crate) fn to_server(&self) -> anyhow::Result<(String, Arc<ClientConfig>)> {
        let address = join::address_of(&self.server).with_context(|| format!("--server {}", self.server))?;
        let tls_dir = self.server_dir().join("tls");
        let leaf = Leaf { cert_pem: read(&tls_dir.join("admin.crt"))?, key_pem: read(&tls_dir.join("admin.key"))? };
        Ok((address, talk::to_server(&read(&tls_dir.join("ca.crt"))?, Some(&leaf), TALK)?))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!("cannot read {}: run this on a server's machine, as root, or give --data-dir", path.display())
    })
}

/// Rows of cells as lines, the columns under each other.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
