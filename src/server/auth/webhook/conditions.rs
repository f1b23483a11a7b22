//! Which requests a webhook is asked about: expressions over what it would be asked.

use mk8s_api::{
    cel::{Compiled, Declarations, Type, Value as Cel, admission::compile_for},
    field::{FieldError, Path},
};
use serde_json::{Value, json};

use super::authorize::{fields, labels};
use crate::auth::{Attributes, aggregate};

/// So many, and no more.
const CONDITIONS: usize = 64;

/// Conditions that must all hold. None: every request is asked about.
#[derive(Debug, Default)]
pub struct Conditions(Vec<(String, Compiled)>);

impl Conditions {
    /// Compiles expressions. `path`: of what holds them.
    pub fn compile(expressions: &[&str], path: &Path, errors: &mut Vec<FieldError>) -> Conditions {
        let list = path.child("matchConditions");
        if expressions.len() > CONDITIONS {
            errors.push(FieldError::too_many(&list, expressions.len(), CONDITIONS));
            return Conditions::default();
        }
        let declarations = declarations();
        let mut compiled = Vec::new();
        for (index, expression) in expressions.iter().enumerate() {
            let path = list.index(index).child("expression");
            if expression.trim().is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else if expressions[..index].contains(expression) {
                errors.push(FieldError::duplicate(&path, *expression));
            } else {
                match compile_for(expression, &declarations, &[Type::Bool]) {
                    Ok(program) => compiled.push(((*expression).to_owned(), program)),
                    Err(why) => errors.push(FieldError::invalid(&path, *expression, why)),
                }
            }
        }
        Conditions(compiled)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold: one that does not decides, whatever is wrong with others.
    pub(super) fn hold(&self, attributes: &Attributes<'_>) -> Result<bool, String> {
        let request = request(attributes);
        let mut errors = Vec::new();
        for (source, compiled) in &self.0 {
            let failed = |why: String| format!("cel evaluation error: expression '{source}' {why}");
            match compiled.program.evaluate(&[Some(Cel::dynamic(&request))]).result {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => return Ok(false),
                Ok(_) => errors.push(failed("eval result type should be bool".to_owned())),
                Err(error) => errors.push(failed(format!("resulted in error: {error}"))),
            }
        }
        aggregate(&errors).map_or(Ok(true), Err)
    }
}

fn declarations() -> Declarations {
    let text = |names: &[&'static str]| names.iter().map(|name| (*name, Type::String)).collect::<Vec<_>>();
    let named = |name: &str| Type::Struct(name.into());
    let texts = || Type::list(Type::String);
    let selector =
        || [("rawSelector", Type::String), ("requirements", Type::list(named("kubernetes.SelectorRequirement")))];
    let mut resource = text(&["namespace", "verb", "group", "version", "resource", "subresource", "name"]);
    resource.extend([
        ("fieldSelector", named("kubernetes.FieldSelectorAttributes")),
        ("labelSelector", named("kubernetes.LabelSelectorAttributes")),
    ]);
    let spec = [
        ("resourceAttributes", named("kubernetes.ResourceAttributes")),
        ("nonResourceAttributes", named("kubernetes.NonResourceAttributes")),
        ("user", Type::String),
        ("groups", texts()),
        ("extra", Type::map(Type::String, texts())),
        ("uid", Type::String),
    ];
    Declarations::new()
        .object(
            "kubernetes.SelectorRequirement",
            [("key", Type::String), ("operator", Type::String), ("values", texts())],
        )
        .object("kubernetes.FieldSelectorAttributes", selector())
        .object("kubernetes.LabelSelectorAttributes", selector())
        .object("kubernetes.ResourceAttributes", resource)
        .object("kubernetes.NonResourceAttributes", text(&["path", "verb"]))
        .object("kubernetes.SubjectAccessReviewSpec", spec)
        .variable("request", named("kubernetes.SubjectAccessReviewSpec"))
}

/// What is asked, with the texts that are empty, so that they can be compared.
fn request(a: &Attributes<'_>) -> Value {
    let user = a.user;
    let mut request = json!({"user": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
    if !a.is_resource {
        request["nonResourceAttributes"] = json!({"path": a.path, "verb": a.verb});
        return request;
    }
    let mut resource = json!({
        "namespace": a.namespace,
        "verb": a.verb,
        "group": a.group,
        "version": a.version,
        "resource": a.resource,
        "subresource": a.subresource,
        "name": a.name,
    });
    let selectors = [("fieldSelector", a.field_selector.map(fields)), ("labelSelector", a.label_selector.map(labels))];
    for (name, requirements) in selectors {
        if let Some(mut requirements) = requirements.filter(|requirements| !requirements.is_empty()) {
            for requirement in &mut requirements {
                requirement.as_object_mut().map(|requirement| requirement.entry("values").or_insert_with(|| json!([])));
            }
            resource[name] = json!({"requirements": requirements});
        }
    }
    request["resourceAttributes"] = resource;
    request
}
