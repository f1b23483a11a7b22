//! Kinds that clients define: what a CustomResourceDefinition may say, and what its objects then are.
//!
//! Reading order: [`structural`] (a version's schema in memory), then what walks an object beside it: [`conform`] (the
//! form in which an object is kept: metadata, pruning, defaults), [`validate`] (what is wrong with it), `lists`,
//! `embedded`, `formats`; then [`definition`] (a whole definition as the server uses it, with [`scale`] and [`columns`]),
//! [`publish`] (its schemas for clients), and `rules` (what is wrong with a definition).
//!
//! ```text
//! CustomResourceDefinition ──rules──▶ stored ──definition──▶ Kinds, Structurals, columns, scale
//! object ──conform──▶ pruned, defaulted ──validate──▶ errors in the words of upstream's validators
//! ```
//!
//! Invariant: an object is never refused for what its definition did not say when it was written.

pub mod columns;
pub mod conform;
pub mod definition;
mod embedded;
mod formats;
mod lists;
pub mod publish;
pub(crate) mod rules;
pub mod scale;
pub mod structural;
pub mod validate;

pub use columns::PrinterColumn;
pub use definition::{Conversion, Definition, DefinitionVersion};
pub use rules::{approval_condition, non_structural};
pub use scale::ScalePaths;
pub use structural::Structural;

#[cfg(test)]
mod tests;
