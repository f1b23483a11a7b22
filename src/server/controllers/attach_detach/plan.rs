//! What becomes of the attachments of one node. Pure.
//!
//! ```text
//! wanted:   no attachment ─▶ made, unless another node has the volume ─▶ attached ─▶ the node is told
//! unwanted: in use ─▶ waited for, six minutes at most when the node is not well
//!           not in use ─▶ the node is told that it is gone ─▶ deleted ─▶ who attaches detaches, and it is gone
//! ```

use super::wanted::{Use, attachment_name, is_ours, is_shared, source, unique_name};
use crate::node_lifecycle::is_ready;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::{Node, NodeStatus},
        storage::v1::{VolumeAttachment, VolumeError},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_client::{events::EventType, kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// On nodes whose volumes are attached here, and not by the node itself.
const MANAGED: &str = "volumes.kubernetes.io/controller-managed-attach-detach";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A node that is not well has so long to say that it does not use a volume any more.
const UNMOUNT_MAX: SignedDuration = SignedDuration::from_mins(6);
/// Who attaches has so long before it is said to be late.
const ATTACHER_MAX: SignedDuration = SignedDuration::from_mins(2);
/// So that it is over for certain.
const MOMENT: Duration = Duration::from_millis(10);

/// A volume that pods of the node want, and who else has it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) used: Use,
    /// Attachments of the same volume to other nodes, each with the pods there that use it.
    pub(super) elsewhere: Vec<(Arc<VolumeAttachment>, Vec<Arc<Pod>>)>,
}

pub(super) struct Observed {
    pub(super) name: String,
    pub(super) node: Option<Arc<Node>>,
    /// What a node that is gone had in use at its end, where that was seen.
    pub(super) in_use_at_last: Option<Vec<String>>,
    pub(super) wanted: Vec<Wanted>,
    /// All attachments to the node.
    pub(super) attachments: Vec<Arc<VolumeAttachment>>,
    /// Since when nobody wants an attachment, by name.
    pub(super) unwanted_since: BTreeMap<String, Timestamp>,
    /// What the users of a volume were told last, by attachment.
    pub(super) told: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// The volumes that the node may use from now on.
    Report {
        volumes: Vec<String>,
    },
    /// Unless the node still uses it, where that is to be `checked`.
    Detach {
        attachment: String,
        checked: bool,
    },
    Attach {
        attachment: String,
        driver: String,
        volume: String,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) pod: Arc<Pod>,
    pub(super) kind: EventType,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) events: Vec<Said>,
    pub(super) look_again: Option<Duration>,
    pub(super) unwanted_since: BTreeMap<String, Timestamp>,
    pub(super) told: BTreeMap<String, String>,
}

/// How far an attachment is.
#[derive(Debug, Clone, PartialEq)]
enum State {
    Attached,
    /// Who attaches or detaches is at it, for so much longer before it is late.
    Busy(Duration),
    /// It failed, or takes too long: why.
    Uncertain(String),
}

pub(super) fn plan(now: Timestamp, seen: &Observed) -> Plan {
    let mut plan = Plan::default();
    let wanted = seen.wanted.iter().filter(|_| seen.is_managed());
    let wanted: BTreeMap<String, &Wanted> =
        wanted.filter_map(|wanted| Some((seen.attachment(wanted)?, wanted))).collect();
    let ours = seen.attachments.iter().filter(|attachment| is_ours(&attachment.name_any()));
    let known: BTreeMap<String, &VolumeAttachment> =
        ours.map(|attachment| (attachment.name_any(), attachment.as_ref())).collect();
    let mut attached = BTreeSet::new();
    for (name, attachment) in known.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        if plan.leave(now, seen, name, attachment) {
            attached.extend(seen.reported(name).cloned());
        }
    }
    for (name, wanted) in &wanted {
        plan.told.extend(seen.told.get_key_value(name).map(|(name, which)| (name.clone(), which.clone())));
        match known.get(name) {
            Some(attachment) => {
                let ready = plan.follow(now, seen, name, wanted, attachment);
                attached.extend(unique_name(&wanted.used.volume).filter(|_| ready));
            }
            None if seen.node.is_some() => plan.join(now, seen, name, wanted),
            None => {}
        }
    }
    plan.report(seen, attached);
    plan
}

impl Observed {
    fn status(&self) -> Option<&NodeStatus> {
        self.node.as_ref()?.status.as_ref()
    }

    /// One that is gone was managed as long as it has attachments.
    fn is_managed(&self) -> bool {
        self.node.as_ref().is_none_or(|node| is_managed(node))
    }

