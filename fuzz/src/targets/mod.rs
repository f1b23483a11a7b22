//! What is fed, and what must hold of it. A target is made once a process and then takes one input after the other.

mod applies;
mod bodies;
mod definitions;
mod expressions;
mod identities;
mod joining;
mod network;
mod patches;
mod replicas;
mod requests;
mod words;

use crate::mutate::Dice;

/// Takes one input, whose randomness is the dice.
pub type Feed = Box<dyn FnMut(&mut Dice)>;

pub struct Target {
    pub name: &'static str,
    pub start: fn() -> Feed,
}

const fn target(name: &'static str, start: fn() -> Feed) -> Target {
    Target { name, start }
}

pub static ALL: [Target; 32] = [
    target("json", bodies::json),
    target("yaml", bodies::yaml),
    target("protobuf", bodies::protobuf),
    target("encoded", bodies::encoded),
    target("objects", bodies::objects),
    target("json-patch", patches::json),
    target("merge-patch", patches::merge),
    target("strategic", patches::strategic),
    target("fields", applies::fields),
    target("applies", applies::applies),
    target("definitions", definitions::definitions),
    target("requests", requests::requests),
    target("reviews", bodies::reviews),
    target("selectors", words::selectors),
    target("quantities", words::quantities),
    target("schedules", words::schedules),
    target("paths", words::paths),
    target("jsonpath", words::jsonpath),
    target("cel", expressions::expressions),
    target("cel-rules", expressions::rules),
    target("dns", network::dns),
    target("cni", network::cni),
    target("channels", network::channels),
    target("spdy", network::spdy),
    target("keyspaces", replicas::keyspaces),
    target("snapshots", replicas::snapshots),
    target("signing-requests", joining::signing_requests),
    target("tokens", joining::tokens),
    target("issuers", identities::issuers),
    target("id-tokens", identities::id_tokens),
    target("id-claims", identities::claims),
    target("tunnel", joining::tunnel),
];
