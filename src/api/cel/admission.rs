//! Expressions of admission: which variables policies and match conditions have, and how their results are named when they are wrong.
//!
//! `object`, `oldObject`, `request` and `namespaceObject` are always there; `params`, `authorizer` and `variables` where their place
//! allows.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use serde_json::Value as Json;

use super::authorize::{Authorize, Authorizer, ResourceCheck, ResourceQuestion};
use super::{CompileError, Compiled, DeclType, Declarations, EvalError, Evaluation, Lazy, Map, Type, Value, compile};
use crate::field::quote;

/// Which variables an expression has beside those that all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub params: bool,
    pub authorizer: bool,
    /// `Object{…}` and `JSONPatch{…}`.
    pub mutation: bool,
}

/// A compiled variable of a policy.
#[derive(Debug)]
pub struct Variable {
    pub name: String,
    /// Whether it compiles; where not, why.
    pub compiled: Result<Compiled, String>,
}

impl Scope {
    /// The declarations, with variables of a policy where it has any.
    pub fn declarations(self, variables: Option<&[Variable]>) -> Declarations {
        self.typed_declarations(variables, None, None)
    }

    /// The declarations where the types of the object and of the parameters are known.
    pub(super) fn typed_declarations(
        self,
        variables: Option<&[Variable]>,
        object: Option<&Arc<DeclType>>,
        params: Option<&Arc<DeclType>>,
    ) -> Declarations {
        let typed = |declarations: Declarations, name: &str, of: Option<&Arc<DeclType>>| match of {
            Some(of) => declarations.schema_variable(name, of),
            None => declarations.variable(name, Type::Dyn),
        };
        let mut declarations = typed(named_types(Declarations::new()), "object", object);
        declarations = typed(declarations, "oldObject", object)
            .variable("namespaceObject", Type::Struct("kubernetes.Namespace".into()))
            .variable("request", Type::Struct("kubernetes.AdmissionRequest".into()));
        if self.params {
            declarations = typed(declarations, "params", params);
        }
        if self.authorizer {
            declarations = declarations
                .variable("authorizer", Type::Struct("kubernetes.authorization.Authorizer".into()))
                .variable("authorizer.requestResource", Type::Struct("kubernetes.authorization.ResourceCheck".into()));
        }
        if let Some(variables) = variables {
            let fields = variables.iter().map(|variable| {
                let t = variable.compiled.as_ref().map_or(Type::Dyn, |compiled| compiled.program.output().clone());
                (variable.name.as_str(), t)
            });
            declarations = declarations
                .object("kubernetes.variables", fields)
                .variable("variables", Type::Struct("kubernetes.variables".into()));
        }
        if self.mutation { declarations.with_mutation() } else { declarations }
    }

    /// The values in the order of the declarations.
    fn values<'a>(self, inputs: &Inputs<'a>, variables: Option<Value<'a>>) -> Vec<Option<Value<'a>>> {
        let json = |json: Option<&'a Json>| Some(json.map_or(Value::Null, Value::dynamic));
        let mut values =
            vec![json(inputs.object), json(inputs.old), json(inputs.namespace), json(Some(inputs.request))];
        if self.params {
            values.push(json(inputs.params));
        }
        if self.authorizer {
            let authorizer = inputs.authorize.map(|authorize| Authorizer { authorize, service_account: None });
            values.push(authorizer.clone().map(|authorizer| Value::Authorizer(Rc::new(authorizer))));
            values.push(authorizer.map(|authorizer| {
                let question = inputs.resource.clone();
                Value::ResourceCheck(Rc::new(ResourceCheck { authorizer, question }))
            }));
        }
        values.extend(variables.map(Some));
        values
    }
}

/// What a request is to expressions.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    pub object: Option<&'a Json>,
    pub old: Option<&'a Json>,
    pub namespace: Option<&'a Json>,
    /// The `AdmissionRequest`.
    pub request: &'a Json,
    pub params: Option<&'a Json>,
    pub authorize: Option<&'a dyn Authorize>,
    /// The resource of the request, for `authorizer.requestResource`.
    pub resource: ResourceQuestion,
}