    fn attachment(&self, wanted: &Wanted) -> Option<String> {
        attachment_name(&unique_name(&wanted.used.volume)?, &self.name)
    }

    /// What the node is told now of an attachment.
    fn reported(&self, attachment: &str) -> Option<&String> {
        let volumes = self.status()?.volumes_attached.iter().flatten().map(|volume| &volume.name);
        volumes.into_iter().find(|volume| self.is(volume, attachment))
    }

    fn is(&self, volume: &str, attachment: &str) -> bool {
        attachment_name(volume, &self.name).as_deref() == Some(attachment)
    }

    /// Of a node that is gone without having been seen to go, nobody knows what it uses.
    fn is_in_use(&self, attachment: &str) -> bool {
        let in_use = match &self.node {
            Some(_) => self.status().and_then(|status| status.volumes_in_use.clone()).unwrap_or_default(),
            None => match &self.in_use_at_last {
                Some(in_use) => in_use.clone(),
                None => return true,
            },
        };
        in_use.iter().any(|volume| self.is(volume, attachment))
    }
}

impl Plan {
    fn look_in(&mut self, wait: Duration) {
        let wait = wait + MOMENT;
        self.look_again = Some(self.look_again.map_or(wait, |known| known.min(wait)));
    }

    fn say(&mut self, used: &Use, kind: EventType, reason: &'static str, message: impl Fn(&Pod) -> String) {
        let said = used.pods.iter().map(|pod| Said { pod: pod.clone(), kind, reason, message: message(pod) });
        self.events.extend(said);
    }

    /// Users of a volume are told of a failure once, as long as it stays the same.
    fn fail(&mut self, seen: &Observed, name: &str, wanted: &Wanted, which: String, message: impl Fn(&Pod) -> String) {
        if seen.told.get(name) != Some(&which) {
            self.say(&wanted.used, EventType::Warning, "FailedAttachVolume", message);
        }
        self.told.insert(name.to_owned(), which);
    }

    /// Nobody wants it any more. Whether the node may still use it.
    fn leave(&mut self, now: Timestamp, seen: &Observed, name: &str, attachment: &VolumeAttachment) -> bool {
        if attachment.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let since = seen.unwanted_since.get(name).copied().unwrap_or(now);
        self.unwanted_since.insert(name.to_owned(), since);
        let left = UNMOUNT_MAX - now.duration_since(since);
        let expired = left.is_negative();
        let out_of_service = seen.node.as_ref().is_some_and(|node| is_out_of_service(node));
        let well = seen.node.as_ref().is_some_and(|node| is_ready(node));
        if seen.is_in_use(name) && (well || !expired) && !out_of_service {
            if !expired {
                self.look_in(Duration::try_from(left).unwrap_or_default());
            }
            return is_attached(attachment);
        }
        self.actions.push(Action::Detach { attachment: name.to_owned(), checked: !expired && !out_of_service });
        false
    }

    /// It is wanted and there. Whether the node may use it.
    fn follow(
        &mut self,
        now: Timestamp,
        seen: &Observed,
        name: &str,
        wanted: &Wanted,
        attachment: &VolumeAttachment,
    ) -> bool {
        let volume = wanted.used.volume.name_any();
        match state(now, attachment, wanted) {
            State::Attached => {
                if seen.node.is_some() && seen.reported(name).is_none() {
                    let message = format!("AttachVolume.Attach succeeded for volume {volume:?} ");
                    self.say(&wanted.used, EventType::Normal, "SuccessfulAttachVolume", |_| message.clone());
                }
                self.told.remove(name);
                return true;
            }
            State::Busy(wait) => self.look_in(wait),
            State::Uncertain(why) => {
                let message = format!("AttachVolume.Attach failed for volume {volume:?} : {why}");
                let time = attach_error(attachment).and_then(|error| error.time.clone());
                let time = time.map(|Time(time)| time.to_string());
                // Who is late is said to be so once in a while.
                let periods = age(now, attachment).as_secs() / ATTACHER_MAX.as_secs();
                let which = format!("{why} {}", time.unwrap_or_else(|| periods.to_string()));
                self.fail(seen, name, wanted, which, |_| message.clone());
                if attach_error(attachment).is_none() {
                    let next = ATTACHER_MAX.as_secs() * (periods + 1) - age(now, attachment).as_secs();
                    self.look_in(Duration::from_secs(next.unsigned_abs()));
                }
            }
        }
        false
    }

