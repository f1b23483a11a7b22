//! Which taints of nodes a pod stands.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a taint that keeps new pods away is not tolerated.
pub fn keep_away(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .any(|taint| !tolerated(taint, tolerations))
}

pub fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// Whether a toleration is one for a taint. The time it tolerates for is eviction's concern.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let Toleration { effect, key, operator, value, .. } = toleration;
    let wanted = [effect, key, operator, value].map(|part| part.as_deref().unwrap_or_default());
    matches(wanted, [&taint.effect, &taint.key, taint.value.as_deref().unwrap_or_default()])
}

/// Whether effect, key, operator and value of a toleration are those for effect, key and value of a taint: an empty effect
/// or key stands for all of them, and without an operator the values must be equal. The operators that compare numbers are
/// of a feature that is off, and tolerate nothing.
pub(crate) fn matches(toleration: [&str; 4], taint: [&str; 3]) -> bool {
    let [effect, key, operator, value] = toleration;
    let is_or_any = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
    is_or_any(effect, taint[0])
        && is_or_any(key, taint[1])
        && match operator {
            "" | "Equal" => value == taint[2],
            "Exists" => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::tolerates;
    use serde_json::json;

    #[test]
    fn an_empty_part_of_a_toleration_stands_for_all() {
        let taint = json!({"key": "disk", "value": "5", "effect": "NoSchedule"});
        let taint = serde_json::from_value(taint).expect("it is one");
        let cases = [
            (json!({"key": "disk", "value": "5", "effect": "NoSchedule"}), true),
            (json!({"key": "disk", "operator": "Equal", "value": "5"}), true),
            (json!({"key": "disk", "operator": "Exists", "effect": ""}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "disk"}), false),
            (json!({"key": "disk", "value": "5", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
            // These compare numbers where the feature is on.
            (json!({"key": "disk", "operator": "Lt", "value": "9"}), false),
            (json!({"key": "disk", "operator": "Gt", "value": "1"}), false),
        ];
        for (toleration, expected) in cases {
            let parsed = serde_json::from_value(toleration.clone()).expect("it is one");
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }
}
