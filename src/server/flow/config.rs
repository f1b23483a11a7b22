//! All schemas and levels at one moment, and how many seats each level has. Pure.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use http::HeaderValue;
use mk8s_api::{
    at::{get, int, sub, text},
    meta,
};
use serde_json::Value;

use super::{
    fair::Shape,
    schema::{Schema, level_of},
    seats::{Counts, Level, Limits},
};
use crate::auth::Attributes;

/// What is asked about every request.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// In the order in which they are asked.
    pub(super) schemas: Vec<Arc<Schema>>,
    pub(super) levels: BTreeMap<String, Arc<Level>>,
    /// By the names of schema and level.
    counts: BTreeMap<(String, String), Arc<Counts>>,
}

impl Config {
    /// The configuration of these objects, which goes on with the levels of `before`.
    pub(super) fn new(schemas: &[Value], levels: &[Value], seats: u32, before: &Config) -> Config {
        let shares: i64 = levels.iter().map(shares).sum();
        let mut config = Config::default();
        for level in levels {
            let name = meta::name(level);
            let is_exempt = text(sub(level, "spec"), "type") == "Exempt";
            let known = before.levels.get(name).filter(|known| known.is_exempt() == is_exempt).cloned();
            let known = known.unwrap_or_else(|| Arc::new(Level::new(name, is_exempt)));
            known.configure(limits(level, seats, shares), shape(level));
            config.levels.insert(name.to_owned(), known);
        }
        for schema in schemas {
            let (name, level_name) = (meta::name(schema), level_of(schema));
            let Some(level) = config.levels.get(level_name) else { continue };
            let key = (name.to_owned(), level_name.to_owned());
            let counts = before.counts.get(&key).cloned().unwrap_or_default();
            let uid = levels.iter().find(|level| meta::name(level) == level_name).map_or("", meta::uid);
            config.schemas.push(Arc::new(Schema::read(schema, level.clone(), uid, counts.clone())));
            config.counts.insert(key, counts);
        }
        config.schemas.sort_by(|one, other| {
            let by_precedence = one.precedence.cmp(&other.precedence);
            by_precedence.then_with(|| one.name.cmp(&other.name))
        });
        config
    }

    /// The schema that a request belongs to: the first that matches, of all that match.
    pub(super) fn classify(&self, request: &Attributes<'_>) -> Option<&Arc<Schema>> {
        self.schemas.iter().find(|schema| schema.matches(request))
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, &str, &Counts)> {
        self.counts.iter().map(|((schema, level), counts)| (schema.as_str(), level.as_str(), &**counts))
    }

    /// Distributes the seats among the levels by what was wanted since the last time.
    pub(super) fn lend(&self, seats: u32) {
        let levels: Vec<&Arc<Level>> = self.levels.values().filter(|level| !level.is_exempt()).collect();
        let wants: Vec<(Limits, u32)> = levels.iter().map(|level| (level.limits(), level.take_wanted())).collect();
        for (level, limit) in levels.into_iter().zip(lent(&wants, seats)) {
            level.set_limit(limit);
        }
    }
}

fn part(level: &Value) -> &Value {
    let spec = sub(level, "spec");
    get(spec, "limited").or_else(|| get(spec, "exempt")).unwrap_or(&Value::Null)
}

fn shares(level: &Value) -> i64 {
    int(part(level), "nominalConcurrencyShares").unwrap_or(0).max(0)
}

/// What a level has of all seats.
fn limits(level: &Value, seats: u32, shares_of_all: i64) -> Limits {
    let seats_of_all = u64::from(seats);
    let (own, all) = (shares(level).unsigned_abs(), shares_of_all.unsigned_abs().max(1));
    let nominal = (seats_of_all * own).div_ceil(all);
    let percent = |field: &str| int(part(level), field).map(|percent| percent.clamp(0, 1_000_000).unsigned_abs());
    let rounded = |percent: u64| (nominal * percent + 50) / 100;
    let lower = nominal.saturating_sub(rounded(percent("lendablePercent").unwrap_or(0)));
    let upper = match percent("borrowingLimitPercent") {
        Some(percent) => nominal + rounded(percent),
        None => seats_of_all,
    };
    let narrow = |seats: u64| u32::try_from(seats).unwrap_or(u32::MAX);
    Limits { nominal: narrow(nominal), lower: narrow(lower), upper: narrow(upper.max(nominal)) }
}

