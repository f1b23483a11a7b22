//! `persistentVolumeClaim`: claims whose volume is a path of this node (`hostPath` or `local`).

use super::{Context, VolumeError, failed, host_path};
use crate::pod::facts;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use std::path::{Path, PathBuf};

pub(super) async fn set_up(context: &Context<'_>, volume: &str, claim: &str) -> Result<PathBuf, VolumeError> {
    let failed = failed(volume);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), facts::namespace(context.pod));
    let found = claims.get(claim).await.map_err(|error| failed(format!("failed to get claim {claim:?}: {error}")))?;
    let bound = found.spec.and_then(|spec| spec.volume_name).filter(|name| !name.is_empty());
    let bound = bound.ok_or_else(|| failed(format!("claim {claim:?} is not bound")))?;
    let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
    let found =
        volumes.get(&bound).await.map_err(|error| failed(format!("failed to get volume {bound:?}: {error}")))?;
    let spec = found.spec.unwrap_or_default();
    if let Some(source) = &spec.host_path {
        let type_ = source.type_.as_deref().unwrap_or_default();
        return host_path::check(volume, Path::new(&source.path), type_);
    }
    if let Some(source) = &spec.local {
        return host_path::check(volume, Path::new(&source.path), "Directory");
    }
    Err(failed(format!("persistent volume {bound:?} has a type that is not supported on this node")))
}
