//! Server-side apply: a manager says what it wants of an object, and the server knows which manager wants what.
//!
//! ```text
//! configuration --fields--> what the manager wants now
//!   conflicts: fields another manager applied, with another value     -> 409, or taken over by force
//!   merge:     live object + configuration, by the schema's list types
//!   prune:     what this manager wanted before, wants no longer, and nobody else wants
//! ```
//!
//! Reading order: [`fields`] (sets of fields, as `managedFields` writes them), [`managers`], [`merge`], then
//! [`Registry::apply`].
//! Plain writes are recorded ([`writes`]) once an object has been applied; before that it costs them nothing, and what they
//! left is then said to be of `before-first-apply`.

mod fields;
mod managers;
mod merge;
mod writes;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use mk8s_api::{
    decode::FieldValidation,
    field::{FieldError, Path},
    meta,
    schema::Schema,
    status::{Cause, Status},
};
use serde_json::Value;

pub(super) use writes::note;

use self::{
    fields::Fields,
    managers::{Manager, Managers},
};
use super::{Call, Registry, Updated, Warnings, keys};

impl Registry {
    /// Applies a configuration; makes the object when there is none. `duplicates` are the fields that stand in it twice.
    pub async fn apply(
        &self,
        call: &Call<'_>,
        configuration: Value,
        duplicates: Vec<String>,
        warnings: &mut Warnings,
    ) -> Result<Updated, Status> {
        let schema = call.resource.schema_of(call.subresource).ok_or_else(Status::resource_not_found)?;
        let wanted = Wanted::read(call, schema, configuration, duplicates, warnings)?;
        let key = keys::object(&call.resource.prefix, call.namespace, call.name);
        if self.store().view().get(&key).is_none() {
            if !call.subresource.is_empty() {
                return Err(call.not_found());
            }
            let mut object = call.resource.conform(
                "",
                wanted.configuration.clone(),
                Vec::new(),
                FieldValidation::Ignore,
                warnings,
            )?;
            Managers::default().with(wanted.manager(call)).write(&mut object);
            let stored = self.create(call, object, warnings).await?;
            return Ok(Updated { stored, created: true });
        }
        let mut said = Warnings::new();
        let update = self.update_applied(call, warnings, |live| {
            said.clear();
            let (object, managers) = wanted.applied(call, schema, live)?;
            let mut object =
                call.resource.conform(call.subresource, object, Vec::new(), FieldValidation::Ignore, &mut said)?;
            managers.keeping_times(live, &object).write(&mut object);
            if wanted.version.is_empty() {
                meta::set(&mut object, "resourceVersion", "0");
            } else {
                meta::set(&mut object, "resourceVersion", wanted.version.as_str());
            }
            Ok(object)
        });
        let stored = update.await?;
        warnings.append(&mut said);
        Ok(Updated { stored, created: false })
    }
}

/// What a manager wants of an object.
struct Wanted {
    /// As it was sent, in canonical form, without what is only an address.
    configuration: Value,
    fields: Fields,
    version: String,
    now: String,
}

impl Wanted {
    fn read(
        call: &Call<'_>,
        schema: &Schema,
        mut sent: Value,
        duplicates: Vec<String>,
        warnings: &mut Warnings,
    ) -> Result<Wanted, Status> {
        if call.options.field_manager.is_empty() {
            let error = FieldError::required(&Path::new("fieldManager"), "is required for apply patch");
            return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![error]));
        }
        for (field, said) in [("apiVersion", meta::api_version(&sent)), ("kind", meta::kind(&sent))] {
            if said.is_empty() {
                return Err(Status::bad_request(format!("the applied configuration does not say its {field}")));
            }
        }
        if sent["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let version = meta::resource_version(&sent).to_string();
        let name = meta::name(&sent);
        if !name.is_empty() && name != call.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name
            )));
        }
        meta::set_name(&mut sent, call.name);
        if call.resource.kind.namespaced && meta::namespace(&sent).is_empty() {
            meta::set_namespace(&mut sent, call.namespace);
        }
        if call.resource.is("", "secrets") {
            mk8s_api::rules::fold_string_data(&mut sent);
        }
        // The canonical form has fields nobody sent (`status: {}`); only what was sent is wanted.
        let canonical =
            call.resource.conform(call.subresource, sent.clone(), duplicates, call.options.validation, warnings)?;
        let configuration = merge::restrict(&canonical, &sent);
        let mut fields = Fields::of(schema.node(), &configuration);
        fields.forget_address();
        Ok(Wanted { configuration, fields, version, now: meta::format_time(Timestamp::now()) })
    }

    fn manager(&self, call: &Call<'_>) -> Manager {
        Manager {
            name: call.options.field_manager.clone(),
            api_version: call.resource.api_version.clone(),
            subresource: call.subresource.to_string(),
            time: self.now.clone(),
            applies: true,
            fields: self.fields.clone(),
        }
    }

    /// The object once the configuration is applied to it, and who then wants what.
    fn applied(&self, call: &Call<'_>, schema: &Schema, live: &Value) -> Result<(Value, Managers), Status> {
        let node = schema.node();
        let mine = self.manager(call);
        let mut managers = Managers::read(live);
        if managers.is_empty() {
            managers = managers.with(writes::before_first_apply(call, node, live));
        }
        let before = managers.take(&mine);
        let conflicts = managers.conflicts(node, &self.fields, live, &self.configuration);
        if !conflicts.is_empty() {
            if call.options.force != Some(true) {
                return Err(conflict(&conflicts));
            }
            managers.give_up(&conflicts);
        }
        let mut object = merge::merge(node, live.clone(), &self.configuration);
        if let Some(before) = before {
            let others: Vec<&Fields> = managers.fields().collect();
            merge::prune(node, &mut object, &before.fields, Some(&self.fields), &others);
        }
        Ok((object, managers.with(mine)))
    }
}

/// A field that two managers want differently.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Conflict {
    /// Which of the managers.
    at: usize,
    /// How it is named in messages.
    manager: String,
    path: Vec<fields::Element>,
}

fn conflict(conflicts: &[Conflict]) -> Status {
    let path = |conflict: &Conflict| fields::show(&conflict.path);
    let causes = conflicts.iter().map(|conflict| Cause {
        reason: "FieldManagerConflict".into(),
        message: format!("conflict with {}", conflict.manager),
        field: path(conflict),
    });
    let message = match conflicts {
        [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, path(one)),
        many => {
            let mut names: Vec<&str> = many.iter().map(|conflict| conflict.manager.as_str()).collect();
            names.dedup();
            let of = |name: &str| {
                let paths = many
                    .iter()
                    .filter(|conflict| conflict.manager == name)
                    .map(|conflict| format!("- {}", path(conflict)));
                format!("conflicts with {name}:\n{}", paths.collect::<Vec<_>>().join("\n"))
            };
            let groups: Vec<String> = names.into_iter().map(of).collect();
            format!("Apply failed with {} conflicts: {}", many.len(), groups.join("\n"))
        }
    };
    Status::apply_conflict(causes.collect(), message)
}