    /// It is wanted and not there.
    fn join(&mut self, now: Timestamp, seen: &Observed, name: &str, wanted: &Wanted) {
        let volume = &wanted.used.volume;
        let Some(csi) = source(volume) else { return };
        if !is_shared(volume) {
            let states: Vec<State> =
                wanted.elsewhere.iter().map(|(attachment, _)| state(now, attachment, wanted)).collect();
            let busy = states.iter().filter_map(|state| if let State::Busy(wait) = state { Some(*wait) } else { None });
            if let Some(wait) = busy.min() {
                return self.look_in(wait);
            }
            if states.contains(&State::Attached) {
                let message = |pod: &Pod| exclusive(&volume.name_any(), pod, &wanted.elsewhere);
                return self.fail(seen, name, wanted, "elsewhere".to_owned(), message);
            }
        }
        let (driver, volume) = (csi.driver.clone(), volume.name_any());
        self.actions.push(Action::Attach { attachment: name.to_owned(), driver, volume });
    }

    /// Before anything is detached the node is told that it is gone.
    fn report(&mut self, seen: &Observed, attached: BTreeSet<String>) {
        if seen.node.is_none() {
            return;
        }
        let known = seen.status().and_then(|status| status.volumes_attached.as_deref()).unwrap_or_default();
        let known: Vec<String> = known.iter().map(|volume| volume.name.clone()).collect();
        let others = |volume: &String| attachment_name(volume, &seen.name).is_none();
        let mut volumes: Vec<String> =
            known.iter().filter(|volume| others(volume) || attached.contains(*volume)).cloned().collect();
        volumes.extend(attached.into_iter().filter(|volume| !known.contains(volume)));
        if volumes != known {
            self.actions.insert(0, Action::Report { volumes });
        }
    }
}

pub(super) fn is_managed(node: &Node) -> bool {
    node.annotations().contains_key(MANAGED)
}

pub(super) fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

fn is_attached(attachment: &VolumeAttachment) -> bool {
    attachment.status.as_ref().is_some_and(|status| status.attached)
}

fn attach_error(attachment: &VolumeAttachment) -> Option<&VolumeError> {
    attachment.status.as_ref()?.attach_error.as_ref()
}

fn said(error: &VolumeError) -> String {
    error.message.clone().unwrap_or_default()
}

/// Since it was made, or since it is to go.
fn age(now: Timestamp, attachment: &VolumeAttachment) -> SignedDuration {
    let meta = &attachment.metadata;
    let since = meta.deletion_timestamp.as_ref().or(meta.creation_timestamp.as_ref());
    since.map_or(SignedDuration::ZERO, |since| now.duration_since(since.0)).max(SignedDuration::ZERO)
}

fn state(now: Timestamp, attachment: &VolumeAttachment, wanted: &Wanted) -> State {
    let leaving = attachment.metadata.deletion_timestamp.is_some();
    let status = attachment.status.as_ref();
    let left = Duration::try_from(ATTACHER_MAX - age(now, attachment)).unwrap_or_default();
    if leaving {
        let failed = status.is_some_and(|status| status.detach_error.is_some());
        return match failed || left.is_zero() {
            true => State::Uncertain("volume attachment is being deleted".to_owned()),
            false => State::Busy(left),
        };
    }
    match (is_attached(attachment), attach_error(attachment)) {
        (true, _) => State::Attached,
        (false, Some(error)) => State::Uncertain(said(error)),
        (false, None) if left.is_zero() => {
            let handle = source(&wanted.used.volume).map(|csi| csi.volume_handle.clone()).unwrap_or_default();
            let driver = &attachment.spec.attacher;
            let why =
                format!("timed out waiting for external-attacher of {driver} CSI driver to attach volume {handle}");
            State::Uncertain(why)
        }
        (false, None) => State::Busy(left),
    }
}

/// Why a volume cannot be attached to a second node: the names of pods are for those of the same namespace.
fn exclusive(volume: &str, pod: &Pod, elsewhere: &[(Arc<VolumeAttachment>, Vec<Arc<Pod>>)]) -> String {
    let pods = elsewhere.iter().flat_map(|(_, pods)| pods);
    let (near, far): (Vec<_>, Vec<_>) = pods.partition(|other| other.namespace() == pod.namespace());
    let names = near.iter().map(|pod| pod.name_any()).collect::<Vec<_>>().join(", ");
    let why = match (near.is_empty(), far.len()) {
        (true, 0) => "Volume is already exclusively attached to one node and can't be attached to another".to_owned(),
        (true, far) => format!("Volume is already used by {far} pod(s) in different namespaces"),
        (false, 0) => format!("Volume is already used by pod(s) {names}"),
        (false, far) => format!("Volume is already used by pod(s) {names} and {far} pod(s) in different namespaces"),
    };
    format!("Multi-Attach error for volume {volume:?} {why}")
}
