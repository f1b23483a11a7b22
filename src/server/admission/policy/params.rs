//! Parameters of a binding: the objects that its `paramRef` names, in the version that the policy names.

use std::sync::Arc;

use mk8s_api::{
    conversion,
    field::quote,
    kinds::{self, Kind},
    meta,
    select::LabelSelector,
};
use mk8s_store::{Entry, View};
use serde_json::Value;

use super::read::{Binding, ParamKind};
use crate::{
    registry::{Presenter, Resource},
    stored,
};

/// The parameters with which a policy is asked, one after the other; `None` is to be asked without.
pub(super) async fn collect(
    kind: Option<&ParamKind>,
    binding: &Binding,
    namespace: &str,
    view: &View,
    presenter: &Presenter,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(params)) = (kind, &binding.params) else { return Ok(vec![None]) };
    let place = Place::of(kind, presenter).ok_or_else(|| {
        format!("paramKind kind `&ParamKind{{APIVersion:{},Kind:{},}}` not known", kind.api_version, kind.kind)
    })?;
    let Kind { storage_group: group, plural, namespaced, .. } = place.kind();
    if !namespaced && !params.namespace.is_empty() {
        return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
    }
    let namespace = match (*namespaced, params.namespace.as_str()) {
        (false, _) => "",
        (true, "") if namespace.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "") => namespace,
        (true, own) => own,
    };
    let found: Vec<Arc<Entry>> = if !params.name.is_empty() {
        stored::entry(view, group, plural, namespace, &params.name).into_iter().collect()
    } else if params.selector.is_object() {
        let selector = LabelSelector::from_json(&params.selector).map_err(|error| error.to_string())?;
        let is_wanted = |entry: &Arc<Entry>| {
            serde_json::from_slice::<Value>(&entry.value).is_ok_and(|param| selector.matches(meta::labels(&param)))
        };
        stored::entries(view, group, plural, namespace).filter(is_wanted).collect()
    } else {
        return Err("one of name or selector must be provided".into());
    };
    if found.is_empty() && params.required {
        return Err(format!("no params found for policy binding with {} parameterNotFoundAction", "`Deny`"));
    }
    let mut all = Vec::with_capacity(found.len());
    for entry in found {
        let mut param = place.read(&entry, presenter).await?;
        param["apiVersion"] = kind.api_version.as_str().into();
        param["kind"] = kind.kind.as_str().into();
        all.push(Some(param));
    }
    Ok(all)
}

/// Why a policy cannot be asked at all: nobody serves the kind of its parameters.
pub(super) fn unknown_kind(kind: Option<&ParamKind>, presenter: &Presenter) -> Option<String> {
    let kind = kind.filter(|kind| Place::of(kind, presenter).is_none())?;
    let (group, version) = kinds::split_api_version(&kind.api_version);
    Some(format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={}'", kind.kind))
}

/// A kind of parameters in one version.
enum Place {
    BuiltIn(&'static Kind),
    Custom(Arc<Resource>),
}

impl Place {
    fn of(kind: &ParamKind, presenter: &Presenter) -> Option<Place> {
        let (group, version) = kinds::split_api_version(&kind.api_version);
        if let Some(known) = kinds::find_kind(group, version, &kind.kind) {
            return Some(Place::BuiltIn(known));
        }
        presenter.find_kind(group, version, &kind.kind).map(Place::Custom)
    }

    fn kind(&self) -> &Kind {
        match self {
            Place::BuiltIn(kind) => kind,
            Place::Custom(resource) => &resource.kind,
        }
    }

    /// A stored object as clients of this version see it.
    async fn read(&self, entry: &Entry, presenter: &Presenter) -> Result<Value, String> {
        match self {
            Place::BuiltIn(kind) => {
                let mut object = serde_json::from_slice(&entry.value).map_err(|error| error.to_string())?;
                conversion::from_storage(kind, &mut object);
                Ok(object)
            }
            Place::Custom(resource) => presenter.read(resource, entry).await.map_err(|status| status.message),
        }
    }
}

/// The name of a parameter, for what is told about it.
pub(super) fn name(param: Option<&Value>) -> String {
    param.map_or_else(String::new, |param| quote(meta::name(param)))
}
