//! Server-side apply and the notes of plain writes, over the language in `mk8s_api::apply`.
//!
//! Reading order: [`Registry::apply`]; `noting` (plain writes), `versions` (a kind in all its versions).

mod noting;
mod versions;

use mk8s_api::{
    apply::{
        Managers, configuration,
        configuration::{Applied, ApplyError},
        refusal,
    },
    decode::{Doubles, FieldValidation},
    field::{FieldError, Path},
    meta,
    status::Status,
};
use serde_json::Value;

pub(super) use noting::only_times_differ;

use super::{Call, Registry, Stored, Updated, Warnings, keys, update::Admitted};

impl Registry {
    /// Applies a configuration; makes the object when there is none. `doubles` are the fields that stand in it twice.
    pub async fn apply(
        &self,
        call: &Call<'_>,
        mut configuration: Value,
        doubles: &Doubles<'_>,
        warnings: &mut Warnings,
    ) -> Result<Updated, Status> {
        check(call, &mut configuration)?;
        let key = keys::object(&call.resource.prefix, call.namespace, call.name);
        if self.store().view().get(&key).is_none() {
            if !call.subresource.is_empty() {
                return Err(call.not_found());
            }
            match self.create_applied(call, &configuration, doubles, warnings).await {
                // Somebody else was faster: now there is something to apply to.
                Err(status) if status.is_already_exists() => {}
                made => return made.map(|stored| Updated { stored, created: true }),
            }
        }
        let stored = match call.subresource {
            "scale" => self.apply_scale(call, &configuration, doubles, warnings).await?,
            _ => self.apply_to(call, &configuration, doubles, warnings).await?,
        };
        Ok(Updated { stored, created: false })
    }

    async fn create_applied(
        &self,
        call: &Call<'_>,
        configuration: &Value,
        doubles: &Doubles<'_>,
        warnings: &mut Warnings,
    ) -> Result<Stored, Status> {
        let uid = meta::uid(configuration);
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(call.group_resource(), call.name, why));
        }
        let made =
            self.writing(call, &call.options.field_manager, |writer| configuration::create(writer, configuration));
        let managers = made.map_err(|error| refused(call, error))?;
        say_duplicates(call, doubles, warnings)?;
        let mut object =
            call.resource.conform("", configuration.clone(), Doubles::default(), FieldValidation::Ignore, warnings)?;
        manage(&mut object, managers);
        self.create_managed(call, object, warnings).await
    }

    async fn apply_to(
        &self,
        call: &Call<'_>,
        configuration: &Value,
        doubles: &Doubles<'_>,
        warnings: &mut Warnings,
    ) -> Result<Stored, Status> {
        let mut said = Warnings::new();
        let version = meta::resource_version(configuration);
        let update = self.update_applied(call, Admitted::Itself, warnings, |live| {
            said.clear();
            let Applied { object, managers } =
                self.applied(call, call.resource.zero(call.subresource), live, configuration)?;
            say_duplicates(call, doubles, &mut said)?;
            let mut object = match object {
                Some(mut object) => {
                    call.resource.default(call.subresource, &mut object);
                    object
                }
                None => live.clone(),
            };
            if call.subresource == "ephemeralcontainers" {
                object = super::pods::with_ephemeral_containers(live, &object);
            }
            manage(&mut object, managers);
            meta::set(&mut object, "resourceVersion", if version.is_empty() { "0" } else { version });
            Ok(object)
        });
        let stored = update.await?;
        warnings.append(&mut said);
        Ok(stored)
    }

    /// What an apply makes of a live object, or of its scale.
    pub(super) fn applied(
        &self,
        call: &Call<'_>,
        zero: &Value,
        live: &Value,
        configuration: &Value,
    ) -> Result<Applied, Status> {
        let force = call.options.force == Some(true);
        let form = |object: Value| call.resource.form(call.subresource, object);
        let applied = self.writing(call, &call.options.field_manager, |writer| {
            configuration::apply(writer, zero, live, configuration, force, &form)
        });
        applied.map_err(|error| refused(call, error))
    }

    async fn apply_scale(
        &self,
        call: &Call<'_>,
        configuration: &Value,
        doubles: &Doubles<'_>,
        warnings: &mut Warnings,
    ) -> Result<Stored, Status> {
        let mut said = Warnings::new();
        let version = meta::resource_version(configuration);
        let update = self.write_scale(call, warnings, |live| {
            said.clear();
            let Applied { object, managers } = self.applied(call, call.resource.zero("scale"), live, configuration)?;
            say_duplicates(call, doubles, &mut said)?;
            let mut scale = object.unwrap_or_else(|| live.clone());
            manage(&mut scale, managers);
            meta::set(&mut scale, "resourceVersion", if version.is_empty() { "0" } else { version });
            Ok(scale)
        });
        let scale = update.await?;
        warnings.append(&mut said);
        Ok(Stored::Value(scale))
    }
}

/// Writes who manages an object into it.
pub(super) fn manage(object: &mut Value, managers: Managers) {
    match managers.encode() {
        Some(entries) => meta::set(object, "managedFields", entries),
        None => meta::remove(object, "managedFields"),
    }
}

/// What must be right before anything is compared; completes what the path says.
fn check(call: &Call<'_>, configuration: &mut Value) -> Result<(), Status> {
    if call.options.field_manager.is_empty() {
        let error = FieldError::required(&Path::new("fieldManager"), "is required for apply patch");
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![error]));
    }
    let (api_version, kind) = (meta::api_version(configuration), meta::kind(configuration));
    let wanted = call.resource.api_version_of(call.subresource);
    if api_version != wanted || kind != call.resource.kind_of(call.subresource) {
        let (group, version) = meta::group_version(api_version);
        return Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    if configuration["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let name = meta::name(configuration);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    meta::set_name(configuration, call.name);
    if call.resource.kind.namespaced && meta::namespace(configuration).is_empty() {
        meta::set_namespace(configuration, call.namespace);
    }
    Ok(())
}

/// Fields that stand twice: refused, told or passed over, as the client wants it.
fn say_duplicates(call: &Call<'_>, doubles: &Doubles<'_>, warnings: &mut Warnings) -> Result<(), Status> {
    let Some(text) = doubles.in_yaml() else { return Ok(()) };
    match call.options.validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            warnings.extend_from_slice(doubles.lines());
            Ok(())
        }
        FieldValidation::Strict => {
            Err(Status::bad_request(format!("error strict decoding YAML: error converting YAML to JSON: {text}")))
        }
    }
}

fn refused(call: &Call<'_>, error: ApplyError) -> Status {
    let (kind, version) = (call.resource.kind_of(call.subresource), call.resource.api_version_of(call.subresource));
    let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
    let object = match call.namespace {
        "" => format!("/{}; {version}, Kind={kind}", call.name),
        namespace => format!("{namespace}/{}; {version}, Kind={kind}", call.name),
    };
    match error {
        ApplyError::Conflicts(conflicts) => refusal(&conflicts),
        ApplyError::Type(why) => {
            Status::failure(500, "", format!("failed to create typed patch object ({object}): {why}"))
        }
        ApplyError::Form(why) => {
            Status::failure(500, "", format!("failed to convert new object ({object}) to proper version: {why}"))
        }
    }
}
