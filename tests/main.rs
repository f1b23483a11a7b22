//! The one test binary. Heaviest last: `tidy` reads the tree, `cli` runs the executable, `cluster` and `seeds` run whole
//! clusters in network namespaces (they need root, containerd, runc and nftables; `tests/run` installs them).

mod cluster;
mod support;
mod tidy;
