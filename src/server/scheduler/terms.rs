//! Affinity between pods, read once per pod: whom a term means, and where it applies.

use crate::selector;
use k8s_openapi::api::core::v1::{PodAffinityTerm, WeightedPodAffinityTerm};
use mk8s_api::select::{LabelSelector, Operator, Requirement};
use mk8s_client::pod::Pod;
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

pub type Labels = BTreeMap<String, String>;

/// In which namespaces a term looks: those named, and those whose labels match.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Sorted.
    pub namespaces: Vec<String>,
    pub selector: Option<LabelSelector>,
}

impl Scope {
    pub fn of_namespace(namespace: &str) -> Self {
        Self { namespaces: vec![namespace.to_owned()], selector: None }
    }

    pub fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespaces.iter().any(|known| known == namespace)
            || self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }
}

/// One affinity term: pods in a scope with labels, seen through a topology.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// The same for all terms that mean the same pods.
    pub key: String,
    pub topology_key: String,
    pub scope: Scope,
    pub selector: LabelSelector,
}

impl Term {
    /// Whether the term means a pod with these labels.
    pub fn means(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        self.scope.covers(namespace, namespace_labels) && self.selector.matches(labels)
    }

    fn read(pod: &Pod, term: &PodAffinityTerm) -> Self {
        let own = || vec![pod.metadata.namespace.clone().unwrap_or_default()];
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces = own();
        }
        namespaces.sort();
        namespaces.dedup();
        let scope = Scope {
            namespaces,
            selector: term.namespace_selector.as_ref().map(|chosen| selector::of(Some(chosen), Vec::new())),
        };
        let selector = selector::of(term.label_selector.as_ref(), own_label_requirements(pod, term));
        Self { key: key_of(&scope, &selector), topology_key: term.topology_key.clone(), scope, selector }
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` mean the values that the pod itself has.
fn own_label_requirements(pod: &Pod, term: &PodAffinityTerm) -> Vec<Requirement> {
    let labels = pod.metadata.labels.as_ref();
    let of = |keys: &Option<Vec<String>>, operator: Operator| -> Vec<Requirement> {
        let value = |key: &String| Some((key.clone(), labels?.get(key)?.clone()));
        let pairs = keys.iter().flatten().filter_map(value);
        pairs.map(|(key, value)| Requirement { key, operator, values: vec![value] }).collect()
    };
    let mut all = of(&term.match_label_keys, Operator::In);
    all.extend(of(&term.mismatch_label_keys, Operator::NotIn));
    all
}

/// The identity of "pods in this scope with these labels".
pub fn key_of(scope: &Scope, selector: &LabelSelector) -> String {
    let mut key = scope.namespaces.join(",");
    if let Some(namespaces) = &scope.selector {
        // Writing to a string cannot fail.
        let _ = write!(key, "+{}", selector::identity(namespaces));
    }
    let _ = write!(key, "|{}", selector::identity(selector));
    key
}

/// What a term of a pod with a node does to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    RequiredAntiAffinity,
    RequiredAffinity,
    /// Preferred affinity, or with a negative weight, anti-affinity.
    Preference {
        weight: i32,
    },
}

/// A term as others feel it once its pod has a node.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldTerm {
    /// The same for all terms with the same effect.
    pub group: String,
    pub holds: Holds,
    pub term: Arc<Term>,
}

/// All terms of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodTerms {
    pub required_affinity: Vec<Arc<Term>>,
    pub required_anti_affinity: Vec<Arc<Term>>,
    /// With their weights, negative for anti-affinity.
    pub preferred: Vec<(i32, Arc<Term>)>,
    pub held: Vec<HeldTerm>,
}

impl PodTerms {
    pub fn of(pod: &Pod) -> Self {
        let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
        let with = affinity.and_then(|a| a.pod_affinity.as_ref());
        let against = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
        let required = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Arc<Term>> {
            terms.into_iter().flatten().map(|term| Arc::new(Term::read(pod, term))).collect()
        };
        let preferred = |terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i32| -> Vec<(i32, Arc<Term>)> {
            let read = |term: &WeightedPodAffinityTerm| {
                (term.weight.saturating_mul(sign), Arc::new(Term::read(pod, &term.pod_affinity_term)))
            };
            terms.into_iter().flatten().map(read).collect()
        };
        let mut all = Self {
            required_affinity: required(
                with.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            required_anti_affinity: required(
                against.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: preferred(with.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()), 1),
            held: Vec::new(),
        };
        all.preferred.extend(preferred(
            against.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            -1,
        ));
        all.held = all.as_held();
        all
    }

    fn as_held(&self) -> Vec<HeldTerm> {
        let held = |term: &Arc<Term>, holds: Holds| {
            let group = format!("{holds:?}|{}|{}", term.topology_key, term.key);
            HeldTerm { group, holds, term: term.clone() }
        };
        let anti = self.required_anti_affinity.iter().map(|term| held(term, Holds::RequiredAntiAffinity));
        let with = self.required_affinity.iter().map(|term| held(term, Holds::RequiredAffinity));
        let soft = self.preferred.iter().map(|(weight, term)| held(term, Holds::Preference { weight: *weight }));
        anti.chain(with).chain(soft).collect()
    }
}

/// Whether a pod is meant by all terms at once; by none, when there are none.
pub fn means_all(terms: &[Arc<Term>], namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.means(namespace, namespace_labels, labels))
}
