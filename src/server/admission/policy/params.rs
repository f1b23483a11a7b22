//! Parameters of a binding: the objects that its `paramRef` names.

use mk8s_api::{field::quote, kinds, meta, select::LabelSelector};
use mk8s_store::View;
use serde_json::Value;

use super::read::{Binding, ParamKind};
use crate::stored;

/// The parameters with which a policy is asked, one after the other; `None` is to be asked without.
pub(super) fn collect(
    kind: Option<&ParamKind>,
    binding: &Binding,
    namespace: &str,
    view: &View,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(params)) = (kind, &binding.params) else { return Ok(vec![None]) };
    let place = Place::of(kind, view).ok_or_else(|| {
        format!("paramKind kind `&ParamKind{{APIVersion:{},Kind:{},}}` not known", kind.api_version, kind.kind)
    })?;
    if !place.namespaced && !params.namespace.is_empty() {
        return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
    }
    let namespace = match (place.namespaced, params.namespace.as_str()) {
        (false, _) => "",
        (true, "") if namespace.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "") => namespace,
        (true, own) => own,
    };
    let mut found: Vec<Value> = if !params.name.is_empty() {
        stored::get(view, &place.group, &place.plural, namespace, &params.name).into_iter().collect()
    } else if params.selector.is_object() {
        let selector = LabelSelector::from_json(&params.selector).map_err(|error| error.to_string())?;
        let all = stored::list(view, &place.group, &place.plural, namespace);
        all.into_iter().filter(|param| selector.matches(meta::labels(param))).collect()
    } else {
        return Err("one of name or selector must be provided".into());
    };
    if found.is_empty() && params.required {
        return Err(format!("no params found for policy binding with {} parameterNotFoundAction", "`Deny`"));
    }
    for param in &mut found {
        param["apiVersion"] = kind.api_version.as_str().into();
        param["kind"] = kind.kind.as_str().into();
    }
    Ok(found.into_iter().map(Some).collect())
}

/// Where objects of a kind are stored.
#[derive(Debug)]
struct Place {
    group: String,
    plural: String,
    namespaced: bool,
}

impl Place {
    fn of(kind: &ParamKind, view: &View) -> Option<Place> {
        let (group, version) = kinds::split_api_version(&kind.api_version);
        if let Some(known) = kinds::find_kind(group, version, &kind.kind) {
            return Some(Place {
                group: known.storage_group.to_string(),
                plural: known.plural.to_string(),
                namespaced: known.namespaced,
            });
        }
        let definitions = stored::list(view, "apiextensions.k8s.io", "customresourcedefinitions", "");
        let definition = definitions.into_iter().find(|definition| {
            let spec = &definition["spec"];
            spec["group"] == group
                && spec["names"]["kind"] == kind.kind.as_str()
                && stored::items(&spec["versions"])
                    .iter()
                    .any(|served| served["name"] == version && served["served"] == true)
        })?;
        let spec = &definition["spec"];
        Some(Place {
            group: group.to_string(),
            plural: spec["names"]["plural"].as_str()?.to_string(),
            namespaced: spec["scope"] == "Namespaced",
        })
    }
}

/// The name of a parameter, for what is told about it.
pub(super) fn name(param: Option<&Value>) -> String {
    param.map_or_else(String::new, |param| quote(meta::name(param)))
}
