//! The kinds whose objects are sealed, in the words of Kubernetes' EncryptionConfiguration.

use std::str::FromStr;

/// Objects below one prefix of the store: `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group), `*.*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// `None` is every one.
    plural: Option<String>,
    /// Empty is the core group, `None` is every group.
    group: Option<String>,
}

impl FromStr for Resource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Resource, &'static str> {
        let (plural, group) = text.split_once('.').unwrap_or((text, ""));
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
        };
        match (plural, group) {
            ("*", "*") => Ok(Resource { plural: None, group: None }),
            ("*", _) if !text.contains('.') => Err("names every resource; write *. for the core group, or *.* for all"),
            ("*", group) if group.is_empty() || is_name(group) => {
                Ok(Resource { plural: None, group: Some(group.to_owned()) })
            }
            (plural, group) if is_name(plural) && (group.is_empty() || is_name(group)) => {
                Ok(Resource { plural: Some(plural.to_owned()), group: Some(group.to_owned()) })
            }
            _ => {
                Err("is no resource; write its plural in lower case, and its group: secrets, deployments.apps, *.apps")
            }
        }
    }
}

impl Resource {
    /// What the keys of its objects begin with.
    pub(crate) fn prefix(&self) -> String {
        let group = self.group.as_deref().map(|group| if group.is_empty() { "core" } else { group });
        match (group, &self.plural) {
            (Some(group), Some(plural)) => format!("/registry/{group}/{plural}/"),
            (Some(group), None) => format!("/registry/{group}/"),
            (None, _) => "/registry/".to_owned(),
        }
    }
}

/// The names of what lies below prefixes of the store.
pub(crate) fn names<'a>(prefixes: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let name = |prefix: &[u8]| {
        let prefix = String::from_utf8_lossy(prefix).into_owned();
        let mut parts = prefix.trim_start_matches("/registry/").trim_end_matches('/').splitn(2, '/');
        let group = parts.next().filter(|group| !group.is_empty());
        match (group, parts.next()) {
            (None, _) => "*.*".to_owned(),
            (Some("core"), Some(plural)) => plural.to_owned(),
            (Some("core"), None) => "*.".to_owned(),
            (Some(group), plural) => format!("{}.{group}", plural.unwrap_or("*")),
        }
    };
    prefixes.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_prefix_and_back() {
        let good = [
            ("secrets", "/registry/core/secrets/"),
            ("deployments.apps", "/registry/apps/deployments/"),
            ("widgets.example.com", "/registry/example.com/widgets/"),
            ("*.apps", "/registry/apps/"),
            ("*.", "/registry/core/"),
            ("*.*", "/registry/"),
        ];
        for (text, prefix) in good {
            let resource: Resource = text.parse().expect("it is one");
            assert_eq!(resource.prefix(), prefix);
            assert_eq!(names([prefix.as_bytes()]), [text]);
        }
        for bad in ["", "*", "Secret", "secrets/status", "a b", "secrets.*", "core/secrets"] {
            assert!(bad.parse::<Resource>().is_err(), "{bad}");
        }
    }
}
