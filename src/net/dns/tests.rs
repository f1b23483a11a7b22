//! Queries and their answers, as tables.

use std::sync::Arc;

use expect_test::{Expect, expect};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use serde_json::{Value, json};

use super::{Outcome, Zone, answer};
use crate::feed::{Change, ObjectKey};

fn key(object: &Value) -> ObjectKey {
    let text = |field: &str| Arc::from(object["metadata"][field].as_str().unwrap_or(""));
    (text("namespace"), text("name"))
}

fn service(name: &str, spec: Value) -> Change {
    let object = json!({"metadata": {"namespace": "default", "name": name}, "spec": spec});
    Change::Service(key(&object), Some(Arc::new(serde_json::from_value(object).unwrap())))
}

fn slice(service: &str, family: &str, ports: Value, endpoints: Value) -> Change {
    let object = json!({
        "metadata": {"namespace": "default", "name": format!("{service}-{family}"),
                     "labels": {"kubernetes.io/service-name": service}},
        "addressType": family, "ports": ports, "endpoints": endpoints,
    });
    Change::Slice(key(&object), Some(Arc::new(serde_json::from_value(object).unwrap())))
}

fn zone() -> Zone {
    let networks = ["10.42.0.0/16", "10.43.0.0/16"].iter().map(|net| net.parse().unwrap()).collect();
    let mut zone = Zone::new("Cluster.Local", "10.43.0.10".parse().unwrap(), networks).unwrap();
    for namespace in ["default", "empty"] {
        let object = json!({"metadata": {"name": namespace}});
        zone.observe(&Change::Namespace(key(&object), Some(Arc::new(serde_json::from_value(object).unwrap()))));
    }
    let web_ports =
        json!([{"name": "http", "protocol": "TCP", "port": 80}, {"name": "admin", "protocol": "TCP", "port": 81}]);
    let endpoint = |address: &str| json!({"addresses": [address]});
    for change in [
        service("web", json!({"clusterIP": "10.43.0.80", "clusterIPs": ["10.43.0.80"], "ports": web_ports})),
        slice("web", "IPv4", json!([{"name": "http", "port": 8080}]), json!([endpoint("10.42.0.9")])),
        service(
            "dual",
            json!({"clusterIP": "10.43.0.81", "clusterIPs": ["10.43.0.81", "fd00::81"], "ports": [{"port": 80}]}),
        ),
        service("db", json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "sql", "port": 5432}]})),
        slice(
            "db",
            "IPv4",
            json!([{"name": "sql", "protocol": "TCP", "port": 5432}]),
            json!([
                {"addresses": ["10.42.0.2"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.42.0.3"], "hostname": "db-1"},
                {"addresses": ["10.42.0.4"], "conditions": {"ready": false}, "hostname": "db-2"},
                {"addresses": ["10.42.0.5"]},
            ]),
        ),
        service("portless", json!({"clusterIP": "None"})),
        slice("portless", "IPv4", json!([]), json!([endpoint("10.42.0.6")])),
        service("nobody", json!({"clusterIP": "None"})),
        service("ext", json!({"type": "ExternalName", "externalName": "example.org"})),
        service("inner", json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"})),
        Change::Synced,
        Change::Synced,
        Change::Synced,
    ] {
        zone.observe(&change);
    }
    zone
}

fn ask(zone: &Zone, name: &str, kind: RecordType) -> String {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let (response, rest) = match answer(zone, &query) {
        Outcome::Answer(response) => (response, String::new()),
        Outcome::Alias { response, query } => (response, format!("  then {} {}\n", query.name(), query.query_type())),
        Outcome::Forward => return format!("{name} {kind}: forward\n"),
    };
    let aa = if response.metadata.authoritative { "" } else { " not authoritative" };
    let mut text = format!("{name} {kind}: {:?}{aa}\n", response.metadata.response_code);
    for (section, records) in
        [("", &response.answers), ("authority ", &response.authorities), ("additional ", &response.additionals)]
    {
        for record in records {
            if record.record_type() == RecordType::SOA && !section.is_empty() {
                text += "  SOA\n";
            } else {
                text += &format!("  {section}{record}\n");
            }
        }
    }
    text + &rest
}

fn check(queries: &[(&str, RecordType)], expected: Expect) {
    let zone = zone();
    expected.assert_eq(&queries.iter().map(|(name, kind)| ask(&zone, name, *kind)).collect::<String>());
}

#[test]
fn services() {
    use RecordType::{A, AAAA, MX, SRV};
    check(
        &[
            ("web.default.svc.cluster.local.", A),
            ("WEB.Default.svc.CLUSTER.local.", A),
            ("web.default.svc.cluster.local.", AAAA),
            ("web.default.svc.cluster.local.", MX),
            ("web.default.svc.cluster.local.", SRV),
            ("_http._tcp.web.default.svc.cluster.local.", SRV),
            ("_http._udp.web.default.svc.cluster.local.", SRV),
            ("_http._tcp.web.default.svc.cluster.local.", A),
            ("10-42-0-9.web.default.svc.cluster.local.", A),
            ("dual.default.svc.cluster.local.", AAAA),
            ("missing.default.svc.cluster.local.", A),
            ("web.other.svc.cluster.local.", A),
            ("a.b.c.web.default.svc.cluster.local.", A),
        ],
        expect![[r#"
            web.default.svc.cluster.local. A: NoError
              web.default.svc.cluster.local. 5 IN A 10.43.0.80
            WEB.Default.svc.CLUSTER.local. A: NoError
              WEB.Default.svc.CLUSTER.local. 5 IN A 10.43.0.80
            web.default.svc.cluster.local. AAAA: NoError
              SOA
            web.default.svc.cluster.local. MX: NoError
              SOA
            web.default.svc.cluster.local. SRV: NoError
              web.default.svc.cluster.local. 5 IN SRV 0 50 80 web.default.svc.cluster.local.
              web.default.svc.cluster.local. 5 IN SRV 0 50 81 web.default.svc.cluster.local.
              additional web.default.svc.cluster.local. 5 IN A 10.43.0.80
            _http._tcp.web.default.svc.cluster.local. SRV: NoError
              _http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local.
              additional web.default.svc.cluster.local. 5 IN A 10.43.0.80
            _http._udp.web.default.svc.cluster.local. SRV: NXDomain
              SOA
            _http._tcp.web.default.svc.cluster.local. A: NoError
              _http._tcp.web.default.svc.cluster.local. 5 IN A 10.43.0.80
            10-42-0-9.web.default.svc.cluster.local. A: NoError
              10-42-0-9.web.default.svc.cluster.local. 5 IN A 10.42.0.9
            dual.default.svc.cluster.local. AAAA: NoError
              dual.default.svc.cluster.local. 5 IN AAAA fd00::81
            missing.default.svc.cluster.local. A: NXDomain
              SOA
            web.other.svc.cluster.local. A: NXDomain
              SOA
            a.b.c.web.default.svc.cluster.local. A: NXDomain
              SOA
        "#]],
    );
}

#[test]
fn headless_services() {
    use RecordType::{A, SRV};
    check(
        &[
            ("db.default.svc.cluster.local.", A),
            ("db-0.db.default.svc.cluster.local.", A),
            ("db-2.db.default.svc.cluster.local.", A),
            ("10-42-0-5.db.default.svc.cluster.local.", A),
            ("_sql._tcp.db.default.svc.cluster.local.", SRV),
            ("portless.default.svc.cluster.local.", A),
            ("portless.default.svc.cluster.local.", SRV),
            ("nobody.default.svc.cluster.local.", A),
        ],
        expect![[r#"
            db.default.svc.cluster.local. A: NoError
              db.default.svc.cluster.local. 5 IN A 10.42.0.2
              db.default.svc.cluster.local. 5 IN A 10.42.0.3
              db.default.svc.cluster.local. 5 IN A 10.42.0.5
            db-0.db.default.svc.cluster.local. A: NoError
              db-0.db.default.svc.cluster.local. 5 IN A 10.42.0.2
            db-2.db.default.svc.cluster.local. A: NXDomain
              SOA
            10-42-0-5.db.default.svc.cluster.local. A: NoError
              10-42-0-5.db.default.svc.cluster.local. 5 IN A 10.42.0.5
            _sql._tcp.db.default.svc.cluster.local. SRV: NoError
              _sql._tcp.db.default.svc.cluster.local. 5 IN SRV 0 33 5432 10-42-0-5.db.default.svc.cluster.local.
              _sql._tcp.db.default.svc.cluster.local. 5 IN SRV 0 33 5432 db-0.db.default.svc.cluster.local.
              _sql._tcp.db.default.svc.cluster.local. 5 IN SRV 0 33 5432 db-1.db.default.svc.cluster.local.
              additional 10-42-0-5.db.default.svc.cluster.local. 5 IN A 10.42.0.5
              additional db-0.db.default.svc.cluster.local. 5 IN A 10.42.0.2
              additional db-1.db.default.svc.cluster.local. 5 IN A 10.42.0.3
            portless.default.svc.cluster.local. A: NoError
              portless.default.svc.cluster.local. 5 IN A 10.42.0.6
            portless.default.svc.cluster.local. SRV: NoError
              SOA
            nobody.default.svc.cluster.local. A: NXDomain
              SOA
        "#]],
    );
}

#[test]
fn aliases() {
    use RecordType::{A, CNAME};
    check(
        &[
            ("ext.default.svc.cluster.local.", A),
            ("ext.default.svc.cluster.local.", CNAME),
            ("inner.default.svc.cluster.local.", A),
            ("x.ext.default.svc.cluster.local.", A),
        ],
        expect![[r#"
            ext.default.svc.cluster.local. A: NoError
              ext.default.svc.cluster.local. 5 IN CNAME example.org.
              then example.org. A
            ext.default.svc.cluster.local. CNAME: NoError
              ext.default.svc.cluster.local. 5 IN CNAME example.org.
            inner.default.svc.cluster.local. A: NoError
              inner.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.
              then web.default.svc.cluster.local. A
            x.ext.default.svc.cluster.local. A: NXDomain
              SOA
        "#]],
    );
}

#[test]
fn pods_and_the_rest_of_the_zone() {
    use RecordType::{A, AAAA, NS, SOA, TXT};
    check(
        &[
            ("10-42-0-9.default.pod.cluster.local.", A),
            ("10-42-0-9.default.pod.cluster.local.", AAAA),
            ("fd00--1.default.pod.cluster.local.", AAAA),
            ("10-42-0-9.other.pod.cluster.local.", A),
            ("nonsense.default.pod.cluster.local.", A),
            ("dns-version.cluster.local.", TXT),
            ("cluster.local.", SOA),
            ("cluster.local.", NS),
            ("cluster.local.", A),
            ("ns.dns.cluster.local.", A),
            ("svc.cluster.local.", A),
            ("empty.svc.cluster.local.", A),
            ("other.svc.cluster.local.", A),
            ("example.cluster.local.", A),
            ("example.org.", A),
            ("notcluster.local.", A),
            ("*.default.svc.cluster.local.", A),
        ],
        expect![[r#"
            10-42-0-9.default.pod.cluster.local. A: NoError
              10-42-0-9.default.pod.cluster.local. 5 IN A 10.42.0.9
            10-42-0-9.default.pod.cluster.local. AAAA: NoError
              SOA
            fd00--1.default.pod.cluster.local. AAAA: NoError
              fd00--1.default.pod.cluster.local. 5 IN AAAA fd00::1
            10-42-0-9.other.pod.cluster.local. A: NXDomain
              SOA
            nonsense.default.pod.cluster.local. A: NXDomain
              SOA
            dns-version.cluster.local. TXT: NoError
              dns-version.cluster.local. 5 IN TXT 1.1.0
            cluster.local. SOA: NoError
              cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 16 7200 1800 86400 5
            cluster.local. NS: NoError
              cluster.local. 5 IN NS ns.dns.cluster.local.
              additional ns.dns.cluster.local. 5 IN A 10.43.0.10
            cluster.local. A: NoError
              SOA
            ns.dns.cluster.local. A: NoError
              ns.dns.cluster.local. 5 IN A 10.43.0.10
            svc.cluster.local. A: NoError
              SOA
            empty.svc.cluster.local. A: NoError
              SOA
            other.svc.cluster.local. A: NXDomain
              SOA
            example.cluster.local. A: NXDomain
              SOA
            example.org. A: forward
            notcluster.local. A: forward
            *.default.svc.cluster.local. A: NXDomain
              SOA
        "#]],
    );
}

#[test]
fn the_way_back() {
    use RecordType::{A, PTR};
    check(
        &[
            ("80.0.43.10.in-addr.arpa.", PTR),
            ("80.0.43.10.in-addr.arpa.", A),
            ("2.0.42.10.in-addr.arpa.", PTR),
            ("5.0.42.10.in-addr.arpa.", PTR),
            ("99.0.42.10.in-addr.arpa.", PTR),
            ("1.2.0.192.in-addr.arpa.", PTR),
            ("0.42.10.in-addr.arpa.", PTR),
            ("1.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", PTR),
        ],
        expect![[r#"
            80.0.43.10.in-addr.arpa. PTR: NoError
              80.0.43.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local.
            80.0.43.10.in-addr.arpa. A: NoError
              SOA
            2.0.42.10.in-addr.arpa. PTR: NoError
              2.0.42.10.in-addr.arpa. 5 IN PTR db-0.db.default.svc.cluster.local.
            5.0.42.10.in-addr.arpa. PTR: NoError
              5.0.42.10.in-addr.arpa. 5 IN PTR 10-42-0-5.db.default.svc.cluster.local.
            99.0.42.10.in-addr.arpa. PTR: NXDomain
              SOA
            1.2.0.192.in-addr.arpa. PTR: forward
            0.42.10.in-addr.arpa. PTR: forward
            1.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR: NoError
              1.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 5 IN PTR dual.default.svc.cluster.local.
        "#]],
    );
}

#[test]
fn odd_queries() {
    let zone = zone();
    let code = |query: &Message| match answer(&zone, query) {
        Outcome::Answer(response) => {
            assert_eq!(response.metadata.message_type, MessageType::Response);
            assert_eq!(response.edns.is_some(), query.edns.is_some());
            format!("{:?}", response.metadata.response_code)
        }
        other => format!("{other:?}"),
    };
    let question = Query::query(Name::from_ascii("web.default.svc.cluster.local.").unwrap(), RecordType::A);
    let mut good = Message::query();
    good.add_query(question.clone());
    assert_eq!(code(&good), "NoError");
    assert_eq!(code(&Message::query()), "FormErr");
    let mut two = good.clone();
    two.add_query(question.clone());
    assert_eq!(code(&two), "FormErr");
    let mut update = good.clone();
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&update), "NotImp");
    let mut chaos = Message::query();
    let mut question = question;
    question.set_query_class(DNSClass::CH);
    chaos.add_query(question);
    assert_eq!(code(&chaos), "Refused");
    let mut edns = Edns::new();
    good.set_edns(edns.clone());
    assert_eq!(code(&good), "NoError");
    edns.set_version(1);
    good.set_edns(edns);
    assert_eq!(code(&good), "BADVERS");
}

#[test]
fn nothing_is_denied_before_everything_is_known() {
    let mut zone = Zone::new("cluster.local", "10.43.0.10".parse().unwrap(), Vec::new()).unwrap();
    let name = "web.default.svc.cluster.local.";
    assert_eq!(ask(&zone, name, RecordType::A), format!("{name} A: ServFail\n"));
    for _ in 0..3 {
        zone.observe(&Change::Synced);
    }
    assert_eq!(ask(&zone, name, RecordType::A), format!("{name} A: NXDomain\n  SOA\n"));
}

#[test]
fn what_goes_is_forgotten() {
    let mut zone = zone();
    let gone = |name: &str| (Arc::from("default"), Arc::from(name));
    zone.observe(&Change::Slice(gone("db-IPv4"), None));
    zone.observe(&Change::Service(gone("web"), None));
    zone.observe(&Change::Namespace((Arc::from(""), Arc::from("empty")), None));
    for name in ["db-0.db.default.svc.cluster.local.", "web.default.svc.cluster.local.", "empty.svc.cluster.local."] {
        assert_eq!(ask(&zone, name, RecordType::A), format!("{name} A: NXDomain\n  SOA\n"));
    }
    for name in ["80.0.43.10.in-addr.arpa.", "2.0.42.10.in-addr.arpa."] {
        assert_eq!(ask(&zone, name, RecordType::PTR), format!("{name} PTR: NXDomain\n  SOA\n"));
    }
}
