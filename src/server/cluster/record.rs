//! What a server knows of itself and must not forget: which member it is.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::members::Member;
use crate::auth::pki::files;

/// `<data-dir>/server/member.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: u64,
    /// Whether it began the cluster; all others joined.
    pub founder: bool,
    /// Who was there when it joined: where to look for the others before the store knows.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Whether it has heard that it was removed.
    #[serde(default)]
    pub removed: bool,
    /// Whether it is a witness.
    #[serde(default)]
    pub witness: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(
        "{path} says which member of the cluster this server is, and cannot be read: {why}; restore it, or remove {dir} and join again"
    )]
    Unreadable { path: String, dir: String, why: String },
    #[error(transparent)]
    File(#[from] crate::auth::PkiError),
}

const FILE: &str = "member.json";

impl Record {
    pub fn founder() -> Record {
        Record { id: 1, founder: true, members: Vec::new(), removed: false, witness: false }
    }

    /// What the store of this member is claimed for.
    pub fn identity(&self, cluster: &str) -> String {
        let witness = if self.witness { " (a witness)" } else { "" };
        format!("member {}{witness} of the cluster {cluster}", self.id)
    }

    /// What was saved in a server's directory, if anything was.
    pub fn load(dir: &Path) -> Result<Option<Record>, RecordError> {
        let path = dir.join(FILE);
        let unreadable = |why: String| RecordError::Unreadable {
            path: path.display().to_string(),
            dir: dir.display().to_string(),
            why,
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    pub fn save(&self, dir: &Path) -> Result<(), RecordError> {
        let text = serde_json::to_vec_pretty(self).expect("plain fields become JSON");
        files::create_private_dir(dir)?;
        Ok(files::write_private(&dir.join(FILE), &text)?)
    }
}
