//! Kinds that are defined while the cluster runs, and what becomes of their objects.

use crate::support::host::Host;

const BOATS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {sails: {type: integer}}}}}}
"#;

const BOAT: &str = "{apiVersion: example.org/v1, kind: Boat, metadata: {name: one}, spec: {sails: 2}}";

fn define(host: &Host) {
    host.apply(BOATS);
    host.kubectl(&["wait", "--for=condition=Established", "crd/boats.example.org", "--timeout=10s"]);
}

#[test]
fn a_definition_takes_its_objects_with_it() {
    let host = Host::start("definitions", &[]);
    define(&host);
    host.apply(BOAT);
    let boats = || host.kubectl(&["get", "boats", "-o", "name"]);
    assert_eq!(boats().trim(), "boat.example.org/one");
    host.kubectl(&["delete", "crd", "boats.example.org", "--timeout=20s"]);
    define(&host);
    assert_eq!(boats().trim(), "", "of the objects of before none is left");
}
