//! The seats of a priority level: taken with one atomic while there are enough, waited for in fair queues otherwise.
//!
//! ```text
//! admit ──enough──▶ Seat ──drop──▶ seats come back ──somebody waits──▶ the next of the queues gets them
//!   └──too few──▶ queue ──woken──▶ Seat
//!                   └──full, or too long──▶ Rejected
//! ```
//!
//! Invariant: who waits has joined a queue before looking at the seats once more, and who gives seats back looks at the
//! queues afterwards; so nobody waits while there are seats.
//! Invariant: nobody is woken, and nothing waits, while the queues are locked.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fair::{Queues, Shape, Ticket};

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    ConcurrencyLimit,
    QueueFull,
    TimeOut,
}

impl Rejected {
    pub(super) const ALL: [Rejected; 3] = [Rejected::ConcurrencyLimit, Rejected::QueueFull, Rejected::TimeOut];

    pub(super) fn word(self) -> &'static str {
        match self {
            Rejected::ConcurrencyLimit => "concurrency-limit",
            Rejected::QueueFull => "queue-full",
            Rejected::TimeOut => "time-out",
        }
    }
}

/// How many seats a level has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub(super) nominal: u32,
    /// What remains when others have borrowed all they can.
    pub(super) lower: u32,
    /// What it has when it has borrowed all it can.
    pub(super) upper: u32,
}

/// A priority level at work. It outlives its configuration's changes.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) name: String,
    /// Requests pass without seats.
    exempt: bool,
    limit: AtomicU32,
    executing: AtomicU32,
    waiting: AtomicU32,
    /// The most seats that were wanted at once since this was last asked; noted when there were too few.
    wanted: AtomicU32,
    queues: Mutex<Queues<oneshot::Sender<Seat>>>,
    /// Requests are refused instead of waiting.
    rejects: AtomicBool,
    limits: Mutex<Limits>,
}

/// A request under way; its seats come back when this ends.
#[derive(Debug)]
pub(super) struct Seat {
    level: Arc<Level>,
    seats: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.level.give_back(self.seats);
    }
}

impl Level {
    pub(super) fn new(name: &str, exempt: bool) -> Level {
        Level {
            name: name.to_owned(),
            exempt,
            limit: AtomicU32::new(1),
            executing: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            queues: Mutex::new(Queues::new(Shape { queues: 1, hand: 1, length: 0 })),
            rejects: true.into(),
            limits: Mutex::default(),
        }
    }

    /// Takes on how it is configured; no shape: requests are refused instead of waiting.
    pub(super) fn configure(self: &Arc<Self>, limits: Limits, shape: Option<Shape>) {
        let known = std::mem::replace(&mut *self.limits.lock(), limits);
        self.rejects.store(shape.is_none(), Relaxed);
        if let Some(shape) = shape {
            let mut queues = self.queues.lock();
            if queues.shape() != shape {
                queues.reshape(shape);
            }
        }
        if known != limits {
            self.set_limit(limits.nominal);
        }
    }

    /// How many seats there are from now on.
    pub(super) fn set_limit(self: &Arc<Self>, limit: u32) {
        self.limit.store(limit.max(1), SeqCst);
        self.wake();
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.exempt
    }

    pub(super) fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    pub(super) fn executing(&self) -> u32 {
        self.executing.load(Relaxed)
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// The most seats wanted at once since this was last asked.
    pub(super) fn take_wanted(&self) -> u32 {
        let now = self.executing();
        self.wanted.swap(0, Relaxed).max(now)
    }

    /// Seats that are there.
    pub(super) fn try_admit(self: &Arc<Self>, seats: u32) -> Option<Seat> {
        if self.exempt {
            self.executing.fetch_add(seats, Relaxed);
            return Some(self.seat(seats));
        }
        (self.waiting.load(SeqCst) == 0 && self.try_take(seats)).then(|| self.seat(seats))
    }

    /// Seats for a request of a flow, waited for no longer than `patience`.
    pub(super) async fn admit(
        self: &Arc<Self>,
        flow: impl FnOnce() -> u64,
        seats: u32,
        patience: Duration,
    ) -> Result<Seat, Rejected> {
        if let Some(seat) = self.try_admit(seats) {
            return Ok(seat);
        }
        let wanted = self.executing().saturating_add(self.waiting()).saturating_add(seats);
        self.wanted.fetch_max(wanted, Relaxed);
        if self.rejects.load(Relaxed) {
            return Err(Rejected::ConcurrencyLimit);
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = {
            let mut queues = self.queues.lock();
            let ticket = queues.join(flow(), seats, sender).ok_or(Rejected::QueueFull)?;
            self.waiting.fetch_add(1, SeqCst);
            ticket
        };
        let place = Place { level: self, ticket };
        self.wake();
        match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(seat)) => {
                std::mem::forget(place);
                Ok(seat)
            }
            _ => Err(Rejected::TimeOut),
        }
    }

    fn seat(self: &Arc<Self>, seats: u32) -> Seat {
        Seat { level: self.clone(), seats }
    }

