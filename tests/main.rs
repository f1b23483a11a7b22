//! The one test binary. `tidy` reads the tree; `cluster`, `seeds` and `clients` run whole clusters in network namespaces,
//! with real containers, on what `support` gives them.

mod clients;
mod cluster;
mod docs;
mod seeds;
mod support;
mod tidy;
