//! The control loops of the cluster.
