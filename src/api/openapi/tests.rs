use expect_test::expect;

use super::*;
use crate::kinds::builtin;

fn none() -> Custom {
    Custom::default()
}

fn v3(name: &str) -> Value {
    let mut json = Vec::new();
    write_v3(&mut json, builtin(), &none(), name).expect("a document").expect("memory takes every write");
    serde_json::from_slice(&json).expect("what was written is JSON")
}

fn v2() -> Value {
    let mut json = Vec::new();
    write_v2(&mut json, builtin(), &none()).expect("memory takes every write");
    serde_json::from_slice(&json).expect("what was written is JSON")
}

/// A digest of the shape of a document: every path with its methods and ids.
fn paths(document: &Value) -> String {
    let mut lines = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let methods = item.as_object().into_iter().flatten().filter(|(method, _)| *method != "parameters");
        let methods: Vec<String> = methods
            .map(|(method, operation)| format!("{method}:{}", operation["operationId"].as_str().unwrap_or("-")))
            .collect();
        lines.push(format!("{path} {}", methods.join(" ")));
    }
    lines.join("\n")
}

#[test]
fn scheduling() {
    let document = v3("apis/scheduling.k8s.io/v1");
    expect![[r#"
        /apis/scheduling.k8s.io/v1/ get:getSchedulingV1APIResources
        /apis/scheduling.k8s.io/v1/priorityclasses delete:deleteSchedulingV1CollectionPriorityClass get:listSchedulingV1PriorityClass post:createSchedulingV1PriorityClass
        /apis/scheduling.k8s.io/v1/priorityclasses/{name} delete:deleteSchedulingV1PriorityClass get:readSchedulingV1PriorityClass patch:patchSchedulingV1PriorityClass put:replaceSchedulingV1PriorityClass"#]].assert_eq(&paths(&document));
    let names: Vec<&str> = document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.rsplit('.').next().unwrap_or(name))
        .collect();
    expect!["PriorityClass PriorityClassList APIResource APIResourceList DeleteOptions FieldsV1 ListMeta ManagedFieldsEntry ObjectMeta OwnerReference Patch Preconditions ShardInfo Status StatusCause StatusDetails Time WatchEvent RawExtension"].assert_eq(&names.join(" "));
}

#[test]
fn services() {
    let document = v3("api/v1");
    let port = &document["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
    let mut port = port.clone();
    port["description"] = json!("");
    expect![[r##"{"description":"","items":{"$ref":"#/components/schemas/io.k8s.api.core.v1.ServicePort"},"type":"array","x-kubernetes-list-map-keys":["port","protocol"],"x-kubernetes-list-type":"map","x-kubernetes-patch-merge-key":"port","x-kubernetes-patch-strategy":"merge"}"##]].assert_eq(&port.to_string());
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/services/{name}"]["patch"];
    expect![[r##""fieldValidation" {"content":{"application/apply-patch+yaml":{"schema":{"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}},"application/json-patch+json":{"schema":{"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}},"application/merge-patch+json":{"schema":{"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}},"application/strategic-merge-patch+json":{"schema":{"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}}},"required":true}"##]].assert_eq(&format!("{} {}", patch["parameters"][2]["name"], patch["requestBody"]));
}

#[test]
fn values_are_told() {
    let (old, new) = (v2(), v3("api/v1"));
    for schemas in [&old["definitions"], &new["components"]["schemas"]] {
        let property =
            |name: &str, property: &str| schemas[format!("io.k8s.api.core.v1.{name}")]["properties"][property].clone();
        let policy = property("PodSpec", "restartPolicy");
        assert_eq!(policy["enum"], json!(["Always", "Never", "OnFailure"]));
        let told = "\n\nPossible enum values:\n - `\"Always\"`\n - `\"Never\"`\n - `\"OnFailure\"`";
        let description = policy["description"].as_str().unwrap_or_default();
        assert!(description.ends_with(told) && description.len() > told.len(), "{description}");
        let modes = property("PersistentVolumeClaimSpec", "accessModes");
        assert_eq!(modes["items"]["enum"][3], "ReadWriteOncePod");
        assert!(modes.get("enum").is_none() && modes["type"] == "array");
        let resizing = property("PersistentVolumeClaimStatus", "allocatedResourceStatuses");
        assert_eq!(resizing["additionalProperties"]["enum"][4], "NodeResizePending");
        assert_eq!(property("PodStatus", "phase")["enum"].as_array().map(Vec::len), Some(5));
        for holder in ["ContainerStatus", "Lifecycle"] {
            let signals = property(holder, "stopSignal")["enum"].clone();
            assert_eq!((signals.as_array().map(Vec::len), &signals[64]), (Some(65), &json!("SIGXFSZ")), "{holder}");
            assert_eq!(signals[40], "SIGRTMIN+15");
        }
    }
    let extensions = v3("apis/apiextensions.k8s.io/v1");
    for schemas in [&old["definitions"], &extensions["components"]["schemas"]] {
        let rule = &schemas["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule"];
        expect![[r#"["FieldValueDuplicate","FieldValueForbidden","FieldValueInvalid","FieldValueRequired"]"#]]
            .assert_eq(&rule["properties"]["reason"]["enum"].to_string());
    }
    assert!(!old.to_string().contains("x-enum") && !new.to_string().contains("x-enum"));
}

#[test]
fn everything_refers_to_something() {
    let mut documents = vec![v2()];
    let index = v3_index(builtin(), &none());
    for (name, _) in index["paths"].as_object().into_iter().flatten() {
        documents.push(v3(name));
    }
    assert_eq!(documents.len(), 51);
    for document in &documents {
        let defined = document.get("definitions").unwrap_or(&document["components"]["schemas"]);
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            assert!(defined.get(name).is_some(), "{reference} is not defined");
        }
    }
    if let Ok(path) = std::env::var("MK8S_OPENAPI_OUT") {
        std::fs::write(path, Value::Array(documents).to_string()).expect("a writable path");
    }
}

#[test]
fn documents_are_kept() {
    let documents = Documents::default();
    let first = documents.v3(builtin(), &none(), "apis/apps/v1").expect("a group version");
    let again = documents.v3(builtin(), &none(), "apis/apps/v1").expect("a group version");
    assert_eq!(first.as_ptr(), again.as_ptr());
    assert!(documents.v3(builtin(), &none(), "apis/apps/v9").is_none());
}
