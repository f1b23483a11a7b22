//! Which pods of a node go, which stay, and which stop the drain. Pure; the owners were looked up before.

use serde_json::Value;

/// What the flags allow.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed {
    pub(super) force: bool,
    pub(super) ignore_daemon_sets: bool,
    pub(super) empty_dir_data: bool,
    /// Pods deleted longer ago than this many seconds are passed over; 0 passes over none.
    pub(super) skip_deleted_seconds: i64,
}

/// What became of the daemon set that owns a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    There,
    /// It is gone, in the server's words.
    Gone(String),
    /// It could not be read, and why.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// It goes, and this is said about it.
    GoWith(String),
    Stay,
    StayWith(String),
    /// Nothing goes because of it.
    Stop(String),
}

impl Verdict {
    fn goes(&self) -> bool {
        matches!(self, Verdict::Go | Verdict::GoWith(_))
    }
}

/// The owner that controls a pod, when it is a daemon set.
pub(super) fn daemon_set(pod: &Value) -> Option<&str> {
    let owner = controller(pod)?;
    (owner["kind"] == "DaemonSet" && owner["apiVersion"] == "apps/v1")
        .then(|| owner["name"].as_str().unwrap_or_default())
}

fn controller(pod: &Value) -> Option<&Value> {
    pod["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Whether a pod has been deleted so long ago that nobody waits for it.
pub(super) fn long_deleted(pod: &Value, seconds: i64, now: jiff::Timestamp) -> bool {
    let deleted = pod["metadata"]["deletionTimestamp"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    seconds > 0 && deleted.is_some_and(|time| now.as_second() - time.as_second() > seconds)
}

/// The filters one after the other; the last one's word counts while the pod goes.
pub(super) fn judge(pod: &Value, owner: Option<&Owner>, allowed: &Allowed, now: jiff::Timestamp) -> Verdict {
    if long_deleted(pod, allowed.skip_deleted_seconds, now) {
        return Verdict::Stay;
    }
    let verdict = judge_daemon_set(pod, owner, allowed);
    if !verdict.goes() {
        return verdict;
    }
    if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return Verdict::Stay;
    }
    let local = pod["spec"]["volumes"]
        .as_array()
        .is_some_and(|volumes| volumes.iter().any(|volume| volume["emptyDir"].is_object()));
    if local && !is_over(pod) && !allowed.empty_dir_data {
        return Verdict::Stop("Pods with local storage (use --delete-emptydir-data to override)".to_owned());
    }
    if is_over(pod) || controller(pod).is_some() {
        return Verdict::Go;
    }
    if allowed.force {
        return Verdict::GoWith("deleting Pods that declare no controller".to_owned());
    }
    Verdict::Stop("Pods that declare no controller (use --force to override)".to_owned())
}

fn judge_daemon_set(pod: &Value, owner: Option<&Owner>, allowed: &Allowed) -> Verdict {
    if daemon_set(pod).is_none() || is_over(pod) {
        return Verdict::Go;
    }
    match owner {
        Some(Owner::Gone(message)) if allowed.force => Verdict::GoWith(message.clone()),
        Some(Owner::Gone(message) | Owner::Unknown(message)) => Verdict::Stop(message.clone()),
        _ if allowed.ignore_daemon_sets => Verdict::StayWith("ignoring DaemonSet-managed Pods".to_owned()),
        _ => Verdict::Stop("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)".to_owned()),
    }
}

/// `namespace/name` of the pods grouped by what is said about them, in the order of first mention.
pub(super) fn grouped<'a>(said: impl Iterator<Item = (&'a str, &'a Value)>) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for (message, pod) in said {
        let metadata = &pod["metadata"];
        let name = format!(
            "{}/{}",
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["name"].as_str().unwrap_or_default()
        );
        match groups.iter_mut().find(|(known, _)| *known == message) {
            Some((_, names)) => names.push(name),
            None => groups.push((message, vec![name])),
        }
    }
    groups.into_iter().map(|(message, names)| format!("{message}: {}", names.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(owner: Option<&str>, volumes: Value, phase: &str) -> Value {
        let mut pod = json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {"volumes": volumes}, "status": {"phase": phase}});
        if let Some(kind) = owner {
            pod["metadata"]["ownerReferences"] =
                json!([{"controller": true, "kind": kind, "apiVersion": "apps/v1", "name": "o"}]);
        }
        pod
    }

    #[test]
    fn pods_are_judged() {
        let strict = Allowed::default();
        let lax = Allowed { force: true, ignore_daemon_sets: true, empty_dir_data: true, skip_deleted_seconds: 60 };
        let local = json!([{"name": "v", "emptyDir": {}}]);
        let daemon = pod(Some("DaemonSet"), json!([]), "Running");
        let mut mirror = pod(None, json!([]), "Running");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        let stop = |text: &str| Verdict::Stop(text.to_owned());
        let (gone, unknown) = (Owner::Gone("gone".into()), Owner::Unknown("why".into()));
        let cases = [
            (pod(Some("ReplicaSet"), json!([]), "Running"), None, &strict, Verdict::Go),
            (
                pod(Some("ReplicaSet"), local.clone(), "Running"),
                None,
                &strict,
                stop("Pods with local storage (use --delete-emptydir-data to override)"),
            ),
            (pod(Some("ReplicaSet"), local.clone(), "Running"), None, &lax, Verdict::Go),
            (pod(None, local, "Succeeded"), None, &strict, Verdict::Go),
            (
                pod(None, json!([]), "Running"),
                None,
                &strict,
                stop("Pods that declare no controller (use --force to override)"),
            ),
            (
                pod(None, json!([]), "Running"),
                None,
                &lax,
                Verdict::GoWith("deleting Pods that declare no controller".into()),
            ),
            (
                daemon.clone(),
                Some(&Owner::There),
                &strict,
                stop("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"),
            ),
            (daemon.clone(), Some(&Owner::There), &lax, Verdict::StayWith("ignoring DaemonSet-managed Pods".into())),
            (daemon.clone(), Some(&gone), &strict, stop("gone")),
            (daemon.clone(), Some(&gone), &lax, Verdict::Go),
            (daemon, Some(&unknown), &lax, stop("why")),
            (mirror, None, &strict, Verdict::Stay),
        ];
        let now = "2024-01-01T00:00:00Z".parse().unwrap();
        for (pod, owner, allowed, expected) in cases {
            assert_eq!(judge(&pod, owner, allowed, now), expected, "{pod}");
        }
        let mut old = pod(None, json!([]), "Running");
        old["metadata"]["deletionTimestamp"] = "2023-12-31T23:00:00Z".into();
        assert_eq!(judge(&old, None, &lax, now), Verdict::Stay);
        assert_eq!(grouped([("x", &old), ("y", &old), ("x", &old)].into_iter()), ["x: a/p, a/p", "y: a/p"]);
    }
}
