//! Kinds that clients define, from their definition to the end of their objects.

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["cronSpec"], "properties": {
            "cronSpec": {"type": "string", "pattern": "^(\\S+ ?){5}$"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 2},
            "color": {"type": "string", "enum": ["red", "blue"]},
            "port": {"x-kubernetes-int-or-string": true},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "weight": {"type": "integer", "maximum": 5}}}},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }})
}

fn version(name: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema()},
        "subresources": {"status": {}, "scale": {
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}],
    })
}

fn definition(versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
        },
    })
}

fn tab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

fn one(name: &str) -> String {
    format!("{TABS}/{name}")
}

impl Api {
    /// Makes a definition, and does what its controller does.
    async fn define(&self, definition: Value) -> Value {
        let (code, made) = self.post(DEFINITIONS, definition).await;
        assert_eq!(code, 201, "{made}");
        self.establish(made).await
    }

    async fn establish(&self, mut made: Value) -> Value {
        made["status"]["acceptedNames"] = made["spec"]["names"].clone();
        made["status"]["conditions"] = json!([
            {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]);
        let path = format!("{DEFINITIONS}/{}", made["metadata"]["name"].as_str().expect("a name"));
        let (code, made) = self.put(&format!("{path}/status"), made).await;
        assert_eq!(code, 200, "{made}");
        made
    }

    async fn with_tabs() -> Api {
        let api = Api::new().await;
        api.define(definition(json!([version("v1", true)]))).await;
        api
    }

    async fn tab(&self, name: &str, spec: Value) -> Value {
        let (code, made) = self.post(TABS, tab(name, spec)).await;
        assert_eq!(code, 201, "{made}");
        made
    }
}

fn message(status: &Value) -> &str {
    status["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_definition_is_completed_and_served_once_established() {
    let api = Api::new().await;
    let (code, made) = api.post(DEFINITIONS, definition(json!([version("v1", true)]))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["names"]["singular"], "crontab");
    assert_eq!(made["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(api.get(TABS).await.0, 404);
    api.establish(made).await;
    let (code, list) = api.get(TABS).await;
    assert_eq!((code, &list["kind"]), (200, &json!("CronTabList")));
    let (_, group) = api.get("/apis/stable.example.com/v1").await;
    let resources = group["resources"].as_array().expect("resources");
    let names: Vec<&str> = resources.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["crontabs", "crontabs/status", "crontabs/scale"]);
    assert_eq!(resources[0]["shortNames"], json!(["ct"]));
    assert_eq!(resources[0]["categories"], json!(["all"]));
    let (_, aggregated) = api.send("GET", "/apis", &[("accept", mk8s_api::discovery::AGGREGATED)], Value::Null).await;
    let groups: Vec<&str> = aggregated["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(groups.last(), Some(&"stable.example.com"));
}

#[tokio::test]
async fn definitions_are_refused_in_upstream_words() {
    let api = Api::new().await;
    let cases: [(&str, Value, &str); 10] = [
        (
            "/metadata/name",
            json!("x.y"),
            "metadata.name: Invalid value: \"x.y\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "/spec/scope",
            json!("Everywhere"),
            "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        ("/spec/versions/0/storage", json!(false), "must have exactly one version marked as storage version"),
        (
            "/spec/names/kind",
            json!("Cron_Tab"),
            "spec.names.kind: Invalid value: \"Cron_Tab\": may have mixed case, but should otherwise match: a DNS-1035 label",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color/type",
            json!("colour"),
            "spec.validation.openAPIV3Schema.properties[spec].properties[color].type: Unsupported value: \"colour\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/default",
            json!("many"),
            "spec.validation.openAPIV3Schema.properties[spec].properties[replicas].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas",
            json!({"type": "integer", "default": 2, "x-kubernetes-validations": [{"rule": "self > 2"}]}),
            "spec.validation.openAPIV3Schema.properties[spec].properties[replicas].default: Invalid value: 2: failed rule: self > 2",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/any",
            json!({"properties": {}}),
            "spec.validation.openAPIV3Schema.properties[spec].properties[any].type: Required value: must not be empty for specified object fields",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns/0/type",
            json!("text"),
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ),
        (
            "/spec/versions/0/selectableFields/0/jsonPath",
            json!(".spec.nothing"),
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.nothing\": is an invalid path: does not refer to a valid field",
        ),
    ];
    for (place, value, expected) in cases {
        let mut wrong = definition(json!([version("v1", true)]));
        *wrong.pointer_mut(place).expect("a place") = value;
        let (code, status) = api.post(DEFINITIONS, wrong).await;
        assert_eq!(code, 422, "{status}");
        assert!(message(&status).contains(expected), "{place}: {}", message(&status));
    }
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_counted() {
    let api = Api::with_tabs().await;
    let spec =
        json!({"cronSpec": "* * * * *", "unknown": 1, "any": {"kept": {"a": [1]}}, "port": "http", "color": null});
    let mut sent = tab("a", spec);
    sent["status"] = json!({"replicas": 5});
    sent["metadata"]["unknown"] = json!(true);
    let (code, made) = api.post(TABS, sent.clone()).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        made["spec"],
        json!({"cronSpec": "* * * * *", "replicas": 2, "any": {"kept": {"a": [1]}}, "port": "http"})
    );
    assert_eq!((made.get("status"), &made["metadata"]["generation"]), (None, &json!(1)));
    assert_eq!(made["metadata"].get("unknown"), None);
    sent["metadata"]["name"] = json!("b");
    let (code, status) = api.post(&format!("{TABS}?fieldValidation=Strict"), sent.clone()).await;
    assert_eq!(code, 400);
    assert_eq!(
        message(&status),
        "CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: unknown field \"metadata.unknown\", unknown field \"spec.unknown\""
    );
    let warned = api.raw("POST", &format!("{TABS}?fieldValidation=Warn"), &[], sent.to_string()).await;
    let warnings: Vec<&str> =
        warned.headers().get_all(header::WARNING).iter().filter_map(|w| w.to_str().ok()).collect();
    assert_eq!(
        warnings,
        ["299 - \"unknown field \\\"metadata.unknown\\\"\"", "299 - \"unknown field \\\"spec.unknown\\\"\""]
    );
    let (code, patched) = api.send("PATCH", &one("a"), &[MERGE], json!({"spec": {"replicas": 3}})).await;
    assert_eq!((code, &patched["metadata"]["generation"]), (200, &json!(2)), "{patched}");
    let (_, labelled) = api
        .send("PATCH", &one("a"), &[MERGE], json!({"metadata": {"labels": {"x": "y"}}, "status": {"replicas": 1}}))
        .await;
    assert_eq!((labelled.get("status"), &labelled["metadata"]["generation"]), (None, &json!(2)));
    let status = json!({"spec": {"replicas": 9}, "status": {"replicas": 3}, "metadata": {"labels": {"x": "z"}}});
    let (_, told) = api.send("PATCH", &format!("{}/status", one("a")), &[MERGE], status).await;
    assert_eq!((&told["status"]["replicas"], &told["spec"]["replicas"]), (&json!(3), &json!(3)));
    assert_eq!((&told["metadata"]["labels"]["x"], &told["metadata"]["generation"]), (&json!("y"), &json!(2)));
}

#[tokio::test]
async fn whole_numbers_have_no_point() {
    let api = Api::with_tabs().await;
    let spec = json!({"cronSpec": "* * * * *", "replicas": 3.0, "any": {"a": -1.0, "b": [2.5, 3e2, 1e19]}});
    let (code, made) = api.post(TABS, tab("a", spec)).await;
    assert_eq!(code, 201, "{made}");
    let expected = json!({"cronSpec": "* * * * *", "replicas": 3, "any": {"a": -1, "b": [2.5, 300, 1e19]}});
    assert_eq!(made["spec"], expected);
    let (_, patched) = api.send("PATCH", &one("a"), &[MERGE], json!({"spec": {"replicas": 4.0}})).await;
    assert_eq!(patched["spec"]["replicas"], json!(4));
}

#[tokio::test]
async fn what_is_not_served_is_told_in_upstream_words() {
    let api = Api::new().await;
    let mut only = version("v1", true);
    only["subresources"] = json!({"status": {}});
    api.define(definition(json!([only]))).await;
    let made = api.post(TABS, tab("a", json!({"cronSpec": "* * * * *"}))).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let everywhere = "/apis/stable.example.com/v1/crontabs";
    let gone = "the server could not find the requested resource";
    let not_found = r#"crontabs.stable.example.com "a" not found"#;
    let cases = [
        ("GET", format!("{}/scale", one("a")), 404, not_found),
        ("PUT", format!("{}/other", one("a")), 404, not_found),
        (
            "DELETE",
            format!("{}/status", one("a")),
            405,
            r#"delete is not supported on resources of kind "crontabs.stable.example.com""#,
        ),
        ("PUT", TABS.to_owned(), 400, "name must be provided"),
        ("PATCH", TABS.to_owned(), 400, "name must be provided"),
        ("POST", everywhere.to_owned(), 404, gone),
        ("DELETE", everywhere.to_owned(), 404, gone),
    ];
    for (method, path, code, message) in cases {
        let (got, said) = api.send(method, &path, &[], json!({})).await;
        assert_eq!((got, said["message"].as_str()), (code, Some(message)), "{method} {path}");
    }
}

#[tokio::test]
async fn objects_are_refused_in_upstream_words() {
    let api = Api::with_tabs().await;
    let good = "* * * * *";
    let cases = [
        (json!({}), "spec.cronSpec: Required value"),
        (
            json!({"cronSpec": 1}),
            "spec.cronSpec: Invalid value: \"integer\": spec.cronSpec in body must be of type string: \"integer\"",
        ),
        (
            json!({"cronSpec": "x"}),
            "spec.cronSpec: Invalid value: \"x\": spec.cronSpec in body should match '^(\\S+ ?){5}$'",
        ),
        (
            json!({"cronSpec": good, "replicas": 11}),
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (
            json!({"cronSpec": good, "replicas": 0}),
            "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            json!({"cronSpec": good, "color": "green"}),
            "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
        ),
        (
            json!({"cronSpec": good, "port": 1.5}),
            "spec.port: Invalid value: \"number\": spec.port in body must be of type integer,string: \"number\"",
        ),
        (
            json!({"cronSpec": good, "rules": [{"name": "a"}, {"name": "a"}]}),
            "spec.rules[1]: Duplicate value: {\"name\":\"a\"}",
        ),
        (
            json!({"cronSpec": good, "rules": [{"name": "a", "weight": 9}]}),
            "spec.rules[0].weight: Invalid value: 9: spec.rules[0].weight in body should be less than or equal to 5",
        ),
    ];
    for (spec, expected) in cases {
        let (code, status) = api.post(TABS, tab("a", spec)).await;
        assert_eq!(
            (code, message(&status)),
            (422, format!("CronTab.stable.example.com \"a\" is invalid: {expected}").as_str())
        );
    }
    let mut other = tab("a", json!({"cronSpec": good}));
    other["apiVersion"] = json!("stable.example.com/v2");
    let (code, status) = api.post(TABS, other).await;
    assert_eq!(
        (code, message(&status)),
        (
            400,
            "the API version in the data (stable.example.com/v2) does not match the expected API version (stable.example.com/v1)"
        )
    );
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    let (code, status) = api.send("PATCH", &one("a"), &[strategic], json!({})).await;
    assert_eq!(
        (code, message(&status)),
        (
            415,
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        )
    );
}

#[tokio::test]
async fn what_did_not_change_is_forgiven() {
    let api = Api::with_tabs().await;
    let rules = json!([{"name": "a", "weight": 4}, {"name": "b", "weight": 1}]);
    api.tab("a", json!({"cronSpec": "* * * * *", "rules": rules})).await;
    let (_, mut stored) = api.get(&format!("{DEFINITIONS}/crontabs.stable.example.com")).await;
    let properties =
        &mut stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    properties["rules"]["items"]["properties"]["weight"]["maximum"] = json!(2);
    let (code, changed) = api.put(&format!("{DEFINITIONS}/crontabs.stable.example.com"), stored).await;
    assert_eq!((code, &changed["metadata"]["generation"]), (200, &json!(2)), "{changed}");
    let (code, patched) = api.send("PATCH", &one("a"), &[MERGE], json!({"spec": {"replicas": 3}})).await;
    assert_eq!(code, 200, "{patched}");
    let rules = json!([{"name": "b", "weight": 2}, {"name": "a", "weight": 4}]);
    assert_eq!(api.send("PATCH", &one("a"), &[MERGE], json!({"spec": {"rules": rules}})).await.0, 200);
    let rules = json!([{"name": "b", "weight": 3}, {"name": "a", "weight": 4}]);
    let (code, status) = api.send("PATCH", &one("a"), &[MERGE], json!({"spec": {"rules": rules}})).await;
    assert_eq!(code, 422);
    assert!(message(&status).contains("spec.rules[0].weight: Invalid value: 3"), "{status}");
    assert!(!message(&status).contains("spec.rules[1]"), "{status}");
}

#[tokio::test]
async fn rules_in_cel_are_kept() {
    let api = Api::new().await;
    let mut wanted = definition(json!([version("v1", true)]));
    let spec = &mut wanted["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["x-kubernetes-validations"] =
        json!([{"rule": "self.replicas <= 5 || self.color == 'red'", "message": "many are red"}]);
    let mut wrong = wanted.clone();
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"][0]["rule"] =
        json!("self.nothing");
    let (code, status) = api.post(DEFINITIONS, wrong).await;
    assert_eq!(code, 422);
    let place = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value";
    assert!(message(&status).contains(place), "{}", message(&status));
    api.define(wanted).await;
    let (code, status) =
        api.post(TABS, tab("a", json!({"cronSpec": "* * * * *", "replicas": 9, "color": "blue"}))).await;
    assert_eq!(code, 422);
    assert!(message(&status).contains("spec: Invalid value") && message(&status).contains("many are red"), "{status}");
    api.tab("a", json!({"cronSpec": "* * * * *", "replicas": 9, "color": "red"})).await;
}

#[tokio::test]
async fn tables_scales_and_selections() {
    let api = Api::with_tabs().await;
    api.tab("a", json!({"cronSpec": "* * * * *", "color": "red"})).await;
    api.tab("b", json!({"cronSpec": "1 * * * *", "color": "blue", "replicas": 4})).await;
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let (_, table) = api.send("GET", TABS, &[accept], Value::Null).await;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Spec", "Replicas"]);
    assert_eq!(table["rows"][1]["cells"], json!(["b", "1 * * * *", 4]));
    let (_, scale) = api.get(&format!("{}/scale", one("b"))).await;
    assert_eq!((&scale["spec"]["replicas"], &scale["kind"]), (&json!(4), &json!("Scale")));
    let (code, scaled) =
        api.send("PATCH", &format!("{}/scale", one("b")), &[MERGE], json!({"spec": {"replicas": 5}})).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(5)), "{scaled}");
    assert_eq!(api.get(&one("b")).await.1["spec"]["replicas"], 5);
    let whole = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "b", "namespace": "default"}, "spec": {"replicas": 6}});
    let (code, scaled) = api.send("PUT", &format!("{}/scale", one("b")), &[], whole).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(6)), "{scaled}");
    let (code, status) =
        api.send("PATCH", &format!("{}/scale", one("b")), &[MERGE], json!({"spec": {"replicas": -1}})).await;
    assert_eq!(code, 422, "{status}");
    assert!(
        message(&status).contains(".spec.replicas: Invalid value: -1: should be a non-negative integer"),
        "{}",
        message(&status)
    );
    let (_, blue) = api.get(&format!("{TABS}?fieldSelector=spec.color%3Dblue")).await;
    assert_eq!(names(&blue), ["b"]);
    let (code, status) = api.get(&format!("{TABS}?fieldSelector=spec.size%3D1")).await;
    assert_eq!((code, message(&status)), (400, "field label not supported: spec.size"));
}

