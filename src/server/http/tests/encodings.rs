//! Answers in every form a client may ask for.

use mk8s_api::protobuf;

use super::*;

const PROTOBUF: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf");

/// Code, content type and bytes of an answer.
async fn got(api: &Api, path: &str, headers: &[(&str, &str)]) -> (u16, String, Bytes) {
    let response = api.raw("GET", path, headers, "").await;
    let kind = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_string();
    let code = response.status().as_u16();
    (code, kind, response.into_body().collect().await.expect("no errors in memory").to_bytes())
}

/// Frames of a watch in protobuf.
struct Frames {
    body: Body,
    bytes: Vec<u8>,
}

impl Frames {
    async fn next(&mut self) -> Value {
        loop {
            if let Some((length, rest)) = self.bytes.split_at_checked(4) {
                let length = u32::from_be_bytes(length.try_into().expect("four")) as usize;
                if let Some(event) = rest.get(..length) {
                    // WatchEvent has the layout of an envelope's parts, so the object is found by its magic.
                    let at = event.windows(4).position(|four| four == b"k8s\0").expect("an object");
                    let object = protobuf::decode(&event[at..]).expect("an object");
                    self.bytes.drain(..4 + length);
                    return object;
                }
            }
            let piece = self.body.next_piece().await.expect("more").expect("no errors in memory");
            self.bytes.extend_from_slice(&piece);
        }
    }
}

#[tokio::test]
async fn objects_and_statuses_are_had_in_protobuf() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    let (code, kind, bytes) = got(&api, &format!("{CONFIG_MAPS}/a"), &[PROTOBUF]).await;
    assert_eq!((code, kind.as_str()), (200, "application/vnd.kubernetes.protobuf"));
    assert_eq!(protobuf::decode(&bytes).expect("an object"), made);

    let (code, kind, bytes) = got(&api, &format!("{CONFIG_MAPS}/none"), &[PROTOBUF]).await;
    let status = protobuf::decode(&bytes).expect("a status");
    assert_eq!((code, kind.as_str()), (404, "application/vnd.kubernetes.protobuf"));
    assert_eq!(
        (&status["kind"], &status["reason"], &status["code"]),
        (&json!("Status"), &json!("NotFound"), &json!(404))
    );

    let metadata = ("accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let (_, _, bytes) = got(&api, &format!("{CONFIG_MAPS}/a"), &[metadata]).await;
    let partial = protobuf::decode(&bytes).expect("metadata");
    assert_eq!(
        (&partial["kind"], &partial["metadata"], &partial["data"]),
        (&json!("PartialObjectMetadata"), &made["metadata"], &Value::Null)
    );

    for path in ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"] {
        let (_, kind, bytes) = got(&api, path, &[PROTOBUF]).await;
        let mut found = protobuf::decode(&bytes).expect("discovery");
        let (_, mut document) = api.get(path).await;
        found["apiVersion"] = Value::Null;
        document["apiVersion"] = Value::Null;
        assert_eq!(kind, "application/vnd.kubernetes.protobuf");
        assert_eq!(found["groups"].as_array().map(Vec::len), document["groups"].as_array().map(Vec::len), "{path}");
        if path != "/apis" {
            assert_eq!(found, document, "{path}");
        }
    }
}

