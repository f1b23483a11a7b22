//! What one server sends another: messages of the store, and keyspaces in pieces.

use bytes::Bytes;
use mk8s_store::{Assembly, Expect, Op, Options, Pieces, Stamped, Store, Txn};
use tokio::runtime::Builder;

use super::Feed;
use crate::mutate;

fn pieces() -> Vec<Vec<u8>> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime for one thread can be made");
    let view = runtime.block_on(async {
        let store = Store::open(Options::default()).await.expect("memory opens");
        for n in 0..5 {
            let key = Bytes::from(format!("/k/{n}"));
            let value = Stamped::plain(vec![b'v'; n * 7]);
            store.commit(Txn::one(Op::Put { key, value, expect: Expect::Any })).await.expect("memory takes it");
        }
        let view = store.view();
        store.close().await;
        view
    });
    Pieces::new(view).collect()
}

/// Bytes that are no keyspace are refused, whatever they are.
pub(super) fn keyspaces() -> Feed {
    let good = pieces();
    Box::new(move |dice| {
        let mut assembly = Assembly::default();
        for _ in 0..2 {
            if assembly.add(&mutate::bytes(dice, &good)).is_err() {
                return;
            }
        }
        assembly.finish().map_or((), |whole| assert!(whole.entries().iter().all(|e| e.modified <= whole.revision())));
    })
}
