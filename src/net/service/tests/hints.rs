//! Endpoints that are kept for nodes and zones.

use super::*;

/// The slice with hints: for each endpoint zones, then `/`, then nodes.
fn hinted(name: &str, endpoints: &[(&str, &str)]) -> EndpointSlice {
    let mut slice = slice(name, 8080, &endpoints.iter().map(|(endpoint, _)| *endpoint).collect::<Vec<_>>());
    for (endpoint, (_, hints)) in slice.endpoints.iter_mut().flatten().zip(endpoints) {
        let (zones, nodes) = hints.split_once('/').unwrap_or((hints, ""));
        let names = |text: &str| -> Vec<Value> { text.split_whitespace().map(|name| json!({"name": name})).collect() };
        let hints = json!({"forZones": names(zones), "forNodes": names(nodes)});
        endpoint.hints = serde_json::from_value(hints).unwrap();
    }
    slice
}

/// The endpoints that are left of some with hints, for the cluster IP.
fn left(spec: Value, endpoints: &[(&str, &str)]) -> Vec<String> {
    let (service, slice) = (service("web", spec), hinted("web", endpoints));
    let ports = service_ports(&service, &[&slice], Place { node: "here", zone: Some("near") }, false);
    ports[0].internal_endpoints().iter().map(|address| address.ip().to_string()).collect()
}

#[test]
fn hints_keep_traffic_near() {
    let usual = || json!({});
    // In the zone, and on the node before that.
    assert_eq!(
        left(usual(), &[("10.42.0.2", "near"), ("10.42.1.2@b", "far"), ("10.42.2.2@c", "far near")]),
        ["10.42.0.2", "10.42.2.2"]
    );
    let nodes = [("10.42.0.2", "near/here"), ("10.42.1.2@b", "near/b"), ("10.42.2.2@c", "far/c")];
    assert_eq!(left(usual(), &nodes), ["10.42.0.2"]);
    assert_eq!(left(usual(), &nodes[1..]), ["10.42.1.2"], "the zone, where none is for the node");
    // What is not ready needs no hint, and has no say.
    assert_eq!(left(usual(), &[("10.42.0.2", "near"), ("-10.42.0.3", ""), ("~10.42.1.2@b", "")]), ["10.42.0.2"]);
    // Nobody is left alone: a hint that is missing, or hints for others only, say nothing.
    assert_eq!(left(usual(), &[("10.42.0.2", "near"), ("10.42.1.2@b", "")]).len(), 2);
    assert_eq!(left(usual(), &[("10.42.1.2@b", "far"), ("10.42.2.2@c", "far")]).len(), 2);
    assert_eq!(
        left(usual(), &[("10.42.1.2@b", "near/b"), ("10.42.0.2", "far")]),
        ["10.42.1.2"],
        "a missing node is no matter"
    );
    // Those that terminate are used wherever they are.
    assert_eq!(left(usual(), &[("~10.42.0.2", "near"), ("~10.42.1.2@b", "far")]).len(), 2);
    // `Local` knows this node only, whatever hints say.
    let local = json!({"internalTrafficPolicy": "Local"});
    assert_eq!(left(local, &[("10.42.0.2", "far"), ("10.42.1.2@b", "near")]), ["10.42.0.2"]);
}

#[test]
fn a_node_without_a_zone_has_the_whole_cluster() {
    let (service, slice) = (service("web", json!({})), hinted("web", &[("10.42.0.2", "near"), ("10.42.1.2@b", "far")]));
    let ports = service_ports(&service, &[&slice], Place { node: "here", zone: None }, false);
    assert_eq!(ports[0].endpoints.len(), 2);
}

#[test]
fn a_node_that_moves_turns_to_the_endpoints_of_its_new_zone() {
    let nft = FakeNft::default();
    let mut proxy = Proxy::new(frame(), "here");
    for _ in 0..crate::feed::KINDS {
        proxy.observe(crate::Change::Synced);
    }
    proxy.observe(service_change(&service("web", json!({}))));
    proxy.observe(slice_change(&hinted("web", &[("10.42.0.2", "near"), ("10.42.1.2@b", "far")])));
    for (zone, expected) in [(Some("near"), "10.42.0.2"), (Some("far"), "10.42.1.2"), (None, "10.42.0.2")] {
        proxy.observe(crate::Change::Zone(zone.map(std::sync::Arc::from)));
        nft.apply(&proxy.update().unwrap().transaction).unwrap();
        let dump = nft.dump();
        assert!(dump.contains(&format!("10.43.0.2 . 80 . 0 : {expected} . 8080")), "{zone:?}: {dump}");
        assert_eq!(dump.contains("10.43.0.2 . 80 . 1"), zone.is_none(), "{zone:?}: {dump}");
    }
    proxy.observe(crate::Change::Zone(None));
    assert!(proxy.update().is_none(), "it did not move");
}
