//! Programs that others wrote and `tests/run` installs below `target/tools`.
//!
//! Invariant: a missing program is a failure with the remedy in it, never a test that passes without having run.

use std::path::PathBuf;

/// The executable under test; `MK8S=path` names another one, such as a released one.
pub(crate) fn mk8s() -> PathBuf {
    std::env::var_os("MK8S").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mk8s")), PathBuf::from)
}

/// Which program is `kubectl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kubectl {
    /// The newest stock one.
    Newest,
    /// Stock, of the version that the server says it is.
    Matching,
    /// `mk8s` by its other name.
    Own,
}

impl Kubectl {
    pub(crate) fn program(self) -> PathBuf {
        match self {
            Kubectl::Newest => tool("kubectl-newest/bin/kubectl"),
            Kubectl::Matching => tool("kubectl-1.36/bin/kubectl"),
            Kubectl::Own => mk8s(),
        }
    }
}

/// The Python with the `kubernetes` package.
pub(crate) fn python() -> PathBuf {
    tool("python/bin/python3")
}

/// The folder whose `node_modules` has `@kubernetes/client-node`.
pub(crate) fn node_modules() -> PathBuf {
    tool("node/node_modules")
}

fn tool(path: &str) -> PathBuf {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(path);
    assert!(full.exists(), "{} is missing: install it with `sudo tests/run --tools`", full.display());
    full
}
