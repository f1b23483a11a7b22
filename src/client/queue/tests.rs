use super::*;
use std::sync::atomic::Ordering;

fn queue() -> WorkQueue<&'static str> {
    WorkQueue::new("test")
}

#[tokio::test]
async fn an_item_is_queued_once() {
    let queue = queue();
    queue.add("a");
    queue.add("b");
    queue.add("a");
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.get().await, Some("a"));
    assert_eq!(queue.get().await, Some("b"));
}

#[tokio::test]
async fn an_item_added_while_it_is_worked_on_comes_again_after() {
    let queue = queue();
    queue.add("a");
    assert_eq!(queue.get().await, Some("a"));
    queue.add("a");
    queue.add("a");
    assert_eq!(queue.len(), 0, "one worker at a time");
    queue.done(&"a");
    assert_eq!(queue.get().await, Some("a"));
    queue.done(&"a");
    assert!(queue.is_empty());
}

#[tokio::test]
async fn shutting_down_gives_out_what_is_queued_and_takes_nothing() {
    let queue = queue();
    queue.add("a");
    queue.shut_down();
    queue.add("b");
    assert_eq!(queue.get().await, Some("a"));
    assert_eq!(queue.get().await, None);
}

#[tokio::test]
async fn shutting_down_wakes_who_waits() {
    let queue = queue();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.get().await }
    });
    tokio::task::yield_now().await;
    queue.shut_down();
    assert_eq!(waiting.await.expect("no panic"), None);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_delay_counts() {
    let queue = queue();
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(60));
    queue.add_after("a", Duration::from_secs(5));
    queue.add_after("b", Duration::from_secs(10));
    assert_eq!(queue.get().await, Some("a"));
    assert_eq!(start.elapsed().as_secs(), 5);
    queue.done(&"a");
    assert_eq!(queue.get().await, Some("b"));
    assert_eq!(start.elapsed().as_secs(), 10);
    queue.done(&"b");
    queue.add_after("c", Duration::from_secs(90));
    assert_eq!(queue.get().await, Some("c"), "the stale entry of a is skipped");
    assert_eq!(start.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn many_items_due_at_once_reach_all_workers() {
    let queue: WorkQueue<u32> = WorkQueue::new("test");
    let worker = |queue: WorkQueue<u32>| async move { queue.get().await };
    let workers: Vec<_> = (0..4).map(|_| tokio::spawn(worker(queue.clone()))).collect();
    tokio::task::yield_now().await;
    (0..4).for_each(|n| queue.add_after(n, Duration::from_secs(1)));
    let mut got = Vec::new();
    for worker in workers {
        got.push(worker.await.expect("no panic").expect("an item"));
    }
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3]);
}

#[test]
fn failures_double_the_delay_up_to_a_thousand_seconds() {
    let delay = |failures| Backoff::default().delay(failures).as_millis();
    let table =
        [(0, 5), (1, 10), (2, 20), (10, 5120), (17, 655_360), (18, 1_000_000), (31, 1_000_000), (99, 1_000_000)];
    for (failures, expected) in table {
        assert_eq!(delay(failures), expected, "{failures}");
    }
}

#[tokio::test(start_paused = true)]
async fn forgetting_starts_over() {
    let queue = queue();
    let start = Instant::now();
    for expected in [5, 15, 35] {
        queue.add_rate_limited("a");
        assert_eq!(queue.get().await, Some("a"));
        queue.done(&"a");
        assert_eq!(start.elapsed().as_millis(), expected);
    }
    assert_eq!(queue.requeues(&"a"), 3);
    queue.forget(&"a");
    assert_eq!(queue.requeues(&"a"), 0);
}

#[tokio::test(start_paused = true)]
async fn workers_survive_errors_and_panics() {
    let queue: WorkQueue<String> = WorkQueue::new("test");
    queue.add("error".into());
    queue.add("panic".into());
    queue.add("fine".into());
    let reconcile = {
        let queue = queue.clone();
        move |item: String| {
            let queue = queue.clone();
            async move {
                let first = queue.requeues(&item) == 0;
                match item.as_str() {
                    "error" if first => Err("refused"),
                    "panic" if first => panic!("a mistake"),
                    _ => {
                        if queue.counts().reconciles.load(Ordering::Relaxed) == 5 {
                            queue.shut_down();
                        }
                        Ok(Outcome::Done)
                    }
                }
            }
        }
    };
    run_workers(queue.clone(), 1, reconcile).await;
    let counts = queue.counts();
    assert_eq!(counts.reconciles.load(Ordering::Relaxed), 5);
    assert_eq!(counts.errors.load(Ordering::Relaxed), 1);
    assert_eq!(counts.panics.load(Ordering::Relaxed), 1);
}
