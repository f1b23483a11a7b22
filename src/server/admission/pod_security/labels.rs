//! What the labels of a namespace ask for.

use std::fmt;

use mk8s_api::{
    field::{FieldError, Path},
    meta,
};
use serde_json::Value;

const PREFIX: &str = "pod-security.kubernetes.io";

/// Each is stricter than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    const ALL: [Level; 3] = [Level::Privileged, Level::Baseline, Level::Restricted];
    const EXPECTED: &str = "must be one of privileged, baseline, restricted";

    fn word(self) -> &'static str {
        match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        }
    }

    fn parse(word: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.word() == word)
    }
}

/// As of which version of Kubernetes the standards are meant: `v1.N`, or the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Minor(u32),
    Latest,
}

impl Version {
    const EXPECTED: &str = r#"must be "latest" or "v1.x""#;

    fn parse(word: &str) -> Option<Version> {
        if word == "latest" {
            return Some(Version::Latest);
        }
        let minor: u32 = word.strip_prefix("v1.")?.parse().ok()?;
        // Neither a sign nor zeros in front.
        (word == format!("v1.{minor}")).then_some(Version::Minor(minor))
    }

    /// Whether what is so since a minor version is so in this one.
    pub(super) fn has(self, since: u32) -> bool {
        match self {
            Version::Minor(minor) => since <= minor,
            Version::Latest => true,
        }
    }
}

/// What is asked for in one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) level: Level,
    pub(super) version: Version,
}

impl fmt::Display for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Minor(minor) => write!(formatter, "{}:v1.{minor}", self.level.word()),
            Version::Latest => write!(formatter, "{}:latest", self.level.word()),
        }
    }
}

/// What is asked for in each mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) enforce: Policy,
    pub(super) audit: Policy,
    pub(super) warn: Policy,
}

impl Policies {
    /// With what is wrong about the labels: then the strictest is enforced, and nothing is told to authors and audit.
    pub(super) fn of(namespace: &Value) -> (Policies, Vec<FieldError>) {
        let mut errors = Vec::new();
        let enforce = Labels::read(namespace, "enforce", &mut errors);
        let audit = Labels::read(namespace, "audit", &mut errors);
        let warn = Labels::read(namespace, "warn", &mut errors);
        let mut policies = Policies {
            enforce: enforce.policy(Level::Restricted),
            audit: audit.policy(Level::Privileged),
            warn: warn.policy(Level::Privileged),
        };
        // Who says nothing of warnings is warned of what is refused.
        if let (None, Some(Some(level))) = (warn.level, enforce.level) {
            policies.warn.level = level;
            if warn.version.is_none() {
                policies.warn.version = policies.enforce.version;
            }
        }
        (policies, errors)
    }
}

/// The labels of one mode: whether they are there, and what they say if it can be understood.
struct Labels {
    level: Option<Option<Level>>,
    version: Option<Option<Version>>,
}

impl Labels {
    fn read(namespace: &Value, mode: &str, errors: &mut Vec<FieldError>) -> Labels {
        let level = format!("{PREFIX}/{mode}");
        let version = format!("{level}-version");
        Labels {
            level: parsed(namespace, &level, Level::parse, Level::EXPECTED, errors),
            version: parsed(namespace, &version, Version::parse, Version::EXPECTED, errors),
        }
    }

    fn policy(&self, unless_understood: Level) -> Policy {
        Policy {
            level: self.level.map_or(Level::Privileged, |level| level.unwrap_or(unless_understood)),
            version: self.version.flatten().unwrap_or(Version::Latest),
        }
    }
}

fn parsed<T>(
    namespace: &Value,
    label: &str,
    parse: fn(&str) -> Option<T>,
    expected: &str,
    errors: &mut Vec<FieldError>,
) -> Option<Option<T>> {
    let value = meta::label(namespace, label)?;
    let found = parse(value);
    if found.is_none() {
        errors.push(FieldError::invalid(&Path::new("metadata").child("labels").key(label), value, expected));
    }
    Some(found)
}