#[tokio::test]
async fn watches_in_protobuf_are_framed() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    for (form, kind) in [("", "ConfigMap"), (";as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "PartialObjectMetadata")] {
        let accept = format!("application/vnd.kubernetes.protobuf{form},application/json");
        let path = format!(
            "{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        );
        let response = api.raw("GET", &path, &[("accept", &accept)], "").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/vnd.kubernetes.protobuf;stream=watch");
        let mut frames = Frames { body: response.into_body(), bytes: Vec::new() };
        let first = frames.next().await;
        assert_eq!((&first["kind"], &first["metadata"]["name"]), (&json!(kind), &json!("a")));
        let bookmark = frames.next().await;
        assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(bookmark["kind"], kind);
        let name = format!("b{}", kind.to_lowercase());
        let made = api.config_map(&name, "1").await;
        let next = frames.next().await;
        assert_eq!((&next["kind"], &next["metadata"]), (&json!(kind), &made["metadata"]));
        api.delete(&format!("{CONFIG_MAPS}/{name}")).await;
        let gone = frames.next().await;
        assert_ne!(gone["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    }
}

#[tokio::test]
async fn forms_that_do_not_fit_are_refused() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    let one = format!("{CONFIG_MAPS}/a");
    let watch = format!("{CONFIG_MAPS}?watch=1");
    let cases = [
        (
            CONFIG_MAPS,
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
        ),
        (
            &one,
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
        ),
        (
            &watch,
            "application/yaml",
            "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        ),
        (
            &one,
            "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1",
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ),
    ];
    for (path, accept, message) in cases {
        let (code, kind, text) = got(&api, path, &[("accept", accept)]).await;
        let status = match kind.as_str() {
            "application/vnd.kubernetes.protobuf" => protobuf::decode(&text).expect("a status"),
            _ => serde_yaml::from_slice(&text).expect("YAML, of which JSON is a part"),
        };
        assert_eq!(
            (code, &status["reason"], &status["message"]),
            (406, &json!("NotAcceptable"), &json!(message)),
            "{accept}"
        );
    }
    let beta = ("accept", "application/json;as=Table;g=meta.k8s.io;v=v1beta1");
    let (_, table) = read(api.raw("GET", CONFIG_MAPS, &[beta], "").await).await;
    assert_eq!(
        (&table["apiVersion"], &table["rows"][0]["object"]["apiVersion"]),
        (&json!("meta.k8s.io/v1beta1"), &json!("meta.k8s.io/v1beta1"))
    );
    let (_, _, text) = got(&api, &format!("{one}?pretty=true"), &[]).await;
    assert!(text.starts_with(b"{\n  \"kind\": \"ConfigMap\",\n  \"apiVersion\": \"v1\",\n"), "{text:?}");
    assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON"), made);
}

/// What a Go client sends has every plain field, also those that say nothing.
#[tokio::test]
async fn bodies_in_protobuf_leave_no_empty_fields() {
    let api = Api::new().await;
    let list = json!({"type": "array", "nullable": false, "items": {"type": "object", "nullable": false,
        "additionalProperties": {"type": "string", "x-kubernetes-int-or-string": false}}});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com", "namespace": "", "generateName": "", "selfLink": "", "uid": "", "resourceVersion": "", "generation": 0},
        "spec": {"group": "example.com", "scope": "Namespaced", "preserveUnknownFields": false,
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "deprecated": false,
                "schema": {"openAPIV3Schema": {"id": "", "$schema": "", "description": "", "type": "object", "format": "", "title": "",
                    "exclusiveMaximum": false, "exclusiveMinimum": false, "pattern": "", "uniqueItems": false, "nullable": false,
                    "x-kubernetes-embedded-resource": false, "x-kubernetes-int-or-string": false, "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"list": list}}}}]}});
    let encoder = protobuf::Encoder::of("apiextensions.k8s.io/v1", "CustomResourceDefinition").expect("a kind");
    let body = encoder.object(crd.to_string().as_bytes()).expect("JSON");
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let headers = [("content-type", "application/vnd.kubernetes.protobuf")];
    let (code, made) = read(api.raw("POST", path, &headers, body).await).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        made["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "list": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}}})
    );
    assert_eq!(
        (&made["metadata"]["generateName"], &made["spec"]["preserveUnknownFields"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn items_leave_their_type_to_the_list() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    let (_, list) = api.get(CONFIG_MAPS).await;
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    let mut item = made.clone();
    for field in ["kind", "apiVersion"] {
        item.as_object_mut().expect("an object").remove(field);
    }
    assert_eq!(list["items"], json!([item]));
    let mut watch = Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1"), &[], "").await);
    assert_eq!(watch.next().await.expect("an event")["object"], made);
}

#[tokio::test]
async fn slices_are_selected_by_node_and_driver() {
    let api = Api::new().await;
    let path = "/apis/resource.k8s.io/v1/resourceslices";
    for (name, node, driver) in [("a", "n1", "d1"), ("b", "n1", "d2"), ("c", "n2", "d1")] {
        let slice = json!({"metadata": {"name": name}, "spec": {"nodeName": node, "driver": driver, "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}});
        assert_eq!(api.post(path, slice).await.0, 201);
    }
    for (selector, expected) in
        [("spec.driver%3Dd1", vec!["a", "c"]), ("spec.nodeName%3Dn1,spec.driver%3Dd2", vec!["b"])]
    {
        let (_, list) = api.get(&format!("{path}?fieldSelector={selector}")).await;
        assert_eq!(names(&list), expected, "{selector}");
    }
    assert_eq!(api.get(&format!("{path}?fieldSelector=spec.pool%3Dp")).await.0, 400);
}

/// What tolerates a taint for a while counts from the time in it.
#[tokio::test]
async fn device_taints_are_given_a_time() {
    let api = Api::new().await;
    let path = "/apis/resource.k8s.io/v1/resourceslices";
    let given = json!({"key": "a", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"});
    let devices = json!([{"name": "d", "taints": [given, {"key": "b", "effect": "NoExecute"}]}]);
    let spec = json!({"nodeName": "n", "driver": "d", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": devices});
    let (code, made) = api.post(path, json!({"metadata": {"name": "a"}, "spec": spec})).await;
    assert_eq!(code, 201);
    let taints = &made["spec"]["devices"][0]["taints"];
    assert_eq!(taints[0], given);
    let time = taints[1]["timeAdded"].as_str().expect("a time").to_owned();
    assert!(time.ends_with('Z'), "{time}");
    let more =
        json!([{"op": "add", "path": "/spec/devices/0/taints/-", "value": {"key": "c", "effect": "NoSchedule"}}]);
    let form = [("content-type", "application/json-patch+json")];
    let (code, changed) = api.send("PATCH", &format!("{path}/a"), &form, more).await;
    assert_eq!(code, 200, "{changed}");
    let taints = &changed["spec"]["devices"][0]["taints"];
    assert_eq!((&taints[1]["timeAdded"], taints[2]["timeAdded"].is_string()), (&json!(time), true));
    assert_eq!(changed["metadata"]["generation"], 2);
}

/// A watch that cannot begin says so in its stream.
#[tokio::test]
async fn watches_fail_in_their_stream() {
    let api = Api::new().await;
    let future = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=999999"
    );
    let mut watch = Lines::new(api.raw("GET", &future, &[], "").await);
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(504)));
    assert_eq!(watch.next().await, None);
    let named = "/api/v1/watch/namespaces/default/configmaps/a?fieldSelector=metadata.name%3Db";
    assert_eq!(api.get(named).await.1["message"], "fieldSelector metadata.name doesn't match requested name");
}
