//! What only one server may do at a time is done by the one that leads, and moves with the lead.

use mk8s_store::Store;
use std::time::Duration;
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
                if stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(100))).await.is_none() {
                    return;
                }
                continue;
            }
            Some(Ok(_)) => {}
        }
        tracing::debug!(term = begun.term, "this server leads");
        let ends = stop.child_token();
        let lost = async {
            // The store's end is the end of the lead as well.
            drop(ends.run_until_cancelled(leadership.wait_for(|now| !now.here)).await);
            ends.cancel();
        };
        tokio::join!(ended(work(ends.clone()), &ends), lost);
        if stop.is_cancelled() {
            return;
        }
    }
}

/// How long work may go on after its end was asked for. Something in it may wait for what does not come any more; the next
/// time that this server leads must not wait for that.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Does the work to its end, or drops it when it does not end in time.
async fn ended(work: impl Future<Output = ()>, ends: &CancellationToken) {
    let overdue = async {
        ends.cancelled().await;
        tokio::time::sleep(END_WITHIN).await;
    };
    tokio::select! {
        () = work => {}
        () = overdue => tracing::warn!("what this server did as the leader has not ended in time, and is dropped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_dropped() {
        let ends = CancellationToken::new();
        ended(async { tokio::time::sleep(END_WITHIN * 100).await }, &ends).await;
        ends.cancel();
        let begun = tokio::time::Instant::now();
        ended(std::future::pending(), &ends).await;
        assert_eq!(begun.elapsed(), END_WITHIN);
        ended(async { ends.cancelled().await }, &ends).await;
        assert_eq!(begun.elapsed(), END_WITHIN, "what ends by itself is not waited for");
    }
}
