//! `matchConditions` of policies and of webhooks: all must hold, and one that does not decides, whatever others do.

use mk8s_api::cel::{
    Budget, Compiled, MATCH_CONDITIONS_BUDGET, Type, Value as Cel,
    admission::{self, Activation, Scope},
};
use serde_json::Value;

use super::run;

/// A condition, compiled if it can be.
#[derive(Debug)]
pub(in crate::admission) struct Condition {
    source: String,
    compiled: Result<Compiled, String>,
}

#[derive(Debug, PartialEq)]
pub(in crate::admission) enum Outcome {
    Hold,
    Fail,
    /// None fails, but of some it cannot be told.
    Unknown(String),
}

const fn scope(params: bool) -> Scope {
    Scope { params, authorizer: true, mutation: false }
}

impl Condition {
    pub(in crate::admission) fn read(condition: &Value, params: bool) -> Condition {
        let source = condition["expression"].as_str().unwrap_or_default().trim().to_string();
        let compiled = admission::compile_for(&source, &scope(params).declarations(None), &[Type::Bool]);
        Condition { source, compiled }
    }
}

/// Whether all conditions hold.
pub(in crate::admission) fn hold<'a>(
    conditions: &'a [Condition],
    activation: &Activation<'a>,
    params: bool,
) -> Outcome {
    let mut budget = Budget::new(MATCH_CONDITIONS_BUDGET);
    let mut errors = Vec::new();
    for condition in conditions {
        match run::evaluate(&condition.source, &condition.compiled, scope(params), activation, &mut budget) {
            Ok(Cel::Bool(false)) => return Outcome::Fail,
            Ok(_) => {}
            Err(run::Failure::OverBudget) => return Outcome::Unknown(run::Failure::OverBudget.to_string()),
            Err(failure) => errors.push(failure.to_string()),
        }
    }
    match &errors[..] {
        [] => Outcome::Hold,
        [one] => Outcome::Unknown(one.clone()),
        many => Outcome::Unknown(format!("[{}]", many.join(", "))),
    }
}