    /// Takes seats when there are enough. A request for more than there are at all goes alone.
    fn try_take(&self, seats: u32) -> bool {
        let limit = self.limit.load(SeqCst);
        let taken = self.executing.fetch_update(SeqCst, SeqCst, |executing| {
            let after = executing.saturating_add(seats);
            (after <= limit || executing == 0).then_some(after)
        });
        taken.is_ok()
    }

    fn give_back(self: &Arc<Self>, seats: u32) {
        self.executing.fetch_sub(seats, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.wake();
        }
    }

    /// Gives seats to those whose turn it is.
    fn wake(self: &Arc<Self>) {
        let mut woken = Vec::new();
        {
            let mut queues = self.queues.lock();
            while let Some(seats) = queues.next_seats()
                && self.try_take(seats)
            {
                let sender = queues.take().expect("the next one is there");
                self.waiting.fetch_sub(1, SeqCst);
                woken.push((sender, seats));
            }
        }
        for (sender, seats) in woken {
            // Who has gone away gives the seats back.
            drop(sender.send(self.seat(seats)));
        }
    }
}

/// A place in a queue, which is left when the request goes away.
struct Place<'a> {
    level: &'a Arc<Level>,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.level.queues.lock().leave(self.ticket);
        if left {
            self.level.waiting.fetch_sub(1, SeqCst);
            // The one behind may want fewer seats.
            self.level.wake();
        }
    }
}

/// Counts of one schema.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) dispatched: AtomicU64,
    pub(super) rejected: [AtomicU64; Rejected::ALL.len()],
    pub(super) executing: AtomicU32,
    pub(super) waiting: AtomicU32,
    pub(super) waited: AtomicU64,
    pub(super) waited_us: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn level(limit: u32, shape: Option<Shape>) -> Arc<Level> {
        let level = Arc::new(Level::new("x", false));
        level.configure(Limits { nominal: limit, lower: limit, upper: limit }, shape);
        level
    }

    fn queue() -> Option<Shape> {
        Some(Shape { queues: 8, hand: 2, length: 2 })
    }

    #[tokio::test]
    async fn seats_are_limited() {
        let level = level(2, None);
        let first = level.admit(|| 0, 1, PATIENCE).await.expect("there is a seat");
        let second = level.admit(|| 0, 1, PATIENCE).await.expect("there is a seat");
        assert_eq!(level.admit(|| 0, 1, PATIENCE).await.expect_err("full"), Rejected::ConcurrencyLimit);
        drop(first);
        let wide = level.admit(|| 0, 2, PATIENCE).await.expect_err("one seat is left");
        assert_eq!((wide, level.take_wanted()), (Rejected::ConcurrencyLimit, 3));
        drop(second);
        let wide = level.admit(|| 0, 7, PATIENCE).await.expect("it goes alone");
        assert_eq!(level.executing(), 7);
        drop(wide);
        assert_eq!(level.executing(), 0);
    }

    #[tokio::test]
    async fn who_waits_gets_the_seat_that_comes_back() {
        let level = level(1, queue());
        let first = level.admit(|| 0, 1, PATIENCE).await.expect("there is a seat");
        let waiting = {
            let level = level.clone();
            tokio::spawn(async move { level.admit(|| 1, 1, PATIENCE).await })
        };
        while level.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        let second = waiting.await.expect("no panic").expect("a seat");
        assert_eq!((level.executing(), level.waiting()), (1, 0));
        drop(second);
        assert_eq!(level.executing(), 0);
    }

    #[tokio::test]
    async fn patience_ends() {
        let level = level(1, queue());
        let _first = level.admit(|| 0, 1, PATIENCE).await.expect("there is a seat");
        let outcome = level.admit(|| 1, 1, Duration::from_millis(1)).await;
        assert_eq!(outcome.expect_err("nobody leaves"), Rejected::TimeOut);
        assert_eq!(level.waiting(), 0);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_queue() {
        let level = level(1, queue());
        let first = level.admit(|| 0, 1, PATIENCE).await.expect("there is a seat");
        {
            let mut waiting = Box::pin(level.admit(|| 1, 1, PATIENCE));
            assert!(futures::poll!(&mut waiting).is_pending());
            assert_eq!(level.waiting(), 1);
        }
        assert_eq!(level.waiting(), 0);
        let mut woken = Box::pin(level.admit(|| 1, 1, PATIENCE));
        assert!(futures::poll!(&mut woken).is_pending());
        drop(first);
        assert_eq!(level.executing(), 1);
        // It has its seat already, and does not come for it.
        drop(woken);
        assert_eq!((level.executing(), level.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn more_seats_wake_those_who_wait() {
        let level = level(1, queue());
        let _first = level.admit(|| 0, 1, PATIENCE).await.expect("there is a seat");
        let mut waiting = Box::pin(level.admit(|| 1, 1, PATIENCE));
        assert!(futures::poll!(&mut waiting).is_pending());
        level.set_limit(2);
        assert!(futures::poll!(&mut waiting).is_ready());
    }
}
