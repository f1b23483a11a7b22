//! Starting one container: its image, its configuration, create, start, postStart.

use super::{
    env::{self, Sources, Surroundings},
    expand::expand,
    facts::{self, Role},
    hooks,
    host::Host,
    kill, labels, resources, sandbox, security,
    view::View,
};
use crate::{
    image::{Policy, Readiness, Wish, credentials_of},
    objects::Leases,
    volume::subpath,
    waker::Waker,
};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use mk8s_client::events::EventType;
use mk8s_cri::v1;
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Why a container was not started, in Kubernetes' words, and when to try again.
#[derive(Debug)]
pub(super) struct StartFailure {
    pub reason: &'static str,
    pub message: String,
    pub retry: Option<Instant>,
}

pub(super) enum Started {
    Running,
    /// Its image is on the way; a wake-up follows.
    Pulling,
}

/// What a start works with.
pub(super) struct Start<'a> {
    pub host: &'a Host,
    pub pod: &'a Arc<Pod>,
    pub view: &'a View,
    pub sandbox: &'a str,
    pub sandbox_config: &'a v1::PodSandboxConfig,
    pub volumes: &'a HashMap<String, PathBuf>,
    pub leases: &'a Leases,
    pub waker: &'a Waker,
}

/// Between attempts that fail for a reason that may pass by itself.
const RETRY: Duration = Duration::from_secs(5);

