//! Finds the selectors that can match a set of labels without asking all of them: a selector with an equality is filed
//! under it, the others are always asked.

use mk8s_api::select::{LabelSelector, Operator};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Default)]
pub struct LabelIndex {
    by_pair: HashMap<String, HashMap<String, Vec<usize>>>,
    others: Vec<usize>,
}

impl LabelIndex {
    pub fn file(&mut self, selector: &LabelSelector, id: usize) {
        match equality(selector) {
            Some((key, values)) => {
                let filed = self.by_pair.entry(key.to_owned()).or_default();
                for value in values {
                    filed.entry(value.clone()).or_default().push(id);
                }
            }
            None => self.others.push(id),
        }
    }

    pub fn unfile(&mut self, selector: &LabelSelector, id: usize) {
        let Some((key, values)) = equality(selector) else {
            self.others.retain(|filed| *filed != id);
            return;
        };
        let Some(filed) = self.by_pair.get_mut(key) else { return };
        for value in values {
            if let Some(ids) = filed.get_mut(value) {
                ids.retain(|filed| *filed != id);
                if ids.is_empty() {
                    filed.remove(value);
                }
            }
        }
        if filed.is_empty() {
            self.by_pair.remove(key);
        }
    }

    /// The selectors that can match.
    pub fn candidates<'a>(&'a self, labels: &'a BTreeMap<String, String>) -> impl Iterator<Item = usize> + 'a {
        let filed = labels.iter().filter_map(|(key, value)| self.by_pair.get(key)?.get(value));
        filed.flatten().chain(&self.others).copied()
    }
}

fn equality(selector: &LabelSelector) -> Option<(&str, &[String])> {
    let equal = |operator| matches!(operator, Operator::In | Operator::Equals | Operator::DoubleEquals);
    let found = selector.requirements().iter().find(|requirement| equal(requirement.operator))?;
    Some((&found.key, &found.values))
}
