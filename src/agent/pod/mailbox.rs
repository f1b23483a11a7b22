//! What a pod's worker is told: the newest pod, whether it still exists, and that something ended.

use crate::waker::Waker;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub(super) struct Mail {
    pub pod: Arc<Pod>,
    /// The server's picture of a static pod.
    pub mirror: Option<Arc<Pod>>,
    /// It exists no more, on the server or as a file.
    pub gone: bool,
}

pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    /// Containers whose end was announced and may not be in the runtime's answers yet.
    ended: Mutex<HashSet<String>>,
    pub waker: Waker,
    /// Set when the pod is to end: what takes long gives way.
    pub ending: CancellationToken,
}

impl Mailbox {
    pub(super) fn new(pod: Arc<Pod>) -> Mailbox {
        let mailbox = Mailbox {
            mail: Mutex::new(Mail { pod: pod.clone(), mirror: None, gone: false }),
            ended: Mutex::default(),
            waker: Waker::default(),
            ending: CancellationToken::new(),
        };
        mailbox.put(pod);
        mailbox
    }

    pub(super) fn read(&self) -> Mail {
        self.mail.lock().clone()
    }

    /// A newer version. The worker is woken unless only its own status changed.
    pub(super) fn put(&self, pod: Arc<Pod>) {
        if super::facts::is_deleting(&pod) {
            self.ending.cancel();
        }
        let news = {
            let mut mail = self.mail.lock();
            let news = concerns(&mail.pod, &pod);
            mail.pod = pod;
            news
        };
        if news {
            self.waker.wake();
        }
    }

    pub(super) fn put_mirror(&self, mirror: Option<Arc<Pod>>) {
        let uid = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|pod| pod.metadata.uid.clone());
        let news = {
            let mut mail = self.mail.lock();
            let news = uid(&mail.mirror) != uid(&mirror);
            mail.mirror = mirror;
            news
        };
        if news {
            self.waker.wake();
        }
    }

    pub(super) fn put_gone(&self) {
        self.mail.lock().gone = true;
        self.ending.cancel();
        self.waker.wake();
    }

    pub(super) fn put_ended(&self, container: &str) {
        self.ended.lock().insert(container.to_owned());
        self.waker.wake();
    }

    pub(super) fn take_ended(&self) -> HashSet<String> {
        std::mem::take(&mut self.ended.lock())
    }
}

/// Whether a worker has to look: its own writes come back to it too.
fn concerns(old: &Pod, new: &Pod) -> bool {
    let gates = |pod: &Pod| -> Vec<(String, String)> {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten()).collect::<Vec<_>>();
        let wanted = conditions.filter(|condition| gates.iter().any(|gate| gate.condition_type == condition.type_));
        wanted.map(|condition| (condition.type_.clone(), condition.status.clone())).collect()
    };
    let (a, b) = (&old.metadata, &new.metadata);
    old.spec != new.spec
        || a.labels != b.labels
        || a.annotations != b.annotations
        || a.deletion_timestamp != b.deletion_timestamp
        || a.deletion_grace_period_seconds != b.deletion_grace_period_seconds
        || super::facts::is_finished(old) != super::facts::is_finished(new)
        || gates(old) != gates(new)
}