#[tokio::test]
async fn defaults_reach_what_is_stored() {
    let api = Api::with_tabs().await;
    api.tab("a", json!({"cronSpec": "* * * * *"})).await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let add = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/zone",
        "value": {"type": "string", "default": "UTC"}}]);
    let watch = api.raw("GET", &format!("{TABS}?watch=true"), &[], "").await;
    let mut lines = Lines::new(watch);
    assert_eq!(lines.change().await, "ADDED a -");
    let (code, changed) = api.send("PATCH", &path, &[("content-type", "application/json-patch+json")], add).await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(api.get(&one("a")).await.1["spec"]["zone"], "UTC");
    assert_eq!(api.get(TABS).await.1["items"][0]["spec"]["zone"], "UTC");
    let (_, patched) = api.send("PATCH", &one("a"), &[MERGE], json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(patched["spec"]["zone"], "UTC");
    // Whoever watched under the old definition begins anew.
    assert_eq!(lines.change().await, "end");
}

#[tokio::test]
async fn versions_show_the_same_objects() {
    let api = Api::new().await;
    let made = api.define(definition(json!([version("v1", true), version("v2", false)]))).await;
    api.tab("a", json!({"cronSpec": "* * * * *"})).await;
    let v2 = TABS.replace("/v1/", "/v2/");
    let (_, seen) = api.get(&format!("{v2}/a")).await;
    assert_eq!((&seen["apiVersion"], &seen["spec"]["replicas"]), (&json!("stable.example.com/v2"), &json!(2)));
    let mut lines = Lines::new(api.raw("GET", &format!("{v2}?watch=true"), &[], "").await);
    assert_eq!(lines.next().await.expect("an event")["object"]["apiVersion"], "stable.example.com/v2");
    api.send("PATCH", &format!("{v2}/a"), &[MERGE], json!({"spec": {"replicas": 3}})).await;
    assert_eq!(lines.next().await.expect("an event")["object"]["spec"]["replicas"], 3);
    assert_eq!(api.get(&one("a")).await.1["apiVersion"], "stable.example.com/v1");
    let mut moved = made;
    moved["spec"]["versions"] = json!([version("v1", false), version("v2", true)]);
    let (code, moved) = api.put(&format!("{DEFINITIONS}/crontabs.stable.example.com"), moved).await;
    assert_eq!((code, &moved["status"]["storedVersions"]), (200, &json!(["v1", "v2"])), "{moved}");
    assert_eq!(api.get(&format!("{v2}/a")).await.1["apiVersion"], "stable.example.com/v2");
    assert_eq!(api.get(TABS).await.1["items"][0]["apiVersion"], "stable.example.com/v1");
    let (_, group) = api.get("/apis/stable.example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v2");
}

