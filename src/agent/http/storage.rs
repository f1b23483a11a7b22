//! `storage/NAME`: folders that become volumes.

use super::{Answer, text};
use crate::{pod::Pods, volume::storage};
use http::Method;
use mk8s_api::status::Status;
use std::io;

pub(super) async fn serve(pods: &Pods, name: &str, method: &Method) -> Answer {
    let (folder, name) = (pods.host().paths.storage(), name.to_owned());
    match *method {
        Method::POST => {
            let made = blocking(move || storage::make(&folder, &name)).await?;
            text("application/json", serde_json::json!({"path": made}).to_string())
        }
        Method::DELETE => {
            blocking(move || storage::remove(&folder, &name)).await?;
            text("application/json", "{}")
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// Deleting may take long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await.map_err(Status::internal)?;
    done.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Status::bad_request(error.to_string()),
        _ => Status::internal(error),
    })
}