/// Compiles an expression that must have one of some types.
pub fn compile_for(source: &str, declarations: &Declarations, wanted: &[Type]) -> Result<Compiled, String> {
    let compiled = match compile(source, declarations) {
        Ok(compiled) => compiled,
        Err(error @ CompileError::Problems(_)) => return Err(format!("compilation failed: {error}")),
        Err(error) => return Err(error.to_string()),
    };
    let found = compiled.program.output();
    match wanted {
        _ if wanted.is_empty() || wanted.contains(found) => Ok(compiled),
        [one] => Err(format!("must evaluate to {one} but got {found}")),
        many => {
            let names: Vec<String> = many.iter().map(ToString::to_string).collect();
            Err(format!("must evaluate to one of [{}] but got {found}", names.join(" ")))
        }
    }
}

/// Compiles the variables of a policy, each of which may use those before it.
pub fn compile_variables<'s>(sources: impl IntoIterator<Item = (&'s str, &'s str)>, scope: Scope) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (name, source) in sources {
        let compiled = compile_for(source, &scope.declarations(Some(&variables)), &[]);
        variables.push(Variable { name: name.to_string(), compiled });
    }
    variables
}

/// Values for the expressions of one policy on one request. Variables are computed once, when they are first asked for.
#[derive(Debug)]
pub struct Activation<'a> {
    inputs: Inputs<'a>,
    variables: Option<Rc<Variables<'a>>>,
}

impl<'a> Activation<'a> {
    /// `scope` is that of the variables.
    pub fn new(inputs: Inputs<'a>, variables: Option<(&'a [Variable], Scope)>) -> Activation<'a> {
        let variables = variables.map(|(programs, scope)| {
            Rc::new_cyclic(|me| Variables {
                programs,
                scope,
                inputs: inputs.clone(),
                values: RefCell::new(vec![None; programs.len()]),
                cost: Cell::new(0),
                depth: Cell::new(0),
                me: me.clone(),
            })
        });
        Activation { inputs, variables }
    }

    /// Runs an expression that was compiled in the scope. Variables that it is the first to ask for are part of its cost.
    pub fn evaluate(&self, compiled: &'a Compiled, scope: Scope) -> Evaluation<'a> {
        let variables = self.variables.as_ref().map(|variables| Value::Map(Map::Lazy(variables.clone())));
        let mut run = compiled.program.evaluate(&scope.values(&self.inputs, variables));
        if let Some(variables) = &self.variables {
            run.cost = run.cost.saturating_add(variables.cost.take());
        }
        run
    }
}

/// Variables that need variables that need variables: so many and no more.
const MAX_NESTED: u32 = 32;

#[derive(Debug)]
struct Variables<'a> {
    programs: &'a [Variable],
    scope: Scope,
    inputs: Inputs<'a>,
    values: RefCell<Vec<Option<Result<Value<'a>, EvalError>>>>,
    cost: Cell<u64>,
    depth: Cell<u32>,
    me: Weak<Variables<'a>>,
}

impl<'a> Lazy<'a> for Variables<'a> {
    fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let index = self.programs.iter().position(|variable| variable.name == name)?;
        if let Some(known) = &self.values.borrow()[index] {
            return Some(known.clone());
        }
        let value = self.compute(&self.programs[index]);
        self.values.borrow_mut()[index] = Some(value.clone());
        Some(value)
    }
}

