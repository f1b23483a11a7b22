//! Who owns which field of an object, and server-side apply. Pure, over objects as JSON and the types of the schema.
//!
//! A set of fields ([`FieldSet`]) is kept as `managedFields` writes it, so that a write builds what is stored in one walk
//! over the object. Behaviour, order and words are those of Kubernetes' structured merge and its field managers.
//!
//! Reading order: `step` and `set` (paths and sets of them), `atom` (what a value is to the walks), the walks themselves:
//! `extract` (what a configuration says), `compare`, `merge`, `prune`, `reconcile`, `check`; then `managers` (the entries),
//! `reset` (what a way of writing leaves alone), `write` (plain writes), `configuration` (applies) with `conflict`, `scale`, `upgrade` (for clients).
//!
//! Invariant: nobody owns what names an object or what only the server writes in its metadata.
//! Invariant: a write that changes nothing leaves the entries as they are, times included.

mod atom;
mod check;
mod compare;
pub mod configuration;
mod conflict;
mod extract;
mod managers;
mod merge;
mod prune;
mod reconcile;
mod reset;
pub mod scale;
mod set;
mod step;
pub mod upgrade;
pub mod write;

#[cfg(test)]
mod tests;

pub use check::misfit;
pub use conflict::{Conflict, refusal};
pub use managers::{Id, Manager, Managers, ManagersError, Operation, is_reset};
pub use prune::Versions;
pub use reset::{Counted, counted, counted_custom};
pub use set::{FieldSet, SetError};
pub use write::Writer;
