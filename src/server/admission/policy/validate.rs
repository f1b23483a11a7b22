//! Validating policies on a request: each expression of each binding decides, and what is decided is done as the binding says.

use mk8s_api::{
    cel::{Budget, RUNTIME_BUDGET, Value as Cel, admission::Activation},
    status::{Cause, Status},
};
use serde_json::{Value, json};

use super::{
    Cluster,
    authorize::Asker,
    conditions, inputs, params,
    read::{Annotation, Binding, Bound, Policy, Validating, Validation},
    run::{self, Failure},
};
use crate::{
    admission::{Request, webhook::rules::Asked},
    auth::Authorization,
};

/// The longest message that an expression may give.
const MAX_MESSAGE: usize = 5 * 1024;
/// What is longer is cut.
const MAX_ANNOTATION: usize = 10 * 1024;

/// A request that a policy does not let pass.
#[derive(Debug)]
struct Denial {
    message: String,
    reason: String,
}

impl Denial {
    fn of_error(message: impl ToString) -> Denial {
        Denial { message: message.to_string(), reason: String::new() }
    }
}

/// What a policy says with one parameter.
#[derive(Default)]
struct Decisions {
    /// Per expression that does not let the request pass, its place.
    denials: Vec<(usize, Denial)>,
    /// Keys and values for the audit.
    annotations: Vec<(String, String)>,
    /// Annotations that could not be made, and so refuse.
    broken: Vec<Denial>,
}

pub(super) async fn validate(
    all: &[Bound<Validating>],
    request: &Request<'_>,
    object: &Value,
    cluster: &Cluster<'_>,
) -> Result<(), Status> {
    let Cluster { view, authorization, .. } = *cluster;
    let mut refusal: Option<Status> = None;
    let mut refuse = |policy: &Policy<Validating>, binding: Option<&Binding>, denial: Denial| {
        refusal.get_or_insert_with(|| refused(request, object, policy, binding, denial));
    };
    for bound in all {
        let policy = &*bound.policy;
        let asked = match policy.criteria.asked(request, object, view).await {
            Ok(Some(asked)) => asked,
            Ok(None) => continue,
            Err(_) if policy.ignores_failure => continue,
            Err(status) => {
                refuse(policy, None, Denial::of_error(format!("failed to configure policy: {}", status.message)));
                continue;
            }
        };
        if let Some(why) = params::unknown_kind(policy.params.as_ref(), cluster.presenter) {
            if !policy.ignores_failure {
                refuse(policy, None, Denial::of_error(format!("failed to configure policy: {why}")));
            }
            continue;
        }
        let question = inputs::request(request, &asked);
        let namespace = inputs::namespace(request, view);
        for binding in &bound.bindings {
            let params = match applied(policy, binding, request, object, cluster).await {
                Ok(params) => params,
                Err(_) if policy.ignores_failure => continue,
                Err(why) => {
                    refuse(policy, Some(binding), Denial::of_error(format!("failed to configure binding: {why}")));
                    continue;
                }
            };
            for param in &params {
                let (seen, old) =
                    asked.other.as_ref().map_or((object, request.old), |other| (&other.object, other.old.as_ref()));
                let given = inputs::Given {
                    request: &question,
                    object: seen,
                    old,
                    namespace: namespace.as_ref(),
                    params: param.as_ref(),
                };
                let decisions = decide(policy, &given, request, &asked, authorization);
                act(policy, binding, request, decisions, &mut refuse);
            }
        }
    }
    refusal.map_or(Ok(()), Err)
}

/// The parameters with which the binding asks about the request: none when it does not.
async fn applied(
    policy: &Policy<Validating>,
    binding: &Binding,
    request: &Request<'_>,
    object: &Value,
    cluster: &Cluster<'_>,
) -> Result<Vec<Option<Value>>, String> {
    if let Some(criteria) = &binding.criteria {
        match criteria.matches(request, object, cluster.view) {
            Ok(true) => {}
            Ok(false) => return Ok(Vec::new()),
            Err(status) => return Err(status.message),
        }
    }
    params::collect(policy.params.as_ref(), binding, request.namespace, cluster.view, cluster.presenter).await
}

