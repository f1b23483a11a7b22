//! Mutating policies on a request: each mutation of each binding changes the object that the one before it left.

use std::collections::BTreeMap;

use mk8s_api::{
    cel::{Budget, RUNTIME_BUDGET, admission::Activation},
    patch,
    schema::{self, Schema},
    status::{Cause, Status},
};
use serde_json::Value;

use super::{
    Cluster,
    authorize::Asker,
    conditions, inputs, merge, params,
    read::{Binding, Bound, Mutating, Mutation, Policy},
    run,
};
use crate::{
    admission::{Request, managers, webhook::rules::Asked},
    auth::Authorization,
    registry::FieldValidation,
};

/// What the first round leaves for the second.
#[derive(Debug, Default)]
pub(in crate::admission) struct Round {
    /// Whether this is the second round, in which only policies are asked that want to be.
    again: bool,
    /// The object as those left it that want to be asked again when it changed.
    left: BTreeMap<String, Value>,
}

impl Round {
    pub(in crate::admission) fn again(mut self) -> Round {
        self.again = true;
        self
    }
}

/// Refusals in their order.
#[derive(Default)]
struct Refusals(Vec<(String, bool)>);

impl Refusals {
    /// `invalid`: the policy's own expressions failed.
    fn add(&mut self, policy: &Policy<Mutating>, binding: Option<&Binding>, why: &str, invalid: bool) {
        if policy.ignores_failure {
            return;
        }
        let message = match binding {
            Some(binding) => format!("policy '{}' with binding '{}' denied request: {why}", policy.name, binding.name),
            None => format!("policy {:?} denied request: {why}", policy.name),
        };
        self.0.push((message, invalid));
    }

    fn outcome(self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let Some((message, invalid)) = self.0.first() else { return Ok(()) };
        let mut status = request.forbidden(Some(object), "admission request denied by policy");
        status.message = message.clone();
        if *invalid {
            status.reason = "Invalid".into();
        }
        if let Some(details) = &mut status.details {
            details.causes.extend(self.0.into_iter().map(|(message, _)| Cause { message, ..Cause::default() }));
        }
        Err(status)
    }
}

pub(super) async fn mutate(
    all: &[Bound<Mutating>],
    request: &Request<'_>,
    object: &mut Value,
    cluster: &Cluster<'_>,
    round: &mut Round,
) -> Result<bool, Status> {
    let Cluster { view, authorization, presenter } = *cluster;
    let mut refusals = Refusals::default();
    let mut changed = false;
    for bound in all {
        let policy = &*bound.policy;
        let mut asked = match policy.criteria.asked(request, object, view).await {
            Ok(Some(asked)) => asked,
            Ok(None) => continue,
            Err(status) => {
                refusals.add(policy, None, &format!("failed to configure policy: {}", status.message), false);
                continue;
            }
        };
        if let Some(why) = params::unknown_kind(policy.params.as_ref(), presenter) {
            refusals.add(policy, None, &format!("failed to configure policy: {why}"), false);
            continue;
        }
        let namespace = inputs::namespace(request, view);
        for binding in &bound.bindings {
            if let Some(criteria) = &binding.criteria {
                match criteria.matches(request, object, view) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(status) => {
                        refusals.add(
                            policy,
                            Some(binding),
                            &format!("failed to configure binding: {}", status.message),
                            false,
                        );
                        continue;
                    }
                }
            }
            let params = params::collect(policy.params.as_ref(), binding, request.namespace, view, presenter).await;
            let params = match params {
                Ok(params) => params,
                Err(why) => {
                    refusals.add(policy, Some(binding), &format!("failed to configure binding: {why}"), false);
                    continue;
                }
            };
            for param in &params {
                let key = format!("{}/{}/{}", policy.name, binding.name, params::name(param.as_ref()));
                if round.again && round.left.get(&key).is_none_or(|left| left == object) {
                    continue;
                }
                let one = One { policy, request, namespace: namespace.as_ref(), param: param.as_ref(), authorization };
                match one.apply(object, &mut asked).await {
                    Ok(by_this) => changed |= by_this,
                    Err(why) => refusals.add(policy, Some(binding), &why, true),
                }
                if policy.parts.reinvoke {
                    round.left.insert(key, object.clone());
                }
            }
        }
    }
    refusals.outcome(request, object)?;
    Ok(changed)
}

