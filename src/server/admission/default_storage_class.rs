//! Claims that name no storage class get the default one.

use std::cmp::Reverse;

use mk8s_api::{meta, status::Status};
use serde_json::{Value, json};

use super::{Context, Plugin, Request, stored::list};

pub(super) struct DefaultStorageClass;

const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

impl Plugin for DefaultStorageClass {
    fn mutate(&self, request: &Request<'_>, claim: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        let named = !claim["spec"]["storageClassName"].is_null() || meta::annotation(claim, CLASS).is_some();
        if !request.creates("", "persistentvolumeclaims") || named {
            return Ok(());
        }
        let is_default = |class: &Value| IS_DEFAULT.iter().any(|key| meta::annotation(class, key) == Some("true"));
        let mut defaults: Vec<Value> =
            list(context.view, "storage.k8s.io", "storageclasses", "").into_iter().filter(is_default).collect();
        // The newest wins, so that a new default can be made before the old one is unmade.
        defaults.sort_by_cached_key(|class| {
            (Reverse(meta::creation_timestamp(class).map(str::to_string)), meta::name(class).to_string())
        });
        if let Some(class) = defaults.first() {
            claim["spec"]["storageClassName"] = json!(meta::name(class));
        }
        Ok(())
    }
}