/// The queues of a level; none where requests are refused.
fn shape(level: &Value) -> Option<Shape> {
    let response = sub(part(level), "limitResponse");
    let queuing = get(response, "queuing").filter(|_| text(response, "type") == "Queue")?;
    let number = |field: &str, otherwise: i64| int(queuing, field).unwrap_or(otherwise).max(1).unsigned_abs();
    let narrow = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Some(Shape {
        queues: number("queues", 64),
        hand: narrow(number("handSize", 8)),
        length: narrow(number("queueLengthLimit", 50)),
    })
}

/// How many seats each level gets: what it wants within its limits, or the same fraction of it for all where that is
/// too much; what is left goes to all in proportion to what is theirs.
fn lent(wants: &[(Limits, u32)], seats: u32) -> Vec<u32> {
    let seats = f64::from(seats);
    let at = |fraction: f64| -> Vec<f64> {
        let one = |(limits, wanted): &(Limits, u32)| {
            let wanted = f64::from((*wanted).max(limits.nominal.min(limits.lower.max(1))).max(1));
            let (lower, upper) = (f64::from(limits.lower), f64::from(limits.upper.max(limits.lower)));
            (wanted * fraction).clamp(lower, upper)
        };
        wants.iter().map(one).collect()
    };
    let sum = |fraction: f64| at(fraction).iter().sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while sum(high) < seats && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        match sum(middle).partial_cmp(&seats) {
            Some(Ordering::Greater) => high = middle,
            _ => low = middle,
        }
    }
    at(low).into_iter().map(|seats| (seats.round() as u32).max(1)).collect()
}

/// The names of the headers that tell how a request was classified.
pub(super) const SCHEMA_UID: http::HeaderName = http::HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
pub(super) const LEVEL_UID: http::HeaderName = http::HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// Puts the uids of a schema and its level on an answer.
pub(super) fn label(headers: &mut http::HeaderMap, (schema, level): &(HeaderValue, HeaderValue)) {
    headers.insert(SCHEMA_UID, schema.clone());
    headers.insert(LEVEL_UID, level.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn level(name: &str, shares: i64, lendable: i64) -> Value {
        json!({"metadata": {"name": name, "uid": name}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": {"type": "Reject"}}}})
    }

    fn schema(name: &str, precedence: i64, level: &str) -> Value {
        json!({"metadata": {"name": name, "uid": name}, "spec": {"matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level}, "rules": [{"subjects": [{"kind": "Group", "group": {"name": "*"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}})
    }

    #[test]
    fn seats_are_shared_out() {
        let levels = [level("a", 30, 33), level("b", 10, 0), level("c", 0, 0)];
        let config = Config::new(&[], &levels, 600, &Config::default());
        let shown: Vec<(u32, u32, u32)> = config
            .levels
            .values()
            .map(|level| {
                let limits = level.limits();
                (limits.nominal, limits.lower, limits.upper)
            })
            .collect();
        assert_eq!(shown, [(450, 301, 600), (150, 150, 600), (0, 0, 600)]);
    }

    #[test]
    fn the_first_schema_that_matches_counts() {
        let schemas = [schema("z", 5, "a"), schema("y", 5, "a"), schema("x", 2, "missing")];
        let config = Config::new(&schemas, &[level("a", 1, 0)], 10, &Config::default());
        let user = crate::auth::User::new("u", ["g"]);
        let found = config.classify(&Attributes::for_path(&user, "get", "/x")).expect("classified");
        assert_eq!(found.name, "y");
        let again = Config::new(&schemas, &[level("a", 2, 0)], 10, &config);
        assert!(Arc::ptr_eq(&again.levels["a"], &config.levels["a"]), "levels go on");
    }

    #[test]
    fn levels_lend_what_they_do_not_need() {
        let of = |nominal: u32, lower: u32, upper: u32, wanted: u32| (Limits { nominal, lower, upper }, wanted);
        let cases = [
            // Nobody wants anything.
            (vec![of(50, 25, 100, 0), of(50, 25, 100, 0)], vec![50, 50]),
            // One wants it all and gets what the other lends.
            (vec![of(50, 25, 100, 200), of(50, 25, 100, 0)], vec![75, 25]),
            (vec![of(50, 50, 100, 200), of(50, 50, 100, 0)], vec![50, 50]),
            // Both want more than there is.
            (vec![of(50, 0, 100, 300), of(50, 0, 100, 100)], vec![75, 25]),
            // No more is borrowed than may be.
            (vec![of(50, 25, 60, 200), of(50, 25, 100, 0)], vec![60, 40]),
        ];
        for (wants, expected) in cases {
            assert_eq!(lent(&wants, 100), expected, "{wants:?}");
        }
    }
}
