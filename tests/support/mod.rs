//! Hosts for the tests: network namespaces of this machine, each with a real server in it.

pub mod host;
