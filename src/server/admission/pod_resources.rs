//! What a pod asks for as a whole, in the words of quotas.

pub(super) use mk8s_api::quota::amounts::{Resources, read, without_overhead};
