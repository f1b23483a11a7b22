//! A kind in all its versions, as the language of apply wants to see it.

use mk8s_api::{apply::Versions, conversion, meta, schema::Node};
use serde_json::Value;

use crate::registry::{Resource, Resources};

/// What is sent to one resource, or to one of its subresources.
pub(in crate::registry) struct Kinds<'a> {
    pub(in crate::registry) resources: &'a Resources,
    pub(in crate::registry) resource: &'a Resource,
    pub(in crate::registry) subresource: &'a str,
}

impl Versions for Kinds<'_> {
    fn node(&self, api_version: &str) -> Option<Node<'_>> {
        if api_version == self.resource.api_version_of(self.subresource) {
            return self.resource.schema_of(self.subresource).map(|schema| schema.node());
        }
        let (group, version) = meta::group_version(api_version);
        let other = self.resources.find(group, version, &self.resource.kind.plural)?;
        // Groups may have a resource of the same name that is another one.
        (other.prefix == self.resource.prefix).then(|| other.schema_of("").map(|schema| schema.node()))?
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        let mut object = object.clone();
        let from = meta::api_version(&object).to_owned();
        if from == api_version {
            return Some(object);
        }
        let find = |api_version: &str| {
            let (group, version) = meta::group_version(api_version);
            self.resources.find(group, version, &self.resource.kind.plural)
        };
        let (from, to) = (find(&from)?, find(api_version)?);
        if from.prefix != to.prefix {
            return None;
        }
        conversion::to_storage(&from.kind, &mut object);
        conversion::from_storage(&to.kind, &mut object);
        Some(object)
    }
}
