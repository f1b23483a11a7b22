//! Volumes: what each is after its claim, and what is done about it.

use super::{
    Controller,
    plan::{self, Action, BOUND_BY_CONTROLLER, ObservedVolume, plan_volume},
    reclaim::{DELETED_HERE, MIGRATED_TO, Recycler},
    volume_key,
};
use crate::common::{
    Result,
    failure::{Doing, unless_gone},
    updates::whole_second,
    volumes::{BY_CLAIM, claim_of, is_terminated},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus};
use mk8s_client::{
    Key, Outcome,
    events::EventType,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Patch, PatchParams, Preconditions},
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

impl Controller {
    pub(super) async fn reconcile_volume(&self, key: Key) -> Result<Outcome> {
        if self.volumes.by_key(&key).is_none() {
            self.recyclers.forget(&key.name);
            return Ok(Outcome::Done);
        }
        let known =
            self.own_volumes.read(&volume_key(""), &self.volumes, || self.volumes.by_key(&key).into_iter().collect());
        let Some(volume) = known.into_iter().find(|volume| volume.name_any() == key.name) else {
            return Ok(Outcome::Done);
        };
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
        let uid = reference.as_ref().and_then(|reference| reference.uid.clone());
        let claim_key = reference
            .map(|reference| Key::new(reference.namespace.unwrap_or_default(), reference.name.unwrap_or_default()));
        let claim = match &claim_key {
            Some(key) => match self.own_claims.one(key, &self.claims).filter(|known| known.metadata.uid == uid) {
                Some(known) => Some(known),
                // A release is for ever: the server is asked whether the claim is really gone.
                None => {
                    let api = self.ctx.api::<PersistentVolumeClaim>(&key.namespace);
                    api.get_opt(&key.name)
                        .await
                        .doing(format_args!("reading PersistentVolumeClaim {key}"))?
                        .map(Arc::new)
                }
            },
            None => None,
        };
        let observed = ObservedVolume {
            users: claim_key.as_ref().map(|claim| self.users(claim)).unwrap_or_default(),
            recycler: self.recycler_of(&volume, claim.as_deref()).await?,
            volume: volume.clone(),
            claim,
        };
        if observed.recycler.has_failed() {
            self.recyclers.tire(&key.name);
        }
        let plan = plan_volume(&observed);
        self.tell(volume.as_ref(), &plan);
        for action in &plan.actions {
            self.act_on_volume(&observed, claim_key.as_ref(), action).await?;
        }
        Ok(self.recyclers.rest(&key.name).map_or(Outcome::Done, Outcome::After))
    }

    async fn act_on_volume(&self, observed: &ObservedVolume, claim: Option<&Key>, action: &Action) -> Result<()> {
        let volume = observed.volume.as_ref();
        match action {
            Action::Volume { phase, message } => self.set_phase(volume, phase, message).await,
            Action::Unbind => self.unbind(volume).await,
            Action::WakeClaim => {
                claim.into_iter().for_each(|key| self.claim_queue.add(key.clone()));
                Ok(())
            }
            Action::WarnClaim { message } => {
                let claim = observed.claim.iter();
                claim.for_each(|claim| {
                    self.events.event(claim.as_ref(), EventType::Warning, "VolumeMismatch", message.clone());
                });
                Ok(())
            }
            Action::Mark { finalizers, driver } => self.mark(volume, finalizers, *driver).await,
            Action::Recycle => {
                if !self.recyclers.start(&self.ctx, volume).await? {
                    self.volume_queue.add(Key::of(volume));
                }
                Ok(())
            }
            Action::EndRecycler => self.recyclers.end(&self.ctx, &volume.name_any()).await,
            Action::Remove => self.remove(volume).await,
            Action::Classify { .. } | Action::Bind { .. } | Action::Provision { .. } | Action::Claim { .. } => Ok(()),
        }
    }