#[tokio::test]
async fn documents_tell_of_them() {
    let api = Api::with_tabs().await;
    let (_, document) = api.get("/openapi/v2").await;
    let tab = &document["definitions"]["com.example.stable.v1.CronTab"];
    assert_eq!(tab["properties"]["spec"]["properties"]["color"]["enum"], json!(["red", "blue"]));
    assert_eq!(tab["properties"]["metadata"]["$ref"], "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let open = &tab["properties"]["spec"]["properties"]["any"];
    assert_eq!(*open, json!({"x-kubernetes-preserve-unknown-fields": true}));
    assert!(document["paths"].get("/apis/stable.example.com/v1/namespaces/{namespace}/crontabs").is_some());
    let (_, index) = api.get("/openapi/v3").await;
    let address =
        index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str().expect("a document").to_owned();
    let (_, document) = api.get(&address).await;
    let tab = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(tab["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.color"}]));
    api.delete(&format!("{DEFINITIONS}/crontabs.stable.example.com")).await;
    let (_, doomed) = api.get(&format!("{DEFINITIONS}/crontabs.stable.example.com")).await;
    let mut free = doomed;
    free["metadata"]["finalizers"] = json!([]);
    api.put(&format!("{DEFINITIONS}/crontabs.stable.example.com/status"), free).await;
    let (_, index) = api.get("/openapi/v3").await;
    assert!(index["paths"].get("apis/stable.example.com/v1").is_none());
}

