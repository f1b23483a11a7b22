//! Ingresses that name no class get the default one.

use std::cmp::Reverse;

use mk8s_api::{meta, status::Status};
use serde_json::{Value, json};

use super::{Context, Plugin, Request, stored::list};

pub(super) struct DefaultIngressClass;

const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const CLASS: &str = "kubernetes.io/ingress.class";

impl Plugin for DefaultIngressClass {
    fn mutate(&self, request: &Request<'_>, ingress: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        let named = !ingress["spec"]["ingressClassName"].is_null() || meta::annotation(ingress, CLASS).is_some();
        if !request.creates("networking.k8s.io", "ingresses") || named {
            return Ok(());
        }
        let is_default = |class: &Value| meta::annotation(class, IS_DEFAULT) == Some("true");
        let mut defaults: Vec<Value> =
            list(context.view, "networking.k8s.io", "ingressclasses", "").into_iter().filter(is_default).collect();
        defaults.sort_by_cached_key(|class| {
            (Reverse(meta::creation_timestamp(class).map(str::to_string)), meta::name(class).to_string())
        });
        if let Some(class) = defaults.first() {
            ingress["spec"]["ingressClassName"] = json!(meta::name(class));
        }
        Ok(())
    }
}
