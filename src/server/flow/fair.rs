//! Fair queues: who goes next when there are more requests than seats. Pure.
//!
//! A flow (all that one schema cannot tell apart by user or namespace) is dealt a small hand of queues by its hash, and
//! each of its requests joins the one of them with the least work in it. So a busy flow fills its own hand and few others
//! share all of it. Queues take turns by virtual time: a request begins, virtually, when the one before it in its queue
//! has ended, and the one that begins first goes first. A request that takes more seats moves its queue further.
//!
//! Invariant: queues without requests that are no longer ahead of time cost nothing: a level may have ten million queues.

use std::collections::{BTreeMap, VecDeque};

/// The largest hand that validation lets through.
const MAX_HAND: usize = 64;

/// How many queues there are and how they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) queues: u64,
    pub(super) hand: usize,
    /// How many requests may wait in one queue.
    pub(super) length: usize,
}

/// Requests that wait. `T` is what wakes one.
#[derive(Debug)]
pub(super) struct Queues<T> {
    shape: Shape,
    /// Those that hold requests, or whose time is ahead of the others'.
    queues: BTreeMap<u64, Queue<T>>,
    /// The virtual time: that at which the last request began.
    now: u64,
    next_ticket: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    /// When, virtually, the next request begins.
    next: u64,
    /// The seats that all that wait want.
    work: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    ticket: Ticket,
    seats: u32,
    wakes: T,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    queue: u64,
    number: u64,
}

impl<T> Queues<T> {
    pub(super) fn new(shape: Shape) -> Queues<T> {
        Queues { shape, queues: BTreeMap::new(), now: 0, next_ticket: 0, waiting: 0 }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// From now on there are other queues. Who waits, waits where they are.
    pub(super) fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lets a request of a flow wait; `None` when its queues are full.
    pub(super) fn join(&mut self, flow: u64, seats: u32, wakes: T) -> Option<Ticket> {
        let work = |queue: &u64| self.queues.get(queue).map_or(0, |queue| queue.work);
        let mut hand = [0; MAX_HAND];
        let queue = *deal(flow, self.shape, &mut hand).iter().min_by_key(|queue| work(queue))?;
        let now = self.now;
        let found = self.queues.entry(queue).or_insert_with(|| Queue { waiting: VecDeque::new(), next: now, work: 0 });
        if found.waiting.len() >= self.shape.length {
            return None;
        }
        if found.waiting.is_empty() {
            found.next = found.next.max(now);
        }
        let ticket = Ticket { queue, number: self.next_ticket };
        self.next_ticket += 1;
        self.waiting += 1;
        found.work += u64::from(seats);
        found.waiting.push_back(Waiting { ticket, seats, wakes });
        Some(ticket)
    }

    /// The seats that the next request wants.
    pub(super) fn next_seats(&self) -> Option<u32> {
        let queue = &self.queues[&self.next_queue()?];
        queue.waiting.front().map(|waiting| waiting.seats)
    }

    /// Takes the next request.
    pub(super) fn take(&mut self) -> Option<T> {
        let key = self.next_queue()?;
        let queue = self.queues.get_mut(&key)?;
        let taken = queue.waiting.pop_front()?;
        self.waiting -= 1;
        self.now = self.now.max(queue.next);
        queue.next = self.now + u64::from(taken.seats);
        queue.work -= u64::from(taken.seats);
        let now = self.now;
        self.queues.retain(|_, queue| !queue.waiting.is_empty() || queue.next > now);
        Some(taken.wakes)
    }

    /// A request waits no longer. Whether it was still waiting.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(queue) = self.queues.get_mut(&ticket.queue) else { return false };
        let Some(at) = queue.waiting.iter().position(|waiting| waiting.ticket == ticket) else { return false };
        if let Some(left) = queue.waiting.remove(at) {
            queue.work -= u64::from(left.seats);
            self.waiting -= 1;
        }
        if queue.waiting.is_empty() && queue.next <= self.now {
            self.queues.remove(&ticket.queue);
        }
        true
    }

