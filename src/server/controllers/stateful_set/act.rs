//! Carries a plan out, and tells of each pod and claim what became of it.

use super::{
    Controller, Revisions, identity,
    plan::{Action, Observed},
    retention,
};
use crate::common::{
    Failure, Result,
    batch::slow_start,
    claims,
    failure::{Doing, already_exists, namespace_terminating, not_found, unless_gone},
    pods::{self, WholePod},
};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use mk8s_client::{
    Key,
    events::EventType,
    kube::{
        ResourceExt,
        api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    },
    pod::Pod,
};
use serde_json::json;

impl Controller {
    /// In order; where the set is managed in parallel, creations go together.
    pub(super) async fn act_all(
        &self,
        key: &Key,
        observed: &Observed,
        revisions: &Revisions,
        actions: &[Action],
    ) -> Result<()> {
        let mut rest = actions;
        while let Some(first) = rest.first() {
            let together = rest.iter().take_while(|action| matches!(action, Action::Create { .. })).count().max(1);
            let (group, others) = rest.split_at(together);
            rest = others;
            if group.len() == 1 {
                self.act(key, observed, revisions, first).await?;
                continue;
            }
            let batched = slow_start(group.len(), |n| self.act(key, observed, revisions, &group[n])).await;
            if let Some(failure) = batched.error {
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn act(&self, key: &Key, observed: &Observed, revisions: &Revisions, action: &Action) -> Result<()> {
        let set = observed.set.as_ref();
        let named = |name: &String| observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        match action {
            Action::Release { pod } => match named(pod) {
                Some(pod) => claims::release(&self.ctx, set, pod.as_ref()).await,
                None => Ok(()),
            },
            Action::Adopt { pod } => {
                if let Some(pod) = named(pod)
                    && let Some(adopted) = claims::adopt(&self.ctx, set, pod.as_ref()).await?
                {
                    self.own_pods.wrote(key, adopted);
                }
                Ok(())
            }
            Action::Create { ordinal, updated } => {
                let (revision, template) = if *updated { &revisions.update } else { &revisions.current };
                let pod = identity::new_pod(set, template, revision, *ordinal);
                self.make_claims(key, observed, *ordinal)
                    .await
                    .inspect_err(|why| self.tell_failure("Create", set, &pod.name_any(), why))?;
                self.create(key, set, &pod).await
            }
            Action::Claim { ordinal } => self.make_claims(key, observed, *ordinal).await,
            Action::Restore { pod, ordinal } => match named(pod) {
                Some(pod) => self.restore(key, set, *ordinal, pod).await,
                None => Ok(()),
            },
            Action::Own { claim, owners } => {
                let Some(known) = observed.claims.get(claim) else { return Ok(()) };
                let patch = json!({"metadata": {
                    "uid": known.uid(), "resourceVersion": known.resource_version(), "ownerReferences": owners}});
                let api = self.ctx.api::<PersistentVolumeClaim>(&key.namespace);
                let patched = unless_gone(api.patch(claim, &PatchParams::default(), &Patch::Merge(patch)).await)
                    .doing(format_args!("could not update claim {claim} for delete policy ownerRefs"))?;
                patched.into_iter().for_each(|patched| self.own_claims.wrote(key, patched));
                Ok(())
            }
            Action::Delete { pod } => match named(pod) {
                Some(pod) => self.delete(key, set, pod).await,
                None => Ok(()),
            },
        }
    }

    /// The claims that an ordinal lacks. One that is being deleted must be gone first.
    async fn make_claims(&self, key: &Key, observed: &Observed, ordinal: i32) -> Result<()> {
        let set = observed.set.as_ref();
        let (pod, name) = (identity::pod_name(set, ordinal), set.name_any());
        let api = self.ctx.api::<PersistentVolumeClaim>(&key.namespace);
        let mut result = Ok(());
        for mut claim in identity::claims(set, ordinal) {
            let claim_name = claim.name_any();
            if let Some(known) = observed.claims.get(&claim_name) {
                if known.metadata.deletion_timestamp.is_some() {
                    result = result.and(Err(Failure::Other(format!("pvc {claim_name} is being deleted"))));
                }
                continue;
            }
            claim.metadata.owner_references = retention::first_owners(set, ordinal);
            match api.create(&PostParams::default(), &claim).await {
                Ok(created) => {
                    self.own_claims.wrote(key, created);
                    let message = format!("Create Claim {claim_name} Pod {pod} in StatefulSet {name} success");
                    self.events.event(set, EventType::Normal, "SuccessfulCreate", message);
                }
                Err(error) if already_exists(&error) => {}
                Err(error) => {
                    let failure = Failure::Api { doing: format!("failed to create PVC {claim_name}"), source: error };
                    let message = format!(
                        "Create Claim {claim_name} for Pod {pod} in StatefulSet {name} failed error: {}",
                        failure.message()
                    );
                    self.events.event(set, EventType::Warning, "FailedCreate", message);
                    result = result.and(Err(failure));
                }
            }
        }
        result
    }

    async fn create(&self, key: &Key, set: &StatefulSet, pod: &WholePod) -> Result<()> {
        let name = pod.name_any();
        match pods::create(&self.ctx, &key.namespace, pod).await {
            Ok(created) => {
                self.own_pods.wrote(key, created);
                self.tell("Create", set, &name);
                Ok(())
            }
            Err(error) if namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let taken = already_exists(&error);
                let failure = Failure::Api { doing: format!("creating pod {name}"), source: error };
                if !taken {
                    self.tell_failure("Create", set, &name, &failure);
                }
                Err(failure)
            }
        }
    }

    async fn restore(&self, key: &Key, set: &StatefulSet, ordinal: i32, known: &Pod) -> Result<()> {
        let (name, whole) = (known.name_any(), self.ctx.api::<WholePod>(&key.namespace));
        // The whole of it is written back, and only the server knows that.
        let mut pod = whole.get(&name).await.doing(format_args!("reading pod {name}"))?;
        pod.metadata.uid = known.metadata.uid.clone();
        pod = identity::restore(set, ordinal, pod);
        let written = pods::replace(&self.ctx, &key.namespace, &pod).await;
        match written.doing(format_args!("updating pod {name}")) {
            Ok(written) => {
                self.own_pods.wrote(key, written);
                self.tell("Update", set, &name);
                Ok(())
            }
            Err(failure) => {
                if !failure.is_conflict() {
                    self.tell_failure("Update", set, &name, &failure);
                }
                Err(failure)
            }
        }
    }

    async fn delete(&self, key: &Key, set: &StatefulSet, pod: &Pod) -> Result<()> {
        let name = pod.name_any();
        // The name is the next pod's, too.
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match self.ctx.api::<Pod>(&key.namespace).delete(&name, &params).await {
            Ok(deleted) => {
                match deleted.left().filter(|left| left.metadata.deletion_timestamp.is_some()) {
                    Some(dying) => self.own_pods.wrote(key, dying),
                    None => self.own_pods.deleted(key, pod.uid()),
                }
                self.tell("Delete", set, &name);
                Ok(())
            }
            Err(error) if not_found(&error) => {
                self.own_pods.deleted(key, pod.uid());
                Ok(())
            }
            Err(error) => {
                let failure = Failure::Api { doing: format!("deleting pod {name}"), source: error };
                self.tell_failure("Delete", set, &name, &failure);
                Err(failure)
            }
        }
    }

    fn tell(&self, verb: &str, set: &StatefulSet, pod: &str) {
        let message = format!("{verb} Pod {pod} in StatefulSet {} successful", set.name_any());
        self.events.event(set, EventType::Normal, &format!("Successful{verb}"), message);
    }

    fn tell_failure(&self, verb: &str, set: &StatefulSet, pod: &str, why: &Failure) {
        let message = format!("{verb} Pod {pod} in StatefulSet {} failed error: {}", set.name_any(), why.message());
        self.events.event(set, EventType::Warning, &format!("Failed{verb}"), message);
    }
}
