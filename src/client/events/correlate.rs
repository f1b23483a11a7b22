//! Which events are written, and as what: new, counted on an earlier one, or not at all. Pure; the thresholds are
//! client-go's.

use super::event_name;
use jiff::{Timestamp, ToSpan};
use k8s_openapi::{api::core::v1::Event, apimachinery::pkg::apis::meta::v1::Time};
use std::collections::{HashMap, HashSet};

/// Records of each sort that are kept; the oldest make room.
const RECORDS_MAX: usize = 4096;

/// So many different messages for one reason are told apart; further ones are combined.
const SIMILAR_MAX: usize = 10;
const SIMILAR_SECONDS: i64 = 600;

/// An object's events of one source: a burst, then one every five minutes.
const SPAM_BURST: f64 = 25.0;
const SPAM_REFILL_SECONDS: f64 = 300.0;

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Create(Event),
    /// An earlier event, with its new count, time and message.
    Count(Event),
    Drop,
}

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Budget {
    tokens: f64,
    at: Timestamp,
}

#[derive(Default)]
pub struct Correlator {
    similar: HashMap<String, Similar>,
    seen: HashMap<String, (Event, Timestamp)>,
    budgets: HashMap<String, Budget>,
}

impl Correlator {
    pub fn step(&mut self, event: Event, now: Timestamp) -> Decision {
        let (event, key) = self.combine(event, now);
        let decision = self.count(event, key, now);
        let event = match &decision {
            Decision::Create(event) | Decision::Count(event) => event,
            Decision::Drop => return Decision::Drop,
        };
        if self.within_budget(&spam_key(event), now) { decision } else { Decision::Drop }
    }

    /// The event, or the one that stands for it and its like.
    fn combine(&mut self, mut event: Event, now: Timestamp) -> (Event, String) {
        let similar_key = similar_key(&event);
        let message = event.message.clone().unwrap_or_default();
        bound(&mut self.similar, |similar| similar.last);
        let similar = self
            .similar
            .entry(similar_key.clone())
            .or_insert_with(|| Similar { messages: HashSet::new(), last: Timestamp::UNIX_EPOCH });
        if similar.last + SIMILAR_SECONDS.seconds() < now {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(message.clone());
        }
        if similar.messages.len() < SIMILAR_MAX {
            return (event, format!("{similar_key}\n{message}"));
        }
        event.metadata.name = Some(event_name(&event.involved_object, now));
        event.message = Some(format!("(combined from similar events): {message}"));
        (event, similar_key)
    }

    fn count(&mut self, event: Event, key: String, now: Timestamp) -> Decision {
        bound(&mut self.seen, |(_, at)| *at);
        let decision = match self.seen.remove(&key) {
            None => Decision::Create(event),
            Some((mut earlier, _)) => {
                earlier.count = Some(earlier.count.unwrap_or(1).saturating_add(1));
                earlier.last_timestamp = Some(Time(now));
                earlier.message = event.message;
                Decision::Count(earlier)
            }
        };
        if let Decision::Create(event) | Decision::Count(event) = &decision {
            self.seen.insert(key, (event.clone(), now));
        }
        decision
    }

    fn within_budget(&mut self, key: &str, now: Timestamp) -> bool {
        bound(&mut self.budgets, |budget| budget.at);
        let budget = self.budgets.entry(key.to_owned()).or_insert(Budget { tokens: SPAM_BURST, at: now });
        let elapsed = now.duration_since(budget.at).as_secs_f64().max(0.0);
        budget.tokens = (budget.tokens + elapsed / SPAM_REFILL_SECONDS).min(SPAM_BURST);
        budget.at = now;
        if budget.tokens < 1.0 {
            return false;
        }
        budget.tokens -= 1.0;
        true
    }
}

fn spam_key(event: &Event) -> String {
    let about = &event.involved_object;
    let source = event.source.as_ref();
    let parts = [
        source.and_then(|source| source.component.as_deref()),
        source.and_then(|source| source.host.as_deref()),
        about.kind.as_deref(),
        about.namespace.as_deref(),
        about.name.as_deref(),
        about.uid.as_deref(),
        about.api_version.as_deref(),
        event.type_.as_deref(),
    ];
    parts.map(Option::unwrap_or_default).join("\n")
}

fn similar_key(event: &Event) -> String {
    let field = event.involved_object.field_path.as_deref().unwrap_or_default();
    let reason = event.reason.as_deref().unwrap_or_default();
    format!("{}\n{field}\n{reason}", spam_key(event))
}

/// Makes room by forgetting the older half.
fn bound<V>(records: &mut HashMap<String, V>, at: impl Fn(&V) -> Timestamp) {
    if records.len() < RECORDS_MAX {
        return;
    }
    let mut times: Vec<Timestamp> = records.values().map(&at).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    records.retain(|_, record| at(record) > median);
}

#[cfg(test)]
impl Correlator {
    pub(super) fn records(&self) -> usize {
        self.similar.len() + self.seen.len() + self.budgets.len()
    }
}
