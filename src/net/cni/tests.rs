//! The parts of the plugin that need no kernel.

use expect_test::expect;
use serde_json::{Value, json};

use super::address::Reservation;
use super::conf::{NetConf, PortMapping};
use super::{attach, pods, run};
use crate::nft::{FakeNft, Nft};

fn conf(changes: Value) -> Vec<u8> {
    let mut conf = json!({
        "cniVersion": "1.0.0", "name": "mk8s", "type": "mk8s-cni", "bridge": "cni0",
        "podCidr": "10.42.0.0/24", "clusterCidr": "10.42.0.0/16", "dataDir": "/nonexistent/for/tests",
    });
    for (key, value) in changes.as_object().unwrap() {
        conf[key] = value.clone();
    }
    serde_json::to_vec(&conf).unwrap()
}

fn refused(env: &[(&str, &str)], input: &[u8]) -> String {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let error = run(env, input).expect_err("must be refused");
    format!("{} {error}", error.code as u32)
}

#[test]
fn bad_calls_are_refused_with_the_specified_code() {
    let add = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/nonexistent/netns"),
    ];
    let without = |name: &str| add.iter().copied().filter(|(key, _)| *key != name).collect::<Vec<_>>();
    let with =
        |name: &'static str, value: &'static str| without(name).into_iter().chain([(name, value)]).collect::<Vec<_>>();
    let good = conf(json!({}));
    let found = [
        refused(&without("CNI_COMMAND"), &good),
        refused(&with("CNI_COMMAND", "FLY"), &good),
        refused(&without("CNI_CONTAINERID"), &good),
        refused(&with("CNI_CONTAINERID", "../etc"), &good),
        refused(&with("CNI_IFNAME", "a/b"), &good),
        refused(&with("CNI_IFNAME", "a-very-long-name-indeed"), &good),
        refused(&without("CNI_NETNS"), &good),
        refused(&add, &good),
        refused(&add, b"{"),
        refused(&add, &conf(json!({"cniVersion": "7.0.0"}))),
        refused(&add, &conf(json!({"podCidr": null}))),
        refused(&add, &conf(json!({"podCidr": "10.42.0.0"}))),
        refused(&add, &conf(json!({"podCidr": "10.42.0.0/31"}))),
        refused(&add, &conf(json!({"bridge": "a bridge"}))),
        refused(&add, &conf(json!({"mtu": 17}))),
        refused(&add, &conf(json!({"name": "../x"}))),
        refused(&add, &conf(json!({"dataDir": null}))),
        refused(&add, &conf(json!({"runtimeConfig": {"portMappings": [{"hostPort": 70000, "containerPort": 80}]}}))),
        refused(
            &add,
            &conf(
                json!({"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]}}),
            ),
        ),
    ];
    expect![[r#"
        4 unknown CNI_COMMAND ""
        4 unknown CNI_COMMAND "FLY"
        4 required env variable [CNI_CONTAINERID] missing
        4 invalid CNI_CONTAINERID "../etc"
        4 invalid CNI_IFNAME "a/b"
        4 invalid CNI_IFNAME "a-very-long-name-indeed"
        4 required env variable [CNI_NETNS] missing
        3 network namespace /nonexistent/netns does not exist
        6 cannot decode the network configuration: EOF while parsing an object at line 1 column 1
        1 incompatible CNI version "7.0.0", supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0, 0.2.0
        7 podCidr is required
        7 invalid podCidr "10.42.0.0": expected an IPv4 network such as 10.42.0.0/24
        7 invalid podCidr "10.42.0.0/31": expected a network of /29 or larger
        7 invalid bridge "a bridge": expected an interface name of at most 15 bytes
        7 invalid mtu "17": expected 0 or 576 to 65535
        7 invalid name "../x": expected a network name
        7 dataDir is required
        7 invalid portMappings.hostPort "70000": expected a port, 1 to 65535
        7 invalid portMappings.protocol "icmp": expected tcp, udp or sctp
    "#]]
    .assert_eq(&(found.join("\n") + "\n"));
}

#[test]
fn version_needs_no_configuration() {
    let env = |name: &str| (name == "CNI_COMMAND").then(|| "VERSION".to_owned());
    let answer = run(env, br#"{"cniVersion":"1.0.0"}"#).unwrap().unwrap();
    assert_eq!(answer["cniVersion"], "1.0.0");
    assert!(answer["supportedVersions"].as_array().unwrap().contains(&json!("1.1.0")));
}

fn reservation(container: &str, port_mappings: Vec<PortMapping>) -> Reservation {
    Reservation {
        container: container.to_owned(),
        ifname: "eth0".to_owned(),
        host_link: "veth1".to_owned(),
        port_mappings,
    }
}

fn mapping(host_ip: Option<&str>, host_port: u16, container_port: u16, protocol: &str) -> PortMapping {
    PortMapping {
        host_ip: host_ip.map(|text| text.parse().unwrap()),
        host_port,
        container_port,
        protocol: protocol.to_owned(),
    }
}

#[test]
fn the_pods_table() {
    let conf = NetConf::parse(&conf(json!({}))).unwrap().validate().unwrap();
    let nft = FakeNft::default();
    let two = vec![mapping(None, 8080, 80, "tcp"), mapping(Some("192.0.2.1"), 53, 5353, "udp")];
    let entries = vec![
        ("10.42.0.2".parse().unwrap(), reservation("a", two)),
        ("10.42.0.3".parse().unwrap(), reservation("b", Vec::new())),
    ];
    nft.apply(&pods::ruleset(&conf, &entries)).unwrap();
    let whole = nft.dump();
    nft.apply(&pods::ruleset(&conf, &[])).unwrap();
    nft.apply(&pods::ruleset(&conf, &entries)).unwrap();
    assert_eq!(nft.dump(), whole, "loading it again changes nothing");
    expect![[r#"
        table ip mk8s-pods {
          set hairpin { type ipv4_addr . ipv4_addr; }
            10.42.0.2 . 10.42.0.2
          map hostports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
            192.0.2.1 . udp . 53 : 10.42.0.2 . 5353
          map hostports-any { type inet_proto . inet_service : ipv4_addr . inet_service; }
            tcp . 8080 : 10.42.0.2 . 80
          chain guard { type filter hook prerouting priority raw; }
            iifname "cni0" ip daddr 127.0.0.0/8 drop
          chain host-ports {  }
            dnat ip to ip daddr . meta l4proto . th dport map @hostports
            dnat ip to meta l4proto . th dport map @hostports-any
          chain output { type nat hook output priority -100; }
            fib daddr type local jump host-ports
          chain postrouting { type nat hook postrouting priority srcnat; }
            ip saddr 10.42.0.0/24 ip daddr != 10.42.0.0/16 ip daddr != 224.0.0.0/4 masquerade
            ct status dnat ip saddr . ip daddr @hairpin masquerade
            ip saddr 127.0.0.0/8 oifname "cni0" masquerade
          chain prerouting { type nat hook prerouting priority dstnat; }
            fib daddr type local jump host-ports
          chain redirects { type filter hook output priority filter; }
            oifname "cni0" icmp type redirect drop
        }
    "#]]
    .assert_eq(&whole);
}

#[test]
fn a_taken_host_port_is_refused() {
    let entries = vec![
        ("10.42.0.2".parse().unwrap(), reservation("a", vec![mapping(None, 8080, 80, "tcp")])),
        ("10.42.0.3".parse().unwrap(), reservation("b", vec![mapping(Some("192.0.2.1"), 53, 53, "udp")])),
    ];
    let cases = [
        (mapping(None, 8080, 1, "tcp"), "c", false),
        (mapping(Some("127.0.0.1"), 8080, 1, "tcp"), "c", false),
        (mapping(None, 8080, 1, "udp"), "c", true),
        (mapping(None, 8080, 1, "tcp"), "a", true),
        (mapping(None, 53, 1, "udp"), "c", false),
        (mapping(Some("192.0.2.2"), 53, 1, "udp"), "c", true),
        (mapping(Some("192.0.2.1"), 53, 1, "udp"), "c", false),
    ];
    for (want, container, free) in cases {
        let outcome = pods::check_free(std::slice::from_ref(&want), container, &entries);
        assert_eq!(outcome.is_ok(), free, "{want:?} for {container}: {outcome:?}");
    }
}

#[test]
fn clients_of_a_moved_udp_port_are_forgotten() {
    use crate::netlink::conntrack::Flow;
    let entries = vec![("10.42.0.3".parse().unwrap(), reservation("b", vec![mapping(None, 53, 5353, "udp")]))];
    let pods = "10.42.0.0/24".parse().unwrap();
    for (protocol, asked, answered, stale) in [
        (17, "192.0.2.1:53", "10.42.0.2:5353", true),
        (17, "192.0.2.1:53", "10.42.0.3:5353", false),
        (6, "192.0.2.1:53", "10.42.0.2:5353", false),
        (17, "192.0.2.1:54", "10.42.0.2:5353", false),
        (17, "8.8.8.8:53", "8.8.8.8:53", false),
        (17, "192.0.2.1:53", "172.17.0.2:53", false),
    ] {
        let flow = Flow {
            protocol,
            original_source: "192.0.2.9:40000".parse().unwrap(),
            original_destination: asked.parse().unwrap(),
            reply_source: answered.parse().unwrap(),
        };
        assert_eq!(pods::is_stale(&flow, pods, &entries), stale, "{flow:?}");
    }
}

#[test]
fn results_take_the_form_of_their_version() {
    use super::result::{AddResult, Interface, Ip};
    let result = AddResult {
        interfaces: vec![Interface {
            name: "eth0".to_owned(),
            mac: "0a:58:0a:2a:00:02".to_owned(),
            sandbox: Some("/run/netns/x".to_owned()),
            mtu: 1500,
        }],
        ips: vec![Ip {
            address: "10.42.0.2/32".parse().unwrap(),
            gateway: Some("10.42.0.1".parse().unwrap()),
            interface: 0,
        }],
        routes: vec![("0.0.0.0/0".parse().unwrap(), Some("10.42.0.1".parse().unwrap()))],
        dns: super::result::Dns { nameservers: vec!["10.43.0.10".to_owned()], ..Default::default() },
    };
    let shown: Vec<String> =
        ["0.2.0", "0.4.0", "1.0.0", "1.1.0"].iter().map(|v| result.to_json(v).to_string()).collect();
    expect![[r#"
        {"cniVersion":"0.2.0","dns":{"nameservers":["10.43.0.10"]},"ip4":{"gateway":"10.42.0.1","ip":"10.42.0.2/32","routes":[{"dst":"0.0.0.0/0","gw":"10.42.0.1"}]}}
        {"cniVersion":"0.4.0","dns":{"nameservers":["10.43.0.10"]},"interfaces":[{"mac":"0a:58:0a:2a:00:02","name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.42.0.2/32","gateway":"10.42.0.1","interface":0,"version":"4"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.42.0.1"}]}
        {"cniVersion":"1.0.0","dns":{"nameservers":["10.43.0.10"]},"interfaces":[{"mac":"0a:58:0a:2a:00:02","name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.42.0.2/32","gateway":"10.42.0.1","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"10.42.0.1"}]}
        {"cniVersion":"1.1.0","dns":{"nameservers":["10.43.0.10"]},"interfaces":[{"mac":"0a:58:0a:2a:00:02","mtu":1500,"name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.42.0.2/32","gateway":"10.42.0.1","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"10.42.0.1"}]}
    "#]]
    .assert_eq(&(shown.join("\n") + "\n"));
}

#[test]
fn status_tells_that_the_data_directory_is_unusable() {
    let conf = NetConf::parse(&conf(json!({"dataDir": "/proc/nothing"}))).unwrap().validate().unwrap();
    let error = attach::status(&conf).unwrap_err();
    assert_eq!(error.code as u32, 50);
}
