//! What `AuthorizationConfiguration` looks like in its file. Read strictly: a field that is not known is refused.

use mk8s_api::duration;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::ConfigError;

/// The versions in which it is the same.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct AuthorizationConfiguration {
    api_version: String,
    kind: String,
    pub(super) authorizers: Vec<Authorizer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Authorizer {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) webhook: Option<Webhook>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Webhook {
    #[serde(rename = "authorizedTTL")]
    pub(super) authorized_ttl: Nanoseconds,
    pub(super) cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    pub(super) unauthorized_ttl: Nanoseconds,
    pub(super) cache_unauthorized_requests: Option<bool>,
    pub(super) timeout: Nanoseconds,
    pub(super) subject_access_review_version: String,
    pub(super) match_condition_subject_access_review_version: String,
    pub(super) failure_policy: String,
    pub(super) connection_info: ConnectionInfo,
    pub(super) match_conditions: Vec<MatchCondition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct ConnectionInfo {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) kube_config_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct MatchCondition {
    pub(super) expression: String,
}

/// A duration, as Go writes it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nanoseconds(pub(super) i64);

impl<'de> Deserialize<'de> for Nanoseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nanoseconds, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Nanoseconds).map_err(D::Error::custom)
    }
}

impl std::fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&duration::text(self.0))
    }
}

impl AuthorizationConfiguration {
    pub(super) fn read(text: &str) -> Result<AuthorizationConfiguration, ConfigError> {
        if text.is_empty() {
            return Err(ConfigError::Empty);
        }
        let read: AuthorizationConfiguration = serde_yaml::from_str(text)?;
        let version = read.api_version.strip_prefix("apiserver.config.k8s.io/").unwrap_or_default();
        if read.kind != "AuthorizationConfiguration" || !VERSIONS.contains(&version) {
            return Err(ConfigError::Kind { kind: read.kind, api_version: read.api_version });
        }
        Ok(read)
    }
}
