//! From a zone and a query to a response: a pure function.
//!
//! ```text
//!   name.namespace.svc.DOMAIN                 a Service
//!   label.name.namespace.svc.DOMAIN           one endpoint (a hostname, or an address with dashes)
//!   _port._protocol.name.namespace.svc.DOMAIN its ports
//!   a-b-c-d.namespace.pod.DOMAIN              a pod's address
//!   d.c.b.a.in-addr.arpa                      the way back
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;

use super::zone::{Zone, service_ips};

/// Seconds; short, because pods come and go.
const TTL: u32 = 5;
/// The version of the DNS specification, at `dns-version.DOMAIN`.
const SPECIFICATION: &str = "1.1.0";
/// What we are ready to receive and send over UDP; larger datagrams get lost in fragments.
pub(super) const UDP_PAYLOAD: u16 = 1232;

/// What to do with a query.
#[derive(Debug)]
pub enum Outcome {
    /// This is the response.
    Answer(Message),
    /// The response so far: it ends in an alias, and `query` tells what that leads to.
    Alias { response: Message, query: Query },
    /// Not our name.
    Forward,
}

/// Answers a query, if it is ours to answer.
pub fn answer(zone: &Zone, query: &Message) -> Outcome {
    let mut response = response_to(query);
    let code = match query.queries.as_slice() {
        _ if query.metadata.op_code != OpCode::Query => Some(ResponseCode::NotImp),
        _ if query.edns.as_ref().is_some_and(|edns| edns.version() != 0) => Some(ResponseCode::BADVERS),
        [question] if question.query_class() != DNSClass::IN => Some(ResponseCode::Refused),
        [_] => None,
        _ => Some(ResponseCode::FormErr),
    };
    if let Some(code) = code {
        fail(&mut response, code);
        return Outcome::Answer(response);
    }
    let question = &query.queries[0];
    let found = match relative_labels(question.name(), &zone.domain) {
        Some(labels) => look_up(zone, question, &labels),
        None => match reverse(zone, question) {
            Some(found) => found,
            None => return Outcome::Forward,
        },
    };
    response.metadata.authoritative = true;
    match found {
        Found::Records { answers, additionals } if answers.is_empty() => {
            debug_assert!(additionals.is_empty());
            response.add_authority(soa(zone));
        }
        Found::Records { answers, additionals } => {
            response.add_answers(answers);
            response.add_additionals(additionals);
        }
        Found::Alias(target) => {
            let alias = Record::from_rdata(question.name().clone(), TTL, RData::CNAME(CNAME(target.clone())));
            response.add_answer(alias);
            if question.query_type() != RecordType::CNAME {
                let query = Query::query(target, question.query_type());
                return Outcome::Alias { response, query };
            }
        }
        // A name must not be denied before everything is known; the client asks again.
        Found::NoName if !zone.is_complete() => fail(&mut response, ResponseCode::ServFail),
        Found::NoName => {
            response.metadata.response_code = ResponseCode::NXDomain;
            response.add_authority(soa(zone));
        }
    }
    Outcome::Answer(response)
}

/// An empty response with what every response repeats of its query.
pub(super) fn response_to(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.message_type = MessageType::Response;
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.checking_disabled = query.metadata.checking_disabled;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        response.set_edns(edns);
    }
    response
}

pub(super) fn fail(response: &mut Message, code: ResponseCode) {
    response.metadata.response_code = code;
    if let Some(edns) = &mut response.edns {
        edns.set_rcode_high(code.high());
    }
}

enum Found {
    /// The name exists; there may be no records of the asked type.
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    Alias(Name),
    NoName,
}

impl Found {
    fn records(answers: Vec<Record>) -> Self {
        Self::Records { answers, additionals: Vec::new() }
    }

    fn no_data() -> Self {
        Self::records(Vec::new())
    }
}

/// The labels in front of `domain`, in lower case; `None` if the name is not below it.
fn relative_labels(name: &Name, domain: &Name) -> Option<Vec<String>> {
    if !domain.zone_of(name) {
        return None;
    }
    let count = usize::from(name.num_labels() - domain.num_labels());
    // A wildcard label counts for nothing in `num_labels`; no name of ours has one.
    let labels = name.iter().take(name.iter().count() - domain.iter().count());
    let labels: Vec<String> = labels.map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    debug_assert!(labels.len() >= count);
    Some(labels)
}

