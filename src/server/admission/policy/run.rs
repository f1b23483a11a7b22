//! One expression of a policy, within what is left of a budget.

use mk8s_api::cel::{
    Budget, Compiled, Value,
    admission::{Activation, Scope},
};

/// Why an expression has no value, worded as upstream words it.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Failure {
    #[error("compilation error: {0}")]
    Compilation(String),
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OverBudget,
    #[error("expression '{0}' resulted in error: {1}")]
    Evaluation(String, String),
}

pub(super) fn evaluate<'a>(
    source: &str,
    compiled: &'a Result<Compiled, String>,
    scope: Scope,
    activation: &Activation<'a>,
    budget: &mut Budget,
) -> Result<Value<'a>, Failure> {
    let compiled = compiled.as_ref().map_err(|why| Failure::Compilation(why.clone()))?;
    let run = activation.evaluate(compiled, scope);
    if !budget.spend(run.cost) {
        return Err(Failure::OverBudget);
    }
    run.result.map_err(|error| Failure::Evaluation(source.to_string(), error.to_string()))
}
