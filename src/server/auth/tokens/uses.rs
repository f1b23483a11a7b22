//! On which day the token of a Secret was last used: a label of the Secret, so that people see which they can take away.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use mk8s_controllers::LAST_USED;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A token was used, and its Secret does not say so.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) uid: String,
    /// As `2026-01-31`.
    pub(super) today: String,
}

/// Notes uses as they are told.
pub async fn note_uses(client: Client, mut told: mpsc::Receiver<Use>, stop: CancellationToken) {
    while let Some(Some(used)) = stop.run_until_cancelled(told.recv()).await {
        let Use { namespace, secret, uid, today } = used;
        let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": {LAST_USED: today}}}));
        let api = Api::<Secret>::namespaced(client.clone(), &namespace);
        let patched = stop.run_until_cancelled(api.patch(&secret, &PatchParams::default(), &patch)).await;
        if let Some(Err(error)) = patched {
            tracing::warn!(%error, namespace, secret, "failed to label legacy service account token with last-used date");
        }
    }
}
