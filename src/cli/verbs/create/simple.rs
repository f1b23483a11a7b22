//! Generators of objects with few fields.

use super::Generate;
use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Generate for Namespace {
    const NAMESPACED: bool = false;

    fn generate(&self) -> Result<Value> {
        Ok(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}, "spec": {}, "status": {}}))
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct ServiceAccount {
    name: String,
}

impl Generate for ServiceAccount {
    fn generate(&self) -> Result<Value> {
        Ok(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name}}))
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Quota {
    name: String,
    /// Comma-delimited resource=quantity pairs that define a hard limit.
    #[arg(long, default_value = "")]
    hard: String,
    /// Comma-delimited quota scopes.
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
}

impl Generate for Quota {
    fn generate(&self) -> Result<Value> {
        let mut spec = json!({});
        if !self.hard.is_empty() {
            spec["hard"] = amounts(&self.hard)?.into();
        }
        if !self.scopes.is_empty() {
            spec["scopes"] = self.scopes.clone().into();
        }
        Ok(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": self.name}, "spec": spec, "status": {}}))
    }
}

/// `cpu=1,memory=1Gi`
pub(crate) fn amounts(text: &str) -> Result<Map<String, Value>> {
    text.split(',')
        .map(|pair| {
            let (name, amount) = pair
                .split_once('=')
                .filter(|(name, amount)| !name.is_empty() && !amount.contains('='))
                .ok_or_else(|| anyhow!("Invalid argument syntax {pair}, expected <resource>=<value>"))?;
            if crate::printers::table::amount(amount).is_none() {
                bail!("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
            }
            Ok((name.to_owned(), amount.into()))
        })
        .collect()
}

#[derive(clap::Args, Debug)]
pub(crate) struct PriorityClass {
    name: String,
    /// The value of this priority class.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    value: i32,
    /// Whether this is the default priority.
    #[arg(long)]
    global_default: bool,
    /// When this priority class should be used.
    #[arg(long, default_value = "")]
    description: String,
    /// PreemptLowerPriority or Never.
    #[arg(long, default_value = "PreemptLowerPriority")]
    preemption_policy: String,
}

impl Generate for PriorityClass {
    const NAMESPACED: bool = false;

    fn generate(&self) -> Result<Value> {
        let mut object = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": self.name},
            "value": self.value, "preemptionPolicy": self.preemption_policy});
        if self.global_default {
            object["globalDefault"] = true.into();
        }
        if !self.description.is_empty() {
            object["description"] = self.description.clone().into();
        }
        Ok(object)
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct PodDisruptionBudget {
    name: String,
    /// Label selector of the pods.
    #[arg(long)]
    selector: String,
    /// Minimum number or percentage of available pods.
    #[arg(long)]
    min_available: Option<String>,
    /// Maximum number or percentage of unavailable pods.
    #[arg(long)]
    max_unavailable: Option<String>,
}

impl Generate for PodDisruptionBudget {
    fn generate(&self) -> Result<Value> {
        let labels = crate::verbs::expose::parse_labels(&self.selector)?;
        let mut spec = json!({"selector": {"matchLabels": labels}});
        match (&self.min_available, &self.max_unavailable) {
            (Some(min), None) => spec["minAvailable"] = super::service::port_value(min),
            (None, Some(max)) => spec["maxUnavailable"] = super::service::port_value(max),
            _ => bail!("exactly one of min-available and max-unavailable must be provided"),
        }
        Ok(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": self.name}, "spec": spec,
            "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}))
    }
}
