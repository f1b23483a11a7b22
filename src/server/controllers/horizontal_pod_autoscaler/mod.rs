//! HorizontalPodAutoscalers: as many replicas as the metrics ask for, within bounds and not too fast.
//!
//! ```text
//! scale of the target ─▶ pods ─▶ readings of each metric ─▶ a proposal each ─▶ the largest
//!     ─▶ not below what was recommended lately ─▶ not faster than the rules allow ─▶ scale of the target
//! ```
//!
//! Reading order: `calculate` (one metric), `behaviour` (what was lately), `plan` (all of it), `metrics` (where readings
//! come from).

mod behaviour;
mod calculate;
mod metrics;
mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::{
    common::{
        Context, Failure, Result,
        failure::{Doing, said, unless_gone},
    },
    inventory::Inventory,
};
use behaviour::Memory;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::{
    v1,
    v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec},
};
use metrics::{Metrics, Served};
use mk8s_api::{decode, select::LabelSelector};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        Api,
        api::{DynamicObject, Patch, PatchParams, PostParams},
    },
    pod::Pod,
};
use parking_lot::Mutex;
use plan::{Answer, Observed, Plan, Scale, needs_metrics, plan};
use serde_json::json;
use std::{collections::HashMap, sync::Arc, time::Duration};

const COMPONENT: &str = "horizontal-pod-autoscaler";
const WORKERS: usize = 5;
const PERIOD: Duration = Duration::from_secs(15);

struct Controller {
    ctx: Context,
    events: EventRecorder,
    inventory: Inventory,
    autoscalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    metrics: Box<dyn Metrics>,
    memories: Mutex<HashMap<Key, Memory>>,
    /// What the targets' scales select, as last seen.
    selectors: Mutex<HashMap<Key, LabelSelector>>,
}

