//! What upstream said, for as long as it said, at most half a minute.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Record, RecordType};

const MAX_ENTRIES: usize = 4096;
const MAX_TTL: u32 = 30;
const MAX_NEGATIVE_TTL: u32 = 5;

#[derive(Debug)]
struct Entry {
    response: Message,
    stored: Instant,
    ttl: Duration,
}

/// Responses by question. The time is an argument.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Query, Entry>,
}

impl Cache {
    /// The response to the question, its times to live counted down.
    pub(super) fn get(&self, question: &Query, now: Instant) -> Option<Message> {
        let entry = self.entries.get(question)?;
        let age = now.saturating_duration_since(entry.stored);
        if age >= entry.ttl {
            return None;
        }
        let mut response = entry.response.clone();
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        let sections = [&mut response.answers, &mut response.authorities, &mut response.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.min(MAX_TTL).saturating_sub(seconds);
        }
        Some(response)
    }

    pub(super) fn put(&mut self, question: Query, response: &Message, now: Instant) {
        let Some(ttl) = time_to_live(response) else { return };
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.retain(|_, entry| now.saturating_duration_since(entry.stored) < entry.ttl);
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.clear();
        }
        let ttl = Duration::from_secs(ttl.into());
        self.entries.insert(question, Entry { response: response.clone(), stored: now, ttl });
    }
}

/// Seconds; `None` for what must not be kept.
fn time_to_live(response: &Message) -> Option<u32> {
    if response.metadata.truncation {
        return None;
    }
    let least = |records: &[Record]| records.iter().map(|record| record.ttl).min();
    let ttl = match response.metadata.response_code {
        ResponseCode::NoError if !response.answers.is_empty() => least(&response.answers)?.min(MAX_TTL),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let soa = response.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
            soa.map(|record| record.ttl).min()?.min(MAX_NEGATIVE_TTL)
        }
        _ => return None,
    };
    (ttl > 0).then_some(ttl)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData};

    use super::*;

    #[test]
    fn answers_age_and_end() {
        let name = Name::from_ascii("example.org.").unwrap();
        let question = Query::query(name.clone(), RecordType::A);
        let mut response = Message::response(1, OpCode::Query);
        response.add_answer(Record::from_rdata(name, 300, RData::A(A::new(192, 0, 2, 1))));
        let (mut cache, start) = (Cache::default(), Instant::now());
        cache.put(question.clone(), &response, start);
        let ttl = |seconds| {
            let found = cache.get(&question, start + Duration::from_secs(seconds))?;
            Some(found.answers[0].ttl)
        };
        assert_eq!([ttl(0), ttl(10), ttl(29), ttl(30)], [Some(30), Some(20), Some(1), None]);

        let mut failed = Message::response(1, OpCode::Query);
        failed.metadata.response_code = ResponseCode::ServFail;
        let mut other = Cache::default();
        other.put(question.clone(), &failed, start);
        assert!(other.get(&question, start).is_none());
    }
}
