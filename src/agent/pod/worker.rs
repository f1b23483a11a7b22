//! The life of one pod on this node.
//!
//! ```text
//! Living ──deleted, finished, out of time──▶ Ending ──nothing runs──▶ Ended ──gone from the server──▶ removed
//! ```
//!
//! Each turn looks at everything anew; a turn that failed leaves a time to try again.

use super::{
    backoff::Backoff,
    facts::{self, Role},
    host::Host,
    hosts, kill,
    mailbox::{Mail, Mailbox},
    orphans,
    plan::{self, Kill, KillReason, Plan},
    registry::Pods,
    report::Reporter,
    resources, sandbox,
    start::{Start, Started},
    status::{self, Inputs, Waiting},
    termination,
    view::{self, Phase, View},
};
use crate::{
    cgroup,
    objects::Leases,
    probe::{self, Probed},
    volume::{self, Context},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use mk8s_api::duration;
use mk8s_client::events::EventType;
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;
use tokio_util::sync::DropGuard;

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Between looks for an exit that was announced and is not in the runtime's answers yet.
const EXIT_POLL: Duration = Duration::from_millis(10);
const EXIT_POLLS: u32 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Living,
    Ending,
    Ended,
}

pub(super) struct Worker {
    pods: Pods,
    host: Arc<Host>,
    mailbox: Arc<Mailbox>,
    uid: String,
    stage: Stage,
    /// It was looked at whether the node has room for it.
    admitted: bool,
    leases: Leases,
    backoff: Backoff,
    waiting: HashMap<String, Waiting>,
    probes: HashMap<String, DropGuard>,
    reporter: Reporter,
    told: Option<PodStatus>,
    start_time: Timestamp,
    volumes: Option<HashMap<String, PathBuf>>,
    /// Why the pod failed as a whole.
    verdict: Option<Waiting>,
    retry: Option<Instant>,
    failures: u32,
    killing: Option<(Duration, AbortHandle)>,
    announced: HashMap<String, u32>,
}

impl Worker {
    pub(super) fn new(pods: Pods, mailbox: Arc<Mailbox>) -> Worker {
        let host = pods.host().clone();
        let pod = mailbox.read().pod;
        let known_start = pod.status.as_ref().and_then(|status| status.start_time.as_ref().map(|time| time.0));
        Worker {
            leases: Leases::new(&host.objects, facts::namespace(&pod), &mailbox.waker),
            reporter: Reporter::new(host.client.clone()),
            uid: facts::uid(&pod).to_owned(),
            start_time: known_start.unwrap_or_else(Timestamp::now),
            pods,
            host,
            mailbox,
            stage: Stage::Living,
            admitted: false,
            backoff: Backoff::default(),
            waiting: HashMap::new(),
            probes: HashMap::new(),
            told: None,
            volumes: None,
            verdict: None,
            retry: None,
            failures: 0,
            killing: None,
            announced: HashMap::new(),
        }
    }

