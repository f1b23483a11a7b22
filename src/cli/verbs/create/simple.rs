//! Generators of objects with few fields.

use super::Generate;
use anyhow::{Result, anyhow, bail};
use mk8s_api::{
    quantity::Quantity,
    select::{LabelSelector, Operator},
};
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
    #[arg(long, default_value = "", hide_default_value = true)]
    scopes: String,
}

impl Generate for Quota {
    fn generate(&self) -> Result<Value> {
        let mut spec = json!({});
        if !self.hard.is_empty() {
            spec["hard"] = amounts(&self.hard)?.into();
        }
        if !self.scopes.is_empty() {
            let scopes: Vec<&str> = self.scopes.split(',').collect();
            if scopes.contains(&"") {
                bail!("invalid resource quota scope \"\"");
            }
            spec["scopes"] = scopes.into();
        }
        Ok(
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": self.name}, "spec": spec, "status": {}}),
        )
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
            let amount = Quantity::parse(amount).map_err(|error| anyhow!("{error}"))?;
            Ok((name.to_owned(), amount.to_string().into()))
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
    #[arg(long, default_value = "", hide_default_value = true)]
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
        let given = |flag: &Option<String>| flag.clone().filter(|text| !text.is_empty());
        let (min, max) = (given(&self.min_available), given(&self.max_unavailable));
        if self.selector.is_empty() {
            bail!("a selector must be specified");
        }
        let (field, flag, amount) = match (min, max) {
            (None, None) => bail!("one of min-available or max-unavailable must be specified"),
            (Some(_), Some(_)) => bail!("min-available and max-unavailable cannot be both specified"),
            (Some(min), None) => ("minAvailable", "min-available", min),
            (None, Some(max)) => ("maxUnavailable", "max-unavailable", max),
        };
        let digits = amount.strip_suffix('%').unwrap_or(&amount);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("invalid format specified for {flag}");
        }
        let mut spec = json!({"selector": label_selector(&self.selector)?});
        spec[field] = super::service::port_value(&amount);
        Ok(
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": self.name}, "spec": spec,
            "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}),
        )
    }
}

/// A selector as it is typed, in the form of the API.
fn label_selector(text: &str) -> Result<Value> {
    let parsed = LabelSelector::parse(text)
        .map_err(|error| anyhow!("couldn't parse the selector string \"{text}\": {error}"))?;
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for requirement in parsed.requirements() {
        let operator = match requirement.operator {
            Operator::Equals | Operator::DoubleEquals => {
                let value = requirement.values.first().cloned().unwrap_or_default();
                labels.insert(requirement.key.clone(), value.into());
                continue;
            }
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            Operator::NotEquals => bail!("\"!=\" is not a valid label selector operator"),
            Operator::GreaterThan => bail!("\"gt\" isn't supported in label selectors"),
            Operator::LessThan => bail!("\"lt\" isn't supported in label selectors"),
        };
        let mut expression = json!({"key": requirement.key, "operator": operator});
        if !requirement.values.is_empty() {
            expression["values"] = requirement.values.clone().into();
        }
        expressions.push(expression);
    }
    let mut selector = json!({});
    if !labels.is_empty() {
        selector["matchLabels"] = labels.into();
    }
    if !expressions.is_empty() {
        selector["matchExpressions"] = expressions.into();
    }
    Ok(selector)
}