impl Start<'_> {
    pub(super) async fn run(&self, role: Role, container: &Container) -> Result<Started, StartFailure> {
        let image_id = match self.image(role, container).await? {
            Some(id) => id,
            None => return Ok(Started::Pulling),
        };
        let failed = |reason: &'static str, message: String| {
            self.tell(role, container, EventType::Warning, "Failed", format!("Error: {message}"));
            StartFailure { reason, message, retry: Some(Instant::now() + RETRY) }
        };
        let attempt = self.attempt(container);
        let config = self.config(role, container, &image_id, attempt).await;
        let config = config.map_err(|message| failed("CreateContainerConfigError", message))?;
        let runtime = &self.host.runtime;
        let created = runtime.create_container(self.sandbox, config, self.sandbox_config.clone()).await;
        let id = created.map_err(|error| failed("CreateContainerError", error.description()))?;
        self.tell(role, container, EventType::Normal, "Created", "Container created".into());
        let started = runtime.start_container(&id).await;
        started.map_err(|error| failed("RunContainerError", error.description()))?;
        self.tell(role, container, EventType::Normal, "Started", "Container started".into());
        if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) {
            let address = self.view.ips().first().cloned();
            if let Err(message) = hooks::run(self.host, container, &id, address.as_deref(), hook).await {
                self.tell(role, container, EventType::Warning, "FailedPostStartHook", "PostStartHook failed".into());
                let victim =
                    kill::Victim { id: &id, container: Some(container), role, message: "FailedPostStartHook".into() };
                kill::container(
                    self.host,
                    self.pod,
                    &victim,
                    kill::grace_of(self.pod),
                    self.view.ips().first().map(String::as_str),
                )
                .await;
                return Err(StartFailure {
                    reason: "PostStartHookError",
                    message,
                    retry: Some(Instant::now() + RETRY),
                });
            }
        }
        Ok(Started::Running)
    }

    fn tell(&self, role: Role, container: &Container, kind: EventType, reason: &str, message: String) {
        self.host.recorder.record(facts::container_reference(self.pod, role, &container.name), kind, reason, message);
    }

    /// How often it ran before.
    fn attempt(&self, container: &Container) -> i32 {
        if let Some(seen) = self.view.find(&container.name) {
            return seen.restart_count + 1;
        }
        let status = self.pod.status.as_ref();
        let known = status.into_iter().flat_map(|status| {
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
        });
        known
            .into_iter()
            .find(|known| known.name == container.name && known.container_id.is_some())
            .map_or(0, |known| known.restart_count + 1)
    }

    async fn image(&self, role: Role, container: &Container) -> Result<Option<String>, StartFailure> {
        let image = container.image.clone().unwrap_or_default();
        let policy = match container.image_pull_policy.as_deref() {
            Some("Always") => Policy::Always,
            Some("Never") => Policy::Never,
            Some(_) => Policy::IfNotPresent,
            None if image.ends_with(":latest")
                || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']) =>
            {
                Policy::Always
            }
            None => Policy::IfNotPresent,
        };
        let mut secrets = Vec::new();
        if policy != Policy::Never {
            for name in facts::spec(self.pod).image_pull_secrets.iter().flatten() {
                // A missing secret is passed over: the registry may let everybody in.
                secrets.extend(self.leases.secret(&name.name).get().await.ok().flatten());
            }
        }
        let (recorder, reference) =
            (self.host.recorder.clone(), facts::container_reference(self.pod, role, &container.name));
        let wish = Wish {
            owner: format!("{}/{}", facts::uid(self.pod), container.name),
            credentials: credentials_of(&image, secrets.iter().map(Arc::as_ref)),
            image,
            policy,
            sandbox: self.sandbox_config.clone(),
            tell: Arc::new(move |kind, reason, message| recorder.record(reference.clone(), kind, reason, message)),
            wake: self.waker.clone(),
        };
        match self.host.puller.ensure(wish).await {
            Readiness::Present(id) => Ok(Some(id)),
            Readiness::Pulling => Ok(None),
            Readiness::Failed { reason, message, retry } => {
                if reason != "ErrImagePull" {
                    self.tell(role, container, EventType::Warning, "Failed", format!("Error: {reason}"));
                }
                Err(StartFailure { reason, message, retry })
            }
        }
    }

    async fn config(
        &self,
        role: Role,
        container: &Container,
        image_id: &str,
        attempt: i32,
    ) -> Result<v1::ContainerConfig, String> {
        let pod = self.pod;
        let image = self.host.runtime.image(image_id).await.ok().flatten();
        security::check_non_root(pod, container, image.as_ref())?;
        let variables = self.environment(container).await?;
        let table: BTreeMap<&str, &str> = variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let lookup = |name: &str| table.get(name).map(|value| (*value).to_owned());
        let all =
            |texts: &Option<Vec<String>>| texts.iter().flatten().map(|text| expand(text, lookup)).collect::<Vec<_>>();
        let folder = sandbox::log_folder(pod, &self.host.options).join(&container.name);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make the log directory {}: {error}", folder.display()))?;
        let (mounts, termination) = self.mounts(container, attempt, &lookup)?;
        let target = security::target_of(pod, role, &container.name);
        let target = target.and_then(|name| self.view.find(&name)).map(|seen| seen.id.clone());
        Ok(v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: attempt.cast_unsigned() }),
            image: Some(v1::ImageSpec {
                image: image_id.to_owned(),
                user_specified_image: container.image.clone().unwrap_or_default(),
                ..v1::ImageSpec::default()
            }),
            command: all(&container.command),
            args: all(&container.args),
            working_dir: container.working_dir.clone().unwrap_or_default(),
            envs: variables
                .iter()
                .map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone() })
                .collect(),
            mounts,
            labels: sandbox::identity(pod)
                .into_iter()
                .chain([(labels::CONTAINER_NAME.to_owned(), container.name.clone())])
                .collect(),
            annotations: self.annotations(container, attempt, &termination),
            log_path: format!("{}/{attempt}.log", container.name),
            stdin: container.stdin.unwrap_or_default(),
            stdin_once: container.stdin_once.unwrap_or_default(),
            tty: container.tty.unwrap_or_default(),
            linux: Some(v1::LinuxContainerConfig {
                resources: Some(resources::linux_resources(pod, container, self.host.capacity().memory)),
                security_context: Some(security::of_container(pod, container, target.as_deref())),
            }),
            ..v1::ContainerConfig::default()
        })
    }

    fn annotations(&self, container: &Container, attempt: i32, termination: &Path) -> HashMap<String, String> {
        let grace = facts::spec(self.pod).termination_grace_period_seconds.unwrap_or(30);
        let ports = serde_json::to_string(&container.ports.clone().unwrap_or_default()).unwrap_or_default();
        [
            (labels::CONTAINER_HASH, facts::container_hash(container)),
            (labels::RESTART_COUNT, attempt.to_string()),
            (labels::TERMINATION_PATH, termination_path(container).to_owned()),
            (labels::TERMINATION_POLICY, container.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
            (labels::TERMINATION_FILE, termination.display().to_string()),
            (labels::POD_GRACE, grace.to_string()),
            (labels::PORTS, ports),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    async fn environment(&self, container: &Container) -> Result<Vec<(String, String)>, String> {
        let sources = Fetched::fetch(container, self.leases).await?;
        self.host.services_known().await;
        let mut services = self.host.services.list_in(facts::namespace(self.pod));
        if facts::namespace(self.pod) != "default" {
            services.extend(self.host.services.get("default", "kubernetes"));
        }
        let ips = match facts::host_network(self.pod) {
            true => vec![self.host.host_ip()],
            false => self.view.ips(),
        };
        let host_ip = self.host.host_ip();
        let around =
            Surroundings { host_ip: &host_ip, pod_ips: &ips, capacity: self.host.capacity(), services: &services };
        env::environment(self.pod, container, &sources, &around).map_err(|error| error.to_string())
    }

    /// Volumes, the hosts file and the termination message; also where the latter is.
    fn mounts(
        &self,
        container: &Container,
        attempt: i32,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Vec<v1::Mount>, PathBuf), String> {
        let directory = self.host.paths.pod(facts::uid(self.pod));
        let mut out = Vec::new();
        for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
            out.push(self.mount(container, i, mount, &directory, lookup)?);
        }
        let has_hosts = out.iter().any(|mount: &v1::Mount| mount.container_path == "/etc/hosts");
        if !has_hosts {
            out.push(plain_mount("/etc/hosts", &directory.join("etc-hosts")));
        }
        let termination = directory.join("containers").join(&container.name).join(format!("{attempt:08x}"));
        make_termination_file(&termination)
            .map_err(|error| format!("cannot make {}: {error}", termination.display()))?;
        out.push(plain_mount(termination_path(container), &termination));
        Ok((out, termination))
    }

    fn mount(
        &self,
        container: &Container,
        index: usize,
        mount: &VolumeMount,
        directory: &Path,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<v1::Mount, String> {
        let volume = self.volumes.get(&mount.name).ok_or_else(|| {
            format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name)
        })?;
        let part = match (&mount.sub_path_expr, &mount.sub_path) {
            (Some(text), _) if !text.is_empty() => Some(expand(text, lookup)),
            (_, Some(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let host_path = match part {
            None => volume.clone(),
            Some(part) => {
                let target =
                    directory.join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string());
                let mounted = subpath::mount(volume, &part, &target);
                mounted.map_err(|error| {
                    format!(
                        "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                        mount.name, container.name
                    )
                })?
            }
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
            _ => v1::MountPropagation::PropagationPrivate,
        };
        Ok(v1::Mount {
            container_path: match mount.mount_path.starts_with('/') {
                true => mount.mount_path.clone(),
                false => format!("/{}", mount.mount_path),
            },
            host_path: host_path.display().to_string(),
            readonly: mount.read_only.unwrap_or_default() || self.is_told(&mount.name),
            propagation: propagation as i32,
            ..v1::Mount::default()
        })
    }

    /// Whether a volume's files are written by the agent: containers only read them.
    fn is_told(&self, volume: &str) -> bool {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes.filter(|given| given.name == volume).any(|given| {
            given.config_map.is_some()
                || given.secret.is_some()
                || given.projected.is_some()
                || given.downward_api.is_some()
        })
    }
}

fn plain_mount(inside: &str, outside: &Path) -> v1::Mount {
    v1::Mount { container_path: inside.to_owned(), host_path: outside.display().to_string(), ..v1::Mount::default() }
}

pub(super) fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log")
}

fn make_termination_file(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create(path)?;
    // Whoever the container runs as writes into it.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// What the environment refers to, fetched beforehand.
#[derive(Default)]
struct Fetched {
    config_maps: HashMap<String, BTreeMap<String, String>>,
    secrets: HashMap<String, BTreeMap<String, Vec<u8>>>,
}

impl Fetched {
    async fn fetch(container: &Container, leases: &Leases) -> Result<Fetched, String> {
        let from = container.env_from.iter().flatten();
        let env = || container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        let maps = from.clone().filter_map(|from| from.config_map_ref.as_ref().map(|reference| &reference.name));
        let maps = maps.chain(env().filter_map(|from| from.config_map_key_ref.as_ref().map(|key| &key.name)));
        let secrets = from.filter_map(|from| from.secret_ref.as_ref().map(|reference| &reference.name));
        let secrets = secrets.chain(env().filter_map(|from| from.secret_key_ref.as_ref().map(|key| &key.name)));
        let mut out = Fetched::default();
        for name in maps {
            let object = leases
                .config_map(name)
                .get()
                .await
                .map_err(|()| format!("failed to sync configmap cache: timed out waiting for {name:?}"))?;
            out.config_maps.extend(object.map(|map| (name.clone(), map.data.clone().unwrap_or_default())));
        }
        for name in secrets {
            let object = leases
                .secret(name)
                .get()
                .await
                .map_err(|()| format!("failed to sync secret cache: timed out waiting for {name:?}"))?;
            let bytes = |secret: &k8s_openapi::api::core::v1::Secret| {
                secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
            };
            out.secrets.extend(object.map(|secret| (name.clone(), bytes(&secret))));
        }
        Ok(out)
    }
}

impl Sources for Fetched {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.config_maps.get(name).cloned()
    }

    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.secrets.get(name).cloned()
    }
}
