//! What is asked of a conversion webhook, and what its answer may be. Pure.

use mk8s_api::{
    at::{sub, text},
    field::Path,
    meta, rules,
};
use serde_json::{Map, Value, json};

use super::FailureType;

/// The reviews that are spoken here, as `conversionReviewVersions` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1beta1,
}

impl Version {
    /// The first of the versions that a webhook speaks.
    pub(super) fn of(spoken: &[Value]) -> Option<Version> {
        spoken.iter().find_map(|version| match version.as_str() {
            Some("v1") => Some(Version::V1),
            Some("v1beta1") => Some(Version::V1beta1),
            _ => None,
        })
    }

    fn api_version(self) -> &'static str {
        match self {
            Version::V1 => "apiextensions.k8s.io/v1",
            Version::V1beta1 => "apiextensions.k8s.io/v1beta1",
        }
    }
}

/// An answer that cannot be used.
pub(super) type Bad = (FailureType, String);

/// The document that asks for objects in another version.
pub(super) fn question(version: Version, uid: &str, objects: &[&Value], api_version: &str) -> Vec<u8> {
    let review = json!({
        "kind": "ConversionReview",
        "apiVersion": version.api_version(),
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    });
    serde_json::to_vec(&review).expect("a JSON value always has a text")
}

/// The objects of an answer; the error is why there are none, or that the document is no answer.
pub(super) fn answer(version: Version, uid: &str, document: &[u8]) -> Result<Vec<Value>, Bad> {
    let call = |why: String| (FailureType::Call, why);
    let malformed = |why: String| Err((FailureType::MalformedResponse, why));
    let mut review: Value = serde_json::from_slice(document).map_err(|error| call(error.to_string()))?;
    if !review.is_object() {
        return Err(call(
            "couldn't get version/kind; the webhook answered with something that is no object".to_owned(),
        ));
    }
    let (kind, api_version) = (text(&review, "kind"), meta::api_version(&review));
    if version == Version::V1 && (kind, api_version) != ("ConversionReview", version.api_version()) {
        let wanted = kind_text(version.api_version(), "ConversionReview");
        return malformed(format!("expected webhook response of {wanted}, got {}", kind_text(api_version, kind)));
    }
    let Some(response) = review.get_mut("response").filter(|response| response.is_object()) else {
        return malformed("no response provided".to_owned());
    };
    let answered = text(response, "uid");
    if version == Version::V1 && answered != uid {
        return malformed(format!("expected response.uid={uid:?}, got {answered:?}"));
    }
    let result = sub(response, "result");
    match (text(result, "status"), text(result, "message")) {
        ("Success", _) => {}
        (status, "") => return malformed(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => return malformed(message.to_owned()),
    }
    Ok(match response.get_mut("convertedObjects").map(Value::take) {
        Some(Value::Array(objects)) => objects,
        _ => Vec::new(),
    })
}

/// What a webhook made of `original`, with the metadata that it may not change.
pub(super) fn accept(original: &Value, mut converted: Value, api_version: &str) -> Result<Value, String> {
    if text(&converted, "kind").is_empty() {
        return Err(format!("Object 'Kind' is missing in '{converted}'"));
    }
    let given = meta::api_version(&converted);
    if given != api_version {
        return Err(format!("invalid groupVersion (expected {api_version}, received {given})"));
    }
    let (wanted, kind) = (text(original, "kind"), text(&converted, "kind"));
    if kind != wanted {
        return Err(format!("invalid kind (expected {wanted}, received {kind})"));
    }
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let of = |object| text(sub(object, "metadata"), field).to_owned();
        let (before, after) = (of(original), of(&converted));
        if before != after {
            return Err(format!("must have the same {shown}: {before} != {after}"));
        }
    }
    let Some(answered) = converted.get_mut("metadata") else {
        return Err("missing metadata in converted object".to_owned());
    };
    let Value::Object(answered) = answered.take() else {
        return Err("invalid metadata in converted object".to_owned());
    };
    converted["metadata"] = restored(meta::metadata(original), answered)?;
    Ok(converted)
}

