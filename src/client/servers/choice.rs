//! Whom to ask: what is known of each server, and what follows from it. Pure but for the clock and chance that it is given.

use rand::{Rng, seq::SliceRandom};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A server that was missed is asked after all others for so long, and so is one that answered and could not help.
const SHUN: Duration = Duration::from_secs(30);
/// One that cannot help again and again (it may have been removed, or be a witness) is left alone twice as long each time,
/// up to this long.
const SHUN_MAX: Duration = Duration::from_secs(16 * 60);

/// How a server was found.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// A tunnel to it is open: it is there and serves.
    tunnel: bool,
    missed_until: Option<Instant>,
    left: Option<Left>,
}

/// It could not help.
#[derive(Debug, Clone, Copy)]
struct Left {
    until: Instant,
    /// How long that is from when it was found.
    wait: Duration,
}

/// See the module. Addresses are `host:port`.
#[derive(Debug)]
pub(super) struct Choice {
    /// By what the user named, or the server of this process.
    given: String,
    /// The address under which the others know the server of this process; it is asked before all others.
    own: Option<String>,
    /// What the cluster told.
    told: Vec<String>,
    standing: HashMap<String, Standing>,
    /// Who is asked now.
    asked: Option<String>,
    turn: u64,
}

impl Choice {
    pub(super) fn new(given: &str, own: Option<&str>) -> Choice {
        Choice {
            given: given.to_owned(),
            own: own.map(str::to_owned),
            told: Vec::new(),
            standing: HashMap::new(),
            asked: None,
            turn: 0,
        }
    }

    /// Takes over what the cluster tells; says whether that is new.
    pub(super) fn learn(&mut self, told: Vec<String>) -> bool {
        if told == self.told {
            return false;
        }
        self.told = told;
        let known = self.addresses();
        self.standing.retain(|address, _| known.contains(address));
        if self.asked.as_ref().is_some_and(|asked| !known.contains(asked)) {
            self.turn_away();
        }
        true
    }

    /// Everyone there is, each once.
    pub(super) fn addresses(&self) -> Vec<String> {
        let others = self.told.iter().filter(|told| Some(*told) != self.own.as_ref() && **told != self.given);
        [&self.given].into_iter().chain(others).cloned().collect()
    }

    /// Who is to be tried, one after the other.
    pub(super) fn order(&self, now: Instant, chance: &mut impl Rng) -> Vec<String> {
        let mut all = self.addresses();
        all.shuffle(chance);
        all.sort_by_key(|address| {
            let standing = self.standing.get(address);
            (
                self.is_shunned(address, now),
                self.own.is_none() || *address != self.given,
                self.asked.as_ref() != Some(address),
                !standing.is_some_and(|standing| standing.tunnel),
                // A name that the cluster does not know may be a detour.
                !self.told.contains(address),
            )
        });
        all
    }

    fn is_shunned(&self, address: &str, now: Instant) -> bool {
        self.standing.get(address).is_some_and(|standing| {
            let until = standing.missed_until.max(standing.left.map(|left| left.until));
            until.is_some_and(|until| now < until)
        })
    }

    fn of(&mut self, address: &str) -> &mut Standing {
        self.standing.entry(address.to_owned()).or_default()
    }

    pub(super) fn reached(&mut self, address: &str) {
        self.of(address).missed_until = None;
        self.asked = Some(address.to_owned());
    }

    pub(super) fn missed(&mut self, address: &str, now: Instant) {
        self.of(address).missed_until = Some(now + SHUN);
        self.asked.take_if(|asked| asked == address);
    }

    /// A server that came gets its share of those who ask.
    pub(super) fn tunnel_open(&mut self, address: &str, chance: &mut impl Rng) {
        let standing = self.of(address);
        standing.missed_until = None;
        if std::mem::replace(&mut standing.tunnel, true) || self.own.is_some() {
            return;
        }
        let share = self.addresses().len().max(1);
        if self.asked.as_ref().is_some_and(|asked| asked != address) && chance.random_range(0..share) == 0 {
            self.asked = Some(address.to_owned());
            self.turn += 1;
        }
    }

    pub(super) fn tunnel_closed(&mut self, address: &str) {
        self.of(address).tunnel = false;
        let others = self.standing.values().any(|standing| standing.tunnel);
        if others && self.asked.as_deref() == Some(address) {
            self.turn_away();
        }
    }

    /// Whoever is asked now answers, and cannot help. Says who that is, and for how long it is asked last.
    pub(super) fn leave(&mut self, now: Instant) -> Option<(String, Duration)> {
        let asked = self.asked.clone().filter(|_| self.addresses().len() > 1)?;
        let standing = self.of(&asked);
        // It was good for as long as it was left alone before: that is forgotten.
        let again = standing.left.filter(|left| now.saturating_duration_since(left.until) < left.wait);
        let wait = match again {
            None => SHUN,
            // It was asked because the others are left alone as well, which says nothing new of it.
            Some(left) if now < left.until => left.wait,
            Some(left) => (left.wait * 2).min(SHUN_MAX),
        };
        standing.left = Some(Left { until: now + wait, wait });
        self.turn_away();
        Some((asked, wait))
    }

    fn turn_away(&mut self) {
        self.asked = None;
        self.turn += 1;
    }

