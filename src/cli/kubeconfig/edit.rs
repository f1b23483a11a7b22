//! Changes to kubeconfig files, for `config`.
