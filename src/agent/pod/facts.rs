//! What is asked of a typed pod again and again, in one word each.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, ObjectReference, Pod, PodSpec};
use kube::ResourceExt;

/// Annotations by which Kubernetes marks static pods and their mirrors.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// Which list of the spec a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Init,
    Regular,
    Ephemeral,
}

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// `name_namespace(uid)`, as Kubernetes' messages name pods.
pub fn format(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// A pod that was read has a spec; an empty one stands for it otherwise.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

pub fn containers(pod: &Pod) -> &[Container] {
    &spec(pod).containers
}

pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

pub fn ephemeral_containers(pod: &Pod) -> Vec<Container> {
    spec(pod).ephemeral_containers.iter().flatten().map(of_ephemeral).collect()
}

/// An ephemeral container is a container without ports, probes and resources.
fn of_ephemeral(from: &EphemeralContainer) -> Container {
    Container {
        args: from.args.clone(),
        command: from.command.clone(),
        env: from.env.clone(),
        env_from: from.env_from.clone(),
        image: from.image.clone(),
        image_pull_policy: from.image_pull_policy.clone(),
        name: from.name.clone(),
        security_context: from.security_context.clone(),
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        termination_message_path: from.termination_message_path.clone(),
        termination_message_policy: from.termination_message_policy.clone(),
        tty: from.tty,
        volume_mounts: from.volume_mounts.clone(),
        working_dir: from.working_dir.clone(),
        ..Container::default()
    }
}

/// A container of any list, by name.
pub fn container(pod: &Pod, name: &str) -> Option<(Role, Container)> {
    let find = |list: &[Container]| list.iter().find(|container| container.name == name).cloned();
    find(init_containers(pod))
        .map(|container| (Role::Init, container))
        .or_else(|| find(containers(pod)).map(|container| (Role::Regular, container)))
        .or_else(|| find(&ephemeral_containers(pod)).map(|container| (Role::Ephemeral, container)))
}

/// An init container that keeps running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

pub fn restart_policy(pod: &Pod) -> &str {
    spec(pod).restart_policy.as_deref().unwrap_or("Always")
}

pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or_default()
}

pub fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Made from a file on this node.
pub fn is_static(pod: &Pod) -> bool {
    pod.annotations().get(CONFIG_SOURCE).is_some_and(|source| source != "api")
}

/// The server's picture of a static pod.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.annotations().contains_key(CONFIG_MIRROR)
}

/// Whether a container runs again after it ended with this code.
pub fn restarts_after(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        let matched = if codes.operator == "NotIn" { !listed } else { listed };
        if matched && rule.action.starts_with("Restart") {
            return true;
        }
    }
    let policy = container.restart_policy.as_deref().unwrap_or(restart_policy(pod));
    match policy {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// How an event names a container of a pod.
pub fn container_reference(pod: &Pod, role: Role, container: &str) -> ObjectReference {
    let list = match role {
        Role::Init => "initContainers",
        Role::Regular => "containers",
        Role::Ephemeral => "ephemeralContainers",
    };
    let field_path = Some(format!("spec.{list}{{{container}}}"));
    ObjectReference { field_path, ..mk8s_client::events::reference(pod) }
}

/// Changes when a running container has to be replaced: FNV-1a over its name and image.
pub fn container_hash(container: &Container) -> String {
    let text = serde_json::json!({"name": container.name, "image": container.image}).to_string();
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:x}")
}

/// The port a number or a name means in a container.
pub fn port_of(container: &Container, port: &k8s_openapi::apimachinery::pkg::util::intstr::IntOrString) -> Option<u16> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.and_then(|port| u16::try_from(port.container_port).ok()).or_else(|| name.parse().ok())
        }
    }
}