pub(crate) async fn run(ctx: Context, inventory: Inventory) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        autoscalers: ctx.informers.all(),
        pods: ctx.informers.all(),
        metrics: Box::new(Served { ctx: ctx.clone(), inventory: inventory.clone() }),
        memories: Mutex::default(),
        selectors: Mutex::default(),
        inventory: inventory.clone(),
        ctx: ctx.clone(),
    });
    controller.autoscalers.synced().await;
    controller.pods.synced().await;
    inventory.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    controller.autoscalers.handle({
        let queue = queue.clone();
        move |change| match change {
            // What it writes itself is no news.
            Change::Updated { old, new } if old.spec == new.spec => {}
            _ => queue.add(Key::of(change.object().as_ref())),
        }
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(autoscaler) = self.autoscalers.by_key(&key) else {
            self.memories.lock().remove(&key);
            self.selectors.lock().remove(&key);
            return Ok(Outcome::Done);
        };
        let now = Timestamp::now();
        let (api, scale) = match self.scale_of(&key, &autoscaler).await {
            Ok(found) => found,
            Err(why) => {
                self.events.event(autoscaler.as_ref(), EventType::Warning, "FailedGetScale", why.clone());
                let mut status = autoscaler.status.clone().unwrap_or_default();
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                plan::put(&mut status, "AbleToScale", "False", "FailedGetScale", message, now);
                self.write_status(&key, &autoscaler, status).await?;
                return Ok(Outcome::After(PERIOD));
            }
        };
        let observed = self.observe(&key, &autoscaler, scale).await;
        let mut memory = self.memories.lock().remove(&key).unwrap_or_default();
        let mut plan = plan(now, &observed, &mut memory);
        for (kind, reason, message) in &plan.events {
            self.events.event(autoscaler.as_ref(), *kind, reason, message.clone());
        }
        let result = self.rescale(&autoscaler, &api, &observed.scale, &mut plan, &mut memory, now).await;
        self.memories.lock().insert(key.clone(), memory);
        self.write_status(&key, &autoscaler, plan.status).await?;
        result?;
        Ok(Outcome::After(PERIOD))
    }

    async fn rescale(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        api: &Api<DynamicObject>,
        scale: &Scale,
        plan: &mut Plan,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<()> {
        let Some((replicas, why)) = plan.rescale.clone() else { return Ok(()) };
        let target = autoscaler.spec.scale_target_ref.name.clone();
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        match api.patch_subresource("scale", &target, &PatchParams::default(), &patch).await {
            Ok(_) => {
                let message = format!("New size: {replicas}; reason: {why}");
                self.events.event(autoscaler, EventType::Normal, "SuccessfulRescale", message);
                memory.changed(scale.spec_replicas, replicas, now);
                plan::rescaled(&mut plan.status, replicas, now);
                Ok(())
            }
            Err(error) => {
                let error_said = said(&error);
                let message = format!("New size: {replicas}; reason: {why}; error: {error_said}");
                self.events.event(autoscaler, EventType::Warning, "FailedRescale", message);
                let message = format!("the HPA controller was unable to update the target scale: {error_said}");
                plan::put(&mut plan.status, "AbleToScale", "False", "FailedUpdateScale", message, now);
                plan.status.desired_replicas = autoscaler.status.as_ref().map_or(0, |status| status.desired_replicas);
                Err(Failure::Api { doing: format!("rescaling {target}"), source: error })
            }
        }
    }

    async fn scale_of(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
    ) -> Result<(Api<DynamicObject>, Scale), String> {
        let target = &autoscaler.spec.scale_target_ref;
        let version = target.api_version.as_deref().unwrap_or_default();
        let kind = self.inventory.kinds().find(version, &target.kind).cloned();
        let kind = kind.ok_or_else(|| {
            let group = version.split_once('/').map_or("", |(group, _)| group);
            format!("no matches for kind {:?} in group {group:?}", target.kind)
        })?;
        let api = Api::<DynamicObject>::namespaced_with(self.ctx.client.clone(), &key.namespace, &kind.resource());
        let found = api.get_subresource("scale", &target.name).await.map_err(|error| said(&error))?;
        let found: v1::Scale = serde_json::to_value(found)
            .and_then(|found| decode::typed(&found))
            .map_err(|error| format!("the scale of {} cannot be read: {error}", target.name))?;
        let status = found.status.unwrap_or_default();
        let scale = Scale {
            spec_replicas: found.spec.and_then(|spec| spec.replicas).unwrap_or_default(),
            status_replicas: status.replicas,
            selector: status.selector.unwrap_or_default(),
        };
        Ok((api, scale))
    }

    async fn observe(&self, key: &Key, autoscaler: &Arc<HorizontalPodAutoscaler>, scale: Scale) -> Observed {
        let mut observed = Observed {
            autoscaler: autoscaler.clone(),
            scale,
            pods: Vec::new(),
            rivals: Vec::new(),
            answers: Vec::new(),
        };
        if !needs_metrics(autoscaler, &observed.scale) || observed.scale.selector.is_empty() {
            return observed;
        }
        if let Ok(selector) = LabelSelector::parse(&observed.scale.selector) {
            observed.pods = self.pods.select_in(&key.namespace, |pod| selector.matches(&pod.metadata.labels));
            let mut selectors = self.selectors.lock();
            selectors.insert(key.clone(), selector);
            let selects = |other: &LabelSelector| observed.pods.iter().any(|pod| other.matches(&pod.metadata.labels));
            let in_namespace = selectors.iter().filter(|(other, _)| other.namespace == key.namespace);
            let mut all: Vec<String> =
                in_namespace.filter(|(_, other)| selects(other)).map(|(other, _)| other.to_string()).collect();
            all.sort();
            observed.rivals = if all.len() > 1 { all } else { Vec::new() };
        }
        let metrics = autoscaler.spec.metrics.as_deref().unwrap_or_default();
        for metric in metrics {
            observed.answers.push(self.ask(&key.namespace, metric, &observed.scale.selector).await);
        }
        observed
    }

    async fn ask(&self, namespace: &str, metric: &MetricSpec, selector: &str) -> Result<Answer, String> {
        let metrics = &self.metrics;
        if let Some(source) = &metric.resource {
            return metrics.resource(namespace, &source.name, selector, "").await.map(Answer::Pods);
        }
        if let Some(source) = &metric.container_resource {
            return metrics.resource(namespace, &source.name, selector, &source.container).await.map(Answer::Pods);
        }
        if let Some(source) = &metric.pods {
            return metrics.pods(namespace, &source.metric, selector).await.map(Answer::Pods);
        }
        if let Some(source) = &metric.object {
            return metrics.object(namespace, &source.metric, &source.described_object).await.map(Answer::Value);
        }
        match &metric.external {
            Some(source) => metrics.external(namespace, &source.metric).await.map(Answer::Value),
            None => Err("there is no source".to_owned()),
        }
    }

    async fn write_status(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        status: HorizontalPodAutoscalerStatus,
    ) -> Result<()> {
        if autoscaler.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let updated = HorizontalPodAutoscaler { status: Some(status), ..autoscaler.clone() };
        let api = self.ctx.api::<HorizontalPodAutoscaler>(&key.namespace);
        let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
        written.doing(format_args!("updating the status of {key}")).map(drop)
    }
}
