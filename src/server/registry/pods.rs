//! What is done to pods beside the ordinary verbs: binding, eviction, ephemeral containers.

use jiff::Timestamp;
use mk8s_api::{
    at, meta,
    select::LabelSelector,
    status::{Cause, Details, GroupResource, Status},
};
use mk8s_store::{CommitError, Expect, Op};
use serde_json::{Value, json};

use super::{Call, DeleteOptions, Registry, Stored, Warnings, commit_failed, encode, keys, update::Admitted};

impl Registry {
    /// `pods/binding`: the scheduler's word on where a pod runs.
    pub async fn bind(&self, call: &Call<'_>, binding: &Value, warnings: &mut Warnings) -> Result<Status, Status> {
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        check_binding(call, binding, node)?;
        let now = meta::format_time(Timestamp::now());
        let pod = Call { subresource: "binding", ..*call };
        self.update_as(&pod, Admitted::Before, warnings, |old| {
            let wanted = meta::uid(binding);
            if !wanted.is_empty() && wanted != meta::uid(old) {
                let why = format!(
                    "Precondition failed: UID in precondition: {wanted}, UID in object meta: {}",
                    meta::uid(old)
                );
                return Err(Status::conflict(&pods_binding(), call.name, why));
            }
            assign(call.name, old, binding, node, &now).map_err(|why| Status::conflict(&pods_binding(), call.name, why))
        })
        .await?;
        Ok(Status { code: 201, ..Status::success(None) })
    }

    /// `pods/eviction`: a delete that respects disruption budgets.
    pub async fn evict(&self, call: &Call<'_>, eviction: &Value) -> Result<Status, Status> {
        let mut options = DeleteOptions::from_json(at::sub(eviction, "deleteOptions").clone())?;
        options.dry_run |= call.options.dry_run;
        let name = meta::name(eviction);
        if !name.is_empty() && name != call.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let pod = self.lookup("", "pods", call.namespace, call.name).ok_or_else(|| call.not_found())?;
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if !matches!(phase, "Succeeded" | "Failed" | "Pending") && !meta::is_deleting(&pod) {
            self.charge_budget(call, &pod, options.dry_run).await?;
        }
        let whole = Call { subresource: "", ..*call };
        self.remove(&whole, &options, true).await?;
        Ok(Status { code: 201, ..Status::success(None) })
    }

    /// Takes one disruption from the budget that covers a pod, or says why there is none.
    async fn charge_budget(&self, call: &Call<'_>, pod: &Value, dry_run: bool) -> Result<(), Status> {
        for _ in 0..8 {
            let view = self.store.view();
            let prefix = keys::scope(&keys::kind_prefix("policy", "poddisruptionbudgets"), call.namespace);
            let covering: Vec<_> = view
                .range(prefix.as_bytes(), &keys::end_of(&prefix))
                .map(|entry| (entry, encode::decode(&entry.value)))
                .filter(|(_, budget)| covers(budget, pod))
                .collect();
            let (entry, mut budget) = match <[_; 1]>::try_from(covering) {
                Ok([one]) => one,
                Err(list) if list.is_empty() => return Ok(()),
                Err(_) => {
                    return Err(Status::internal(
                        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                    ));
                }
            };
            if !is_ready(pod) && unhealthy_may_go(&budget) {
                return Ok(());
            }
            spend(&mut budget, call.name, &meta::format_time(Timestamp::now()))?;
            if dry_run {
                return Ok(());
            }
            let put = Op::Put {
                key: entry.key.clone(),
                value: encode::encode(&budget),
                expect: Expect::Revision(entry.modified),
            };
            match self.commit(put).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_failed(&error)),
            }
        }
        Err(Status::too_many_requests("Cannot evict pod as its disruption budget is being updated.", 10))
    }

    /// `pods/ephemeralcontainers`: only they change.
    pub async fn update_ephemeral_containers(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Stored, Status> {
        self.update_with(call, warnings, |old| {
            let asked = transform(old)?;
            Ok(with_ephemeral_containers(old, &asked))
        })
        .await
    }
}

/// The pod with the ephemeral containers that are asked for, and for the version that is asked for.
pub(super) fn with_ephemeral_containers(old: &Value, asked: &Value) -> Value {
    let mut new = old.clone();
    if let Some(spec) = at::sub_mut(&mut new, "spec") {
        at::keep(spec, at::sub(asked, "spec"), "ephemeralContainers");
    }
    meta::set(&mut new, "resourceVersion", meta::resource_version(asked));
    new
}

fn pods_binding() -> GroupResource {
    GroupResource::new("", "pods/binding")
}

