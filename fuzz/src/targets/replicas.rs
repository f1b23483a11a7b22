//! What one server sends another: keyspaces in pieces; and files with snapshots.

use bytes::Bytes;
use mk8s_store::{
    Assembly, Expect, Op, Options, Pieces, Stamped, Store, Txn, View,
    snapshot::{self, Chunks},
};
use tokio::runtime::Builder;

use super::Feed;
use crate::mutate;

fn view() -> View {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime for one thread can be made");
    runtime.block_on(async {
        let store = Store::open(Options::default()).await.expect("memory opens");
        for n in 0..5 {
            let key = Bytes::from(format!("/k/{n}"));
            let value = Stamped::plain(vec![b'v'; n * 7]);
            store.commit(Txn::one(Op::Put { key, value, expect: Expect::Any })).await.expect("memory takes it");
        }
        let view = store.view();
        store.close().await;
        view
    })
}

/// Bytes that are no keyspace are refused, whatever they are.
pub(super) fn keyspaces() -> Feed {
    let good: Vec<_> = Pieces::new(view()).collect();
    Box::new(move |dice| {
        let mut assembly = Assembly::default();
        for _ in 0..2 {
            if assembly.add(&mutate::bytes(dice, &good)).is_err() {
                return;
            }
        }
        if let Ok(whole) = assembly.finish() {
            assert!(whole.entries().iter().all(|entry| entry.modified <= whole.revision()));
        }
    })
}

/// A file that was changed is refused, and never believed.
pub(super) fn snapshots() -> Feed {
    let good: Vec<u8> = Chunks::new(b"about", Pieces::new(view())).flatten().collect();
    let seeds = vec![good.clone()];
    Box::new(move |dice| {
        let file = mutate::bytes(dice, &seeds);
        let read = snapshot::read(&file[..]);
        assert!(file == good || read.is_err(), "a changed file is believed");
        assert_eq!(read.is_ok(), snapshot::check(&file[..]).is_ok() && file == good);
    })
}
