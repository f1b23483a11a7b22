//! What is counted while pods come and go, so that a cycle looks numbers up instead of visiting every pod.
//!
//! - [`topology`]: each node's domain under each topology key that anybody asks for;
//! - [`counters`]: how many pods a selector matches, per node and per domain (for the pod that is placed);
//! - [`held`]: the terms of placed pods, grouped, per domain (against the pod that is placed);
//! - [`labels`]: which selectors can match a set of labels.
//!
//! Invariant: a number here is what a walk over all pods would count. When nodes change their labels the numbers are
//! stale, are not kept any longer, and are made again when somebody asks.

pub mod counters;
pub mod held;
pub mod labels;
pub mod topology;
