//! What only one server may do at a time is done by the one that leads, and moves with the lead.

use mk8s_store::Store;
use tokio_util::sync::CancellationToken;

/// Runs `work` whenever this server leads; it is told to stop when the lead is gone, and begins again with the next one.
pub async fn while_leading<F, W>(store: Store, stop: CancellationToken, mut work: F)
where
    F: FnMut(CancellationToken) -> W,
    W: Future<Output = ()>,
{
    let mut leadership = store.leadership();
    loop {
        let Some(Ok(begun)) =
            stop.run_until_cancelled(leadership.wait_for(|now| now.here)).await.map(|now| now.map(|n| *n))
        else {
            return;
        };
        // Everything that an earlier leader wrote is here before anything is decided.
        match stop.run_until_cancelled(store.barrier()).await {
            None => return,
            Some(Err(_)) => {
                // The lead was lost at once, or the store closes; whichever it is shows in the next round.
                if stop.run_until_cancelled(tokio::time::sleep(std::time::Duration::from_millis(100))).await.is_none() {
                    return;
                }
                continue;
            }
            Some(Ok(_)) => {}
        }
        tracing::debug!(term = begun.term, "this server leads");
        let ends = stop.child_token();
        let lost = {
            let (ends, mut leadership) = (ends.clone(), leadership.clone());
            async move {
                // The store's end is the end of the lead as well.
                drop(ends.run_until_cancelled(leadership.wait_for(|now| !now.here)).await);
                ends.cancel();
            }
        };
        tokio::join!(work(ends), lost);
        if stop.is_cancelled() {
            return;
        }
    }
}