/// One policy with one parameter.
struct One<'a> {
    policy: &'a Policy<Mutating>,
    request: &'a Request<'a>,
    namespace: Option<&'a Value>,
    param: Option<&'a Value>,
    authorization: &'a Authorization,
}

impl One<'_> {
    /// Applies all mutations, if the conditions hold. Says whether the object changed.
    async fn apply(&self, object: &mut Value, asked: &mut Asked) -> Result<bool, String> {
        let question = inputs::request(self.request, asked);
        let asker = Asker { authorization: self.authorization, user: self.request.user };
        let mut changed = false;
        for (index, mutation) in self.policy.parts.mutations.iter().enumerate() {
            // As the policy knows the object.
            let failed = |status: Status| format!("failed to convert the object: {}", status.message);
            let seen = match &asked.other {
                Some(other) => other.version.of_own(self.request, object.clone()).await.map_err(failed)?,
                None => object.clone(),
            };
            let old = asked.other.as_ref().map_or(self.request.old, |other| other.old.as_ref());
            let given =
                inputs::Given { request: &question, object: &seen, old, namespace: self.namespace, params: self.param };
            if index == 0 && !self.conditions_hold(&given, asked, &asker)? {
                return Ok(false);
            }
            let patched = self.patched(mutation, &given, asked, &asker)?;
            if patched == seen {
                continue;
            }
            let own = match &asked.other {
                Some(other) => other.version.to_own(self.request, patched).await.map_err(failed)?,
                None => patched,
            };
            let mut own = conform(self.request, own)?;
            managers::keep_readable(self.request, object, &mut own);
            *object = own;
            changed = true;
        }
        Ok(changed)
    }

    fn conditions_hold(&self, given: &inputs::Given<'_>, asked: &Asked, asker: &Asker<'_>) -> Result<bool, String> {
        if self.policy.conditions.is_empty() {
            return Ok(true);
        }
        let given = inputs::Given { namespace: None, ..*given };
        let activation = Activation::new(given.to_expressions(self.request, asked, asker), None);
        match conditions::hold(&self.policy.conditions, &activation, self.policy.params.is_some()) {
            conditions::Outcome::Hold => Ok(true),
            conditions::Outcome::Fail => Ok(false),
            conditions::Outcome::Unknown(why) => Err(why),
        }
    }

    fn patched(
        &self,
        mutation: &Mutation,
        given: &inputs::Given<'_>,
        asked: &Asked,
        asker: &Asker<'_>,
    ) -> Result<Value, String> {
        let activation = Activation::new(
            given.to_expressions(self.request, asked, asker),
            Some((&self.policy.variables[..], self.policy.scope)),
        );
        let mut budget = Budget::new(RUNTIME_BUDGET);
        let expression = &mutation.expression;
        let value = run::evaluate(&expression.source, &expression.compiled, expression.scope, &activation, &mut budget)
            .map_err(|failure| failure.to_string())?;
        value.check_type_names().map_err(|why| format!("type mismatch: {why}"))?;
        let change = value.to_json().map_err(|error| error.to_string())?;
        if mutation.is_patch {
            return match patch::json_patch(given.object, change.to_string().as_bytes()) {
                // A test that fails leaves the object as it is.
                Err(error) if error.is_failed_test() => Ok(given.object.clone()),
                Err(error) => Err(format!("JSON Patch: {error}")),
                Ok(patched) => Ok(patched),
            };
        }
        let schema = schema_of(self.request, asked);
        merge::merge(given.object, &change, schema.map(Schema::node))
            .map_err(|why| format!("error applying patch: {why}"))
    }
}

/// What the policy knows of the object's fields.
fn schema_of<'a>(request: &Request<'a>, asked: &'a Asked) -> Option<&'a Schema> {
    let (group, version, name) = &asked.kind;
    match &asked.other {
        Some(other) => other.version.schema(),
        None => schema::schema_of(group, version, name).or_else(|| request.target?.schema_of(request.subresource)),
    }
}

/// Brings a changed object into the form of its kind: unknown fields dropped, defaults set.
fn conform(request: &Request<'_>, object: Value) -> Result<Value, String> {
    let Some(resource) = request.target else { return Ok(object) };
    let conformed = resource.conform(request.subresource, object, Vec::new(), FieldValidation::Ignore, &mut Vec::new());
    conformed.map_err(|status| status.message)
}
