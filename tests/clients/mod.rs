//! Clients that nobody here wrote, doing what programs do: create, list, watch, patch, exec, logs.