#[tokio::test]
async fn a_definition_ends_after_its_objects() {
    let api = Api::with_tabs().await;
    api.tab("a", json!({"cronSpec": "* * * * *"})).await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let (code, dying) = api.delete(&path).await;
    assert_eq!(code, 200);
    assert_eq!(dying["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(dying["status"]["conditions"][2]["reason"], "InstanceDeletionPending");
    let (code, status) = api.post(TABS, tab("b", json!({"cronSpec": "* * * * *"}))).await;
    assert_eq!((code, message(&status)), (405, "create not allowed while custom resource definition is terminating"));
    assert_eq!(api.send("PATCH", &one("a"), &[MERGE], json!({"spec": {"replicas": 3}})).await.0, 200);
    let mut lines = Lines::new(api.raw("GET", &format!("{TABS}?watch=true"), &[], "").await);
    assert_eq!(lines.change().await, "ADDED a -");
    assert_eq!(api.send("DELETE", TABS, &[], Value::Null).await.0, 200);
    assert_eq!(lines.change().await, "DELETED a -");
    let (_, mut free) = api.get(&path).await;
    free["metadata"]["finalizers"] = json!([]);
    api.put(&format!("{path}/status"), free).await;
    assert_eq!(api.get(&path).await.0, 404);
    assert_eq!(api.get(TABS).await.0, 404);
}