    /// Returns when nothing of the pod is left.
    pub(super) async fn run(mut self) {
        loop {
            let mail = self.mailbox.read();
            for id in self.mailbox.take_ended() {
                self.announced.entry(id).or_default();
            }
            self.retry = None;
            if self.stage == Stage::Living && self.must_end(&mail) {
                self.stage = Stage::Ending;
            }
            match self.stage {
                Stage::Living => self.live(&mail).await,
                Stage::Ending => self.end(&mail).await,
                Stage::Ended => {
                    if self.after_end(&mail).await {
                        return;
                    }
                }
            }
            let until = self.retry;
            let sleep = async {
                match until {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.mailbox.waker.woken() => {}
                () = sleep => {}
            }
        }
    }

    fn again_in(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.retry = Some(self.retry.map_or(at, |known| known.min(at)));
    }

    fn again_at(&mut self, at: Instant) {
        self.retry = Some(self.retry.map_or(at, |known| known.min(at)));
    }

    /// A turn failed: later ones wait longer.
    fn failed(&mut self) {
        let delay = (RETRY_FIRST * 2u32.saturating_pow(self.failures.min(10))).min(RETRY_MAX);
        self.failures += 1;
        self.again_in(delay);
    }

    fn tell(&self, pod: &Pod, kind: EventType, reason: &str, message: impl Into<String>) {
        self.host.recorder.event(pod, kind, reason, message);
    }

    fn must_end(&mut self, mail: &Mail) -> bool {
        if mail.gone || facts::is_deleting(&mail.pod) || facts::is_finished(&mail.pod) {
            return true;
        }
        if !self.admitted && !self.admit(&mail.pod) {
            return true;
        }
        let Some(limit) = facts::spec(&mail.pod).active_deadline_seconds else { return false };
        let age = Timestamp::now().duration_since(self.start_time);
        let left = SignedDuration::from_secs(limit) - age;
        if left.is_positive() {
            self.again_in(left.unsigned_abs());
            return false;
        }
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        self.tell(&mail.pod, EventType::Normal, "DeadlineExceeded", message.clone());
        self.verdict = Some(Waiting { reason: "DeadlineExceeded".into(), message });
        true
    }

    /// Whether the node has what the pod was put here for. One that was begun with has it.
    fn admit(&mut self, pod: &Arc<Pod>) -> bool {
        self.admitted = true;
        if pod.status.as_ref().is_some_and(|status| status.start_time.is_some()) {
            self.pods.ports().keep(pod);
            return true;
        }
        if self.pods.ports().take(pod) {
            return true;
        }
        let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        self.tell(pod, EventType::Warning, "NodePorts", message);
        self.verdict = Some(Waiting { reason: "NodePorts".into(), message: format!("Pod was rejected: {message}") });
        false
    }

    /// What the runtime has, once it agrees with what was announced.
    async fn observe(&mut self) -> Option<View> {
        match view::observe(&self.host.runtime, &self.uid).await {
            Ok(mut view) => {
                termination::add_messages(&mut view);
                let sandboxes = view.sandboxes.iter().map(|sandbox| sandbox.id.clone());
                self.pods
                    .owns(&self.uid, view.containers.iter().map(|container| container.id.clone()).chain(sandboxes));
                let late = |id: &String| {
                    view.containers.iter().any(|c| c.id == *id && c.phase == Phase::Running)
                        || view.sandboxes.iter().any(|s| s.id == *id && s.ready)
                };
                self.announced.retain(|id, polls| {
                    *polls += 1;
                    late(id) && *polls < EXIT_POLLS
                });
                if !self.announced.is_empty() {
                    self.again_in(EXIT_POLL);
                }
                Some(view)
            }
            Err(error) => {
                tracing::debug!(uid = self.uid, %error, "the runtime cannot say what a pod has");
                self.failed();
                None
            }
        }
    }

    async fn live(&mut self, mail: &Mail) {
        let pod = &mail.pod;
        if self.told.is_none() && pod.status.as_ref().is_none_or(|status| status.start_time.is_none()) {
            self.report(mail, &View::default(), false);
        }
        let Some(mut view) = self.observe().await else { return };
        self.follow_probes(pod, &view);
        let plan = plan::plan(pod, &view, &self.host.verdicts);
        if plan.ends_pod() {
            self.stage = Stage::Ending;
            return self.end(mail).await;
        }
        if self.volumes.is_some() && !self.host.is_alone() {
            self.refresh_volumes(pod, &view).await;
        }
        if self.act(pod, &plan, &mut view).await {
            if let Some(newest) = self.observe().await {
                view = newest;
            }
            self.follow_probes(pod, &view);
        }
        self.report(mail, &view, false);
        self.collect(&view).await;
        if let Some(renewal) = self.host.tokens.next_renewal(&self.uid) {
            let left = renewal.duration_since(Timestamp::now());
            self.again_in(left.unsigned_abs().max(Duration::from_secs(1)));
        }
    }

    /// Carries out a plan; true when the runtime has changed.
    async fn act(&mut self, pod: &Arc<Pod>, plan: &Plan, view: &mut View) -> bool {
        let mut changed = false;
        if plan.kill_pod && !view.sandboxes.is_empty() {
            if plan.create_sandbox.is_some() {
                self.tell(
                    pod,
                    EventType::Normal,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                );
            }
            kill::all(self.host.clone(), pod.clone(), view.clone(), kill::grace_of(pod)).await;
            for sandbox in &view.sandboxes {
                if let Err(error) = self.host.runtime.stop_sandbox(&sandbox.id).await
                    && !error.is_not_found()
                {
                    self.tell(
                        pod,
                        EventType::Warning,
                        "FailedKillPod",
                        format!("error killing pod: {}", error.description()),
                    );
                    self.failed();
                    return true;
                }
            }
            changed = true;
        }
        for kill in &plan.kill {
            self.kill(pod, kill, view).await;
            changed = true;
            if self.mailbox.ending.is_cancelled() {
                return true;
            }
        }
        if plan.kill.iter().any(|kill| plan.start.iter().any(|(_, name)| *name == kill.name)) {
            // What was killed is started in the next turn, under its backoff and with its exit in view.
            self.mailbox.waker.wake();
            return true;
        }
        if let Some(attempt) = plan.create_sandbox {
            if !self.create_sandbox(pod, attempt, view).await {
                return changed;
            }
            changed = true;
        }
        if plan.start.is_empty() {
            return changed;
        }
        let Some(sandbox) = view.ready_sandbox().cloned() else { return changed };
        if self.volumes.is_none() && !self.prepare(pod, &view.ips()).await {
            return changed;
        }
        let hosts_file = self.host.paths.pod(&self.uid).join("etc-hosts");
        if let Err(error) = hosts::write(&hosts_file, pod, &view.ips(), &self.host.options.cluster_domain) {
            tracing::error!(path = %hosts_file.display(), %error, "the hosts file of a pod cannot be written");
        }
        let config = sandbox::config(pod, &self.host.options, sandbox.attempt);
        for (role, name) in &plan.start {
            changed |= self.start(pod, *role, name, view, &sandbox.id, &config).await;
            if self.mailbox.ending.is_cancelled() {
                break;
            }
        }
        changed
    }

    async fn kill(&mut self, pod: &Arc<Pod>, kill: &Kill, view: &View) {
        let Some((role, container)) = facts::container(pod, &kill.name) else { return };
        let probe = match kill.reason {
            KillReason::Liveness => container.liveness_probe.as_ref(),
            KillReason::Startup => container.startup_probe.as_ref(),
            KillReason::Changed | KillReason::Unknown => None,
        };
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds).and_then(|s| u64::try_from(s).ok());
        let grace = own.map_or_else(|| kill::grace_of(pod), Duration::from_secs);
        self.probes.remove(&kill.id);
        let victim = kill::Victim { id: &kill.id, container: Some(&container), role, message: kill.message.clone() };
        let address = view.ips().first().cloned();
        let kill = kill::container(&self.host, pod, &victim, grace, address.as_deref());
        tokio::select! {
            () = kill => {}
            // The end of the pod has a grace period of its own.
            () = self.mailbox.ending.cancelled() => {}
        }
    }

