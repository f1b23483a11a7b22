//! What is said of a server whose disk is full: it takes no writes until there is room.
//!
//! ```text
//! the store is full ─▶ the server's record among the members ─▶ `mk8s cluster status`
//!                                └─▶ whoever leads: the condition ServerReadOnly of its Node, and an Event
//! ```
//!
//! The few bytes of this are written on a full disk, too: something is kept for them.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use mk8s_client::{EventRecorder, events::EventType};
use mk8s_store::{Expect, Store, Txn};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::members::{self, Member};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// The condition of the Node beside a server.
const CONDITION: &str = "ServerReadOnly";

/// Keeps the record of this server true in what it says of its disk.
pub(crate) async fn keep(store: Store, id: u64, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let full = store.is_full();
        let known = members::all(&store.view()).remove(&id);
        let Some(member) = known.filter(|member| member.full != full) else { continue };
        let txn = Txn::one(members::put(&Member { full, ..member }, Expect::Present));
        if let Err(error) = store.commit_small(txn).await {
            tracing::debug!(%error, full, "the others cannot be told of the disk here, trying again");
        }
    }
}

/// Tells people which servers are full, while this one leads. `client` writes on a full disk, too.
pub(crate) async fn tell(store: Store, client: Client, stop: CancellationToken) {
    let recorder = EventRecorder::new(client.clone(), "mk8s", None, stop.clone());
    let nodes = Api::<Node>::all(client);
    let mut told = BTreeMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        for member in members::all(&store.view()).into_values() {
            if told.get(&member.id) == Some(&member.full) {
                continue;
            }
            match tell_of(&member, &nodes, &recorder, told.get(&member.id).copied()).await {
                Ok(()) => drop(told.insert(member.id, member.full)),
                Err(error) => {
                    tracing::debug!(%error, server = member.name, "the condition of a Node cannot be written, trying again")
                }
            }
        }
    }
}

/// `before` is what was told of it last, if anything was.
async fn tell_of(
    member: &Member,
    nodes: &Api<Node>,
    recorder: &EventRecorder,
    before: Option<bool>,
) -> kube::Result<()> {
    let Member { name, full, .. } = member;
    let node = nodes.get_opt(name).await?;
    let shown = node.as_ref().map(shows);
    if let Some(shown) = shown
        && shown != *full
    {
        let patch = Patch::Strategic(condition(*full, Timestamp::now()));
        nodes.patch_status(name, &PatchParams::default(), &patch).await?;
    }
    // A leader before may have told already.
    if shown.or(before).unwrap_or(false) == *full {
        return Ok(());
    }
    let about = match &node {
        Some(node) => mk8s_client::events::reference(node),
        None => ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(name.clone()),
            ..ObjectReference::default()
        },
    };
    let (kind, reason, message) = words(*full);
    recorder.record(about, kind, reason, format!("{message} (server {name}, {})", member.address));
    Ok(())
}

/// Whether a Node says that its server is full.
fn shows(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == CONDITION && condition.status == "True")
}

fn words(full: bool) -> (EventType, &'static str, &'static str) {
    match full {
        true => (
            EventType::Warning,
            "ServerDiskFull",
            "the disk of the server's data directory is full: this server takes no writes until there is room",
        ),
        false => (
            EventType::Normal,
            "ServerDiskHasRoom",
            "the disk of the server's data directory has room: this server takes writes",
        ),
    }
}

fn condition(full: bool, now: Timestamp) -> Value {
    let (_, reason, message) = words(full);
    let now = format!("{now:.0}");
    json!({"status": {"conditions": [{
        "type": CONDITION,
        "status": if full { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_node_shows_what_was_written() {
        let now: Timestamp = "2026-01-02T03:04:05.6Z".parse().expect("a time");
        let node = |full| serde_json::from_value::<Node>(condition(full, now)).expect("a node");
        assert!(!shows(&Node::default()) && !shows(&node(false)) && shows(&node(true)));
        expect![[r#"{"status":{"conditions":[{"lastHeartbeatTime":"2026-01-02T03:04:05Z","lastTransitionTime":"2026-01-02T03:04:05Z","message":"the disk of the server's data directory is full: this server takes no writes until there is room","reason":"ServerDiskFull","status":"True","type":"ServerReadOnly"}]}}"#]]
            .assert_eq(&condition(true, now).to_string());
    }
}
