//! Plain writes to an object whose fields have managers: who writes a field has it from then on.

use jiff::Timestamp;
use mk8s_api::{meta, schema::Node};
use serde_json::Value;

use super::{
    fields::Fields,
    managers::{Manager, Managers},
};
use crate::registry::Call;

/// Notes in `new` what a plain write changes of `old`. Nothing is done for an object that nobody manages.
pub(in crate::registry) fn note(call: &Call<'_>, new: &mut Value, old: &Value) {
    if !meta::metadata(new).contains_key("managedFields") {
        return;
    }
    let Some(schema) = call.resource.schema_of("") else { return };
    let node = schema.node();
    let (before, after) = (fields_of(node, old), fields_of(node, new));
    let changed = after.changed(node, Some(new), &before, Some(old));
    let removed = before.without(&after);
    if changed.is_empty() && removed.is_empty() {
        return;
    }
    let writer = writer(call, &call.options.manager, meta::format_time(Timestamp::now()));
    Managers::read(new).written(writer, &changed, &removed).write(new);
}

/// What was written before anybody applied.
pub(super) fn before_first_apply(call: &Call<'_>, node: Node<'_>, live: &Value) -> Manager {
    let time = meta::creation_timestamp(live).unwrap_or_default().to_string();
    Manager { fields: fields_of(node, live), subresource: String::new(), ..writer(call, "before-first-apply", time) }
}

fn writer(call: &Call<'_>, name: &str, time: String) -> Manager {
    Manager {
        name: name.to_string(),
        api_version: call.resource.api_version.clone(),
        subresource: call.subresource.to_string(),
        time,
        applies: false,
        fields: Fields::default(),
    }
}

fn fields_of(node: Node<'_>, object: &Value) -> Fields {
    let mut fields = Fields::of(node, object);
    fields.forget_address();
    fields
}