fn look_up(zone: &Zone, question: &Query, labels: &[String]) -> Found {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let owner = question.name();
    match labels.as_slice() {
        [] => apex(zone, question),
        ["dns-version"] => match question.query_type() {
            RecordType::TXT => {
                let text = RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()]));
                Found::records(vec![Record::from_rdata(owner.clone(), TTL, text)])
            }
            _ => Found::no_data(),
        },
        ["ns", "dns"] => {
            Found::records(address_record(owner, zone.server, question.query_type()).into_iter().collect())
        }
        ["dns" | "svc" | "pod"] => Found::no_data(),
        [namespace, "svc" | "pod"] if zone.has_namespace(namespace) => Found::no_data(),
        [address, namespace, "pod"] if zone.has_namespace(namespace) => pod(owner, question.query_type(), address),
        [name, namespace, "svc"] => service(zone, question, namespace, name, &Part::Whole),
        [label, name, namespace, "svc"] => service(zone, question, namespace, name, &Part::Endpoint(label)),
        [port, protocol, name, namespace, "svc"] => {
            let strip = |text: &str| text.strip_prefix('_').unwrap_or(text).to_owned();
            service(zone, question, namespace, name, &Part::Port(strip(port), strip(protocol)))
        }
        _ => Found::NoName,
    }
}

fn apex(zone: &Zone, question: &Query) -> Found {
    match question.query_type() {
        RecordType::SOA => Found::records(vec![soa(zone)]),
        RecordType::NS => {
            let server = below(&["ns", "dns"], zone);
            let answer = Record::from_rdata(zone.domain.clone(), TTL, RData::NS(NS(server.clone())));
            let additional = Record::from_rdata(server, TTL, address_data(zone.server));
            Found::Records { answers: vec![answer], additionals: vec![additional] }
        }
        _ => Found::no_data(),
    }
}

fn pod(owner: &Name, kind: RecordType, label: &str) -> Found {
    let v4 = label.replace('-', ".").parse::<IpAddr>().ok().filter(IpAddr::is_ipv4);
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    match v4.or_else(v6) {
        Some(address) => Found::records(address_record(owner, address, kind).into_iter().collect()),
        None => Found::NoName,
    }
}

/// What of a Service a name speaks of.
enum Part<'a> {
    Whole,
    Endpoint(&'a str),
    Port(String, String),
}

impl Part<'_> {
    fn has_port(&self, name: &str, protocol: &str) -> bool {
        match self {
            Self::Port(wanted, over) => wanted.eq_ignore_ascii_case(name) && over.eq_ignore_ascii_case(protocol),
            _ => true,
        }
    }
}

/// An address a name leads to, and the port that led there.
struct Target {
    /// Under which label below the Service; `None`: the Service itself.
    label: Option<String>,
    address: IpAddr,
    port: Option<u16>,
}

fn service(zone: &Zone, question: &Query, namespace: &str, name: &str, part: &Part<'_>) -> Found {
    let Some(service) = zone.service(namespace, name) else { return Found::NoName };
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return external(spec.and_then(|spec| spec.external_name.as_deref()), part);
    }
    let addresses = service_ips(service);
    let targets = if addresses.is_empty() || matches!(part, Part::Endpoint(_)) {
        endpoint_targets(zone, namespace, name, part)
    } else {
        cluster_targets(service, addresses.into_iter().collect(), part)
    };
    if targets.is_empty() {
        return Found::NoName;
    }
    match question.query_type() {
        kind @ (RecordType::A | RecordType::AAAA) => {
            let addresses: BTreeSet<IpAddr> = targets.iter().map(|target| target.address).collect();
            let records = addresses.into_iter().filter_map(|address| address_record(question.name(), address, kind));
            Found::records(records.collect())
        }
        RecordType::SRV => services_records(zone, question.name(), namespace, name, &targets),
        _ => Found::no_data(),
    }
}