    fn next_queue(&self) -> Option<u64> {
        let busy = self.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty());
        busy.min_by_key(|(_, queue)| queue.next).map(|(key, _)| *key)
    }
}

/// The queues that a hash is dealt: different ones, each as likely as the others.
fn deal(mut hash: u64, shape: Shape, hand: &mut [u64; MAX_HAND]) -> &[u64] {
    let size = shape.hand.min(MAX_HAND).min(usize::try_from(shape.queues).unwrap_or(MAX_HAND));
    for dealt in 0..size {
        let left = shape.queues - dealt as u64;
        let mut card = hash % left;
        hash /= left;
        // Counts only those that are still in the deck.
        let mut before: Vec<u64> = hand[..dealt].to_vec();
        before.sort_unstable();
        for other in before {
            card += u64::from(card >= other);
        }
        hand[dealt] = card;
    }
    &hand[..size]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { queues: 16, hand: 4, length: 3 };

    fn served(queues: &mut Queues<&'static str>) -> String {
        std::iter::from_fn(|| queues.take()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn hands_are_dealt_without_repeats() {
        for hash in (0..2000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            let mut hand = [0; MAX_HAND];
            let mut dealt = deal(hash, SHAPE, &mut hand).to_vec();
            dealt.sort_unstable();
            dealt.dedup();
            assert_eq!(dealt.len(), 4, "{hash}");
            assert!(dealt.iter().all(|queue| *queue < 16), "{hash}");
        }
        let mut hand = [0; MAX_HAND];
        assert_eq!(deal(7, Shape { queues: 1, hand: 1, length: 1 }, &mut hand), [0]);
    }

    #[test]
    fn a_quiet_flow_does_not_wait_for_a_busy_one() {
        let mut queues = Queues::new(Shape { queues: 1 << 20, hand: 1, length: 50 });
        for _ in 0..4 {
            queues.join(1, 1, "busy").expect("there is room");
        }
        queues.join(2, 1, "quiet").expect("there is room");
        queues.join(2, 1, "quiet").expect("there is room");
        assert_eq!(served(&mut queues), "busy quiet busy quiet busy busy");
    }

    #[test]
    fn wide_requests_count_for_more() {
        let mut queues = Queues::new(Shape { queues: 1 << 20, hand: 1, length: 50 });
        for _ in 0..2 {
            queues.join(1, 4, "wide").expect("there is room");
        }
        for _ in 0..5 {
            queues.join(2, 1, "narrow").expect("there is room");
        }
        assert_eq!(served(&mut queues), "wide narrow narrow narrow narrow wide narrow");
    }

    #[test]
    fn a_flow_that_was_quiet_saves_nothing_up() {
        let mut queues = Queues::new(Shape { queues: 1 << 20, hand: 1, length: 50 });
        for _ in 0..9 {
            queues.join(1, 1, "busy").expect("there is room");
        }
        for _ in 0..5 {
            queues.take();
        }
        for _ in 0..3 {
            queues.join(2, 1, "late").expect("there is room");
        }
        assert_eq!(served(&mut queues), "late busy late busy late busy busy");
    }

    #[test]
    fn queues_are_full_and_can_be_left() {
        let mut queues = Queues::new(Shape { queues: 2, hand: 2, length: 2 });
        let tickets: Vec<Ticket> = (0..4).filter_map(|_| queues.join(5, 1, "x")).collect();
        assert_eq!((tickets.len(), queues.waiting()), (4, 4));
        assert_eq!(queues.join(5, 1, "x"), None);
        assert!(queues.leave(tickets[1]));
        assert!(!queues.leave(tickets[1]));
        assert!(queues.join(5, 1, "y").is_some());
        assert_eq!(served(&mut queues).matches('x').count(), 3);
        assert_eq!(queues.waiting(), 0);
        assert_eq!(queues.next_seats(), None);
    }
}
