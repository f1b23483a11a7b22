//! Whether a request concerns a policy or a binding, and as which version of its resource.

use mk8s_api::status::Status;
use mk8s_store::View;
use serde_json::Value;

use crate::{
    admission::{
        Request,
        webhook::{
            hook::{Rule, selector},
            rules::{self, Asked, Place, Selector, Version},
        },
    },
    stored::items,
};

/// `matchConstraints` or `matchResources`.
#[derive(Debug)]
pub(super) struct Criteria {
    rules: Vec<Named>,
    excluded: Vec<Named>,
    /// Other versions of a resource that a rule names count as well.
    equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

/// A rule for resources of some names, or of all.
#[derive(Debug)]
struct Named {
    rule: Rule,
    names: Vec<String>,
}

impl Criteria {
    pub(super) fn read(criteria: &Value) -> Criteria {
        let rules = |field: &str| -> Vec<Named> {
            let read = |rule: &Value| Named {
                rule: Rule::read(rule),
                names: items(&rule["resourceNames"])
                    .iter()
                    .filter_map(|name| name.as_str().map(str::to_string))
                    .collect(),
            };
            items(&criteria[field]).iter().map(read).collect()
        };
        Criteria {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: criteria["matchPolicy"] != "Exact",
            namespaces: selector(&criteria["namespaceSelector"]),
            objects: selector(&criteria["objectSelector"]),
        }
    }

    /// As what the request matches; `None` when it does not.
    pub(super) async fn asked(
        &self,
        request: &Request<'_>,
        object: &Value,
        view: &View,
    ) -> Result<Option<Asked>, Status> {
        match self.version(request, object, view)? {
            Some(version) => rules::asked(request, object, version).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn matches(&self, request: &Request<'_>, object: &Value, view: &View) -> Result<bool, Status> {
        self.version(request, object, view).map(|version| version.is_some())
    }

    /// The other version in which the request matches, or no other; nothing when it does not.
    fn version(&self, request: &Request<'_>, object: &Value, view: &View) -> Result<Option<Option<Version>>, Status> {
        // What rules say costs nothing, so it comes first.
        let Some(kind) = self.kind(&self.rules, request) else { return Ok(None) };
        if !self.excluded.is_empty() && self.kind(&self.excluded, request).is_some() {
            return Ok(None);
        }
        if !rules::namespace_selected(&self.namespaces, request, object, view)?
            || !rules::object_selected(&self.objects, request, object)?
        {
            return Ok(None);
        }
        Ok(Some(kind))
    }

    /// The other version in which a rule names the resource, or no other; nothing when no rule does. No rules are all.
    fn kind(&self, named: &[Named], request: &Request<'_>) -> Option<Option<Version>> {
        if named.is_empty() {
            return Some(None);
        }
        let own = Place::of(request);
        let matches = |place: &Place<'_>| {
            let fits = |named: &&Named| rules::rule_matches(&named.rule, place);
            named
                .iter()
                .filter(fits)
                .any(|named| named.names.is_empty() || named.names.iter().any(|name| name == request.name))
        };
        if matches(&own) {
            return Some(None);
        }
        if !self.equivalent {
            return None;
        }
        Version::find(request, matches).map(Some)
    }
}
