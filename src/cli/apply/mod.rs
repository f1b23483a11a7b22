//! Client-side apply: its arithmetic (`three_way`; `verbs/apply.rs` does the talking), and the way from it to server-side
//! apply (`migration`).

pub(crate) mod migration;
pub(crate) mod three_way;

use serde_json::Value;

/// The annotation that remembers what was applied.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The configuration an object remembers.
pub(crate) fn last_applied(object: &Value) -> Option<Value> {
    serde_json::from_str(object["metadata"]["annotations"][LAST_APPLIED].as_str()?).ok()
}

/// Makes an object remember itself.
pub(crate) fn set_last_applied(object: &mut Value) {
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    } else {
        object["metadata"]["annotations"] = Value::Object(serde_json::Map::new());
    }
    let text = format!("{object}\n");
    object["metadata"]["annotations"][LAST_APPLIED] = text.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_remembers_itself_once() {
        let mut object = json!({"kind": "A", "metadata": {"name": "x"}});
        set_last_applied(&mut object);
        let first = object.clone();
        set_last_applied(&mut object);
        assert_eq!(object, first);
        assert_eq!(last_applied(&object), Some(json!({"kind": "A", "metadata": {"annotations": {}, "name": "x"}})));
    }
}
