//! `scale`: how many replicas, said and read the same way for every kind that has them.

use mk8s_api::{
    field::{FieldError, Path},
    meta,
    rules::Scale,
    status::Status,
};
use serde_json::Value;

use super::{Call, Registry, Warnings, encode};

impl Registry {
    pub async fn get_scale(&self, call: &Call<'_>) -> Result<Value, Status> {
        let entry = self.get(call.resource, call.namespace, call.name, None).await?;
        Ok(paths(call)?.read(&call.resource.to_served(encode::decode(&entry.value))))
    }

    /// Writes the replicas of the scale that `transform` makes of the current one.
    pub async fn update_scale(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let paths = paths(call)?;
        let stored = self
            .update_with(&Call { subresource: "", ..*call }, warnings, |old| {
                let scale = transform(&paths.read(old))?;
                check(call, &scale)?;
                let mut new = old.clone();
                paths.write(&mut new, &scale);
                meta::set(&mut new, "resourceVersion", meta::resource_version(&scale));
                Ok(new)
            })
            .await?;
        Ok(paths.read(&stored.served(call.resource)))
    }
}

fn paths(call: &Call<'_>) -> Result<&'static Scale, Status> {
    call.resource.scale().ok_or_else(Status::resource_not_found)
}

fn check(call: &Call<'_>, scale: &Value) -> Result<(), Status> {
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
            Some(n) if n < 0 => {
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