/// The metadata of the original, with the labels and annotations of the answer.
fn restored(original: &Map<String, Value>, mut answered: Map<String, Value>) -> Result<Value, String> {
    let mut metadata = original.clone();
    for field in ["labels", "annotations"] {
        let given = match answered.remove(field) {
            None | Some(Value::Null) => {
                metadata.remove(field);
                continue;
            }
            Some(Value::Object(given)) => given,
            Some(_) => return Err(format!("invalid metadata.{field} in converted object")),
        };
        if let Some((key, _)) = given.iter().find(|(_, value)| !value.is_string()) {
            return Err(format!("metadata.{field}[{key}] must be a string in converted object"));
        }
        if metadata.get(field).and_then(Value::as_object) != Some(&given) {
            let errors = match field {
                "labels" => rules::meta::label_errors(&given, || Path::new("metadata").child("labels")),
                _ => rules::meta::annotation_errors(&given, || Path::new("metadata").child("annotation")),
            };
            match errors.as_slice() {
                [] => {}
                [error] => return Err(error.to_string()),
                errors => {
                    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    return Err(format!("[{}]", all.join(", ")));
                }
            }
        }
        metadata.insert(field.to_owned(), Value::Object(given));
    }
    Ok(Value::Object(metadata))
}

/// A kind of a version as upstream's messages write it.
pub(super) fn kind_text(api_version: &str, kind: &str) -> String {
    match api_version.contains('/') {
        true => format!("{api_version}, Kind={kind}"),
        false => format!("/{api_version}, Kind={kind}"),
    }
}

/// Reads an answer to a question about one object, for fuzzing: whatever arrives, this returns.
pub fn read_answer(document: &[u8]) -> usize {
    let original = json!({"apiVersion": "a.b/v1", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}}});
    let objects = [Version::V1, Version::V1beta1].map(|version| answer(version, "uid", document).unwrap_or_default());
    let accepted = objects.into_iter().flatten().map(|object| accept(&original, object, "a.b/v2"));
    accepted.filter(Result::is_ok).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: Version, review: Value) -> String {
        match answer(version, "1", review.to_string().as_bytes()) {
            Ok(objects) => Value::from(objects).to_string(),
            Err((_, why)) => why,
        }
    }

    #[test]
    fn answers_are_read() {
        let of = |response: Value| json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response});
        let cases = [
            (of(json!({"uid": "1", "result": {"status": "Success"}, "convertedObjects": [{"a": 1}]})), r#"[{"a":1}]"#),
            (of(json!({"uid": "1", "result": {"status": "Success"}})), "[]"),
            (of(json!({"uid": "2", "result": {"status": "Success"}})), r#"expected response.uid="1", got "2""#),
            (of(json!({"uid": "1"})), "response.result.status was '', not 'Success'"),
            (of(json!({"uid": "1", "result": {"status": "Failure", "message": "no"}})), "no"),
            (of(Value::Null), "no response provided"),
            (
                json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1beta1", "response": {}}),
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview",
            ),
        ];
        for (review, expected) in cases {
            assert_eq!(read(Version::V1, review.clone()), expected, "{review}");
        }
        let old = json!({"response": {"uid": "2", "result": {"status": "Success"}, "convertedObjects": []}});
        assert_eq!(read(Version::V1beta1, old), "[]");
    }

    #[test]
    fn metadata_stays_but_for_labels_and_annotations() {
        let original = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {
            "name": "n", "namespace": "s", "uid": "u", "generation": 3, "labels": {"a": "b"}, "annotations": {"x": "y"}}});
        let converted = |metadata: Value| json!({"apiVersion": "g/v2", "kind": "K", "metadata": metadata, "spec": 1});
        let cases = [
            (
                converted(json!({"name": "n", "namespace": "s", "uid": "u", "generation": 9, "labels": {"c": "d"}})),
                r#"{"generation":3,"labels":{"c":"d"},"name":"n","namespace":"s","uid":"u"}"#,
            ),
            (converted(json!({"name": "m", "namespace": "s", "uid": "u"})), "must have the same name: n != m"),
            (converted(json!({"name": "n", "namespace": "s"})), "must have the same UID: u != "),
            (
                converted(json!({"name": "n", "namespace": "s", "uid": "u", "labels": {"a": 1}})),
                "metadata.labels[a] must be a string in converted object",
            ),
            (
                converted(json!({"name": "n", "namespace": "s", "uid": "u", "labels": {"a": "!"}})),
                "metadata.labels: Invalid value: \"!\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            (json!({"apiVersion": "g/v1", "kind": "K"}), "invalid groupVersion (expected g/v2, received g/v1)"),
            (json!({"apiVersion": "g/v2", "kind": "L"}), "invalid kind (expected K, received L)"),
            (json!({"apiVersion": "g/v2"}), r#"Object 'Kind' is missing in '{"apiVersion":"g/v2"}'"#),
        ];
        for (given, expected) in cases {
            let shown = match accept(&original, given.clone(), "g/v2") {
                Ok(object) => sub(&object, "metadata").to_string(),
                Err(why) => why,
            };
            assert_eq!(shown, expected, "{given}");
        }
    }
}