fn check_binding(call: &Call<'_>, binding: &Value, node: &str) -> Result<(), Status> {
    let name = meta::name(binding);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        return Err(Status::failure(
            422,
            "Invalid",
            format!(
                "Binding \"{}\" is invalid: target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"",
                call.name
            ),
        ));
    }
    if node.is_empty() {
        return Err(Status::failure(
            422,
            "Invalid",
            format!("Binding \"{}\" is invalid: target.name: Required value", call.name),
        ));
    }
    Ok(())
}

/// The pod with its node, or why it cannot have it.
fn assign(name: &str, old: &Value, binding: &Value, node: &str, now: &str) -> Result<Value, String> {
    if meta::is_deleting(old) {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(current) = old["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return Err(format!("pod {name} is already assigned to node {current:?}"));
    }
    if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = old.clone();
    if let Some(spec) = at::sub_mut(&mut pod, "spec") {
        at::set(spec, "nodeName", node);
    }
    for field in ["annotations", "labels"] {
        let Some(added) = meta::metadata(binding).get(field).and_then(Value::as_object) else { continue };
        if let Some(known) = at::sub_mut(&mut pod, "metadata").and_then(|metadata| at::map_mut(metadata, field)) {
            known.extend(added.clone());
        }
    }
    set_condition(
        &mut pod,
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    Ok(pod)
}

/// Puts a condition in the place of the one of its type; the time of an unchanged status is kept.
fn set_condition(pod: &mut Value, mut condition: Value) {
    let Some(conditions) = at::sub_mut(pod, "status").and_then(|status| at::list_mut(status, "conditions")) else {
        return;
    };
    match conditions.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(current) => {
            if current["status"] == condition["status"]
                && let Some(since) = at::get(current, "lastTransitionTime")
            {
                at::set(&mut condition, "lastTransitionTime", since.clone());
            }
            if let Some(generation) = at::get(current, "observedGeneration") {
                at::set(&mut condition, "observedGeneration", generation.clone());
            }
            *current = condition;
        }
        None => conditions.push(condition),
    }
}

fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    !selector.is_null() && LabelSelector::from_json(selector).is_ok_and(|selector| selector.matches(meta::labels(pod)))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// A pod that is not ready may go when the budget says always, or when the healthy ones are enough.
fn unhealthy_may_go(budget: &Value) -> bool {
    let status = &budget["status"];
    let healthy = status["currentHealthy"].as_i64().unwrap_or(0);
    let desired = status["desiredHealthy"].as_i64().unwrap_or(0);
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || (healthy >= desired && desired > 0)
}

fn spend(budget: &mut Value, pod: &str, now: &str) -> Result<(), Status> {
    let name = meta::name(budget).to_string();
    let observed = budget["status"]["observedGeneration"].as_i64().unwrap_or(0);
    if observed < meta::generation(budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused("Cannot evict pod as it would violate the pod's disruption budget.", why));
    }
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed <= 0 {
        let (healthy, desired) = (&budget["status"]["currentHealthy"], &budget["status"]["desiredHealthy"]);
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            desired.as_i64().unwrap_or(0),
            healthy.as_i64().unwrap_or(0)
        );
        return Err(refused("Cannot evict pod as it would violate the pod's disruption budget.", why));
    }
    if let Some(status) = at::sub_mut(budget, "status") {
        at::set(status, "disruptionsAllowed", allowed - 1);
        if let Some(disrupted) = at::map_mut(status, "disruptedPods") {
            disrupted.insert(pod.to_string(), now.into());
        }
    }
    Ok(())
}

fn refused(message: &str, why: String) -> Status {
    let cause = Cause { reason: "DisruptionBudget".into(), message: why, ..Cause::default() };
    Status::too_many_requests(message, 0).with_details(Details { causes: vec![cause], ..Details::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let binding = json!({"metadata": {"annotations": {"a": "b"}}});
        let free = json!({"metadata": {"name": "p"}, "spec": {}, "status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}});
        let bound = assign("p", &free, &binding, "n", "T").expect("bound");
        assert_eq!(bound["spec"]["nodeName"], "n");
        assert_eq!(bound["metadata"]["annotations"]["a"], "b");
        assert_eq!(bound["status"]["conditions"].as_array().map(Vec::len), Some(1));
        assert_eq!(bound["status"]["conditions"][0]["lastTransitionTime"], "T");
        assert_eq!(assign("p", &bound, &binding, "m", "T"), Err("pod p is already assigned to node \"n\"".into()));
    }

    #[test]
    fn budgets_are_spent() {
        let mut budget = json!({"metadata": {"name": "b"}, "status": {"disruptionsAllowed": 1}});
        spend(&mut budget, "p", "T").expect("one is left");
        assert_eq!(budget["status"], json!({"disruptionsAllowed": 0, "disruptedPods": {"p": "T"}}));
        assert_eq!(spend(&mut budget, "q", "T").map_err(|status| status.code), Err(429));
    }
}
