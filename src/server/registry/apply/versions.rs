//! A kind in all its versions, as the language of apply wants to see it.

use std::{cell::OnceCell, sync::Arc};

use mk8s_api::{apply::Versions, conversion, meta, schema::Node};
use serde_json::Value;

use crate::registry::{Resource, Resources};

/// What is sent to one resource, or to one of its subresources.
pub(in crate::registry) struct Kinds<'a> {
    resources: &'a Resources,
    resource: &'a Resource,
    subresource: &'a str,
    /// The same kind in all versions, once they are asked for: most objects are written in one.
    all: OnceCell<Vec<Arc<Resource>>>,
}

impl<'a> Kinds<'a> {
    pub(in crate::registry) fn new(
        resources: &'a Resources,
        resource: &'a Resource,
        subresource: &'a str,
    ) -> Kinds<'a> {
        Kinds { resources, resource, subresource, all: OnceCell::new() }
    }

    fn find(&self, api_version: &str) -> Option<&Resource> {
        let all = self.all.get_or_init(|| self.resources.versions_of(self.resource));
        all.iter().map(|other| &**other).find(|other| other.api_version == api_version)
    }
}

impl Versions for Kinds<'_> {
    fn node(&self, api_version: &str) -> Option<Node<'_>> {
        if api_version == self.resource.api_version_of(self.subresource) {
            return self.resource.schema_of(self.subresource).map(|schema| schema.node());
        }
        self.find(api_version)?.schema_of("").map(|schema| schema.node())
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        let mut object = object.clone();
        let from = meta::api_version(&object);
        if from == api_version {
            return Some(object);
        }
        let (from, to) = (self.find(from)?, self.find(api_version)?);
        if self.resource.is_custom() {
            object["apiVersion"] = api_version.into();
            return Some(object);
        }
        conversion::to_storage(&from.kind, &mut object);
        conversion::from_storage(&to.kind, &mut object);
        Some(object)
    }
}
