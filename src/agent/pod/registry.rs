//! The pods of this node and their workers; who is woken by what.

use super::{
    facts,
    host::Host,
    host_ports::HostPorts,
    labels,
    mailbox::Mailbox,
    orphans,
    record::{self, Record},
    static_pods,
    worker::Worker,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use mk8s_client::{Change, Informer};
use mk8s_cri::{Containerd, TaskEvent};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The safety net for events that were missed.
const RELIST: Duration = Duration::from_secs(10);

/// A server that has not answered by then is waited for no longer: the node goes by its own record.
const ALONE: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Clone)]
pub struct Pods {
    shared: Arc<Shared>,
}

struct Shared {
    host: Arc<Host>,
    workers: Mutex<HashMap<String, Arc<Mailbox>>>,
    /// Whose a container or sandbox is.
    owners: Mutex<HashMap<String, String>>,
    ports: HostPorts,
    record: Record,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Pods {
    /// # Errors
    /// That of a thread's start.
    pub fn new(host: Arc<Host>, stop: CancellationToken) -> io::Result<Pods> {
        let (workers, owners, ports) = (Mutex::default(), Mutex::default(), HostPorts::default());
        let record = Record::begin(host.paths.record())?;
        let shared = Shared { host, workers, owners, ports, record, tasks: TaskTracker::new(), stop };
        Ok(Pods { shared: Arc::new(shared) })
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.shared.host
    }

    pub(super) fn ports(&self) -> &HostPorts {
        &self.shared.ports
    }

    /// The newest version of every pod that has a worker.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.shared.workers.lock().values().map(|mailbox| mailbox.read().pod).collect()
    }

