//! How long a container that keeps ending waits before it runs again: 10 s, doubled up to 300 s, forgotten when it ran well.

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// The backoffs of one pod, by container and definition.
#[derive(Debug, Default)]
pub(super) struct Backoff(HashMap<(String, String), Entry>);

impl Backoff {
    /// Asks to start a container whose last run ended at `finished`. `Err`: not before this delay after that is over.
    pub(super) fn permit(
        &mut self,
        container: &str,
        hash: &str,
        finished: Timestamp,
        now: Timestamp,
    ) -> Result<(), SignedDuration> {
        let key = (container.to_owned(), hash.to_owned());
        match self.0.get(&key) {
            Some(entry) if !expired(entry, now) && now.duration_since(finished) < entry.delay => Err(entry.delay),
            known => {
                let delay = match known {
                    Some(entry) if !expired(entry, finished) => (entry.delay * 2).min(MAX),
                    _ => FIRST,
                };
                self.0.insert(key, Entry { delay, updated: finished });
                Ok(())
            }
        }
    }
}

/// A container that ran longer than twice the longest delay begins anew.
fn expired(entry: &Entry, at: Timestamp) -> bool {
    at.duration_since(entry.updated) > MAX * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_are_forgotten() {
        let at = |s: i64| Timestamp::from_second(1_000_000 + s).expect("a time of this century");
        let mut backoff = Backoff::default();
        let mut ask = |finished, now| backoff.permit("c", "h", at(finished), at(now)).map_err(|delay| delay.as_secs());
        assert_eq!(ask(0, 0), Ok(()));
        assert_eq!(ask(1, 2), Err(10));
        assert_eq!(ask(1, 11), Ok(()));
        assert_eq!(ask(12, 20), Err(20));
        assert_eq!(ask(12, 32), Ok(()));
        assert_eq!(ask(33, 40), Err(40));
        assert_eq!(ask(700, 701), Ok(()));
        assert_eq!(ask(702, 703), Err(10));
    }
}
