//! `scale`: how many replicas, said and read the same way for every kind that has them.

use mk8s_api::{
    apply::{Managers, scale},
    field::{FieldError, Path},
    meta,
    rules::Scale,
    status::Status,
};
use serde_json::Value;

use super::{Call, Registry, Warnings, apply::manage, encode, update::Admitted};

/// The steps to the replicas that a scale writes.
fn replicas(paths: &Scale) -> Vec<String> {
    let path = match paths {
        Scale::Custom(paths) => paths.spec_path(),
        Scale::BuiltIn { .. } => ".spec.replicas",
    };
    path.split('.').filter(|name| !name.is_empty()).map(|name| format!("f:{name}")).collect()
}

impl Registry {
    pub async fn get_scale(&self, call: &Call<'_>) -> Result<Value, Status> {
        let entry = self.get(call.resource, call.namespace, call.name, None).await?;
        let object = call.resource.to_served(encode::decode(&entry.value));
        let paths = paths(call)?;
        if let Some(path) = paths.missing(&object) {
            return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
        }
        Ok(paths.read(&object))
    }

    /// Writes the replicas of the scale that `transform` makes of the current one.
    pub async fn update_scale(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        self.write_scale(call, warnings, |live| {
            let mut scale = transform(live)?;
            self.note_update(call, live, &mut scale);
            Ok(scale)
        })
        .await
    }

    /// As [`Registry::update_scale`], for a `transform` that says who manages the scale's fields. Owners of the replicas
    /// are the same in the scale and in the object.
    pub(super) async fn write_scale(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let paths = paths(call)?;
        let steps = replicas(paths);
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let managers = |object: &Value| {
            let entries = meta::metadata(object).get("managedFields").cloned().unwrap_or_default();
            Managers::decode(entries).unwrap_or_default()
        };
        let whole = Call { subresource: "", ..*call };
        let stored = self
            .update_applied(&whole, Admitted::Scale(paths), warnings, |old| {
                let parent = managers(old);
                let mut live = paths.read(old);
                manage(&mut live, scale::of_parent(&parent, &steps));
                let scale = transform(&live)?;
                check(call, paths, &scale)?;
                let mut new = old.clone();
                paths.write(&mut new, &scale);
                // A scale without a version is meant for any version of its object, also of one of a custom kind.
                let version = match meta::resource_version(&scale) {
                    "" => "0",
                    version => version,
                };
                meta::set(&mut new, "resourceVersion", version);
                let parent = scale::to_parent(parent, managers(&scale), &steps, &call.resource.api_version);
                manage(&mut new, parent);
                Ok(new)
            })
            .await?;
        Ok(paths.read(&stored.served(call.resource)))
    }
}

fn paths<'a>(call: &Call<'a>) -> Result<&'a Scale, Status> {
    call.resource.scale().ok_or_else(Status::resource_not_found)
}

fn check(call: &Call<'_>, paths: &Scale, scale: &Value) -> Result<(), Status> {
    let name = meta::name(scale);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let path = Path::new("spec").child("replicas");
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(()),
        Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => match number.as_i64() {
            // The field of a custom object is named by its own path, when the object is checked.
            Some(n) if n < 0 && matches!(paths, Scale::BuiltIn { .. }) => {
                let error = FieldError::invalid(&path, n, "must be greater than or equal to 0");
                Err(Status::invalid("autoscaling", "Scale", call.name, vec![error]))
            }
            _ => Ok(()),
        },
        _ => Err(Status::bad_request(
            "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32",
        )),
    }
}
