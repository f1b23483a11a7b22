//! Where a node is, as its labels say it.

use std::collections::BTreeMap;

/// Of each pair the name of before counts first: objects have kept it for long, and those who write both mean the same.
const REGION: [&str; 2] = ["failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"];
const ZONE: [&str; 2] = ["failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"];

/// Region and zone; `None` of a node that says neither.
pub fn zone(labels: &BTreeMap<String, String>) -> Option<(&str, &str)> {
    let of = |names: [&str; 2]| names.iter().find_map(|name| labels.get(*name)).map_or("", String::as_str);
    let (region, zone) = (of(REGION), of(ZONE));
    (!region.is_empty() || !zone.is_empty()).then_some((region, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_before_count_first() {
        let labels = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let cases: [(&[(&str, &str)], Option<(&str, &str)>); 6] = [
            (&[], None),
            (&[(ZONE[1], "")], None),
            (&[(ZONE[1], "z")], Some(("", "z"))),
            (&[(REGION[1], "r")], Some(("r", ""))),
            (&[(REGION[1], "r"), (ZONE[0], "old"), (ZONE[1], "new")], Some(("r", "old"))),
            // Being there counts, whatever it says.
            (&[(REGION[1], "r"), (ZONE[0], ""), (ZONE[1], "new")], Some(("r", ""))),
        ];
        for (all, expected) in cases {
            assert_eq!(zone(&labels(all)), expected, "{all:?}");
        }
    }
}
