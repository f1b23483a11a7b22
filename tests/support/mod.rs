//! What the tests that run whole clusters stand on: hosts, images, a registry, the programs of others.

pub(crate) mod host;
pub(crate) mod images;
pub(crate) mod registry;
pub(crate) mod space;
pub(crate) mod tools;
