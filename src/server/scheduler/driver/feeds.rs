//! Everything that the scheduler follows.

use super::input::{Input, Observed, Seen};
use mk8s_client::{Change, Informers, Kind};
use tokio::sync::mpsc::UnboundedSender;

/// Begins to follow all kinds; returns how many there are, each of which will say that it has been listed.
pub(super) fn follow_all(informers: &Informers, sender: &UnboundedSender<Input>) -> usize {
    let feed = Feed { informers, sender };
    let started = [
        feed.start(Observed::Node),
        feed.start(Observed::Namespace),
        feed.start(Observed::Service),
        feed.start(Observed::ReplicationController),
        feed.start(Observed::ReplicaSet),
        feed.start(Observed::StatefulSet),
        feed.start(Observed::Budget),
        feed.start(Observed::Claim),
        feed.start(Observed::Volume),
        feed.start(Observed::StorageClass),
        feed.start(Observed::CsiNode),
        feed.start(Observed::CsiDriver),
        feed.start(Observed::CsiCapacity),
        feed.start(Observed::Attachment),
        feed.start(Observed::ResourceClaim),
        feed.start(Observed::ResourceSlice),
        feed.start(Observed::DeviceClass),
        feed.start(Observed::Pod),
    ];
    started.len()
}

struct Feed<'a> {
    informers: &'a Informers,
    sender: &'a UnboundedSender<Input>,
}

impl Feed<'_> {
    fn start<K: Kind>(&self, observed: fn(Seen<K>) -> Observed) {
        let (informer, sender) = (self.informers.all::<K>(), self.sender.clone());
        let listed = self.sender.clone();
        // Nobody receives once the scheduler has ended.
        informer.handle(move |change| {
            let exists = !matches!(change, Change::Deleted(_));
            drop(sender.send(Input::Observed(observed(Seen { object: change.object().clone(), exists }))));
        });
        tokio::spawn(async move {
            informer.synced().await;
            drop(listed.send(Input::Synced));
        });
    }
}
