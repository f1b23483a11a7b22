//! ClusterRoles that are made of others: their rules are those of all whose labels they select.
//!
//! The authorizer follows aggregation by itself. What is written here is what people read, and what clients compare.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    selectors,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{Patch, PatchParams},
    },
};
use serde_json::json;
use std::sync::Arc;

const MANAGER: &str = "clusterrole-aggregation-controller";

pub(crate) async fn run(ctx: Context) {
    let roles: Informer<ClusterRole> = ctx.informers.all();
    roles.synced().await;
    let queue = WorkQueue::new("clusterrole-aggregator");
    roles.handle({
        let (queue, roles) = (queue.clone(), roles.clone());
        // Whom a role concerns is not known, and roles are few.
        move |_| {
            let made_of_others = roles.list().into_iter().filter(|role| role.aggregation_rule.is_some());
            made_of_others.for_each(|role| queue.add(Key::of(role.as_ref())));
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key: Key| {
            let (ctx, roles) = (ctx.clone(), roles.clone());
            async move { aggregate(&ctx, &roles, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

async fn aggregate(ctx: &Context, roles: &Informer<ClusterRole>, key: Key) -> Result<Outcome> {
    let Some(role) = roles.by_key(&key) else { return Ok(Outcome::Done) };
    let Some(rules) = rules_of(&role, roles.list()).filter(|rules| Some(rules) != role.rules.as_ref()) else {
        return Ok(Outcome::Done);
    };
    if rules.is_empty() && role.rules.is_none() {
        return Ok(Outcome::Done);
    }
    let applied = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": key.name}, "rules": rules});
    let api = Api::<ClusterRole>::all(ctx.client.clone());
    unless_gone(api.patch(&key.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(applied)).await)
        .doing(format_args!("writing the rules of ClusterRole {key}"))?;
    Ok(Outcome::Done)
}

/// Each rule once, in the order of selectors and names. `None`: the role has rules of its own, or its selectors are bad.
fn rules_of(role: &ClusterRole, mut all: Vec<Arc<ClusterRole>>) -> Option<Vec<PolicyRule>> {
    let rule = role.aggregation_rule.as_ref()?;
    all.sort_by_key(|other| other.name_any());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in rule.cluster_role_selectors.iter().flatten() {
        let selector = selectors::compile(Some(selector))?;
        let selected =
            all.iter().filter(|other| selector.matches(&other.metadata.labels) && other.name_any() != role.name_any());
        for more in selected.flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(more) {
                rules.push(more.clone());
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::shared;
    use expect_test::{Expect, expect};

    fn check(yaml: &str, expected: Expect) {
        let all = shared::<ClusterRole>(yaml);
        let role = all[0].clone();
        let line = |rule: &PolicyRule| {
            format!("{} {}\n", rule.resources.clone().unwrap_or_default().join(","), rule.verbs.join(","))
        };
        let text = rules_of(&role, all).map(|rules| rules.iter().map(line).collect::<String>());
        expected.assert_eq(&text.unwrap_or_else(|| "none".to_owned()));
    }

    const PODS: &str = "---\nkind: ClusterRole\nmetadata: {name: b, labels: {to: view, also: view}}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n";
    const MAPS: &str = "---\nkind: ClusterRole\nmetadata: {name: a, labels: {to: view}}\nrules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]\n";

    fn made_of(selectors: &str) -> String {
        format!(
            "kind: ClusterRole\nmetadata: {{name: view, labels: {{to: view}}}}\naggregationRule: {{clusterRoleSelectors: {selectors}}}\nrules: [{{resources: [own], verbs: [get]}}]\n"
        )
    }

    #[test]
    fn rules_are_those_of_the_selected() {
        check(
            &[&made_of("[{matchLabels: {to: view}}]"), PODS, MAPS].concat(),
            expect![[r#"
            configmaps get
            pods get
        "#]],
        );
        check(
            &[&made_of("[{matchLabels: {also: view}}, {matchLabels: {to: view}}]"), PODS, MAPS].concat(),
            expect![[r#"
            pods get
            configmaps get
        "#]],
        );
        check(&[&made_of("[{matchLabels: {to: edit}}]"), PODS].concat(), expect![""]);
        check(PODS, expect!["none"]);
    }
}
