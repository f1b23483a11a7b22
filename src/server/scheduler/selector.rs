//! Label selectors of typed objects as the matchers of the API's language.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use mk8s_api::select::{LabelSelector, Operator, Requirement};

/// A selector with further requirements. An absent one matches nothing, an empty one everything.
pub fn of(selector: Option<&v1::LabelSelector>, further: Vec<Requirement>) -> LabelSelector {
    let Some(selector) = selector else { return LabelSelector::nothing() };
    let mut requirements = further;
    for (key, value) in selector.match_labels.iter().flatten() {
        requirements.push(Requirement { key: key.clone(), operator: Operator::In, values: vec![value.clone()] });
    }
    for expression in selector.match_expressions.iter().flatten() {
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            // The server has refused it; what cannot be understood matches nothing.
            _ => return LabelSelector::nothing(),
        };
        let mut values = expression.values.clone().unwrap_or_default();
        values.sort();
        values.dedup();
        requirements.push(Requirement { key: expression.key.clone(), operator, values });
    }
    requirements.dedup();
    LabelSelector::of(requirements)
}

/// A text that is the same for the same selector.
pub fn identity(selector: &LabelSelector) -> String {
    if selector.is_nothing() { "-".to_owned() } else { selector.to_string() }
}
