//! That this server is a member no more. It cannot see that itself: whoever was removed hears nothing of what was decided
//! then. Another server tells it when it wants to say something.

use std::path::Path;

use tokio_util::sync::CancellationToken;

/// Whether this server has heard that it was removed. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Removed(CancellationToken);

impl Removed {
    pub(crate) fn hear(&self) {
        self.0.cancel();
    }

    pub fn is_known(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is known.
    pub async fn known(&self) {
        self.0.cancelled().await;
    }
}

/// What is said to everyone who asks a removed server for something.
pub fn remedy(id: u64, server_dir: &Path) -> String {
    format!(
        "this server was removed from the cluster (it was member {id}) and answers no more: ask another server; to let this \
         one join again, stop it, remove {}, and start it with --join and --token",
        server_dir.display()
    )
}
