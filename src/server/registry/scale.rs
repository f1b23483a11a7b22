//! `scale`: how many replicas, said and read the same way for every kind that has them.

use mk8s_api::{field::{FieldError, Path}, meta, status::Status};
use serde_json::{Value, json};

use super::{Call, Registry, Stored, Warnings, encode};

impl Registry {
    pub async fn get_scale(&self, call: &Call<'_>) -> Result<Value, Status> {
        let entry = self.get(call.resource, call.namespace, call.name, None).await?;
        Ok(scale_of(&encode::decode(&entry.value)))
    }

    /// Writes the replicas of the scale that `transform` makes of the current one.
    pub async fn update_scale(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let stored = self
            .update_with(call, warnings, |old| {
                let scale = transform(&scale_of(old))?;
                check(call, &scale)?;
                let mut new = old.clone();
                if new["spec"].is_object() {
                    new["spec"]["replicas"] = scale["spec"]["replicas"].as_i64().unwrap_or(0).into();
                }
                meta::set(&mut new, "resourceVersion", meta::resource_version(&scale));
                Ok(new)
            })
            .await?;
        Ok(match &stored {
            Stored::Entry(entry) => scale_of(&encode::decode(&entry.value)),
            Stored::Value(value) => scale_of(value),
        })
    }
}

fn check(call: &Call<'_>, scale: &Value) -> Result<(), Status> {
    let name = meta::name(scale);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", call.name)));
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
        _ => Err(Status::bad_request("Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")),
    }
}

/// `autoscaling/v1 Scale` of an object with replicas.
fn scale_of(object: &Value) -> Value {
    let metadata = meta::metadata(object);
    let mut of_scale = serde_json::Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(field) {
            of_scale.insert(field.to_string(), value.clone());
        }
    }
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = selector_text(&object["spec"]["selector"]);
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    let mut spec = json!({});
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|n| *n != 0) {
        spec["replicas"] = json!(replicas);
    }
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": of_scale, "spec": spec, "status": status})
}

/// The text form of a label selector, or of the plain map that a ReplicationController has.
fn selector_text(selector: &Value) -> String {
    let is_selector = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    if is_selector {
        return mk8s_api::select::LabelSelector::from_json(selector).map(|s| s.to_string()).unwrap_or_default();
    }
    let pairs = selector.as_object().into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_replicas_and_selector() {
        let deployment = json!({"metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "3", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "d"}}}, "status": {"replicas": 2}});
        assert_eq!(
            scale_of(&deployment),
            json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "3"},
                "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "app=d"}})
        );
        assert_eq!(selector_text(&json!({"b": "c", "a": "b"})), "a=b,b=c");
    }
}