    /// Requests of the same turn may share a connection.
    pub(super) fn turn(&mut self, now: Instant) -> u64 {
        let strays = self.own.is_some() && self.asked.as_ref().is_some_and(|asked| *asked != self.given);
        if strays && !self.is_shunned(&self.given, now) {
            self.turn_away();
        }
        self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn three() -> (Choice, Instant, StdRng) {
        let mut choice = Choice::new("lb:6443", None);
        assert!(choice.learn(["a:1", "b:1", "c:1"].map(str::to_owned).to_vec()));
        assert!(!choice.learn(["a:1", "b:1", "c:1"].map(str::to_owned).to_vec()));
        (choice, Instant::now(), StdRng::seed_from_u64(1))
    }

    #[test]
    fn whoever_is_asked_stays_the_one_until_it_is_missed() {
        let (mut choice, now, mut chance) = three();
        assert_eq!(choice.order(now, &mut chance).last().map(String::as_str), Some("lb:6443"), "the last resort");
        choice.reached("b:1");
        for _ in 0..20 {
            assert_eq!(choice.order(now, &mut chance)[0], "b:1");
        }
        choice.missed("b:1", now);
        assert_eq!(choice.order(now, &mut chance).last().map(String::as_str), Some("b:1"));
        let later = now + SHUN;
        assert_ne!(choice.order(later, &mut chance).last().map(String::as_str), Some("b:1"), "it is not forgotten");
        choice.tunnel_open("c:1", &mut chance);
        assert_eq!(choice.order(now, &mut chance)[0], "c:1", "it is known to be there");
    }

    #[test]
    fn many_agents_are_spread_over_all_servers() {
        let (choice, now, mut chance) = three();
        let mut asked: HashMap<String, u32> = HashMap::new();
        for _ in 0..3000 {
            *asked.entry(choice.order(now, &mut chance).swap_remove(0)).or_default() += 1;
        }
        assert!(asked.len() == 3 && asked.values().all(|n| (800..1200).contains(n)), "{asked:?}");
        // One comes back: it gets its share again.
        let moved = (0..4000).filter(|_| {
            let (mut choice, ..) = three();
            choice.reached("a:1");
            choice.tunnel_open("a:1", &mut chance);
            choice.tunnel_open("b:1", &mut chance);
            choice.order(now, &mut chance)[0] == "b:1"
        });
        assert!((800..1200).contains(&moved.count()));
    }

    #[test]
    fn a_turn_ends_when_another_one_is_to_be_asked() {
        let (mut choice, now, mut chance) = three();
        choice.reached("a:1");
        choice.tunnel_open("a:1", &mut chance);
        let turn = choice.turn(now);
        choice.tunnel_closed("a:1");
        assert_eq!(choice.turn(now), turn, "nobody else is known to be there");
        choice.reached("a:1");
        choice.leave(now);
        assert_eq!(choice.turn(now), turn + 1);
        assert_eq!(choice.order(now, &mut chance).last().map(String::as_str), Some("a:1"));
        choice.reached("b:1");
        choice.learn(vec!["a:1".into(), "c:1".into()]);
        assert_eq!(choice.turn(now), turn + 2, "it was removed");
        let mut alone = Choice::new("a:1", None);
        alone.reached("a:1");
        alone.leave(now);
        assert_eq!((alone.turn(now), alone.asked.as_deref()), (0, Some("a:1")));
    }

    #[test]
    fn the_own_server_is_asked_first_and_known_by_one_address() {
        let (_, now, mut chance) = three();
        let mut choice = Choice::new("127.0.0.1:6443", Some("a:1"));
        choice.learn(["a:1", "b:1"].map(str::to_owned).to_vec());
        assert_eq!(choice.addresses(), ["127.0.0.1:6443", "b:1"]);
        choice.tunnel_open("b:1", &mut chance);
        assert_eq!(choice.order(now, &mut chance)[0], "127.0.0.1:6443");
        choice.reached("127.0.0.1:6443");
        choice.leave(now);
        assert_eq!(choice.order(now, &mut chance)[0], "b:1");
        choice.reached("b:1");
        let turn = choice.turn(now);
        assert_eq!(choice.turn(now + SHUN), turn + 1, "back to the own one");
    }

    #[test]
    fn a_server_that_never_helps_is_asked_more_and_more_seldom() {
        let mut choice = Choice::new("127.0.0.1:6443", Some("a:1"));
        choice.learn(["a:1", "b:1"].map(str::to_owned).to_vec());
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            choice.reached("127.0.0.1:6443");
            let (left, wait) = choice.leave(now).expect("there is another one");
            assert_eq!(left, "127.0.0.1:6443");
            waits.push(wait.as_secs());
            choice.reached("b:1");
            let turn = choice.turn(now + wait - Duration::from_secs(1));
            assert_eq!(choice.turn(now + wait), turn + 1, "it is tried again");
            now += wait + Duration::from_secs(2);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 960, 960]);
        choice.reached("127.0.0.1:6443");
        let (_, wait) = choice.leave(now + SHUN_MAX).expect("there is another one");
        assert_eq!(wait, SHUN, "it was good for long");
    }

    #[test]
    fn what_is_asked_for_want_of_others_is_not_left_alone_longer() {
        let (mut choice, now, _) = three();
        for address in ["a:1", "b:1", "c:1", "a:1", "b:1", "c:1", "a:1"] {
            choice.reached(address);
            let (left, wait) = choice.leave(now).expect("there are others");
            assert_eq!((left.as_str(), wait), (address, SHUN));
        }
    }
}
