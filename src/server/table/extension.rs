//! APIServices: who answers for a version of a group, and whether they do.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{age, condition, name, text, text_or},
};

pub(super) fn printers() -> Declared {
    vec![("apiregistration.k8s.io", "APIService", Printer::of("Name|Service|Available|Age", api_service))]
}

fn api_service(object: &Value, now: Timestamp) -> Vec<Value> {
    let service = match &object["spec"]["service"] {
        service @ Value::Object(_) => format!("{}/{}", text(&service["namespace"]), text(&service["name"])),
        _ => "Local".to_owned(),
    };
    let available = condition(object, "Available").map_or_else(
        || "Unknown".to_owned(),
        |found| match (text_or(&found["status"], "Unknown"), text(&found["reason"])) {
            (status, "") => status.to_owned(),
            (status, _) if status == "True" => status.to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    vec![name(object), json!(service), json!(available), age(object, now)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_say_who_answers_and_whether() {
        let local = json!({"metadata": {"name": "v1."}, "spec": {}, "status": {"conditions": [{"type": "Available", "status": "True", "reason": "Local"}]}});
        let gone = json!({"metadata": {"name": "v1.g"}, "spec": {"service": {"namespace": "n", "name": "s"}},
            "status": {"conditions": [{"type": "Available", "status": "False", "reason": "ServiceNotFound"}]}});
        let new = json!({"metadata": {"name": "v2.g"}, "spec": {}});
        for (object, expected) in
            [(local, ["Local", "True"]), (gone, ["n/s", "False (ServiceNotFound)"]), (new, ["Local", "Unknown"])]
        {
            let cells = api_service(&object, Timestamp::UNIX_EPOCH);
            assert_eq!(cells[1..3], expected.map(Value::from), "{object}");
        }
    }
}
