//! The pods that empty volumes: who made them, and what they say.
//!
//! A pod of the right name that this leader did not make may be anybody's: it is deleted, and another one made later.

use super::reclaim::{RECYCLERS, Recycler, recycler_name, recycler_pod};
use crate::common::{
    Context, Failure, Result,
    failure::{Doing, already_exists, said, unless_gone},
    pods::WholePod,
};
use k8s_openapi::api::core::v1::{Event, PersistentVolume};
use mk8s_client::{
    EventRecorder,
    events::EventType,
    kube::{
        ResourceExt,
        api::{DeleteParams, ListParams, PostParams},
    },
    pod::Pod,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// After a failure.
const REST: Duration = Duration::from_secs(15);

/// By the name of the volume.
#[derive(Default)]
pub(super) struct Recyclers {
    made: Mutex<HashMap<String, Made>>,
    /// Why there is none.
    refused: Mutex<HashMap<String, String>>,
    resting: Mutex<HashMap<String, Instant>>,
}

/// A pod that was made here.
struct Made {
    uid: Option<String>,
    /// Its events that the volume's administrator was told of, by uid.
    told: HashSet<String>,
}

/// The volume that a pod is there to empty, by its name.
pub(super) fn volume_of(pod: &Pod) -> Option<String> {
    let name = pod.name_any();
    let volume = name.strip_prefix(&recycler_name(""))?;
    (pod.namespace().as_deref() == Some(RECYCLERS)).then(|| volume.to_owned())
}

impl Recyclers {
    pub(super) fn forget(&self, volume: &str) {
        self.made.lock().remove(volume);
        self.refused.lock().remove(volume);
        self.resting.lock().remove(volume);
    }

    /// It failed.
    pub(super) fn tire(&self, volume: &str) {
        self.resting.lock().insert(volume.to_owned(), Instant::now() + REST);
    }

    /// How long no other one is made.
    pub(super) fn rest(&self, volume: &str) -> Option<Duration> {
        let mut resting = self.resting.lock();
        let left = resting.get(volume)?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            resting.remove(volume);
            return None;
        }
        Some(left)
    }

    /// What the server has of the pod, and what is new about it.
    pub(super) async fn look(
        &self,
        ctx: &Context,
        events: &EventRecorder,
        volume: &PersistentVolume,
    ) -> Result<Recycler> {
        let name = volume.name_any();
        let live = ctx.api::<WholePod>(RECYCLERS).get_opt(&recycler_name(&name)).await;
        let live = live.doing(format_args!("looking for the recycler of PersistentVolume {name}"))?;
        let made = self.made.lock().get(&name).map(|made| made.uid.clone());
        let Some(pod) = live else {
            self.made.lock().remove(&name);
            let refused = self.refused.lock().remove(&name);
            return Ok(match (made, refused) {
                (Some(_), _) => Recycler::Gone,
                (None, Some(why)) => Recycler::Refused(why),
                (None, None) if self.rest(&name).is_some() => Recycler::Resting,
                (None, None) => Recycler::None,
            });
        };
        let status = pod.status.clone().unwrap_or_default();
        let ours = made.is_some_and(|uid| uid == pod.uid());
        if ours {
            self.tell(ctx, events, volume, &pod).await?;
        }
        Ok(match status.phase.as_deref() {
            Some("Succeeded") if ours => Recycler::Succeeded,
            Some("Failed") if ours => {
                let message = status.message.filter(|message| !message.is_empty());
                Recycler::Failed(message.unwrap_or_else(|| "pod failed, pod.Status.Message unknown".to_owned()))
            }
            _ if pod.metadata.deletion_timestamp.is_some() => Recycler::Leaving,
            _ if ours => Recycler::Running,
            _ => Recycler::Other,
        })
    }

    /// What is told of the pod is told of the volume: each event once.
    async fn tell(
        &self,
        ctx: &Context,
        events: &EventRecorder,
        volume: &PersistentVolume,
        pod: &WholePod,
    ) -> Result<()> {
        let name = volume.name_any();
        let about = ListParams::default().fields(&format!("involvedObject.name={}", pod.name_any()));
        let found = ctx.api::<Event>(RECYCLERS).list(&about).await;
        let found = found.doing(format_args!("listing the events of the recycler of PersistentVolume {name}"))?;
        let mut made = self.made.lock();
        let Some(made) = made.get_mut(&name) else { return Ok(()) };
        for event in found.items.iter().filter(|event| event.involved_object.uid == pod.uid()) {
            if made.told.insert(event.uid().unwrap_or_default()) {
                let kind =
                    if event.type_.as_deref() == Some("Warning") { EventType::Warning } else { EventType::Normal };
                let message = format!("Recycler pod: {}", event.message.as_deref().unwrap_or_default());
                events.event(volume, kind, "RecyclerPod", message);
            }
        }
        Ok(())
    }

    /// Whether the server took the pod; why it did not is told at the next look.
    pub(super) async fn start(&self, ctx: &Context, volume: &PersistentVolume) -> Result<bool> {
        let Some(pod) = recycler_pod(volume) else { return Ok(true) };
        let pod: WholePod = serde_json::from_value(pod).map_err(|error| Failure::Other(error.to_string()))?;
        let name = volume.name_any();
        match ctx.api::<WholePod>(RECYCLERS).create(&PostParams::default(), &pod).await {
            Ok(created) => {
                let made = Made { uid: created.uid(), told: HashSet::new() };
                self.made.lock().insert(name, made);
                Ok(true)
            }
            // Whose it is turns out when it is looked at.
            Err(error) if already_exists(&error) => Ok(false),
            Err(error) => {
                self.refused.lock().insert(name, said(&error));
                Ok(false)
            }
        }
    }

    pub(super) async fn end(&self, ctx: &Context, volume: &str) -> Result<()> {
        let pods = ctx.api::<Pod>(RECYCLERS);
        unless_gone(pods.delete(&recycler_name(volume), &DeleteParams::default()).await)
            .doing(format_args!("deleting the recycler of PersistentVolume {volume}"))?;
        self.made.lock().remove(volume);
        Ok(())
    }
}
