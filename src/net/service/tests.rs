//! Whole rulesets from API objects, and incremental changes against them.

mod hints;

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::*;
use crate::nft::{FakeNft, Family, Nft};

fn frame() -> Frame {
    Frame {
        family: Family::V4,
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_dns: Some("10.43.0.10".parse().unwrap()),
    }
}

/// A Service on 10.43.0.2 with one port, `spec` merged in.
fn service(name: &str, spec: Value) -> Service {
    let mut service = json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {"clusterIP": "10.43.0.2", "clusterIPs": ["10.43.0.2"], "type": "ClusterIP",
                 "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        if key == "status" || key == "labels" {
            let parent = if key == "status" { &mut service } else { &mut service["metadata"] };
            parent[key] = value.clone();
        } else {
            service["spec"][key] = value.clone();
        }
    }
    serde_json::from_value(service).unwrap()
}

/// `10.42.0.2` (ready, here), `10.42.1.2@other`, `-` in front: not ready, `~`: terminating but serving.
fn slice(name: &str, port: u16, endpoints: &[&str]) -> EndpointSlice {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|text| {
            let state = text.chars().next().filter(|c| "-~".contains(*c));
            let text = text.trim_start_matches(['-', '~']);
            let (address, node) = text.split_once('@').unwrap_or((text, "here"));
            json!({
                "addresses": [address], "nodeName": node,
                "conditions": {"ready": state.is_none(), "serving": state != Some('-'), "terminating": state == Some('~')},
            })
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": port}],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn contribution(service: &Service, slices: &[EndpointSlice]) -> Contribution {
    let slices: Vec<&EndpointSlice> = slices.iter().collect();
    frame().contribution(&service_ports(service, &slices, Place { node: "here", zone: Some("near") }, false))
}

/// The contribution as lines.
fn check(service: &Service, slices: &[EndpointSlice], expected: Expect) {
    let contribution = contribution(service, slices);
    let mut text = String::new();
    for ((set, key), value) in &contribution.elements {
        text += &match value {
            Some(value) => format!("{set} {{ {key} : {value} }}\n"),
            None => format!("{set} {{ {key} }}\n"),
        };
    }
    for (name, declaration) in &contribution.sets {
        text += &format!("set {name} {{ {declaration} }}\n");
    }
    for (name, rules) in &contribution.chains {
        text += &format!("chain {name}\n");
        for rule in rules {
            text += &format!("  {rule}\n");
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn cluster_ip() {
    check(
        &service("web", json!({})),
        &[slice("web", 8080, &["10.42.0.2", "10.42.1.2@other", "-10.42.0.9", "~10.42.0.8"])],
        expect![[r#"
            endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080 }
            endpoints-tcp { 10.43.0.2 . 80 . 1 : 10.42.1.2 . 8080 }
            hairpin { 10.42.0.2 . 10.42.0.2 }
            services { 10.43.0.2 . tcp . 80 : goto pick-tcp-2 }
        "#]],
    );
}

#[test]
fn without_endpoints_it_refuses() {
    check(
        &service("web", json!({"type": "NodePort"})),
        &[slice("web", 80, &["-10.42.0.2"])],
        expect![[r#"
        no-endpoints { 10.43.0.2 . tcp . 80 : goto refuse }
        no-endpoints-nodeports { tcp . 30080 : goto refuse }
    "#]],
    );
}

#[test]
fn terminating_endpoints_serve_when_none_is_ready() {
    check(
        &service("web", json!({})),
        &[slice("web", 80, &["-10.42.0.2", "~10.42.0.3"])],
        expect![[r#"
            endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.3 . 80 }
            hairpin { 10.42.0.3 . 10.42.0.3 }
            services { 10.43.0.2 . tcp . 80 : goto pick-tcp-1 }
        "#]],
    );
}

#[test]
fn node_port_external_ip_and_load_balancer() {
    check(
        &service(
            "web",
            json!({
                "type": "LoadBalancer", "externalIPs": ["198.51.100.7"], "loadBalancerSourceRanges": ["203.0.113.0/24"],
                "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}, {"ip": "198.51.100.9", "ipMode": "Proxy"}]}},
            }),
        ),
        &[slice("web", 8080, &["10.42.0.2"])],
        expect![[r#"
            endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080 }
            endpoints-tcp { 198.51.100.7 . 80 . 0 : 10.42.0.2 . 8080 }
            endpoints-tcp { 198.51.100.8 . 80 . 0 : 10.42.0.2 . 8080 }
            firewall { 198.51.100.8 . tcp . 80 : goto firewall-2965c79935f280c4 }
            hairpin { 10.42.0.2 . 10.42.0.2 }
            nodeport-endpoints-tcp { 30080 . 0 : 10.42.0.2 . 8080 }
            nodeports { tcp . 30080 : goto node-masq-tcp-1 }
            services { 10.43.0.2 . tcp . 80 : goto pick-tcp-1 }
            services { 198.51.100.7 . tcp . 80 : goto masq-tcp-1 }
            services { 198.51.100.8 . tcp . 80 : goto masq-tcp-1 }
            chain firewall-2965c79935f280c4
              ip saddr { 203.0.113.0/24 } return
              drop
        "#]],
    );
}

#[test]
fn external_policy_local() {
    let web = service("web", json!({"type": "NodePort", "externalTrafficPolicy": "Local"}));
    check(
        &web,
        &[slice("web", 8080, &["10.42.0.2", "10.42.1.2@other"])],
        expect![[r#"
        endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080 }
        endpoints-tcp { 10.43.0.2 . 80 . 1 : 10.42.1.2 . 8080 }
        hairpin { 10.42.0.2 . 10.42.0.2 }
        nodeport-endpoints-local-tcp { 30080 . 0 : 10.42.0.2 . 8080 }
        nodeport-endpoints-tcp { 30080 . 0 : 10.42.0.2 . 8080 }
        nodeport-endpoints-tcp { 30080 . 1 : 10.42.1.2 . 8080 }
        nodeports { tcp . 30080 : goto node-tcp-2 }
        nodeports-local { tcp . 30080 : goto node-local-tcp-1 }
        services { 10.43.0.2 . tcp . 80 : goto pick-tcp-2 }
    "#]],
    );
    check(
        &web,
        &[slice("web", 8080, &["10.42.1.2@other"])],
        expect![[r#"
        endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.1.2 . 8080 }
        no-endpoints-nodeports { tcp . 30080 : drop }
        nodeport-endpoints-tcp { 30080 . 0 : 10.42.1.2 . 8080 }
        nodeports { tcp . 30080 : goto node-tcp-1 }
        nodeports-local { tcp . 30080 : accept }
        services { 10.43.0.2 . tcp . 80 : goto pick-tcp-1 }
    "#]],
    );
}

#[test]
fn internal_policy_local() {
    let web = service("web", json!({"internalTrafficPolicy": "Local"}));
    check(
        &web,
        &[slice("web", 8080, &["10.42.0.2", "10.42.1.2@other"])],
        expect![[r#"
        endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080 }
        hairpin { 10.42.0.2 . 10.42.0.2 }
        services { 10.43.0.2 . tcp . 80 : goto pick-tcp-1 }
    "#]],
    );
    check(
        &web,
        &[slice("web", 8080, &["10.42.1.2@other"])],
        expect![[r#"
        no-endpoints { 10.43.0.2 . tcp . 80 : drop }
    "#]],
    );
}

#[test]
fn client_affinity() {
    let affinity = json!({
        "type": "NodePort", "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
    });
    check(
        &service("web", affinity),
        &[slice("web", 8080, &["10.42.0.2", "10.42.1.2@other"])],
        expect![[r#"
        hairpin { 10.42.0.2 . 10.42.0.2 }
        nodeports { tcp . 30080 : goto affinity-2965c79935f280c4-masq }
        services { 10.43.0.2 . tcp . 80 : goto affinity-2965c79935f280c4 }
        set affinity-2965c79935f280c4-64a5d83d { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
        set affinity-2965c79935f280c4-e8306636 { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
        chain affinity-2965c79935f280c4
          ip saddr @affinity-2965c79935f280c4-e8306636 goto affinity-2965c79935f280c4-e8306636
          ip saddr @affinity-2965c79935f280c4-64a5d83d goto affinity-2965c79935f280c4-64a5d83d
          numgen random mod 2 vmap { 0 : goto affinity-2965c79935f280c4-e8306636, 1 : goto affinity-2965c79935f280c4-64a5d83d }
        chain affinity-2965c79935f280c4-64a5d83d
          update @affinity-2965c79935f280c4-64a5d83d { ip saddr }
          meta l4proto tcp dnat ip to 10.42.1.2:8080
        chain affinity-2965c79935f280c4-e8306636
          update @affinity-2965c79935f280c4-e8306636 { ip saddr }
          meta l4proto tcp dnat ip to 10.42.0.2:8080
        chain affinity-2965c79935f280c4-masq
          meta mark set meta mark or 0x4000
          goto affinity-2965c79935f280c4
    "#]],
    );
}

#[test]
fn what_is_not_proxied() {
    let slices = [slice("web", 80, &["10.42.0.2"])];
    for spec in [
        json!({"clusterIP": "None", "clusterIPs": ["None"]}),
        json!({"type": "ExternalName", "clusterIP": "", "clusterIPs": [], "externalName": "example.org"}),
        json!({"labels": {"service.kubernetes.io/service-proxy-name": "other"}}),
        json!({"clusterIP": "10.43.0.10", "clusterIPs": ["10.43.0.10"]}),
        json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
        json!({"ports": []}),
    ] {
        assert_eq!(contribution(&service("web", spec.clone()), &slices), Contribution::default(), "{spec}");
    }
}

#[test]
fn the_whole_table() {
    let nft = FakeNft::default();
    let mut table = ServiceTable::new(frame());
    let web = contribution(&service("web", json!({"type": "NodePort"})), &[slice("web", 8080, &["10.42.0.2"])]);
    table.change(BTreeMap::from([("default/web".into(), web)]));
    nft.apply(&table.whole()).unwrap();
    expect![[r#"
        table ip mk8s-svc {
          map endpoints-local-sctp { typeof ip daddr . sctp dport . numgen random mod 65536 : ip daddr . sctp dport; }
          map endpoints-local-tcp { typeof ip daddr . tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }
          map endpoints-local-udp { typeof ip daddr . udp dport . numgen random mod 65536 : ip daddr . udp dport; }
          map endpoints-sctp { typeof ip daddr . sctp dport . numgen random mod 65536 : ip daddr . sctp dport; }
          map endpoints-tcp { typeof ip daddr . tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }
            10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080
          map endpoints-udp { typeof ip daddr . udp dport . numgen random mod 65536 : ip daddr . udp dport; }
          map firewall { type ipv4_addr . inet_proto . inet_service : verdict; }
          set hairpin { type ipv4_addr . ipv4_addr; }
            10.42.0.2 . 10.42.0.2
          map no-endpoints { type ipv4_addr . inet_proto . inet_service : verdict; }
          map no-endpoints-nodeports { type inet_proto . inet_service : verdict; }
          map nodeport-endpoints-local-sctp { typeof sctp dport . numgen random mod 65536 : ip daddr . sctp dport; }
          map nodeport-endpoints-local-tcp { typeof tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }
          map nodeport-endpoints-local-udp { typeof udp dport . numgen random mod 65536 : ip daddr . udp dport; }
          map nodeport-endpoints-sctp { typeof sctp dport . numgen random mod 65536 : ip daddr . sctp dport; }
          map nodeport-endpoints-tcp { typeof tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }
            30080 . 0 : 10.42.0.2 . 8080
          map nodeport-endpoints-udp { typeof udp dport . numgen random mod 65536 : ip daddr . udp dport; }
          map nodeports { type inet_proto . inet_service : verdict; }
            tcp . 30080 : goto node-masq-tcp-1
          map nodeports-local { type inet_proto . inet_service : verdict; }
          map services { type ipv4_addr . inet_proto . inet_service : verdict; }
            10.43.0.2 . tcp . 80 : goto pick-tcp-1
          map services-local { type ipv4_addr . inet_proto . inet_service : verdict; }
          chain dispatch {  }
            ip daddr . meta l4proto . th dport vmap @services
            fib daddr type local meta l4proto . th dport vmap @nodeports
          chain filter-forward { type filter hook forward priority 0; }
            ct state new jump unanswered
          chain filter-input { type filter hook input priority 0; }
            ct state new jump unanswered
          chain filter-output { type filter hook output priority 0; }
            ct state new jump unanswered
          chain firewall { type filter hook prerouting priority -110; }
            ct state new ip daddr . meta l4proto . th dport vmap @firewall
          chain node-masq-tcp-1 {  }
            meta mark set meta mark or 0x4000
            dnat ip to tcp dport . numgen random mod 1 map @nodeport-endpoints-tcp
          chain output { type nat hook output priority -100; }
            jump dispatch
          chain outside {  }
            ip daddr . meta l4proto . th dport vmap @services-local
            fib daddr type local meta l4proto . th dport vmap @nodeports-local
            ip daddr 10.43.0.0/16 meta mark set meta mark or 0x4000
          chain pick-tcp-1 {  }
            dnat ip to ip daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
          chain postrouting { type nat hook postrouting priority 100; }
            meta mark & 0x4000 == 0x4000 meta mark set meta mark xor 0x4000 ct status dnat masquerade fully-random
            ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
            ct status dnat ip saddr 127.0.0.0/8 masquerade fully-random
          chain prerouting { type nat hook prerouting priority -100; }
            ip saddr != 10.42.0.0/16 jump outside
            jump dispatch
          chain refuse {  }
            reject
          chain unanswered {  }
            ip daddr . meta l4proto . th dport vmap @no-endpoints
            fib daddr type local meta l4proto . th dport vmap @no-endpoints-nodeports
            ip daddr 10.43.0.0/16 fib daddr type != local reject
        }
    "#]]
    .assert_eq(&nft.dump());
}

#[test]
fn a_change_names_only_what_differs() {
    let nft = FakeNft::default();
    let mut table = ServiceTable::new(frame());
    nft.apply(&table.whole()).unwrap();
    let mut steps = String::new();
    let web = service("web", json!({}));
    let other = service("other", json!({"clusterIP": "10.43.0.3", "clusterIPs": ["10.43.0.3"]}));
    let steps_wanted: [(&str, &Service, &[&str]); 5] = [
        ("default/web", &web, &["10.42.0.2"]),
        ("default/other", &other, &["10.42.0.2"]),
        ("default/web", &web, &["10.42.0.2", "10.42.0.3"]),
        ("default/web", &web, &["10.42.0.3"]),
        ("default/web", &web, &[]),
    ];
    for (key, service, endpoints) in steps_wanted {
        let name = key.split_once('/').unwrap().1;
        let change = contribution(service, &[slice(name, 8080, endpoints)]);
        let transaction = table.change(BTreeMap::from([(key.into(), change)]));
        nft.apply(&transaction).unwrap();
        steps += &format!("{key} {endpoints:?}\n{transaction}");
    }
    expect![[r#"
        default/web ["10.42.0.2"]
        add chain ip mk8s-svc pick-tcp-1
        flush chain ip mk8s-svc pick-tcp-1
        add rule ip mk8s-svc pick-tcp-1 dnat ip to ip daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
        add element ip mk8s-svc endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080 }
        add element ip mk8s-svc hairpin { 10.42.0.2 . 10.42.0.2 }
        add element ip mk8s-svc services { 10.43.0.2 . tcp . 80 : goto pick-tcp-1 }
        default/other ["10.42.0.2"]
        add element ip mk8s-svc endpoints-tcp { 10.43.0.3 . 80 . 0 : 10.42.0.2 . 8080 }
        add element ip mk8s-svc services { 10.43.0.3 . tcp . 80 : goto pick-tcp-1 }
        default/web ["10.42.0.2", "10.42.0.3"]
        add chain ip mk8s-svc pick-tcp-2
        flush chain ip mk8s-svc pick-tcp-2
        add rule ip mk8s-svc pick-tcp-2 dnat ip to ip daddr . tcp dport . numgen random mod 2 map @endpoints-tcp
        delete element ip mk8s-svc services { 10.43.0.2 . tcp . 80 }
        add element ip mk8s-svc endpoints-tcp { 10.43.0.2 . 80 . 1 : 10.42.0.3 . 8080 }
        add element ip mk8s-svc hairpin { 10.42.0.3 . 10.42.0.3 }
        add element ip mk8s-svc services { 10.43.0.2 . tcp . 80 : goto pick-tcp-2 }
        default/web ["10.42.0.3"]
        delete element ip mk8s-svc endpoints-tcp { 10.43.0.2 . 80 . 0, 10.43.0.2 . 80 . 1 }
        delete element ip mk8s-svc services { 10.43.0.2 . tcp . 80 }
        add element ip mk8s-svc endpoints-tcp { 10.43.0.2 . 80 . 0 : 10.42.0.3 . 8080 }
        add element ip mk8s-svc services { 10.43.0.2 . tcp . 80 : goto pick-tcp-1 }
        default/web []
        delete element ip mk8s-svc endpoints-tcp { 10.43.0.2 . 80 . 0 }
        delete element ip mk8s-svc hairpin { 10.42.0.3 . 10.42.0.3 }
        delete element ip mk8s-svc services { 10.43.0.2 . tcp . 80 }
        add element ip mk8s-svc no-endpoints { 10.43.0.2 . tcp . 80 : goto refuse }
    "#]]
    .assert_eq(&steps);
    for key in ["default/web", "default/other"] {
        nft.apply(&table.change(BTreeMap::from([(key.into(), Contribution::default())]))).unwrap();
    }
    assert!(table.is_empty());
    assert!(table.change(BTreeMap::from([("default/web".into(), Contribution::default())])).is_empty());
}

#[test]
fn the_first_claim_of_an_element_holds() {
    let nft = FakeNft::default();
    let mut table = ServiceTable::new(frame());
    nft.apply(&table.whole()).unwrap();
    let claim = |name: &str, cluster_ip: &str, endpoint: &str| {
        let spec = json!({"clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "externalIPs": ["198.51.100.7"]});
        contribution(&service(name, spec), &[slice(name, 80, &[endpoint])])
    };
    let held = |nft: &FakeNft| {
        let dump = nft.dump();
        let line = dump.lines().find(|line| line.contains("198.51.100.7 . 80 . 0"));
        line.map(|line| line.trim().to_owned())
    };
    nft.apply(&table.change(BTreeMap::from([("default/b".into(), claim("b", "10.43.0.3", "10.42.0.3"))]))).unwrap();
    nft.apply(&table.change(BTreeMap::from([("default/a".into(), claim("a", "10.43.0.2", "10.42.0.2"))]))).unwrap();
    assert_eq!(held(&nft).as_deref(), Some("198.51.100.7 . 80 . 0 : 10.42.0.2 . 80"));
    nft.apply(&table.change(BTreeMap::from([("default/a".into(), Contribution::default())]))).unwrap();
    assert_eq!(held(&nft).as_deref(), Some("198.51.100.7 . 80 . 0 : 10.42.0.3 . 80"));
    nft.apply(&table.change(BTreeMap::from([("default/b".into(), Contribution::default())]))).unwrap();
    assert_eq!(held(&nft), None);
}

/// Whatever the history, the loaded table is what a fresh start would load (but for pick chains nobody needs).
#[test]
fn changes_lead_where_a_fresh_start_leads() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let nft = FakeNft::default();
    let mut table = ServiceTable::new(frame());
    nft.apply(&table.whole()).unwrap();
    for _ in 0..300 {
        let mut changes = BTreeMap::new();
        for _ in 0..=next(2) {
            let name = format!("svc{}", next(4));
            let spec = json!({
                "clusterIP": format!("10.43.0.{}", 20 + name.as_bytes()[3] % 4),
                "clusterIPs": [format!("10.43.0.{}", 20 + name.as_bytes()[3] % 4)],
                "type": (["ClusterIP", "NodePort"][next(2) as usize]),
                "externalIPs": (if next(3) == 0 { vec!["198.51.100.7"] } else { vec![] }),
                "externalTrafficPolicy": (["Cluster", "Local"][next(2) as usize]),
                "internalTrafficPolicy": (["Cluster", "Local"][next(2) as usize]),
                "sessionAffinity": (["None", "ClientIP"][next(2) as usize]),
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10 + next(2)}},
                "loadBalancerSourceRanges": (if next(2) == 0 { vec!["203.0.113.0/24"] } else { vec![] }),
                "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}},
            });
            let all = ["10.42.0.2", "10.42.0.3", "10.42.1.2@other", "~10.42.0.4", "-10.42.0.5"];
            let endpoints: Vec<&str> = all.into_iter().filter(|_| next(2) == 0).collect();
            let new = match next(4) {
                0 => Contribution::default(),
                _ => contribution(&service(&name, spec), &[slice(&name, 8080, &endpoints)]),
            };
            changes.insert(ServiceKey::from(format!("default/{name}")), new);
        }
        nft.apply(&table.change(changes)).unwrap();
        let loaded = nft.dump();
        let fresh = FakeNft::default();
        let before = table.whole();
        fresh.apply(&before).unwrap();
        let without_picks = |dump: &str| {
            let mut keep = true;
            let mut kept = Vec::new();
            for line in dump.lines() {
                if !line.starts_with("    ") {
                    keep = !["pick-", "masq-", "node-", "local-"]
                        .iter()
                        .any(|name| line.contains(&format!("chain {name}")));
                }
                if keep {
                    kept.push(line.to_owned());
                }
            }
            kept.join("\n")
        };
        assert_eq!(without_picks(&loaded), without_picks(&fresh.dump()));
        nft.apply(&before).unwrap();
    }
}

fn applied(object: &impl serde::Serialize) -> (crate::feed::ObjectKey, Value) {
    let value = serde_json::to_value(object).unwrap();
    let text = |field: &str| std::sync::Arc::from(value["metadata"][field].as_str().unwrap());
    ((text("namespace"), text("name")), value)
}

fn service_change(object: &Service) -> crate::Change {
    crate::Change::Service(applied(object).0, Some(std::sync::Arc::new(object.clone())))
}

fn slice_change(object: &EndpointSlice) -> crate::Change {
    crate::Change::Slice(applied(object).0, Some(std::sync::Arc::new(object.clone())))
}

#[test]
fn nothing_is_loaded_before_everything_is_known_and_then_all_of_it() {
    let mut proxy = Proxy::new(frame(), "here");
    proxy.observe(slice_change(&slice("web", 8080, &["10.42.0.2"])));
    proxy.observe(service_change(&service("web", json!({}))));
    for _ in 0..2 {
        proxy.observe(crate::Change::Synced);
        assert!(proxy.update().is_none());
    }
    proxy.observe(crate::Change::Synced);
    assert!(proxy.update().is_none(), "it is not known where this node is");
    proxy.observe(crate::Change::Zone(None));
    let nft = FakeNft::default();
    nft.apply(&proxy.update().unwrap().transaction).unwrap();
    assert!(nft.dump().contains("10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080"), "{}", nft.dump());
    assert!(proxy.update().is_none(), "nothing changed");
}

#[test]
fn a_slice_may_change_its_service_and_go() {
    let nft = FakeNft::default();
    let mut proxy = Proxy::new(frame(), "here");
    proxy.observe(crate::Change::Zone(None));
    for _ in 0..crate::feed::KINDS {
        proxy.observe(crate::Change::Synced);
    }
    proxy.observe(service_change(&service("web", json!({}))));
    let other = service("other", json!({"clusterIP": "10.43.0.3", "clusterIPs": ["10.43.0.3"]}));
    proxy.observe(service_change(&other));
    let mut moving = slice("web", 8080, &["10.42.0.2"]);
    proxy.observe(slice_change(&moving));
    let load = |proxy: &mut Proxy| {
        nft.apply(&proxy.update().unwrap().transaction).unwrap();
        let dump = nft.dump();
        ["10.43.0.2", "10.43.0.3"].map(|address| dump.contains(&format!("{address} . 80 . 0 : 10.42.0.2 . 8080")))
    };
    assert_eq!(load(&mut proxy), [true, false]);
    let labels = moving.metadata.labels.as_mut().unwrap();
    labels.insert("kubernetes.io/service-name".to_owned(), "other".to_owned());
    proxy.observe(slice_change(&moving));
    assert_eq!(load(&mut proxy), [false, true]);
    proxy.observe(crate::Change::Slice(applied(&moving).0, None));
    assert_eq!(load(&mut proxy), [false, false]);
    proxy.observe(crate::Change::Service(applied(&other).0, None));
    load(&mut proxy);
    assert_eq!(proxy.table().len(), 1);
}

#[tokio::test]
async fn what_nft_refuses_leads_to_a_whole_table() {
    use std::sync::Arc;
    let nft = Arc::new(FakeNft::default());
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(run(Proxy::new(frame(), "here"), nft.clone(), receiver, stop.clone()));
    sender.send(crate::Change::Zone(None)).await.unwrap();
    for _ in 0..crate::feed::KINDS {
        sender.send(crate::Change::Synced).await.unwrap();
    }
    let loaded = async |text: &str| {
        while !nft.dump().contains(text) {
            tokio::task::yield_now().await;
        }
    };
    loaded("chain dispatch").await;
    nft.refuse_next();
    sender.send(service_change(&service("web", json!({})))).await.unwrap();
    loaded("10.43.0.2 . tcp . 80 : goto refuse").await;
    nft.wipe();
    sender.send(slice_change(&slice("web", 8080, &["10.42.0.2"]))).await.unwrap();
    loaded("10.43.0.2 . 80 . 0 : 10.42.0.2 . 8080").await;
    stop.cancel();
    task.await.unwrap();
}