fn decide(
    policy: &Policy<Validating>,
    given: &inputs::Given<'_>,
    request: &Request<'_>,
    asked: &Asked,
    authorization: &Authorization,
) -> Decisions {
    let asker = Asker { authorization, user: request.user };
    let variables = (!policy.variables.is_empty()).then_some((&policy.variables[..], policy.scope));
    let mut decisions = Decisions::default();
    let failed = |decisions: &mut Decisions, index: usize, why: String| {
        if !policy.ignores_failure {
            decisions.denials.push((index, Denial::of_error(why)));
        }
    };
    if !policy.conditions.is_empty() {
        let bare =
            Activation::new(inputs::Given { namespace: None, ..*given }.to_expressions(request, asked, &asker), None);
        match conditions::hold(&policy.conditions, &bare, policy.params.is_some()) {
            conditions::Outcome::Hold => {}
            conditions::Outcome::Fail => return decisions,
            conditions::Outcome::Unknown(why) => {
                failed(&mut decisions, 0, why);
                return decisions;
            }
        }
    }
    let activation = Activation::new(given.to_expressions(request, asked, &asker), variables);
    let mut budget = Budget::new(RUNTIME_BUDGET);
    let mut false_ones = Vec::new();
    for (index, validation) in policy.parts.validations.iter().enumerate() {
        let expression = &validation.expression;
        match run::evaluate(&expression.source, &expression.compiled, expression.scope, &activation, &mut budget) {
            Ok(Cel::Bool(true)) => {}
            Ok(_) => false_ones.push((index, validation)),
            Err(Failure::OverBudget) => {
                decisions.denials.clear();
                failed(&mut decisions, 0, Failure::OverBudget.to_string());
                return decisions;
            }
            Err(failure) => failed(&mut decisions, index, failure.to_string()),
        }
    }
    for (index, validation) in false_ones {
        match message(validation, &activation, &mut budget) {
            Ok(message) => {
                let reason = if validation.reason.is_empty() { "Invalid" } else { validation.reason.as_str() };
                decisions.denials.push((index, Denial { message, reason: reason.to_string() }));
            }
            Err(failure) => failed(&mut decisions, index, format!("failed messageExpression: {failure}")),
        }
    }
    decisions.denials.sort_by_key(|(index, _)| *index);
    let mut budget = Budget::new(RUNTIME_BUDGET);
    for annotation in &policy.parts.annotations {
        annotate(policy, annotation, &activation, &mut budget, &mut decisions);
    }
    decisions
}

/// Why the expression refuses: what its own expression for that says, its message, or itself.
fn message<'a>(
    validation: &'a Validation,
    activation: &Activation<'a>,
    budget: &mut Budget,
) -> Result<String, Failure> {
    let said = match &validation.message_expression {
        None => None,
        Some(expression) => {
            match run::evaluate(&expression.source, &expression.compiled, expression.scope, activation, budget) {
                Ok(Cel::String(text)) => Some(text.trim().to_string()),
                Err(Failure::OverBudget) => return Err(Failure::OverBudget),
                _ => None,
            }
        }
    };
    let usable = |text: &String| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
    Ok(said.filter(usable).unwrap_or_else(|| match validation.message.as_str() {
        "" => format!("failed expression: {}", validation.expression.source.trim()),
        message => message.to_string(),
    }))
}

fn annotate<'a>(
    policy: &Policy<Validating>,
    annotation: &'a Annotation,
    activation: &Activation<'a>,
    budget: &mut Budget,
    decisions: &mut Decisions,
) {
    let value = &annotation.value;
    match run::evaluate(&value.source, &value.compiled, value.scope, activation, budget) {
        Ok(Cel::String(text)) if !text.trim().is_empty() => {
            let text = text.trim();
            let end = (0..=text.len().min(MAX_ANNOTATION)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            decisions.annotations.push((annotation.key.clone(), text[..end].to_string()));
        }
        Ok(_) => {}
        Err(failure) if !policy.ignores_failure => decisions.broken.push(Denial::of_error(failure)),
        Err(_) => {}
    }
}

/// Does what the binding says about what the policy decided.
fn act(
    policy: &Policy<Validating>,
    binding: &Binding,
    request: &Request<'_>,
    decisions: Decisions,
    refuse: &mut impl FnMut(&Policy<Validating>, Option<&Binding>, Denial),
) {
    for (index, denial) in decisions.denials {
        for action in &binding.actions {
            match action.as_str() {
                "Warn" => request.notes.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                    policy.name, binding.name, denial.message
                )),
                "Audit" => {
                    let failure = json!([{
                        "message": denial.message,
                        "policy": policy.name,
                        "binding": binding.name,
                        "expressionIndex": index,
                        "validationActions": binding.actions,
                    }]);
                    request
                        .notes
                        .annotate("validation.policy.admission.k8s.io/validation_failure", failure.to_string());
                }
                _ => {}
            }
        }
        if binding.actions.iter().any(|action| action == "Deny") {
            refuse(policy, Some(binding), denial);
        }
    }
    for (key, value) in decisions.annotations {
        request.notes.annotate(format!("{}/{key}", policy.name), value);
    }
    for denial in decisions.broken {
        refuse(policy, Some(binding), denial);
    }
}

fn refused(
    request: &Request<'_>,
    object: &Value,
    policy: &Policy<Validating>,
    binding: Option<&Binding>,
    denial: Denial,
) -> Status {
    let name = &policy.name;
    let message = match binding {
        Some(binding) => {
            format!(
                "ValidatingAdmissionPolicy '{name}' with binding '{}' denied request: {}",
                binding.name, denial.message
            )
        }
        None => format!("ValidatingAdmissionPolicy '{name}' denied request: {}", denial.message),
    };
    let mut status = request.forbidden(Some(object), &message);
    let (code, reason) = match denial.reason.as_str() {
        "Forbidden" => (403, "Forbidden"),
        "Unauthorized" => (401, "Unauthorized"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    (status.code, status.reason) = (code, reason.into());
    if let Some(details) = &mut status.details {
        details.causes.push(Cause { message, ..Cause::default() });
    }
    status
}
