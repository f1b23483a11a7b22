//! What comes over a wire that is not HTTP, and the plugin's standard input.

use std::sync::Arc;

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RecordType},
};
use mk8s_net::{
    Change,
    dns::{Outcome, Zone, answer},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::Feed;
use crate::{doors, mutate};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime for one thread can be made")
}

fn decoded<T: DeserializeOwned>(object: &Value) -> Option<Arc<T>> {
    Some(Arc::new(serde_json::from_value(object.clone()).expect("a good object")))
}

fn zone() -> Zone {
    let networks = ["10.42.0.0/16", "10.43.0.0/16"].map(|net| net.parse().expect("a network")).to_vec();
    let mut zone = Zone::new("cluster.local", [10, 43, 0, 10].into(), networks).expect("a domain");
    let key = |name: &str| (Arc::from("default"), Arc::from(name));
    let namespace = json!({"metadata": {"name": "default"}});
    zone.observe(&Change::Namespace((Arc::from(""), Arc::from("default")), decoded(&namespace)));
    let meta = json!({"namespace": "default", "name": "web"});
    let service = json!({"metadata": meta, "spec": {"clusterIP": "10.43.0.80", "clusterIPs": ["10.43.0.80"], "ports": [{"name": "http", "port": 80}]}});
    zone.observe(&Change::Service(key("web"), decoded(&service)));
    let headless = json!({"metadata": {"namespace": "default", "name": "db"}, "spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "sql", "port": 5432}]}});
    zone.observe(&Change::Service(key("db"), decoded(&headless)));
    let slice = json!({"metadata": {"namespace": "default", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}}, "addressType": "IPv4",
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}], "endpoints": [{"addresses": ["10.42.0.9"], "hostname": "db-0", "conditions": {"ready": true}}]});
    zone.observe(&Change::Slice(key("db-1"), decoded(&slice)));
    (0..8).for_each(|_| zone.observe(&Change::Synced));
    zone
}

fn queries() -> Vec<Vec<u8>> {
    let names = [
        ("web.default.svc.cluster.local.", RecordType::A),
        ("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV),
        ("db-0.db.default.svc.cluster.local.", RecordType::ANY),
        ("9.0.42.10.in-addr.arpa.", RecordType::PTR),
        ("10-42-0-9.default.pod.cluster.local.", RecordType::AAAA),
        ("cluster.local.", RecordType::SOA),
        ("example.com.", RecordType::TXT),
    ];
    let query = |(name, kind): (&str, RecordType)| {
        let mut message = Message::query();
        message.add_query(Query::query(name.parse::<Name>().expect("a name"), kind));
        message.set_edns(Edns::new());
        message.to_vec().expect("a query can be written")
    };
    names.map(query).to_vec()
}

/// A query that can be read gets an answer that can be written.
pub(super) fn dns() -> Feed {
    let (zone, corpus) = (zone(), queries());
    Box::new(move |dice| {
        let Ok(query) = Message::from_vec(&mutate::bytes(dice, &corpus)) else { return };
        match answer(&zone, &query) {
            Outcome::Answer(response) | Outcome::Alias { response, .. } => {
                response.to_vec().expect("what is answered can be written");
            }
            Outcome::Forward => assert!(!query.queries.is_empty(), "only a question can be passed on"),
        }
    })
}

pub(super) fn cni() -> Feed {
    let conf = json!({"cniVersion": "1.1.0", "name": "mk8s", "type": "mk8s-cni", "bridge": "cni0", "podCidr": "10.42.0.0/24", "clusterCidr": "10.42.0.0/16",
        "mtu": 1450, "dataDir": "/var/lib/mk8s/agent/cni/state", "dns": {"nameservers": ["10.43.0.10"]}, "prevResult": {"cniVersion": "1.1.0", "ips": []},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "1.2.3.4"}]},
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]});
    let corpus = vec![conf.to_string().into_bytes()];
    Box::new(move |dice| {
        doors::cni::read(mutate::value(dice, std::slice::from_ref(&conf)).to_string().as_bytes());
        doors::cni::read(&mutate::bytes(dice, &corpus));
    })
}

/// Frames as a client sends them, masked.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

pub(super) fn channels() -> Feed {
    let runtime = runtime();
    let one = vec![
        frame(2, b"\0ls -l\n"),
        frame(2, b"\x04{\"Width\":80,\"Height\":24}"),
        frame(2, b"\xff\0"),
        frame(1, b"\0text"),
        frame(9, b"ping"),
        frame(8, &[0x03, 0xe8]),
        frame(2, &[0; 300]),
        b"\x02\x80\0\0\0\0\x80\x80\0\0\0\0".to_vec(),
    ];
    let mut corpus = one.clone();
    corpus.push(one.concat());
    Box::new(move |dice| {
        let input = mutate::bytes(dice, &corpus);
        runtime.block_on(doors::agent::channels(&input));
    })
}

pub(super) fn spdy() -> Feed {
    let corpus = vec![
        b"\0\0\0\x01\0\0\0\x05hello\0\0\0\x01\x01\0\0\0".to_vec(),
        b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x02".to_vec(),
        b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x01\0\0\0\x05".to_vec(),
        b"\x80\x03\0\x02\0\0\0\x06\0\0\0\x01\0\0".to_vec(),
        b"\x80\x03\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0".to_vec(),
    ];
    Box::new(move |dice| {
        let mut wire = bytes::BytesMut::from(mutate::bytes(dice, &corpus).as_slice());
        // Every frame takes its own bytes off the wire.
        let mut left = wire.len();
        while let Ok(Some(_)) = mk8s_client::spdy::read(&mut wire) {
            assert!(wire.len() + 8 <= left);
            left = wire.len();
        }
    })
}
