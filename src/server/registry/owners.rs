//! Owners that an object names twice: the second time is dropped, and whoever wrote it is told.

use std::collections::HashSet;

use mk8s_api::{at, meta};
use serde_json::Value;

use super::Warnings;

/// Drops repeated owner references. `admitted`: admission has had its say.
pub(super) fn drop_repeated(object: &mut Value, admitted: bool, warnings: &mut Warnings) {
    let Some(Value::Array(owners)) =
        meta::metadata_mut(object).and_then(|metadata| metadata.get_mut("ownerReferences"))
    else {
        return;
    };
    if owners.len() < 2 {
        return;
    }
    let (mut seen, mut repeated) = (HashSet::new(), Vec::new());
    owners.retain(|owner| {
        let is_new = seen.insert(owner.clone());
        if !is_new {
            repeated.push(at::text(owner, "uid").to_owned());
        }
        is_new
    });
    if !repeated.is_empty() {
        let when = if admitted { " after mutating admission happens" } else { "" };
        warnings.push(format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_the_same_in_all_is_dropped() {
        let owner = |uid: &str, name: &str| json!({"uid": uid, "name": name});
        let mut object = json!({"metadata": {"ownerReferences": [
            owner("a", "x"), owner("b", "x"), owner("a", "x"), owner("a", "y"), owner("b", "x"),
        ]}});
        let mut warnings = Warnings::new();
        drop_repeated(&mut object, false, &mut warnings);
        assert_eq!(object["metadata"]["ownerReferences"], json!([owner("a", "x"), owner("b", "x"), owner("a", "y")]));
        assert!(warnings[0].ends_with("observed: a, b"), "{warnings:?}");
        drop_repeated(&mut object, true, &mut warnings);
        assert_eq!(warnings.len(), 1);
    }
}
