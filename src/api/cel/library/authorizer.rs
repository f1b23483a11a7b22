//! The words of `authorizer`: a question is put together step by step, and `check` asks it.

use std::rc::Rc;

use super::{Function, Outcome};
use crate::cel::authorize::{Authorizer, Decision, GroupCheck, PathCheck, Question, ResourceCheck, ResourceQuestion};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::names;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "path" => |args| match args {
            [Value::Authorizer(_), Value::String(path)] if path.trim().is_empty() => {
                Err(EvalError::other("path must not be empty"))
            }
            [Value::Authorizer(authorizer), Value::String(path)] => {
                Ok(Value::PathCheck(Rc::new(PathCheck { authorizer: (**authorizer).clone(), path: path.to_string() })))
            }
            _ => Err(EvalError::overload()),
        },
        "group" => |args| match args {
            [Value::Authorizer(authorizer), Value::String(group)] => Ok(Value::GroupCheck(Rc::new(GroupCheck {
                authorizer: (**authorizer).clone(),
                group: group.to_string(),
            }))),
            _ => Err(EvalError::overload()),
        },
        "serviceAccount" => service_account,
        "resource" => |args| match args {
            [Value::GroupCheck(_), Value::String(resource)] if resource.trim().is_empty() => {
                Err(EvalError::other("resource must not be empty"))
            }
            [Value::GroupCheck(check), Value::String(resource)] => {
                let question = ResourceQuestion {
                    group: check.group.clone(),
                    resource: resource.to_string(),
                    ..Default::default()
                };
                Ok(Value::ResourceCheck(Rc::new(ResourceCheck { authorizer: check.authorizer.clone(), question })))
            }
            _ => Err(EvalError::overload()),
        },
        "subresource" => |args| with(args, |question, text| question.subresource = text),
        "namespace" => |args| with(args, |question, text| question.namespace = text),
        "name" => |args| with(args, |question, text| question.name = text),
        "fieldSelector" => |args| with(args, |question, text| question.field_selector = text),
        "labelSelector" => |args| with(args, |question, text| question.label_selector = text),
        "check" => check,
        "allowed" => |args| decision(args, |decision| Value::Bool(decision.allowed)),
        "reason" => |args| decision(args, |decision| Value::text(decision.reason.as_str())),
        "errored" => |args| decision(args, |decision| Value::Bool(decision.error.is_some())),
        "error" => |args| decision(args, |decision| Value::text(decision.error.as_deref().unwrap_or_default())),
        _ => return None,
    })
}

fn service_account<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Authorizer(authorizer), Value::String(namespace), Value::String(name)] = args else {
        return Err(EvalError::overload());
    };
    if !names::dns1123_subdomain(name).is_empty() {
        return Err(EvalError::other("Invalid service account name"));
    }
    if !names::dns1123_label(namespace).is_empty() {
        return Err(EvalError::other("Invalid service account namespace"));
    }
    let service_account = Some((namespace.to_string(), name.to_string()));
    Ok(Value::Authorizer(Rc::new(Authorizer { authorize: authorizer.authorize, service_account })))
}

fn with<'a>(args: &[Value<'a>], set: fn(&mut ResourceQuestion, String)) -> Outcome<'a> {
    let [Value::ResourceCheck(check), Value::String(text)] = args else { return Err(EvalError::overload()) };
    let mut check = (**check).clone();
    set(&mut check.question, text.to_string());
    Ok(Value::ResourceCheck(Rc::new(check)))
}

fn check<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let decision = match args {
        [Value::PathCheck(check), Value::String(verb)] => {
            check.authorizer.ask(&Question::Path { path: check.path.clone(), verb: verb.to_string() })
        }
        [Value::ResourceCheck(check), Value::String(verb)] => check
            .authorizer
            .ask(&Question::Resource(ResourceQuestion { verb: verb.to_string(), ..check.question.clone() })),
        _ => return Err(EvalError::overload()),
    };
    Ok(Value::Decision(Rc::new(decision)))
}

fn decision<'a>(args: &[Value<'a>], of: fn(&Decision) -> Value<'a>) -> Outcome<'a> {
    match &args[0] {
        Value::Decision(decision) => Ok(of(decision)),
        _ => Err(EvalError::overload()),
    }
}
