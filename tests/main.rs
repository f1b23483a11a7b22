//! The one test binary. `tidy` reads the tree; whole clusters in network namespaces stand beside it in `cluster` and
//! `support`.

mod tidy;