impl<'a> Variables<'a> {
    fn compute(&self, variable: &'a Variable) -> Result<Value<'a>, EvalError> {
        let failed = |what: &str, why: String| {
            EvalError::other(format!("composited variable {} fails to {what}: {why}", quote(&variable.name)))
        };
        let compiled = variable.compiled.as_ref().map_err(|why| failed("compile", why.clone()))?;
        if self.depth.get() >= MAX_NESTED {
            return Err(failed("evaluate", "variables nest too deeply".into()));
        }
        self.depth.set(self.depth.get() + 1);
        let all = self.me.upgrade().map(|me| Value::Map(Map::Lazy(me)));
        let run = compiled.program.evaluate(&self.scope.values(&self.inputs, all));
        self.depth.set(self.depth.get() - 1);
        self.cost.set(self.cost.get().saturating_add(run.cost));
        run.result.map_err(|error| match error {
            EvalError::CostLimit => EvalError::CostLimit,
            other => failed("evaluate", other.to_string()),
        })
    }
}

fn named_types(declarations: Declarations) -> Declarations {
    let named = |name: &str| Type::Struct(name.into());
    let texts = || Type::list(Type::String);
    let labels = || Type::map(Type::String, Type::String);
    let text = Type::String;
    declarations
        .object(
            "kubernetes.GroupVersionKind",
            [("group", text.clone()), ("version", text.clone()), ("kind", text.clone())],
        )
        .object(
            "kubernetes.GroupVersionResource",
            [("group", text.clone()), ("version", text.clone()), ("resource", text.clone())],
        )
        .object(
            "kubernetes.UserInfo",
            [
                ("username", text.clone()),
                ("uid", text.clone()),
                ("groups", texts()),
                ("extra", Type::map(Type::String, texts())),
            ],
        )
        .object(
            "kubernetes.AdmissionRequest",
            [
                ("kind", named("kubernetes.GroupVersionKind")),
                ("resource", named("kubernetes.GroupVersionResource")),
                ("subResource", text.clone()),
                ("requestKind", named("kubernetes.GroupVersionKind")),
                ("requestResource", named("kubernetes.GroupVersionResource")),
                ("requestSubResource", text.clone()),
                ("name", text.clone()),
                ("namespace", text.clone()),
                ("operation", text.clone()),
                ("userInfo", named("kubernetes.UserInfo")),
                ("dryRun", Type::Bool),
                ("options", Type::Dyn),
            ],
        )
        .object("kubernetes.NamespaceSpec", [("finalizers", texts())])
        .object(
            "kubernetes.NamespaceCondition",
            [
                ("status", text.clone()),
                ("type", text.clone()),
                ("lastTransitionTime", Type::Timestamp),
                ("message", text.clone()),
                ("reason", text.clone()),
            ],
        )
        .object(
            "kubernetes.NamespaceStatus",
            [("conditions", Type::list(named("kubernetes.NamespaceCondition"))), ("phase", text.clone())],
        )
        .object(
            "kubernetes.NamespaceMetadata",
            [
                ("name", text.clone()),
                ("generateName", text.clone()),
                ("namespace", text.clone()),
                ("labels", labels()),
                ("annotations", labels()),
                ("UID", text.clone()),
                ("creationTimestamp", Type::Timestamp),
                ("deletionGracePeriodSeconds", Type::Int),
                ("deletionTimestamp", Type::Timestamp),
                ("generation", Type::Int),
                ("resourceVersion", text),
                ("finalizers", texts()),
            ],
        )
        .object(
            "kubernetes.Namespace",
            [
                ("metadata", named("kubernetes.NamespaceMetadata")),
                ("spec", named("kubernetes.NamespaceSpec")),
                ("status", named("kubernetes.NamespaceStatus")),
            ],
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_see_the_request_and_their_variables() {
        let scope = Scope { params: true, authorizer: false, mutation: false };
        let variables = compile_variables(
            [
                ("replicas", "object.spec.replicas"),
                ("twice", "variables.replicas * 2"),
                ("broken", "1 / (variables.replicas - 3)"),
            ],
            scope,
        );
        let declarations = scope.declarations(Some(&variables));
        let request = json!({"operation": "CREATE", "namespace": "x", "userInfo": {"username": "u"}});
        let (object, params) = (json!({"spec": {"replicas": 3}}), json!({"max": 5}));
        for (source, expected) in [
            ("variables.twice > params.max && oldObject == null", Ok(true)),
            ("request.operation == 'CREATE' && request.namespace == 'x' && request.userInfo.username == 'u'", Ok(true)),
            ("variables.broken == 1", Err("composited variable \"broken\" fails to evaluate: division by zero")),
            ("namespaceObject == null", Ok(true)),
        ] {
            let compiled = compile_for(source, &declarations, &[Type::Bool]).expect(source);
            let inputs = Inputs {
                object: Some(&object),
                old: None,
                namespace: None,
                request: &request,
                params: Some(&params),
                authorize: None,
                resource: ResourceQuestion::default(),
            };
            let activation = Activation::new(inputs, Some((&variables, scope)));
            let found = activation.evaluate(&compiled, scope).result;
            match expected {
                Ok(expected) => {
                    assert!(matches!(found, Ok(Value::Bool(value)) if value == expected), "{source}: {found:?}")
                }
                Err(why) => assert_eq!(found.expect_err(source).to_string(), why),
            }
        }
        for (source, why) in [
            ("request.x == 1", "undefined field 'x'"),
            ("variables.nothing == 1", "undefined field 'nothing'"),
            ("authorizer.group('') == null", "undeclared reference to 'authorizer'"),
            ("object.spec.replicas", "must evaluate to bool but got dyn"),
        ] {
            let error = compile_for(source, &declarations, &[Type::Bool]).expect_err(source);
            assert!(error.contains(why), "{error}");
        }
    }
}
