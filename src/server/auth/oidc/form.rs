//! What `AuthenticationConfiguration` (apiserver.config.k8s.io) looks like in its file. Read strictly: a field that is not
//! known is refused.

use serde::Deserialize;

/// The versions in which it is the same.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// Why text is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    #[error("empty config data")]
    Empty,
    #[error("is not readable: {0}")]
    Yaml(#[from] serde_yaml::Error),
    #[error("is no AuthenticationConfiguration of apiserver.config.k8s.io/v1, but {kind:?} of {api_version:?}")]
    Kind { kind: String, api_version: String },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    pub jwt: Vec<JwtAuthenticator>,
    pub anonymous: Option<Anonymous>,
}

/// Whether requests without credentials are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Anonymous {
    pub enabled: bool,
    /// On which paths only; none: on all.
    pub conditions: Vec<AnonymousCondition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AnonymousCondition {
    pub path: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct JwtAuthenticator {
    pub issuer: Issuer,
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    pub claim_mappings: ClaimMappings,
    pub user_validation_rules: Vec<UserValidationRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Issuer {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// PEM; empty: what the system trusts.
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClaimValidationRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClaimMappings {
    pub username: Mapping,
    pub groups: Mapping,
    pub uid: UidMapping,
    pub extra: Vec<ExtraMapping>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mapping {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UidMapping {
    pub claim: String,
    pub expression: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExtraMapping {
    pub key: String,
    pub value_expression: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UserValidationRule {
    pub expression: String,
    pub message: String,
}

impl Anonymous {
    /// Everywhere, or nowhere.
    pub fn everywhere(enabled: bool) -> Anonymous {
        Anonymous { enabled, conditions: Vec::new() }
    }

    pub fn allows(&self, path: &str) -> bool {
        let Anonymous { enabled, conditions } = self;
        *enabled && (conditions.is_empty() || conditions.iter().any(|condition| condition.path == path))
    }
}

impl AuthenticationConfiguration {
    /// One that says nothing but this.
    pub fn of(jwt: Vec<JwtAuthenticator>) -> AuthenticationConfiguration {
        AuthenticationConfiguration { jwt, ..AuthenticationConfiguration::default() }
    }

    /// Reads YAML or JSON; what it says is not looked at.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &str) -> Result<AuthenticationConfiguration, FormError> {
        if text.is_empty() {
            return Err(FormError::Empty);
        }
        let read: AuthenticationConfiguration = serde_yaml::from_str(text)?;
        let version = read.api_version.strip_prefix("apiserver.config.k8s.io/").unwrap_or_default();
        if read.kind != "AuthenticationConfiguration" || !VERSIONS.contains(&version) {
            return Err(FormError::Kind { kind: read.kind, api_version: read.api_version });
        }
        Ok(read)
    }
}
