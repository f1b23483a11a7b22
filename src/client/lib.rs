//! How the rooms of mk8s speak to the API.

pub mod feed;

pub use kube;
