//! Objects before and after.

use super::*;
use crate::verbs::pairs;
use serde_json::Map;

fn info(kind: &str, object: Value) -> Info {
    let resource =
        crate::resolve::discovery::Resource { kind: kind.into(), version: "v1".into(), ..Default::default() };
    Info { resource: resource.into(), namespace: None, name: "web".into(), object, source: None }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn pod_specs_are_found() {
    let spec = json!({"containers": []});
    let cases = [
        ("Pod", json!({"spec": spec})),
        ("Deployment", json!({"spec": {"template": {"spec": spec}}})),
        ("CronJob", json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}})),
    ];
    for (kind, mut object) in cases {
        assert_eq!(pod_spec(&info(kind, Value::Null), &mut object).unwrap(), &spec, "{kind}");
    }
    let message = pod_spec(&info("Service", Value::Null), &mut json!({})).unwrap_err().to_string();
    assert_eq!(message, "the object is not a pod or does not have a pod template: *v1.Service");
}

#[test]
fn images() {
    let spec = json!({"initContainers": [{"name": "a", "image": "1"}], "containers": [{"name": "b", "image": "1"}]});
    let cases = [("a=2", "2", "1", 0), ("*=2", "2", "2", 0), ("b=2 c=3", "1", "2", 1)];
    for (text, first, second, missing) in cases {
        let mut spec = spec.clone();
        let images = pairs::parse(&words(text), "image", false).unwrap();
        assert_eq!(image::set_images(&mut spec, &images).len(), missing);
        assert_eq!(
            (&spec["initContainers"][0]["image"], &spec["containers"][0]["image"]),
            (&json!(first), &json!(second)),
            "{text}"
        );
    }
}

#[test]
fn resource_amounts_are_canonical() {
    assert_eq!(Value::from(resources::list("cpu=0.5,memory=1024Mi").unwrap()), json!({"cpu": "500m", "memory": "1Gi"}));
    let message = resources::list("cpu").unwrap_err().to_string();
    assert_eq!(message, "Invalid argument syntax cpu, expected <resource>=<value>");
    let mut spec = json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]});
    let limits = resources::list("memory=1Gi").unwrap();
    assert!(resources::set_resources(&mut spec, "*", &limits, &Map::new()));
    assert_eq!(spec["containers"][0]["resources"], json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
    assert!(!resources::set_resources(&mut spec, "x", &limits, &Map::new()));
}

#[test]
fn variables_replace_and_go() {
    let stdin = || Ok("C=3 # three\nnothing\n".to_owned());
    let variables = env::parse(&words("A=x=y B- -"), stdin).unwrap();
    let existing =
        [json!({"name": "A", "value": "1"}), json!({"name": "B"}), json!({"name": "D"}), json!({"name": "A"})];
    assert_eq!(
        env::update(&existing, &variables),
        [json!({"name": "A", "value": "x=y"}), json!({"name": "D"}), json!({"name": "C", "value": "3 "})]
    );
    for text in ["A=1 A-", "x y", "1=2"] {
        assert!(env::parse(&words(text), stdin).is_err(), "{text}");
    }
}

#[test]
fn imports_are_references() {
    let secret = info("Secret", json!({"data": {"my-key": "eA==", "other": "eA=="}}));
    assert_eq!(
        env::imported(&secret, &["my-key".to_owned()]).unwrap(),
        [json!({"name": "MY_KEY", "valueFrom": {"secretKeyRef": {"name": "web", "key": "my-key"}}})]
    );
    assert!(env::imported(&info("Pod", json!({})), &[]).is_err());
}