    /// True when the pod has a sandbox.
    async fn create_sandbox(&mut self, pod: &Arc<Pod>, attempt: u32, view: &mut View) -> bool {
        if !facts::host_network(pod) && !*self.host.node.network_ready.borrow() {
            self.await_network(pod);
            return false;
        }
        if !self.prepare(pod, &[]).await {
            return false;
        }
        let config = sandbox::config(pod, &self.host.options, attempt);
        if let Err(error) = std::fs::create_dir_all(&config.log_directory) {
            self.tell(pod, EventType::Warning, "Failed", format!("error making pod data directories: {error}"));
            self.failed();
            return false;
        }
        let handler = match facts::spec(pod).runtime_class_name.as_deref() {
            Some(class) if !class.is_empty() && class != "runc" => class.to_owned(),
            _ => String::new(),
        };
        let made = async {
            let id = self.host.runtime.run_sandbox(config, &handler).await?;
            self.host.runtime.sandbox_status(&id).await
        };
        match made.await {
            Ok(status) => {
                self.failures = 0;
                self.pods.owns(&self.uid, [status.id.clone()]);
                view.put_sandbox(status);
                true
            }
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.tell(pod, EventType::Warning, "FailedCreatePodSandBox", message);
                self.failed();
                false
            }
        }
    }

    fn await_network(&mut self, pod: &Pod) {
        let why = self.host.node.health.read().network.clone().unwrap_or_default();
        let message = format!("network is not ready: container runtime network not ready: {why}");
        self.tell(pod, EventType::Warning, "NetworkNotReady", message);
        let mut ready = self.host.node.network_ready.subscribe();
        let waker = self.mailbox.waker.clone();
        tokio::spawn(async move {
            // An error says that the agent ends.
            if ready.wait_for(|ready| *ready).await.is_ok() {
                waker.wake();
            }
        });
        self.again_in(Duration::from_secs(5));
    }

    /// Directories, control group and volumes; true when all is there.
    async fn prepare(&mut self, pod: &Arc<Pod>, ips: &[String]) -> bool {
        let directory = self.host.paths.pod(&self.uid);
        if let Err(error) = std::fs::create_dir_all(&directory) {
            self.tell(pod, EventType::Warning, "Failed", format!("error making pod data directories: {error}"));
            self.failed();
            return false;
        }
        let parent = cgroup::parent_of(resources::qos_class(pod), &self.uid);
        if !cgroup::systemd_driver()
            && let Err(error) = cgroup::create(&parent, resources::pod_limits(pod, None))
        {
            self.tell(
                pod,
                EventType::Warning,
                "FailedCreatePodContainer",
                format!("unable to ensure pod container exists: {error}"),
            );
            self.failed();
            return false;
        }
        let volumes = match self.host.is_alone() {
            true => self.with_volumes(pod, ips, async |context| volume::set_up_alone(context)).await,
            false => self.set_up_volumes(pod, ips).await,
        };
        match volumes {
            Ok(volumes) => {
                if let Err(error) = volume::remember(&directory, &volumes) {
                    tracing::warn!(pod = facts::format(pod), %error, "it cannot be kept where the volumes of a pod are");
                }
                self.volumes = Some(volumes);
                true
            }
            Err(error) => {
                self.tell(pod, EventType::Warning, "FailedMount", error.to_string());
                self.failed();
                false
            }
        }
    }

    async fn set_up_volumes(
        &self,
        pod: &Arc<Pod>,
        ips: &[String],
    ) -> Result<HashMap<String, PathBuf>, volume::VolumeError> {
        self.with_volumes(pod, ips, async |context| volume::set_up(context, self.volumes.as_ref()).await).await
    }

    async fn with_volumes<T>(&self, pod: &Arc<Pod>, ips: &[String], work: impl AsyncFnOnce(&Context<'_>) -> T) -> T {
        let (directory, host_ip) = (self.host.paths.pod(&self.uid), self.host.host_ip());
        let context = Context {
            pod,
            directory: &directory,
            leases: &self.leases,
            tokens: &self.host.tokens,
            client: &self.host.client,
            capacity: self.host.capacity(),
            host_ip: &host_ip,
            pod_ips: ips,
            ca_pem: &self.host.options.ca_pem,
        };
        work(&context).await
    }

    /// ConfigMaps, Secrets, tokens and fields of the pod may have changed.
    async fn refresh_volumes(&mut self, pod: &Arc<Pod>, view: &View) {
        match self.set_up_volumes(pod, &view.ips()).await {
            Ok(volumes) => self.volumes = Some(volumes),
            Err(error) => tracing::debug!(pod = facts::format(pod), %error, "a volume stays as it was"),
        }
    }

    /// True when the runtime has changed.
    async fn start(
        &mut self,
        pod: &Arc<Pod>,
        role: Role,
        name: &str,
        view: &View,
        sandbox: &str,
        config: &mk8s_cri::v1::PodSandboxConfig,
    ) -> bool {
        let Some((_, container)) = facts::container(pod, name) else { return false };
        let now = Timestamp::now();
        let ended = view.find(name).filter(|seen| seen.phase == Phase::Exited);
        if let Some(seen) = ended {
            let finished = Timestamp::from_nanosecond(i128::from(seen.finished_at)).unwrap_or(now);
            let hash = facts::container_hash(&container);
            if let Err(delay) = self.backoff.permit(name, &hash, finished, now) {
                self.hold_back(pod, role, name, delay, finished, now);
                return false;
            }
        }
        let none = HashMap::new();
        let start = Start {
            host: &self.host,
            pod,
            view,
            sandbox,
            sandbox_config: config,
            volumes: self.volumes.as_ref().unwrap_or(&none),
            leases: &self.leases,
            waker: &self.mailbox.waker,
        };
        let ending = self.mailbox.ending.clone();
        let result = tokio::select! {
            result = start.run(role, &container) => result,
            () = ending.cancelled() => return true,
        };
        match result {
            Ok(Started::Running) => {
                self.waiting.remove(name);
                self.failures = 0;
                true
            }
            Ok(Started::Pulling) => false,
            Err(failure) => {
                if let Some(at) = failure.retry {
                    self.again_at(at);
                }
                self.waiting
                    .insert(name.to_owned(), Waiting { reason: failure.reason.into(), message: failure.message });
                true
            }
        }
    }

    fn hold_back(
        &mut self,
        pod: &Pod,
        role: Role,
        name: &str,
        delay: SignedDuration,
        finished: Timestamp,
        now: Timestamp,
    ) {
        let shown = duration::text(delay.as_secs().saturating_mul(1_000_000_000));
        let message = format!("back-off {shown} restarting failed container={name} pod={}", facts::format(pod));
        let known = self.waiting.get(name).is_some_and(|waiting| waiting.message == message);
        if !known {
            self.host.recorder.record(
                facts::container_reference(pod, role, name),
                EventType::Warning,
                "BackOff",
                format!("Back-off restarting failed container {name} in pod {}", facts::format(pod)),
            );
        }
        self.waiting.insert(name.to_owned(), Waiting { reason: "CrashLoopBackOff".into(), message });
        let left = delay - now.duration_since(finished);
        self.again_in(left.unsigned_abs() + Duration::from_millis(1));
    }

    fn follow_probes(&mut self, pod: &Arc<Pod>, view: &View) {
        let running: HashSet<&str> = view.running().map(|seen| seen.id.as_str()).collect();
        let verdicts = &self.host.verdicts;
        self.probes.retain(|id, _| {
            let runs = running.contains(id.as_str());
            if !runs {
                verdicts.forget(id);
            }
            runs
        });
        let address = match facts::host_network(pod) {
            true => self.host.host_ip(),
            false => view.ips().first().cloned().unwrap_or_default(),
        };
        for seen in view.running() {
            if self.probes.contains_key(&seen.id) {
                continue;
            }
            let Some((role, container)) = facts::container(pod, &seen.name) else { continue };
            let probed = container.startup_probe.is_some()
                || container.liveness_probe.is_some()
                || container.readiness_probe.is_some();
            if !probed {
                continue;
            }
            let guard = probe::start(Probed {
                host: self.host.clone(),
                pod: pod.clone(),
                role,
                container,
                id: seen.id.clone(),
                address: address.clone(),
                started_at: seen.started_at,
                waker: self.mailbox.waker.clone(),
            });
            self.probes.insert(seen.id.clone(), guard);
        }
    }

    fn report(&mut self, mail: &Mail, view: &View, ended: bool) {
        let api = mail.pod.status.clone().unwrap_or_default();
        let old = self.told.as_ref().unwrap_or(&api);
        let inputs = Inputs {
            view,
            verdicts: &self.host.verdicts,
            waiting: &self.waiting,
            old,
            node_ip: self.host.options.node_ip,
            now: Timestamp::now(),
            start_time: self.start_time,
            ended,
            verdict: self.verdict.as_ref(),
        };
        let status = status::generate(&mail.pod, &inputs);
        let target = match facts::is_static(&mail.pod) {
            true => mail.mirror.as_ref(),
            false => Some(&mail.pod),
        };
        let mirror_is_new = facts::is_static(&mail.pod)
            && mail
                .mirror
                .as_ref()
                .is_some_and(|mirror| mirror.status.as_ref().is_none_or(|status| status.start_time.is_none()));
        if !mirror_is_new && self.told.as_ref() == Some(&status) {
            return;
        }
        if let Some(target) = target.filter(|_| !mail.gone) {
            self.reporter.report(target, status.clone());
        }
        self.told = Some(status);
    }

    /// Dead containers and sandboxes that nobody asks for any more.
    async fn collect(&self, view: &View) {
        let mut kept: HashMap<&str, usize> = HashMap::new();
        for seen in &view.containers {
            let kept = kept.entry(&seen.name).or_default();
            *kept += 1;
            if *kept > 2 && seen.phase == Phase::Exited {
                self.pods.disowns(&seen.id);
                drop(self.host.runtime.remove_container(&seen.id).await);
                drop(std::fs::remove_file(&seen.log_path));
            }
        }
        for sandbox in view.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            if !view.containers.iter().any(|seen| seen.sandbox == sandbox.id) {
                self.pods.disowns(&sandbox.id);
                orphans::remove_sandbox(&self.host, &sandbox.id).await;
            }
        }
    }

    async fn end(&mut self, mail: &Mail) {
        let Some(view) = self.observe().await else { return };
        if view.alive().next().is_some() {
            self.begin_killing(mail, &view);
            self.report(mail, &view, false);
            return;
        }
        self.killing = None;
        self.probes.clear();
        for sandbox in view.sandboxes.iter().filter(|sandbox| sandbox.ready) {
            if let Err(error) = self.host.runtime.stop_sandbox(&sandbox.id).await
                && !error.is_not_found()
            {
                self.tell(
                    &mail.pod,
                    EventType::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {}", error.description()),
                );
                return self.failed();
            }
        }
        let Some(view) = self.observe().await else { return };
        if view.alive().next().is_some() {
            // Its start was under way when the pod was to end.
            return self.failed();
        }
        self.report(mail, &view, true);
        if !mail.gone {
            self.reporter.flushed().await;
        }
        self.leases.release();
        self.host.puller.forget(&self.uid);
        self.host.tokens.forget(&self.uid);
        let volumes = self.host.paths.pod(&self.uid).join("volumes");
        let subpaths = self.host.paths.pod(&self.uid).join("volume-subpaths");
        if let Err(error) = volume::tear_down(&subpaths).and_then(|()| volume::tear_down(&volumes)) {
            tracing::warn!(uid = self.uid, %error, "the volumes of a pod cannot be taken down, trying again");
            return self.failed();
        }
        cgroup::remove(&cgroup::parent_of(resources::qos_class(&mail.pod), &self.uid));
        self.failures = 0;
        self.stage = Stage::Ended;
        self.pods.ports().release(&self.uid);
        self.mailbox.waker.wake();
    }

    /// Stops everything in the background; again, and sooner, when the grace period was cut.
    fn begin_killing(&mut self, mail: &Mail, view: &View) {
        let grace = match mail.gone && !facts::is_deleting(&mail.pod) && !facts::is_static(&mail.pod) {
            // Removed by force: nobody waits for it.
            true => Duration::from_secs(1),
            false => kill::grace_of(&mail.pod),
        };
        if let Some((known, task)) = &self.killing {
            if *known <= grace && !task.is_finished() {
                return;
            }
            task.abort();
        }
        let (host, pod, view, waker) = (self.host.clone(), mail.pod.clone(), view.clone(), self.mailbox.waker.clone());
        let task = tokio::spawn(async move {
            kill::all(host, pod, view, grace).await;
            waker.wake();
        });
        self.killing = Some((grace, task.abort_handle()));
        // A kill that failed is seen by what is still alive.
        self.again_in(grace + Duration::from_secs(10));
    }

    /// True when the worker has nothing left to do.
    async fn after_end(&mut self, mail: &Mail) -> bool {
        if mail.gone {
            self.remove(mail).await;
            return true;
        }
        if facts::is_deleting(&mail.pod) && !facts::is_static(&mail.pod) {
            let pods: Api<Pod> = Api::namespaced(self.host.client.clone(), facts::namespace(&mail.pod));
            let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
            let now = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            match pods.delete(facts::name(&mail.pod), &now).await {
                // Finalizers may keep it; its last change comes through the watch.
                Ok(_) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    self.remove(mail).await;
                    return true;
                }
                Err(error) => {
                    tracing::debug!(uid = self.uid, %error, "a pod that has ended cannot be deleted yet");
                    self.failed();
                }
            }
        }
        false
    }

    async fn remove(&mut self, mail: &Mail) {
        if let Ok(view) = view::observe(&self.host.runtime, &self.uid).await {
            for seen in &view.containers {
                drop(self.host.runtime.remove_container(&seen.id).await);
            }
            for sandbox in &view.sandboxes {
                orphans::remove_sandbox(&self.host, &sandbox.id).await;
            }
        }
        let logs = sandbox::log_folder(&mail.pod, &self.host.options);
        drop(std::fs::remove_dir_all(logs));
        if let Err(error) = volume::tear_down(&self.host.paths.pod(&self.uid)) {
            tracing::warn!(uid = self.uid, %error, "the folder of a pod stays");
        }
    }
}
