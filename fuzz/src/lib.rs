//! Random input for everything that reads bytes from outside: whatever comes in is answered, never a panic, a hang or an
//! endless nesting.
//!
//! Works on the stable toolchain: inputs are mutations of the tree's own documents ([`corpus`]), by bytes and, where they
//! are JSON, by their structure ([`mutate`]). An input follows from the target's name, a seed and a number, so that a
//! failure is repeated by naming these three.
//!
//! ```text
//! cargo test -p mk8s-fuzz                              two seconds a target
//! MK8S_FUZZ_SECONDS=60 cargo test -p mk8s-fuzz         a minute each, as many at a time as there are processors
//! cargo test -p mk8s-fuzz -- strategic requests        some of them
//! cargo test -p mk8s-fuzz -- --repeat strategic 7 1234 one input: target, seed, number
//! ```
//!
//! Reading order: [`targets`] (what is fed, and what must hold), [`mutate`], [`corpus`], [`campaign`] (processes, limits of
//! time by [`clock`], reports), [`doors`] (private readers of other rooms).
//!
//! Invariant: a target has no memory of earlier inputs that its outcome could depend on, `requests` excepted.

// The files of other rooms bring tests of their own, which are run there.
#![cfg(not(test))]

pub mod campaign;
pub mod clock;
pub mod corpus;
pub mod doors;
pub mod mutate;
pub mod targets;
