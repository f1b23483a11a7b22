//! Everything that the scheduler follows.

use super::input::{Input, Observed, Seen};
use kube::{Api, Client, Resource};
use mk8s_client::{
    Selection,
    feed::{Change, follow},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Begins to follow all kinds; returns how many there are, each of which will say that it has been listed.
pub(super) fn follow_all(client: &Client, sender: &mpsc::Sender<Input>, stop: &CancellationToken) -> usize {
    let feed = Feed { client, sender, stop };
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
        feed.start(Observed::Pod),
    ];
    started.len()
}

struct Feed<'a> {
    client: &'a Client,
    sender: &'a mpsc::Sender<Input>,
    stop: &'a CancellationToken,
}

impl Feed<'_> {
    fn start<K>(&self, observed: fn(Seen<K>) -> Observed)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let into = move |change: Change<K>| match change {
            Change::Applied(object) => Input::Observed(observed(Seen { object, exists: true })),
            Change::Deleted(object) => Input::Observed(observed(Seen { object, exists: false })),
            Change::Synced => Input::Synced,
        };
        let all = Api::<K>::all(self.client.clone());
        follow(all, Selection::default(), into, self.sender.clone(), self.stop.clone());
    }
}
