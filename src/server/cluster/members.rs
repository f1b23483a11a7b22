//! What the servers know of each other: a record for each in the store, under `/mk8s/members/`.
//!
//! ```text
//! /mk8s/members/next   the number that the next member gets
//! /mk8s/members/<id>   {id, name, address, seals, ...}
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use mk8s_store::{CommitError, Entry, Expect, Op, Stamped, Store, Txn, View};
use serde::{Deserialize, Serialize};

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: u64,
    pub name: String,
    /// `host:port`, where the others reach it.
    pub address: String,
    /// Whether it reads sealed values, as it says itself.
    #[serde(default)]
    pub seals: bool,
    /// Whether it has a vote and no data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
    /// Whether it takes no writes because its disk is full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

pub(super) const PREFIX: &str = "/mk8s/members/";
const NEXT: &str = "/mk8s/members/next";

fn key(id: u64) -> Bytes {
    Bytes::from(format!("{PREFIX}{id:016x}"))
}

/// Everyone that the store knows.
pub fn all(view: &View) -> BTreeMap<u64, Member> {
    let records = view.prefix(PREFIX.as_bytes()).filter(|entry| entry.key != NEXT);
    let members = records.filter_map(|entry| serde_json::from_slice::<Member>(&entry.value).ok());
    members.map(|member| (member.id, member)).collect()
}

pub(super) fn put(member: &Member, expect: Expect) -> Op {
    let value = serde_json::to_vec(member).expect("plain fields become JSON");
    Op::Put { key: key(member.id), value: Stamped::plain(value), expect }
}

/// Those of them that are witnesses.
pub fn witnesses(view: &View) -> BTreeSet<u64> {
    all(view).into_values().filter(|member| member.witness).map(|member| member.id).collect()
}

/// Says where this server is, if that is not known already.
pub async fn say(store: &Store, member: &Member) -> Result<(), CommitError> {
    let known = all(&store.view()).remove(&member.id);
    // How its disk is changes while it runs.
    let said = Member { full: known.as_ref().is_some_and(|known| known.full), ..member.clone() };
    if known.as_ref() == Some(&said) {
        return Ok(());
    }
    store.commit(Txn::one(put(&said, Expect::Any))).await.map(drop)
}

/// Makes a record for a new member, under a number that nobody has had.
pub async fn add(store: &Store, name: &str, address: &str, witness: bool) -> Result<Member, CommitError> {
    loop {
        let view = store.view();
        let entry = view.get(NEXT.as_bytes());
        let known = all(&view).keys().max().copied().unwrap_or(0) + 1;
        let written = entry.and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse::<u64>().ok());
        let id = written.unwrap_or(0).max(known).max(2);
        // A witness passes sealed values by.
        let member =
            Member { id, name: name.to_owned(), address: address.to_owned(), seals: witness, witness, full: false };
        let expect = entry.map_or(Expect::Absent, |entry| Expect::Revision(entry.modified));
        let next =
            Op::Put { key: Bytes::from_static(NEXT.as_bytes()), value: Stamped::plain((id + 1).to_string()), expect };
        match store.commit(Txn { ops: vec![next, put(&member, Expect::Absent)] }).await {
            Ok(_) => return Ok(member),
            // Somebody joined at the same time.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a number was given once and nobody has it any more, as far as is known here.
pub(super) fn was_removed(view: &View, id: u64) -> bool {
    let next = view.get(NEXT.as_bytes()).and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse::<u64>().ok());
    next.is_some_and(|next| id < next) && view.get(&key(id)).is_none()
}

/// The first number of the next hundred: whoever had one before, in a history that is given up, had a smaller one.
pub(super) fn first_of_next_hundred(entries: &[Arc<Entry>]) -> u64 {
    let of = |entry: &Arc<Entry>| match entry.key == NEXT {
        true => std::str::from_utf8(&entry.value).ok()?.parse::<u64>().ok()?.checked_sub(1),
        false => serde_json::from_slice::<Member>(&entry.value).ok().map(|member| member.id),
    };
    let last = entries.iter().filter(|entry| entry.key.starts_with(PREFIX.as_bytes())).filter_map(of).max();
    (last.unwrap_or(1) / 100 + 1) * 100 + 1
}

/// Makes `id` the only member there is; everyone else counts as removed.
pub(super) fn only(view: &View, id: u64) -> Txn {
    let records = view.prefix(PREFIX.as_bytes()).filter(|entry| entry.key != NEXT);
    let gone = records.map(|entry| Op::Delete { key: entry.key.clone(), expect: Expect::Any });
    let next = Op::Put {
        key: Bytes::from_static(NEXT.as_bytes()),
        value: Stamped::plain((id + 1).to_string()),
        expect: Expect::Any,
    };
    Txn { ops: gone.chain([next]).collect() }
}

pub async fn forget(store: &Store, id: u64) -> Result<(), CommitError> {
    store.commit(Txn::one(Op::Delete { key: key(id), expect: Expect::Any })).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn numbers_are_never_used_again() {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let founder =
            Member { id: 1, name: "a".into(), address: "a:1".into(), seals: true, witness: false, full: false };
        say(&store, &founder).await.expect("written");
        let revision = store.revision();
        say(&store, &founder).await.expect("nothing to write");
        assert_eq!(store.revision(), revision);
        assert_eq!(add(&store, "b", "b:1", false).await.expect("added").id, 2);
        assert_eq!(add(&store, "c", "c:1", false).await.expect("added").id, 3);
        forget(&store, 3).await.expect("forgotten");
        assert_eq!(add(&store, "d", "d:1", false).await.expect("added").id, 4);
        let names: Vec<_> = all(&store.view()).into_values().map(|member| member.name).collect();
        assert_eq!(names, ["a", "b", "d"]);
    }
    #[tokio::test]
    async fn a_new_history_goes_on_with_numbers_that_nobody_had() {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let entries = || store.view().prefix(b"/").cloned().collect::<Vec<_>>();
        assert_eq!(first_of_next_hundred(&entries()), 101);
        let first = Member { id: 1, name: "a".into(), address: "a:1".into(), seals: true, witness: false, full: false };
        say(&store, &first).await.expect("written");
        for n in 2..=99 {
            assert_eq!(add(&store, "b", "b:1", false).await.expect("added").id, n);
        }
        assert_eq!(first_of_next_hundred(&entries()), 101);
        add(&store, "c", "c:1", false).await.expect("added");
        assert_eq!(first_of_next_hundred(&entries()), 201);
        store.commit(only(&store.view(), 201)).await.expect("written");
        assert!(all(&store.view()).is_empty());
        assert!(was_removed(&store.view(), 100) && !was_removed(&store.view(), 202));
        assert_eq!(add(&store, "d", "d:1", false).await.expect("added").id, 202);
        assert_eq!(first_of_next_hundred(&entries()), 301);
    }
}
