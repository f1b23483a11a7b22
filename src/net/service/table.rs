//! The table as it should be, and the transactions that bring it there.
//!
//! Services may claim the same element (an external IP twice, one pod behind two Services): the claim of the Service whose
//! name sorts first is the one that holds, and the next one takes over when it goes.
//!
//! Invariant: after `change` or `whole` was applied, the table holds exactly the first claim of every element, and the
//! chains and sets of every contribution. A change names nothing but what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rules::{Choice, Contribution, Frame};
use crate::nft::{Table, Transaction};

/// The name of the proxy's table.
pub const TABLE: &str = "mk8s-svc";

/// `namespace/name`.
pub type ServiceKey = Arc<str>;

type ElementKey = (&'static str, String);
type Claims = BTreeMap<ServiceKey, Option<String>>;

#[derive(Debug)]
pub struct ServiceTable {
    frame: Frame,
    services: BTreeMap<ServiceKey, Contribution>,
    elements: BTreeMap<ElementKey, Claims>,
    /// The shared chains that exist. They are few, so none is ever taken away.
    choices: BTreeSet<Choice>,
}

impl ServiceTable {
    pub fn new(frame: Frame) -> Self {
        Self { frame, services: BTreeMap::new(), elements: BTreeMap::new(), choices: BTreeSet::new() }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    pub fn table(&self) -> Table {
        Table::new(self.frame.family, TABLE)
    }

    /// How many Services contribute anything.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Takes in new contributions (an empty one removes the Service) and returns what differs.
    pub fn change(&mut self, changes: BTreeMap<ServiceKey, Contribution>) -> Transaction {
        let mut before: BTreeMap<ElementKey, Option<Option<String>>> = BTreeMap::new();
        let (mut gone, mut come) = (Contribution::default(), Contribution::default());
        let mut t = Transaction::new(self.table());
        for (key, new) in changes {
            let old = self.services.remove(&key).unwrap_or_default();
            for element in old.elements.keys().chain(new.elements.keys()) {
                if !before.contains_key(element) {
                    before.insert(element.clone(), self.held(element).cloned());
                }
            }
            self.claim(&key, &old, &new);
            for choice in &new.choices {
                if self.choices.insert(*choice) {
                    choice.define(&self.frame, &mut t);
                }
            }
            // Named after their Service and its content: no two Services share one, and a set never changes.
            come.sets.extend(new.sets.iter().filter(|(name, _)| !old.sets.contains_key(*name)).map(owned));
            come.chains
                .extend(new.chains.iter().filter(|(name, rules)| old.chains.get(*name) != Some(rules)).map(owned));
            gone.sets.extend(old.sets.into_iter().filter(|(name, _)| !new.sets.contains_key(name)));
            gone.chains.extend(old.chains.into_iter().filter(|(name, _)| !new.chains.contains_key(name)));
            if new != Contribution::default() {
                self.services.insert(key, new);
            }
        }
        self.difference(&before, &gone, &come, &mut t);
        t
    }

    /// The whole table, replacing whatever is loaded.
    pub fn whole(&mut self) -> Transaction {
        let mut t = Transaction::new(self.table());
        self.frame.define(&mut t);
        self.choices = self.services.values().flat_map(|service| service.choices.iter().copied()).collect();
        for choice in &self.choices {
            choice.define(&self.frame, &mut t);
        }
        let all = || self.services.values();
        for (name, declaration) in all().flat_map(|service| &service.sets) {
            t.add_set(name, declaration);
        }
        for name in all().flat_map(|service| service.chains.keys()) {
            t.add_chain(name);
        }
        for (name, rules) in all().flat_map(|service| &service.chains) {
            for rule in rules {
                t.add_rule(name, rule);
            }
        }
        for (element, claims) in &self.elements {
            if let Some(value) = claims.values().next() {
                add_element(element, value, &mut t);
            }
        }
        t
    }

    /// The value in force for an element.
    fn held(&self, element: &ElementKey) -> Option<&Option<String>> {
        self.elements.get(element)?.values().next()
    }

    fn claim(&mut self, key: &ServiceKey, old: &Contribution, new: &Contribution) {
        for element in old.elements.keys().filter(|element| !new.elements.contains_key(*element)) {
            if let Some(claims) = self.elements.get_mut(element) {
                claims.remove(key);
                if claims.is_empty() {
                    self.elements.remove(element);
                }
            }
        }
        for (element, value) in &new.elements {
            if old.elements.get(element) != Some(value) {
                self.elements.entry(element.clone()).or_default().insert(key.clone(), value.clone());
            }
        }
    }

    /// New names first, then rules, then elements, and old names last: no reference dangles at any point.
    fn difference(
        &self,
        before: &BTreeMap<ElementKey, Option<Option<String>>>,
        gone: &Contribution,
        come: &Contribution,
        t: &mut Transaction,
    ) {
        for (name, declaration) in &come.sets {
            t.add_set(name, declaration);
        }
        for name in come.chains.keys() {
            t.add_chain(name).flush_chain(name);
        }
        for (name, rules) in &come.chains {
            for rule in rules {
                t.add_rule(name, rule);
            }
        }
        let changed = || before.iter().map(|(element, old)| (element, old, self.held(element)));
        for (element, old, new) in changed() {
            if old.is_some() && old.as_ref() != new {
                t.delete_element(element.0, &*element.1);
            }
        }
        for (element, old, new) in changed() {
            if let Some(value) = new
                && old.as_ref() != new
            {
                add_element(element, value, t);
            }
        }
        for name in gone.chains.keys() {
            t.flush_chain(name);
        }
        for name in gone.chains.keys() {
            t.delete_chain(name);
        }
        for name in gone.sets.keys() {
            t.delete_set(name);
        }
    }
}

fn owned<V: Clone>((name, value): (&String, &V)) -> (String, V) {
    (name.clone(), value.clone())
}

fn add_element((set, key): &ElementKey, value: &Option<String>, t: &mut Transaction) {
    match value {
        Some(value) => t.add_mapping(*set, &**key, &**value),
        None => t.add_element(*set, &**key),
    };
}
