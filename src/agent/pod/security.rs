//! Security contexts of pods and containers as the runtime understands them.

use super::{facts, facts::Role};
use k8s_openapi::api::core::v1::{Container, Pod, SELinuxOptions, SeccompProfile};
use mk8s_cri::v1;

/// Paths of `/proc` and `/sys` that containers do not see, and those they cannot change.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = facts::spec(pod);
    let node_or =
        |host: Option<bool>, other: v1::NamespaceMode| if host == Some(true) { v1::NamespaceMode::Node } else { other };
    let pid = match spec.share_process_namespace {
        Some(true) => v1::NamespaceMode::Pod,
        _ => v1::NamespaceMode::Container,
    };
    v1::NamespaceOption {
        network: node_or(spec.host_network, v1::NamespaceMode::Pod) as i32,
        ipc: node_or(spec.host_ipc, v1::NamespaceMode::Pod) as i32,
        pid: node_or(spec.host_pid, pid) as i32,
        ..v1::NamespaceOption::default()
    }
}

fn selinux(from: Option<&SELinuxOptions>) -> Option<v1::SeLinuxOption> {
    from.map(|options| v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    })
}

fn number(value: Option<i64>) -> Option<v1::Int64Value> {
    value.map(|value| v1::Int64Value { value })
}

fn groups(pod: &Pod) -> Vec<i64> {
    let context = facts::spec(pod).security_context.as_ref();
    let more = context.and_then(|context| context.supplemental_groups.clone()).unwrap_or_default();
    context.and_then(|context| context.fs_group).into_iter().chain(more).collect()
}

fn profile(from: Option<&SeccompProfile>) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (profile_type, localhost_ref) = match from.map(|profile| profile.type_.as_str()) {
        Some("RuntimeDefault") => (ProfileType::RuntimeDefault, String::new()),
        Some("Localhost") => {
            let name = from.and_then(|profile| profile.localhost_profile.clone()).unwrap_or_default();
            (ProfileType::Localhost, format!("/var/lib/kubelet/seccomp/{name}"))
        }
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile { profile_type: profile_type as i32, localhost_ref }
}

pub(super) fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true))
}

pub(super) fn of_sandbox(pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let context = facts::spec(pod).security_context.as_ref();
    let mut all = facts::containers(pod).iter().chain(facts::init_containers(pod));
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        selinux_options: selinux(context.and_then(|context| context.se_linux_options.as_ref())),
        run_as_user: number(context.and_then(|context| context.run_as_user)),
        run_as_group: number(context.and_then(|context| context.run_as_user.and(context.run_as_group))),
        supplemental_groups: groups(pod),
        privileged: all.any(is_privileged),
        ..v1::LinuxSandboxSecurityContext::default()
    }
}

pub(super) fn of_container(
    pod: &Pod,
    container: &Container,
    target: Option<&str>,
) -> v1::LinuxContainerSecurityContext {
    let of_pod = facts::spec(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
    let group = own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
    let selinux_from =
        own.and_then(|own| own.se_linux_options.as_ref()).or(of_pod.and_then(|pod| pod.se_linux_options.as_ref()));
    let seccomp =
        own.and_then(|own| own.seccomp_profile.as_ref()).or(of_pod.and_then(|pod| pod.seccomp_profile.as_ref()));
    let unmasked = own.and_then(|own| own.proc_mount.as_deref()) == Some("Unmasked");
    let listed =
        |paths: &[&str]| if unmasked { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() };
    let mut namespace_options = namespaces(pod);
    if let Some(target) = target {
        namespace_options.pid = v1::NamespaceMode::Target as i32;
        namespace_options.target_id = target.to_owned();
    }
    let strict = of_pod.and_then(|pod| pod.supplemental_groups_policy.as_deref()) == Some("Strict");
    let privileged = is_privileged(container);
    v1::LinuxContainerSecurityContext {
        capabilities: own.and_then(|own| own.capabilities.as_ref()).map(|capabilities| v1::Capability {
            add_capabilities: capabilities.add.clone().unwrap_or_default(),
            drop_capabilities: capabilities.drop.clone().unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespace_options),
        selinux_options: selinux(selinux_from),
        run_as_user: number(user),
        run_as_group: number(group),
        readonly_rootfs: own.and_then(|own| own.read_only_root_filesystem).unwrap_or_default(),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: if strict {
            v1::SupplementalGroupsPolicy::Strict
        } else {
            v1::SupplementalGroupsPolicy::Merge
        } as i32,
        no_new_privs: own.and_then(|own| own.allow_privilege_escalation) == Some(false),
        masked_paths: listed(&MASKED),
        readonly_paths: listed(&READ_ONLY),
        seccomp: (!privileged).then(|| profile(seccomp)),
        ..v1::LinuxContainerSecurityContext::default()
    }
}

/// `runAsNonRoot`, judged by what the pod or the image says about the user. In the words of the waiting message.
pub(super) fn check_non_root(pod: &Pod, container: &Container, image: Option<&v1::Image>) -> Result<(), String> {
    let of_pod = facts::spec(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let wanted = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
    if wanted != Some(true) {
        return Ok(());
    }
    let about = format!("(pod: {:?}, container: {})", facts::format(pod), container.name);
    let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
    match (user, image) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {about}")),
        (Some(_), _) => Ok(()),
        (None, Some(image)) if image.uid.as_ref().is_some_and(|uid| uid.value != 0) => Ok(()),
        (None, Some(image)) if image.uid.is_none() && !image.username.is_empty() && image.username != "0" => {
            Err(format!(
                "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {about}",
                image.username
            ))
        }
        (None, _) => Err(format!("container has runAsNonRoot and image will run as root {about}")),
    }
}

/// The container whose process namespace an ephemeral container joins.
pub(super) fn target_of(pod: &Pod, role: Role, name: &str) -> Option<String> {
    if role != Role::Ephemeral {
        return None;
    }
    let list = facts::spec(pod).ephemeral_containers.as_deref().unwrap_or_default();
    list.iter().find(|container| container.name == name)?.target_container_name.clone().filter(|name| !name.is_empty())
}