    /// A pod by name; of several the one that is not ending.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let mut found = self.list();
        found.retain(|pod| facts::namespace(pod) == namespace && facts::name(pod) == name);
        found.sort_by_key(|pod| facts::is_deleting(pod));
        found.into_iter().next()
    }

    /// Follows pods until `stop`.
    pub async fn run(&self, informer: Informer<Pod>) {
        let stop = self.shared.stop.clone();
        let handled = self.clone();
        informer.handle(move |change| handled.on_change(change));
        let (tasks, recorded) = (&self.shared.tasks, informer.clone());
        if let Some(containerd) = self.shared.host.containerd.clone() {
            tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().follow_events(containerd)));
        }
        tasks.spawn(stop.clone().run_until_cancelled_owned(static_pods::follow(self.clone(), informer.clone())));
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().relist_forever(informer)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().bring_back(recorded)));
        stop.cancelled().await;
        tasks.close();
        // What is being done in the runtime is finished by the runtime.
        let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    }

    /// Without a server, pods are those of the record until one answers.
    async fn bring_back(self, informer: Informer<Pod>) {
        let folder = self.shared.host.paths.record();
        if tokio::time::timeout(ALONE, informer.synced()).await.is_err() {
            let recorded = record::read(&folder);
            tracing::warn!(pods = recorded.len(), "no server answers: the node goes by its own record of its pods");
            self.shared.host.alone.send_replace(true);
            recorded.into_iter().for_each(|pod| self.put_if_new(pod));
            informer.synced().await;
            self.shared.host.alone.send_replace(false);
            tracing::info!("a server answers");
            self.wake_all();
        }
        // Deleted while the agent was away.
        let known: HashSet<String> = informer.list().iter().map(|pod| facts::uid(pod).to_owned()).collect();
        for pod in record::read(&folder).iter().filter(|pod| !known.contains(facts::uid(pod))) {
            self.gone(facts::uid(pod));
        }
    }

    fn on_change(&self, change: &Change<Pod>) {
        let pod = change.object();
        if facts::is_mirror(pod) {
            let mirror = match change {
                Change::Deleted(_) => None,
                _ => Some(pod.clone()),
            };
            return self.put_mirror(pod, mirror);
        }
        match change {
            Change::Deleted(_) => self.gone(facts::uid(pod)),
            Change::Updated { old, new } if old.metadata.uid != new.metadata.uid => {
                // Deleted and created under the same name between two looks.
                self.gone(facts::uid(old));
                self.shared.record.put(new);
                self.put(new.clone());
            }
            Change::Added(new) | Change::Updated { new, .. } => {
                self.shared.record.put(new);
                self.put(new.clone());
            }
        }
    }

    fn put_mirror(&self, pod: &Pod, mirror: Option<Arc<Pod>>) {
        let hash = pod.metadata.annotations.iter().flatten().find(|(key, _)| *key == facts::CONFIG_MIRROR);
        let uid = hash.map(|(_, hash)| hash.clone()).unwrap_or_default();
        let mailbox = self.shared.workers.lock().get(&uid).cloned();
        if let Some(mailbox) = mailbox {
            mailbox.put_mirror(mirror);
        }
    }

    /// A pod that is to run here, or a newer version of one.
    pub fn put(&self, pod: Arc<Pod>) {
        self.put_as(pod, true);
    }

    /// A pod that is to run here, unless more is known of it.
    fn put_if_new(&self, pod: Arc<Pod>) {
        self.put_as(pod, false);
    }

    fn put_as(&self, pod: Arc<Pod>, is_newest: bool) {
        let uid = facts::uid(&pod).to_owned();
        let mut workers = self.shared.workers.lock();
        match workers.get(&uid) {
            Some(mailbox) if is_newest => mailbox.put(pod),
            Some(_) => {}
            None => {
                let mailbox = Arc::new(Mailbox::new(pod));
                workers.insert(uid.clone(), mailbox.clone());
                drop(workers);
                self.spawn(uid, mailbox);
            }
        }
    }

    pub fn gone(&self, uid: &str) {
        self.shared.record.gone(uid);
        let mailbox = self.shared.workers.lock().get(uid).cloned();
        if let Some(mailbox) = mailbox {
            mailbox.put_gone();
        }
    }

    fn spawn(&self, uid: String, mailbox: Arc<Mailbox>) {
        let pods = self.clone();
        self.shared.tasks.spawn(async move {
            loop {
                let worker = Worker::new(pods.clone(), mailbox.clone());
                let work = tokio::spawn(pods.shared.stop.clone().run_until_cancelled_owned(worker.run()));
                match work.await {
                    Ok(Some(())) => break,
                    Ok(None) => return,
                    Err(error) => tracing::error!(uid, %error, "a pod's worker failed, it begins anew"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            pods.shared.ports.release(&uid);
            pods.shared.workers.lock().remove(&uid);
            pods.shared.owners.lock().retain(|_, owner| *owner != uid);
        });
    }

    /// Notes whose containers and sandboxes these are, so that their events find the worker.
    pub fn owns(&self, uid: &str, ids: impl IntoIterator<Item = String>) {
        let mut owners = self.shared.owners.lock();
        owners.extend(ids.into_iter().map(|id| (id, uid.to_owned())));
    }

    pub fn disowns(&self, id: &str) {
        self.shared.owners.lock().remove(id);
    }

    fn mailbox_of(&self, container: &str) -> Option<Arc<Mailbox>> {
        let uid = self.shared.owners.lock().get(container).cloned()?;
        self.shared.workers.lock().get(&uid).cloned()
    }

    fn wake_all(&self) {
        for mailbox in self.shared.workers.lock().values() {
            mailbox.waker.wake();
        }
    }

    pub fn uids(&self) -> HashSet<String> {
        self.shared.workers.lock().keys().cloned().collect()
    }

    async fn follow_events(self, containerd: Containerd) {
        loop {
            match containerd.task_events().await {
                Ok(events) => {
                    // What happened while nobody listened is seen by looking.
                    self.wake_all();
                    let mut events = std::pin::pin!(events);
                    while let Some(event) = events.next().await {
                        self.on_event(&event);
                    }
                    tracing::debug!("containerd's events ended, subscribing again");
                }
                Err(error) => tracing::debug!(%error, "containerd's events cannot be followed"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn on_event(&self, event: &TaskEvent) {
        let Some(mailbox) = self.mailbox_of(event.container()) else { return };
        match event {
            TaskEvent::Exited { container } | TaskEvent::Deleted { container } => mailbox.put_ended(container),
            // Our own doing, or followed by an exit.
            TaskEvent::Started { .. } | TaskEvent::OutOfMemory { .. } => {}
        }
    }

    async fn relist_forever(self, informer: Informer<Pod>) {
        informer.synced().await;
        let (sender, mut asked) = mpsc::channel::<()>(1);
        // The first look follows at once: what runs without a pod is taken down.
        let _ = sender.try_send(());
        let mut last: BTreeMap<String, BTreeMap<String, i32>> = BTreeMap::new();
        loop {
            tokio::select! {
                _ = asked.recv() => {}
                () = tokio::time::sleep(RELIST) => {}
            }
            match self.relist(&mut last).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "the runtime cannot be listed"),
            }
        }
    }

    /// Wakes the workers of pods whose containers differ from the last look, and takes care of what has no worker.
    async fn relist(&self, last: &mut BTreeMap<String, BTreeMap<String, i32>>) -> Result<(), mk8s_cri::CriError> {
        let runtime = &self.shared.host.runtime;
        let known_before = self.uids();
        let (sandboxes, containers) = tokio::try_join!(runtime.sandboxes(&[]), runtime.containers(&[]))?;
        let mut seen: BTreeMap<String, BTreeMap<String, i32>> = BTreeMap::new();
        let ours = |labels: &HashMap<String, String>| labels.get(labels::POD_UID).cloned();
        for sandbox in &sandboxes {
            if let Some(uid) = ours(&sandbox.labels) {
                seen.entry(uid).or_default().insert(sandbox.id.clone(), sandbox.state);
            }
        }
        for container in &containers {
            if let Some(uid) = ours(&container.labels) {
                seen.entry(uid).or_default().insert(container.id.clone(), container.state);
            }
        }
        let known = self.uids();
        for (uid, state) in &seen {
            if last.get(uid) != Some(state)
                && let Some(mailbox) = self.shared.workers.lock().get(uid)
            {
                mailbox.waker.wake();
            }
        }
        let orphaned = seen.keys().filter(|uid| !known.contains(*uid) && !known_before.contains(*uid));
        orphans::take_down(&self.shared.host, orphaned.cloned().collect(), &sandboxes, &containers).await;
        orphans::clear_folders(&self.shared.host, &known, &seen.keys().cloned().collect());
        *last = seen;
        Ok(())
    }
}
