//! `KubeSchedulerConfiguration` (kubescheduler.config.k8s.io/v1): profiles, their plugins, weights and arguments.
//!
//! Read strictly: a field that is not known is refused, as are values out of range; all that is wrong is said at once.
//! What configures the process of kube-scheduler (leader election, client connection, debugging) is read and has no
//! effect, because there is no such process. Extenders are refused.

mod build;
mod check;
mod form;
#[cfg(test)]
mod tests;

use crate::{profile::Profile, queue::Backoff};
use std::time::Duration;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration is no KubeSchedulerConfiguration: {0}")]
    Form(#[from] serde_yaml::Error),
    /// One line for each field.
    #[error("{}", .0.join(", "))]
    Fields(Vec<String>),
}

/// What a configuration says.
pub struct Configured {
    pub profiles: Vec<Profile>,
    pub backoff: Backoff,
    /// How long the volumes of a pod may take to be bound.
    pub volume_timeout: Duration,
    /// How long the devices of a pod may take to be ready.
    pub binding_timeout: Duration,
}

impl Default for Configured {
    fn default() -> Self {
        build::configured(form::Configuration::default()).expect("the defaults are in range")
    }
}

/// Reads the YAML of a configuration.
pub fn read(yaml: &str) -> Result<Configured, ConfigError> {
    let form: form::Configuration = serde_yaml::from_str(yaml)?;
    build::configured(form).map_err(ConfigError::Fields)
}

/// The profile of pods that name no scheduler.
pub fn default_profile() -> Profile {
    let mut profiles = Configured::default().profiles;
    profiles.pop().expect("without profiles there is one by default")
}