fn external(target: Option<&str>, part: &Part<'_>) -> Found {
    let target = target.and_then(|target| Name::from_ascii(target).ok());
    match (target, part) {
        (Some(mut target), Part::Whole) => {
            target.set_fqdn(true);
            Found::Alias(target)
        }
        _ => Found::NoName,
    }
}

fn endpoint_targets(zone: &Zone, namespace: &str, name: &str, part: &Part<'_>) -> Vec<Target> {
    let mut targets = Vec::new();
    for (endpoint, ports) in zone.endpoints(namespace, name) {
        if matches!(part, Part::Endpoint(label) if *label != endpoint.label) {
            continue;
        }
        let target = |port| Target { label: Some(endpoint.label.clone()), address: endpoint.address, port };
        if ports.is_empty() && !matches!(part, Part::Port(..)) {
            targets.push(target(None));
        }
        let ports = ports.iter().filter(|port| part.has_port(&port.name, &port.protocol));
        targets.extend(ports.map(|port| target(Some(port.port))));
    }
    targets
}

fn cluster_targets(service: &Service, addresses: Vec<IpAddr>, part: &Part<'_>) -> Vec<Target> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports = ports
        .filter(|port| part.has_port(port.name.as_deref().unwrap_or(""), port.protocol.as_deref().unwrap_or("TCP")));
    ports
        .filter_map(|port| u16::try_from(port.port).ok())
        .flat_map(|port| {
            addresses.iter().map(move |address| Target { label: None, address: *address, port: Some(port) })
        })
        .collect()
}

fn services_records(zone: &Zone, owner: &Name, namespace: &str, name: &str, targets: &[Target]) -> Found {
    let (mut seen, mut answers, mut additionals) = (BTreeSet::new(), Vec::new(), Vec::new());
    let with_port: Vec<(&Target, u16)> = targets.iter().filter_map(|target| Some((target, target.port?))).collect();
    let weight = u16::try_from(100 / with_port.len().max(1)).map_or(1, |weight| weight.max(1));
    for (target, port) in with_port {
        let mut labels: Vec<&str> = target.label.as_deref().into_iter().collect();
        labels.extend([name, namespace, "svc"]);
        let host = below(&labels, zone);
        if seen.insert((Some(port), host.clone(), None)) {
            let data = RData::SRV(SRV::new(0, weight, port, host.clone()));
            answers.push(Record::from_rdata(owner.clone(), TTL, data));
        }
        if seen.insert((None, host.clone(), Some(target.address))) {
            additionals.push(Record::from_rdata(host, TTL, address_data(target.address)));
        }
    }
    Found::Records { answers, additionals }
}

/// `None`: not ours to answer.
fn reverse(zone: &Zone, question: &Query) -> Option<Found> {
    let name = question.name();
    let net = name.parse_arpa_name().ok().filter(|net| net.prefix_len() == net.max_prefix_len())?;
    let names = zone.names_of(net.addr());
    if names.is_empty() {
        return zone.owns_address(net.addr()).then_some(Found::NoName);
    }
    if question.query_type() != RecordType::PTR {
        return Some(Found::no_data());
    }
    let records = names.iter().map(|labels| {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(below(&labels, zone))))
    });
    Some(Found::records(records.collect()))
}

/// Names of objects are short enough for DNS; should one not be, the domain stands in for it.
fn below(labels: &[&str], zone: &Zone) -> Name {
    let name = Name::from_labels(labels.iter().map(|label| label.as_bytes()));
    let full = name.and_then(|name| name.append_domain(&zone.domain));
    full.unwrap_or_else(|_| zone.domain.clone())
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn address_record(owner: &Name, address: IpAddr, kind: RecordType) -> Option<Record> {
    let wanted = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    (kind == wanted).then(|| Record::from_rdata(owner.clone(), TTL, address_data(address)))
}

fn soa(zone: &Zone) -> Record {
    let (server, mailbox) = (below(&["ns", "dns"], zone), below(&["hostmaster"], zone));
    let data = SOA::new(server, mailbox, zone.serial, 7200, 1800, 86_400, TTL);
    Record::from_rdata(zone.domain.clone(), TTL, RData::SOA(data))
}
