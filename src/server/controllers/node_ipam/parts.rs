//! The parts of the cluster's range, and which nodes have them.

use ipnet::Ipv4Net;
use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
};

/// Parts are numbered from the lowest. What nodes have need not be a part: a range of another size takes every part that
/// it overlaps.
pub(super) struct Parts {
    cluster: Ipv4Net,
    mask: u8,
    of: HashMap<String, Vec<Ipv4Net>>,
    /// How many ranges overlap a part; free ones are not in it.
    taken: BTreeMap<u32, u32>,
    /// No part below it is free.
    lowest: u32,
}

impl Parts {
    /// A mask that does not fit yields no parts.
    pub(super) fn new(cluster: Ipv4Net, mask: u8) -> Parts {
        Parts { cluster: cluster.trunc(), mask, of: HashMap::new(), taken: BTreeMap::new(), lowest: 0 }
    }

    /// The node has these ranges, and none of those that it had before.
    pub(super) fn take(&mut self, node: &str, ranges: Vec<Ipv4Net>) {
        // Most changes of a node are of other things.
        if self.of.get(node) == Some(&ranges) {
            return;
        }
        self.release(node);
        for part in self.overlapped(&ranges) {
            *self.taken.entry(part).or_default() += 1;
        }
        self.of.insert(node.to_owned(), ranges);
    }

    pub(super) fn release(&mut self, node: &str) {
        let ranges = self.of.remove(node).unwrap_or_default();
        for part in self.overlapped(&ranges) {
            match self.taken.get_mut(&part) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.taken.remove(&part);
                    self.lowest = self.lowest.min(part);
                }
            }
        }
    }

    /// What the node has already, or the lowest part that overlaps nothing that is taken.
    pub(super) fn give(&mut self, node: &str) -> Option<Ipv4Net> {
        if let Some(range) = self.of.get(node).and_then(|ranges| ranges.first()) {
            return Some(*range);
        }
        let following = self.taken.range(self.lowest..).zip(self.lowest..);
        let passed = following.take_while(|((taken, _), part)| *taken == part).count();
        self.lowest += u32::try_from(passed).ok()?;
        let range = self.part(self.lowest)?;
        self.take(node, vec![range]);
        Some(range)
    }

    fn part(&self, number: u32) -> Option<Ipv4Net> {
        let bits = self.mask.checked_sub(self.cluster.prefix_len())?;
        if u64::from(number) >> bits > 0 {
            return None;
        }
        let offset = u64::from(number) << 32_u8.checked_sub(self.mask)?;
        let address = u32::try_from(u64::from(u32::from(self.cluster.network())) + offset).ok()?;
        Ipv4Net::new(address.into(), self.mask).ok()
    }

    /// The numbers of the parts that ranges overlap, once for each.
    fn overlapped(&self, ranges: &[Ipv4Net]) -> impl Iterator<Item = u32> + use<> {
        let numbers: Vec<_> = ranges.iter().filter_map(|range| self.numbers(range)).collect();
        numbers.into_iter().flatten()
    }

    fn numbers(&self, range: &Ipv4Net) -> Option<RangeInclusive<u32>> {
        if !self.cluster.contains(range) && !range.contains(&self.cluster) {
            return None;
        }
        let host_bits = 32_u8.checked_sub(self.mask)?;
        let begin = u32::from(self.cluster.network());
        let number = |address: u32| u32::try_from(u64::from(address - begin) >> host_bits).ok();
        let first = u32::from(range.network()).max(begin);
        let last = u32::from(range.broadcast()).min(u32::from(self.cluster.broadcast()));
        Some(number(first)?..=number(last)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a network")
    }

    #[test]
    fn the_lowest_free_part_is_given() {
        let table: &[(&[&str], u8, Option<&str>)] = &[
            (&[], 24, Some("10.42.0.0/24")),
            (&["10.42.0.0/24", "10.42.2.0/24"], 24, Some("10.42.1.0/24")),
            (&["10.42.0.0/23"], 24, Some("10.42.2.0/24")),
            (&["10.42.0.128/25"], 24, Some("10.42.1.0/24")),
            (&["10.43.0.0/24"], 24, Some("10.42.0.0/24")),
            (&["10.42.0.0/16"], 24, None),
            (&["10.0.0.0/8"], 24, None),
            (&[], 16, Some("10.42.0.0/16")),
            (&[], 8, None),
        ];
        for (taken, mask, expected) in table {
            let mut parts = Parts::new(net("10.42.0.0/16"), *mask);
            for (n, range) in taken.iter().enumerate() {
                parts.take(&format!("n{n}"), vec![net(range)]);
            }
            assert_eq!(parts.give("new"), expected.map(net), "{taken:?}");
            assert_eq!(parts.give("new"), expected.map(net), "the same again");
        }
    }

    #[test]
    fn the_whole_of_the_addresses_is_a_range_too() {
        let mut parts = Parts::new(net("0.0.0.0/0"), 8);
        parts.take("n0", vec![net("0.0.0.0/1")]);
        assert_eq!(parts.give("n1"), Some(net("128.0.0.0/8")));
        parts.take("n2", vec![net("129.0.0.0/8"), net("130.0.0.0/7"), net("132.0.0.0/6")]);
        assert_eq!(parts.give("n3"), Some(net("136.0.0.0/8")));
        parts.release("n0");
        assert_eq!(parts.give("n4"), Some(net("0.0.0.0/8")));
    }

    proptest! {
        /// No two nodes have overlapping parts, and one is refused only when all are taken.
        #[test]
        fn nodes_that_come_and_go_never_share(steps in prop::collection::vec((0_u8..24, any::<bool>()), 0..200)) {
            let mut parts = Parts::new(net("10.42.0.0/20"), 24);
            let mut given: BTreeMap<u8, Ipv4Net> = BTreeMap::new();
            for (node, comes) in steps {
                let name = format!("n{node}");
                if comes {
                    let others = given.iter().filter(|(other, _)| **other != node);
                    let free = net("10.42.0.0/20").subnets(24).expect("parts").find(|part| {
                        others.clone().all(|(_, range)| range != part)
                    });
                    let expected = given.get(&node).copied().or(free);
                    prop_assert_eq!(parts.give(&name), expected);
                    given.extend(expected.map(|range| (node, range)));
                } else {
                    parts.release(&name);
                    given.remove(&node);
                }
            }
        }
    }
}
