//! What pods do that follow the practice of hardening.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Check, Violation,
    baseline::{bad_seccomp, proc_mount, seccomp},
    containers, items, listed, named, own_users, plural, quoted, setters, text, unless, windows,
};

/// By name, which is the order in which they are told.
pub(super) const CHECKS: [Check; 7] = [
    Check::new(
        "allowPrivilegeEscalation",
        &[(8, privilege_escalation), (25, |pod| unless(windows, pod, privilege_escalation))],
    ),
    Check::new("capabilities_restricted", &[(22, capabilities), (25, |pod| unless(windows, pod, capabilities))])
        .instead_of("capabilities_baseline"),
    Check::new("procMount_restricted", &[(35, proc_mount)]).instead_of("procMount"),
    Check::new("restrictedVolumes", &[(0, volumes)]).instead_of("hostPathVolumes"),
    Check::new("runAsNonRoot", &[(0, run_as_non_root), (35, |pod| unless(own_users, pod, run_as_non_root))]),
    Check::new("runAsUser", &[(23, run_as_user), (35, |pod| unless(own_users, pod, run_as_user))]),
    Check::new("seccompProfile_restricted", &[(19, seccomp_stated), (25, |pod| unless(windows, pod, seccomp_stated))])
        .instead_of("seccompProfile_baseline"),
];

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn privilege_escalation(pod: &Value) -> Option<Violation> {
    let bad = named(pod, |container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    (!bad.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!("{} must set securityContext.allowPrivilegeEscalation=false", listed("container", &bad)),
    })
}

fn capabilities(pod: &Value) -> Option<Violation> {
    let of = |container: &Value, field: &str| -> Vec<String> {
        items(&container["securityContext"]["capabilities"][field]).iter().map(text).collect()
    };
    let added = |container: &Value| -> Vec<String> {
        of(container, "add").into_iter().filter(|c| c != "NET_BIND_SERVICE").collect()
    };
    let keeping = named(pod, |container| !of(container, "drop").iter().any(|c| c == "ALL"));
    let adding = named(pod, |container| !added(container).is_empty());
    let forbidden: BTreeSet<String> = containers(pod).flat_map(added).collect();
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", listed("container", &keeping)));
    }
    if !adding.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            listed("container", &adding),
            quoted(forbidden)
        ));
    }
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

fn volumes(pod: &Value) -> Option<Violation> {
    let source = |volume: &Value| {
        let kind = volume.as_object()?.keys().find(|key| *key != "name")?;
        (!VOLUMES.contains(&kind.as_str())).then(|| kind.clone())
    };
    let list = items(&pod["spec"]["volumes"]);
    let bad: Vec<String> =
        list.iter().filter(|volume| source(volume).is_some()).map(|volume| text(&volume["name"])).collect();
    let kinds: BTreeSet<String> = list.iter().filter_map(source).collect();
    let use_ = if bad.len() == 1 { "uses" } else { "use" };
    (!bad.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {use_} {} {}",
            listed("volume", &bad),
            plural("restricted volume type", kinds.len()),
            quoted(kinds)
        ),
    })
}

fn run_as_non_root(pod: &Value) -> Option<Violation> {
    let flag = |holder: &Value| holder["securityContext"]["runAsNonRoot"].as_bool();
    let own = flag(&pod["spec"]);
    let explicit = named(pod, |container| flag(container) == Some(false));
    let implicit = named(pod, |container| flag(container).is_none() && own != Some(true));
    let detail = match setters(own == Some(false), &explicit) {
        Some(who) => format!("{who} must not set securityContext.runAsNonRoot=false"),
        None if implicit.is_empty() => return None,
        None => format!("pod or {} must set securityContext.runAsNonRoot=true", listed("container", &implicit)),
    };
    Some(Violation { reason: "runAsNonRoot != true", detail })
}

fn run_as_user(pod: &Value) -> Option<Violation> {
    let root = |holder: &Value| holder["securityContext"]["runAsUser"] == 0;
    let who = setters(root(&pod["spec"]), &named(pod, root))?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{who} must not set runAsUser=0") })
}

fn seccomp_stated(pod: &Value) -> Option<Violation> {
    if let Some(wrong) = seccomp(pod) {
        return Some(wrong);
    }
    let stated =
        |holder: &Value| holder["securityContext"]["seccompProfile"].is_object() && bad_seccomp(holder).is_none();
    let silent = named(pod, |container| !stated(container) && !stated(&pod["spec"]));
    (!silent.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            listed("container", &silent)
        ),
    })
}
