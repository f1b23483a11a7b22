//! What a new cluster is filled with.
