//! Answers that count for a while. Questions are kept as their hashes: a token is nobody's to find here.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// So many answers are kept.
const ANSWERS: usize = 8192;

/// What is kept of a question.
pub(in crate::auth) type Key = [u8; 32];

pub(in crate::auth) struct Cache<V>(Mutex<HashMap<Key, (Instant, V)>>);

impl<V: Clone> Cache<V> {
    pub(in crate::auth) fn new() -> Cache<V> {
        Cache(Mutex::default())
    }

    pub(in crate::auth) fn get(&self, key: &Key, now: Instant) -> Option<V> {
        self.0.lock().get(key).filter(|(until, _)| now < *until).map(|(_, answer)| answer.clone())
    }

    pub(in crate::auth) fn put(&self, key: Key, answer: V, now: Instant, ttl: Duration) {
        let Some(until) = now.checked_add(ttl).filter(|_| !ttl.is_zero()) else { return };
        let mut answers = self.0.lock();
        if answers.len() >= ANSWERS && !answers.contains_key(&key) {
            answers.retain(|_, (until, _)| now < *until);
            make_room(&mut answers);
        }
        answers.insert(key, (until, answer));
    }
}

/// Forgets what counts least long, an eighth at once, so that a full cache does not sort at every answer.
fn make_room<V>(answers: &mut HashMap<Key, (Instant, V)>) {
    if answers.len() < ANSWERS {
        return;
    }
    let mut ends: Vec<Instant> = answers.values().map(|(until, _)| *until).collect();
    let (_, last, _) = ends.select_nth_unstable(ANSWERS / 8);
    let last = *last;
    answers.retain(|_, (until, _)| *until > last);
}

pub(in crate::auth) fn key(question: &str) -> Key {
    Sha256::digest(question).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_for_their_time_and_are_bounded() {
        let (cache, now, ttl) = (Cache::new(), Instant::now(), Duration::from_secs(10));
        let (a, b) = (key("a"), key("b"));
        cache.put(a, 1, now, ttl);
        cache.put(b, 2, now, Duration::ZERO);
        assert_eq!((cache.get(&a, now), cache.get(&b, now)), (Some(1), None));
        assert_eq!(cache.get(&a, now + ttl), None);
        for n in 0..2 * ANSWERS {
            let later = now + Duration::from_micros(n as u64);
            cache.put(key(&n.to_string()), 0, later, ttl);
            assert!(cache.0.lock().len() <= ANSWERS);
        }
        let newest = key(&(2 * ANSWERS - 1).to_string());
        assert_eq!(cache.get(&newest, now), Some(0));
        assert!(cache.0.lock().len() > ANSWERS / 2, "not all is forgotten at once");
    }
}