    /// Asked for only where a pod may empty the volume.
    async fn recycler_of(&self, volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Result<Recycler> {
        let bound =
            claim.is_some_and(|claim| claim_of(volume).is_some_and(|(_, uid)| claim.metadata.uid.as_deref() == uid));
        if bound || plan::policy(volume) != "Recycle" || claim_of(volume).is_none_or(|(_, uid)| uid.is_none()) {
            return Ok(Recycler::None);
        }
        self.recyclers.look(&self.ctx, &self.events, volume).await
    }

    /// Pods that use a claim that is gone.
    fn users(&self, claim: &Key) -> Vec<String> {
        if self.claims.by_key(claim).is_some() {
            return Vec::new();
        }
        let mut pods = self.pods.indexed(BY_CLAIM, &claim.to_string());
        pods.retain(|pod| !is_terminated(pod));
        let mut names: Vec<String> = pods.iter().map(|pod| Key::of(pod.as_ref()).to_string()).collect();
        names.sort();
        names
    }

    pub(super) async fn set_phase(&self, volume: &PersistentVolume, phase: &str, message: &str) -> Result<()> {
        let name = volume.name_any();
        let status = PersistentVolumeStatus {
            phase: Some(phase.to_owned()),
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
            last_phase_transition_time: Some(whole_second(Timestamp::now())),
            reason: None,
        };
        let mut status = json!(status);
        if message.is_empty() {
            status["message"] = Value::Null;
        }
        let patch = json!({"metadata": {"resourceVersion": volume.resource_version()}, "status": status});
        let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
        let patched = unless_gone(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("updating the status of PersistentVolume {name}"))?;
        patched.into_iter().for_each(|patched| self.own_volumes.wrote(&volume_key(""), patched));
        Ok(())
    }

    /// A reservation that someone made by hand is kept, without the uid of the claim that did not take it.
    async fn unbind(&self, volume: &PersistentVolume) -> Result<()> {
        let name = volume.name_any();
        let version = volume.resource_version();
        let patch = match volume.annotations().contains_key(BOUND_BY_CONTROLLER) {
            true => {
                json!({"metadata": {"resourceVersion": version, "annotations": {BOUND_BY_CONTROLLER: null}}, "spec": {"claimRef": null}})
            }
            false => {
                json!({"metadata": {"resourceVersion": version}, "spec": {"claimRef": {"uid": null, "resourceVersion": null}}})
            }
        };
        let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
        let patched = unless_gone(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("unbinding PersistentVolume {name}"))?;
        let Some(patched) = patched else { return Ok(()) };
        self.own_volumes.wrote(&volume_key(""), patched.clone());
        self.set_phase(&patched, "Available", "").await
    }

    async fn mark(&self, volume: &PersistentVolume, finalizers: &[String], driver: Option<&str>) -> Result<()> {
        let name = volume.name_any();
        let mut patch = json!({"metadata": {"resourceVersion": volume.resource_version(), "finalizers": finalizers}});
        if let Some(driver) = driver {
            patch["metadata"]["annotations"] = json!({MIGRATED_TO: driver});
        }
        let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
        let patched = unless_gone(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("marking PersistentVolume {name}"))?;
        patched.into_iter().for_each(|patched| self.own_volumes.wrote(&volume_key(""), patched));
        Ok(())
    }

    /// What the volume stands for is on some node, and stays.
    async fn remove(&self, volume: &PersistentVolume) -> Result<()> {
        let name = volume.name_any();
        let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
        let only = Preconditions { uid: volume.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        unless_gone(api.delete(&name, &params).await).doing(format_args!("deleting PersistentVolume {name}"))?;
        let finalizers: Vec<&String> = volume.finalizers().iter().filter(|known| *known != DELETED_HERE).collect();
        if finalizers.len() < volume.finalizers().len() {
            let patch = Patch::Merge(json!({"metadata": {"uid": volume.uid(), "finalizers": finalizers}}));
            unless_gone(api.patch(&name, &PatchParams::default(), &patch).await)
                .doing(format_args!("releasing PersistentVolume {name}"))?;
        }
        Ok(())
    }
}
