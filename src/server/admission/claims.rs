//! What only one server at a time may decide: which addresses Services get, what counts against a quota.
//!
//! ```text
//! /mk8s/claims/<what>   the life of the server that decides
//! ```
//!
//! A server that is to decide and does not hold the claim takes it, which ends the other's. What it decides it writes
//! under the condition that the claim is still the same: a write that was decided under an earlier claim does not take
//! place, and its request begins anew. Alone, there is nobody to agree with.

use bytes::Bytes;
use mk8s_api::status::Status;
use mk8s_store::{CommitError, Expect, Op, Stamped, Store, Txn};

use super::Notes;

/// How often a claim is tried to be taken, while others do the same.
const ATTEMPTS: usize = 20;

/// See the module.
pub(crate) struct Claims {
    store: Store,
    /// This life of this server.
    me: Bytes,
}

impl Claims {
    pub(crate) fn new(store: Store) -> Claims {
        Claims { store, me: Bytes::from(uuid::Uuid::new_v4().to_string()) }
    }

    /// Makes what the request writes depend on this server deciding about `what`. Gives the number of the claim: what
    /// was decided under another one is decided. Alone it is 0.
    pub(crate) async fn take(&self, what: &str, notes: &Notes) -> Result<u64, Status> {
        if self.store.is_alone() {
            notes.depend_on_being_alone();
            return Ok(0);
        }
        let key = Bytes::from(format!("/mk8s/claims/{what}"));
        let failed = |why: &dyn std::fmt::Display| Status::unavailable(why.to_string());
        for _ in 0..ATTEMPTS {
            let found = self.store.view().get(&key).map(|entry| (entry.modified, entry.value == self.me));
            let expect = match found {
                Some((revision, true)) => {
                    notes.depend_on(Op::Check { key, expect: Expect::Revision(revision) });
                    return Ok(revision);
                }
                Some((revision, false)) => Expect::Revision(revision),
                None => Expect::Absent,
            };
            let value = Stamped::plain(self.me.clone());
            match self.store.commit(Txn::one(Op::Put { key: key.clone(), value, expect })).await {
                Ok(_) => {}
                Err(CommitError::Conflict { .. }) => drop(self.store.barrier().await.map_err(|error| failed(&error))?),
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(failed(&"the servers of the cluster could not agree which one decides this; try again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn alone_nothing_is_claimed() {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let revision = store.revision();
        let notes = Notes::default();
        assert_eq!(Claims::new(store.clone()).take("services", &notes).await.expect("taken"), 0);
        assert_eq!(store.revision(), revision);
        assert!(notes.conditions(&store).expect("it is alone").is_empty());
    }
}
