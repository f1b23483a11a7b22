//! Who may what, and who asks for certificates.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, age, duration, items, name, text, text_or},
};

pub(super) fn printers() -> Declared {
    let bindings = "Name|Role|Age|+Users|+Groups|+ServiceAccounts";
    let requests = "Name|Age|SignerName|Requestor|RequestedDuration|Condition";
    vec![
        ("rbac.authorization.k8s.io", "RoleBinding", Printer::of(bindings, binding)),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", Printer::of(bindings, binding)),
        ("certificates.k8s.io", "CertificateSigningRequest", Printer::of(requests, signing_request)),
        (
            "certificates.k8s.io",
            "ClusterTrustBundle",
            Printer::of("Name|SignerName", |o, _| vec![name(o), json!(text_or(&o["spec"]["signerName"], NONE))]),
        ),
    ]
}

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let role = &object["roleRef"];
    let of = |kind: &str| {
        let subjects = items(&object["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let names: Vec<String> = subjects
            .map(|subject| match kind {
                "ServiceAccount" => format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])),
                _ => text(&subject["name"]).to_string(),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![
        name(object),
        json!(format!("{}/{}", text(&role["kind"]), text(&role["name"]))),
        age(object, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}

fn signing_request(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let asked = spec["expirationSeconds"]
        .as_i64()
        .map_or_else(|| NONE.to_string(), |seconds| duration(seconds.saturating_mul(1000)));
    vec![
        name(object),
        age(object, now),
        json!(text_or(&spec["signerName"], NONE)),
        json!(text(&spec["username"])),
        json!(asked),
        json!(signing_state(&object["status"])),
    ]
}

fn signing_state(status: &Value) -> String {
    let has = |kind: &str| items(&status["conditions"]).iter().any(|condition| condition["type"] == kind);
    let mut state = match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    }
    .to_string();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&status["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}
