//! ValidatingAdmissionPolicies learn what is wrong with the types in their expressions.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    queue_changes,
};
use k8s_openapi::{
    api::admissionregistration::v1::ValidatingAdmissionPolicy,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use mk8s_api::cel::type_check;
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        Api,
        api::{Patch, PatchParams},
    },
};
use serde_json::{Value, json};

pub(crate) async fn run(ctx: Context) {
    let policies: Informer<ValidatingAdmissionPolicy> = ctx.informers.all();
    let definitions: Informer<CustomResourceDefinition> = ctx.informers.all();
    policies.synced().await;
    definitions.synced().await;
    let queue = WorkQueue::new("validatingadmissionpolicy-status");
    queue_changes(&policies, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, policies, definitions) = (ctx.clone(), policies.clone(), definitions.clone());
            async move { check(&ctx, &policies, &definitions, key).await }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

async fn check(
    ctx: &Context,
    policies: &Informer<ValidatingAdmissionPolicy>,
    definitions: &Informer<CustomResourceDefinition>,
    key: Key,
) -> Result<Outcome> {
    let Some(policy) = policies.by_key(&key) else { return Ok(Outcome::Done) };
    let definitions: Vec<Value> =
        definitions.list().iter().filter_map(|one| serde_json::to_value(&**one).ok()).collect();
    let Some(status) = plan(&serde_json::to_value(&*policy).unwrap_or_default(), &definitions) else {
        return Ok(Outcome::Done);
    };
    let api: Api<ValidatingAdmissionPolicy> = Api::all(ctx.client.clone());
    let written = api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await;
    unless_gone(written).doing(format_args!("writing the status of ValidatingAdmissionPolicy {key}"))?;
    Ok(Outcome::Done)
}

/// The status of a policy that was not looked at since it changed.
fn plan(policy: &Value, definitions: &[Value]) -> Option<Value> {
    let generation = policy["metadata"]["generation"].as_i64().unwrap_or(0);
    if generation <= policy["status"]["observedGeneration"].as_i64().unwrap_or(0) {
        return None;
    }
    let warnings: Vec<Value> = type_check::warnings(policy, definitions)
        .into_iter()
        .map(|warning| json!({"fieldRef": warning.field_ref, "warning": warning.warning}))
        .collect();
    // That it is there says that types were checked.
    let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    Some(json!({"observedGeneration": generation, "typeChecking": checked}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_checked_once_a_generation() {
        let policy = |observed: i64| {
            json!({
                "metadata": {"generation": 2},
                "spec": {
                    "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]},
                    "validations": [{"expression": "object.spec.hostNetwork == 'yes'"}],
                },
                "status": {"observedGeneration": observed},
            })
        };
        assert_eq!(plan(&policy(2), &[]), None);
        let status = plan(&policy(1), &[]).expect("a status");
        assert_eq!(status["observedGeneration"], 2);
        let warning = &status["typeChecking"]["expressionWarnings"][0];
        assert_eq!(warning["fieldRef"], "spec.validations[0].expression");
        assert!(warning["warning"].as_str().is_some_and(|text| text.contains("'_==_' applied to '(bool, string)'")));
    }
}
