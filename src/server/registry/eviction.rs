//! `pods/eviction`: a delete that respects disruption budgets.
//!
//! ```text
//! ended, not begun or going already ──────────────────────────────┐
//! not ready, and its budget lets such go: in this version only ───┤
//! one of the budget's disruptions is taken ───────────────────────┴─▶ condition DisruptionTarget ─▶ delete
//! ```

use jiff::Timestamp;
use mk8s_api::{
    at, meta,
    select::LabelSelector,
    status::{Cause, Details, GroupResource, Status},
};
use mk8s_store::{CommitError, Expect, Op};
use serde_json::{Value, json};

use super::{Call, DeleteOptions, Registry, commit_failed, encode, keys, pods::set_condition};

/// How often a write is tried against a pod or a budget that moves.
const ATTEMPTS: usize = 20;

/// Evictions that the budget's controller has not seen yet; more would say that it sees nothing.
const UNSEEN_MAX: usize = 2000;

const VIOLATED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// What a budget says to an eviction that it allows.
#[derive(Debug, PartialEq)]
enum Allowed {
    Yes,
    /// As long as the pod is as it was seen.
    AsSeen {
        budget: String,
    },
}

impl Registry {
    pub async fn evict(&self, call: &Call<'_>, eviction: &Value) -> Result<Status, Status> {
        let mut options = DeleteOptions::from_json(at::sub(eviction, "deleteOptions").clone())?;
        options.dry_run |= call.options.dry_run;
        let name = meta::name(eviction);
        if !name.is_empty() && name != call.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        for attempt in 1.. {
            let pod = self.lookup("", "pods", call.namespace, call.name).ok_or_else(|| call.not_found())?;
            let phase = pod["status"]["phase"].as_str().unwrap_or_default();
            let ended = matches!(phase, "Succeeded" | "Failed") || meta::is_deleting(&pod);
            let mut delete = options.clone();
            let version = || Some(meta::resource_version(&pod).to_string());
            if !ended && phase == "Pending" {
                // It may begin to run meanwhile.
                delete.resource_version = options.resource_version.clone().or_else(version);
            } else if !ended {
                return self.evict_running(call, &pod, delete).await;
            }
            match self.mark_and_delete(call, delete).await {
                Err(status) if status.code == 409 && options.resource_version.is_none() && attempt < ATTEMPTS => {}
                done => return done,
            }
        }
        Err(Status::stale(call.group_resource(), call.name))
    }

    async fn evict_running(&self, call: &Call<'_>, pod: &Value, options: DeleteOptions) -> Result<Status, Status> {
        let Allowed::AsSeen { budget } = self.charge_budget(call, pod, options.dry_run).await? else {
            return self.mark_and_delete(call, options).await;
        };
        let version = Some(meta::resource_version(pod).to_string());
        match self.mark_and_delete(call, DeleteOptions { resource_version: version, ..options.clone() }).await {
            Err(status) if status.code == 409 && options.resource_version.is_none() => Err(in_progress(&budget)),
            done => done,
        }
    }

    /// Says in the pod's status why it goes, and deletes it.
    async fn mark_and_delete(&self, call: &Call<'_>, mut options: DeleteOptions) -> Result<Status, Status> {
        if !options.dry_run {
            let version = self.mark(call, &options).await?;
            options.resource_version = options.resource_version.map(|_| version);
        }
        let whole = Call { subresource: "", ..*call };
        self.remove(&whole, &options, true).await?;
        Ok(Status { code: 201, ..Status::success(None) })
    }

    /// The version that the pod has with its condition.
    async fn mark(&self, call: &Call<'_>, options: &DeleteOptions) -> Result<String, Status> {
        let key = keys::object(&call.resource.prefix, call.namespace, call.name);
        for _ in 0..ATTEMPTS {
            let entry = self.store.view().get(&key).cloned().ok_or_else(|| call.not_found())?;
            let mut pod = encode::decode(&entry.value);
            super::delete::check_preconditions(call, options, &pod)?;
            set_condition(
                &mut pod,
                json!({
                    "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": meta::format_time(Timestamp::now()),
                }),
            );
            let put =
                Op::Put { key: key.clone(), value: encode::encode(&pod), expect: Expect::Revision(entry.modified) };
            match self.commit(put).await {
                Ok(written) => {
                    let revision = written.map_or(entry.modified, |written| written.modified);
                    return Ok(revision.to_string());
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_failed(&error)),
            }
        }
        Err(Status::stale(call.group_resource(), call.name))
    }

