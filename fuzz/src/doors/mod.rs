//! Private readers of other rooms, taken from their files as they are: what they read comes from outside, but nobody else
//! needs to call them.

pub mod agent;
pub mod cni;
