//! What the tests that run whole clusters stand on: hosts, images, a registry, the programs of others.

pub(crate) mod client;
pub(crate) mod host;
pub(crate) mod images;
pub(crate) mod registry;
pub(crate) mod space;
pub(crate) mod tools;

use std::{
    io::{Write, stderr},
    sync::OnceLock,
};

/// The host of tests that leave it as it is; each has its own [`space::Space`] there.
pub(crate) fn shared() -> &'static host::Host {
    static SHARED: OnceLock<host::Host> = OnceLock::new();
    SHARED.get_or_init(|| host::Host::start("shared", &[]))
}

/// Says a measured number even when the test passes.
pub(crate) fn say(what: std::fmt::Arguments<'_>) {
    // Without a terminal or a file to write to nobody reads it.
    drop(writeln!(stderr(), "    {what}"));
}