    /// Takes one disruption from the budget that covers a pod, or says why there is none.
    async fn charge_budget(&self, call: &Call<'_>, pod: &Value, dry_run: bool) -> Result<Allowed, Status> {
        let mut name = String::new();
        for _ in 0..ATTEMPTS {
            let view = self.store.view();
            let prefix = keys::scope(&keys::kind_prefix("policy", "poddisruptionbudgets"), call.namespace);
            let covering: Vec<_> = view
                .range(prefix.as_bytes(), &keys::end_of(&prefix))
                .map(|entry| (entry, encode::decode(&entry.value)))
                .filter(|(_, budget)| covers(budget, pod))
                .collect();
            let (entry, mut budget) = match <[_; 1]>::try_from(covering) {
                Ok([one]) => one,
                Err(list) if list.is_empty() => return Ok(Allowed::Yes),
                Err(_) => {
                    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                    return Err(Status::failure(500, "", why));
                }
            };
            name = meta::name(&budget).to_string();
            if !is_ready(pod) && unhealthy_may_go(&budget) {
                return Ok(Allowed::AsSeen { budget: name });
            }
            spend(&mut budget, call.name, &meta::format_time(Timestamp::now()))?;
            if dry_run {
                return Ok(Allowed::Yes);
            }
            let put = Op::Put {
                key: entry.key.clone(),
                value: encode::encode(&budget),
                expect: Expect::Revision(entry.modified),
            };
            match self.commit(put).await {
                Ok(_) => return Ok(Allowed::Yes),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(commit_failed(&error)),
            }
        }
        Err(Status::timeout(format!("couldn't update PodDisruptionBudget {name:?} due to conflicts"), 10))
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

fn count(status: &Value, field: &str) -> i64 {
    status[field].as_i64().unwrap_or(0)
}

/// A pod that is not ready may go when the budget says always, or when the healthy ones are enough.
fn unhealthy_may_go(budget: &Value) -> bool {
    let status = &budget["status"];
    let (healthy, desired) = (count(status, "currentHealthy"), count(status, "desiredHealthy"));
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || (healthy >= desired && desired > 0)
}

fn spend(budget: &mut Value, pod: &str, now: &str) -> Result<(), Status> {
    let name = meta::name(budget).to_string();
    let forbidden =
        |why: &str| Err(Status::forbidden(&GroupResource::new("policy", "poddisruptionbudget"), &name, why));
    let status = &budget["status"];
    if count(status, "observedGeneration") < meta::generation(budget) {
        return Err(in_progress(&name));
    }
    let allowed = count(status, "disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > UNSEEN_MAX) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(refused(0, why_none(&name, status)));
    }
    if let Some(status) = at::sub_mut(budget, "status") {
        at::set(status, "disruptionsAllowed", allowed - 1);
        if let Some(disrupted) = at::map_mut(status, "disruptedPods") {
            disrupted.insert(pod.to_string(), now.into());
        }
        if allowed == 1 {
            last_is_spent(status, now);
        }
    }
    Ok(())
}

/// Why a budget allows nothing, in a sentence.
fn why_none(name: &str, status: &Value) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let denied = conditions.into_iter().find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False");
    let text = |field: &str| denied.and_then(|c| c[field].as_str()).unwrap_or_default();
    let (reason, message) = (text("reason"), text("message"));
    let (healthy, desired) = (count(status, "currentHealthy"), count(status, "desiredHealthy"));
    if reason == "SyncFailed" && !message.is_empty() {
        format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}")
    } else if healthy <= desired {
        format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    } else if !message.is_empty() {
        format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    }
}

fn last_is_spent(status: &mut Value, now: &str) {
    let generation = status["observedGeneration"].clone();
    let Some(conditions) = at::list_mut(status, "conditions") else { return };
    conditions.retain(|c| c["type"] != "DisruptionAllowed");
    conditions.push(json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "lastTransitionTime": now, "observedGeneration": generation,
    }));
}

fn in_progress(budget: &str) -> Status {
    refused(10, format!("The disruption budget {budget} is still being processed by the server."))
}

fn refused(retry_after_s: u32, why: String) -> Status {
    let cause = Cause { reason: "DisruptionBudget".into(), message: why, ..Cause::default() };
    let details = Details { causes: vec![cause], retry_after_seconds: retry_after_s, ..Details::default() };
    Status::too_many_requests(VIOLATED, retry_after_s).with_details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_spent() {
        let mut budget = json!({"metadata": {"name": "b"}, "status": {"disruptionsAllowed": 2}});
        spend(&mut budget, "p", "T").expect("two are left");
        assert_eq!(budget["status"], json!({"disruptionsAllowed": 1, "disruptedPods": {"p": "T"}}));
        spend(&mut budget, "q", "T").expect("one is left");
        assert_eq!(budget["status"]["conditions"][0]["reason"], "InsufficientPods");
        assert_eq!(spend(&mut budget, "r", "T").map_err(|status| status.code), Err(429));
    }

    #[test]
    fn refusals_say_why() {
        let needs = json!({"disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 3});
        let failed = json!({"disruptionsAllowed": 0, "conditions": [
            {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}]});
        let more = json!({"disruptionsAllowed": 0, "currentHealthy": 3, "desiredHealthy": 2});
        let table = [
            (
                json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "disruptionsAllowed": 1}}),
                429,
                "The disruption budget b is still being processed by the server.",
            ),
            (json!({"status": needs}), 429, "The disruption budget b needs 3 healthy pods and has 2 currently"),
            (
                json!({"status": failed}),
                429,
                "The disruption budget b does not allow evicting pods currently because it failed sync: no scale",
            ),
            (json!({"status": more}), 429, "The disruption budget b does not allow evicting pods currently"),
            (json!({"status": {"disruptionsAllowed": -1}}), 403, ""),
        ];
        for (mut budget, code, why) in table {
            meta::set(&mut budget, "name", "b");
            let status = spend(&mut budget, "p", "T").expect_err("refused");
            assert_eq!(status.code, code, "{budget}");
            if code == 429 {
                let cause = status.details.as_ref().map(|details| details.causes[0].message.clone());
                assert_eq!(cause.as_deref(), Some(why));
            }
        }
    }

    #[test]
    fn unhealthy_pods_may_go_where_they_are_not_missed() {
        let table = [
            (json!({"status": {"currentHealthy": 2, "desiredHealthy": 2}}), true),
            (json!({"status": {"currentHealthy": 1, "desiredHealthy": 2}}), false),
            (json!({"status": {"currentHealthy": 0, "desiredHealthy": 0}}), false),
            (json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}, "status": {}}), true),
        ];
        for (budget, expected) in table {
            assert_eq!(unhealthy_may_go(&budget), expected, "{budget}");
        }
    }
}
