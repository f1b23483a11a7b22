//! `taint`: what keeps pods off nodes.

use super::{
    pairs::split_by,
    targets::{self, between},
};
use crate::{
    failure::all_or,
    flags::{ChangeFlags, DryRun, ValidateFlag},
    remote::with_query,
    resolve::{Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use mk8s_api::names;
use serde_json::{Value, json};
use std::fmt;

#[derive(clap::Args, Debug)]
pub(crate) struct Taint {
    #[arg(value_name = "NODE NAME KEY=VALUE:EFFECT KEY:EFFECT-")]
    args: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Replace taints that are there already.
    #[arg(long)]
    overwrite: bool,
    /// All nodes of the cluster.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    validate: ValidateFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

/// The parts of a taint; removals may lack the effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Spec {
    key: String,
    value: String,
    effect: String,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value.as_str(), self.effect.as_str()) {
            ("", "") => write!(f, "{}", self.key),
            (value, "") => write!(f, "{}={value}:", self.key),
            ("", effect) => write!(f, "{}:{effect}", self.key),
            (value, effect) => write!(f, "{}={value}:{effect}", self.key),
        }
    }
}

impl Taint {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        let is_taint = |arg: &str| arg.contains('=') || arg.contains(':') || arg.ends_with('-');
        let (objects, specs) = split_by(&self.args, is_taint, |arg| {
            format!("all resources must be specified before taint changes: {arg}")
        })?;
        let Some((kind, names)) = objects.split_first() else {
            bail!("one or more resources must be specified as <resource> <name>");
        };
        if specs.is_empty() {
            bail!("at least one taint update is required");
        }
        let (add, remove) =
            parse(&specs).map_err(|error| anyhow!("{error}\nSee 'kubectl taint -h' for help and examples"))?;
        if cx.mapper().await?.find(kind)?.kind != "Node" {
            bail!("invalid resource type {}, only node types are supported", kind.to_lowercase());
        }
        refuse_both(&add, &remove)?;
        if self.all && !self.selector.is_empty() {
            bail!("setting 'all' parameter with a non empty selector is prohibited");
        }
        let bulk = self.all || !self.selector.is_empty();
        if !bulk && names.is_empty() {
            bail!("at least one resource name must be specified since 'all' parameter is not set");
        }
        let mut args = vec!["nodes".to_owned()];
        if !bulk {
            args.extend(names.iter().cloned());
        }
        let query = Query { args: &args, selector: &self.selector, all: self.all, ..Query::default() };
        let targets = targets::find(cx, &query).await?;
        let mut failures = targets.failures;
        for info in &targets.infos {
            failures.extend(self.one(cx, info, &add, &remove, dry_run).await.err());
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info, add: &[Spec], remove: &[Spec], dry_run: DryRun) -> Result<()> {
        let old: Vec<Value> = info.object["spec"]["taints"].as_array().cloned().unwrap_or_default();
        if !self.overwrite {
            no_overwrite(&info.name, &old, add)?;
        }
        let (taints, done) = reorganized(&old, add, remove, self.overwrite)?;
        let mut object = info.object.clone();
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("taints");
        }
        if !taints.is_empty() {
            object["spec"]["taints"] = taints.into();
        }
        if dry_run != DryRun::Client {
            let (kind, patch) = between(&info.resource, &info.object, &object);
            let query = [
                ("fieldManager", self.change.manager("kubectl-taint")),
                ("fieldValidation", self.validate.query()?),
                ("dryRun", dry_run.query()),
            ];
            object = cx.remote().await?.patch(&with_query(&info.path(), &query), kind, &patch).await?;
        }
        // kubectl says nothing of dry runs here.
        targets::told(&self.change, DryRun::None, info, &object, done)
    }
}

/// What to add and what to remove.
fn parse(specs: &[String]) -> Result<(Vec<Spec>, Vec<Spec>)> {
    let (mut add, mut remove): (Vec<Spec>, Vec<Spec>) = (Vec::new(), Vec::new());
    for text in specs {
        if let Some(text) = text.strip_suffix('-') {
            remove.push(Spec { value: String::new(), ..parse_one(text)? });
            continue;
        }
        let spec = parse_one(text)?;
        if spec.effect.is_empty() {
            bail!("invalid taint spec: {text}");
        }
        if add.iter().any(|other| other.key == spec.key && other.effect == spec.effect) {
            bail!(
                "duplicated taints with the same key and effect: {{{} {} {} <nil>}}",
                spec.key,
                spec.value,
                spec.effect
            );
        }
        add.push(spec);
    }
    Ok((add, remove))
}

fn parse_one(text: &str) -> Result<Spec> {
    let mut spec = Spec::default();
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [key] => spec.key = (*key).to_owned(),
        [pair, effect] => {
            if !matches!(*effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
                bail!("invalid taint effect: {effect}, unsupported taint effect");
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if value.contains('=') {
                bail!("invalid taint spec: {text}");
            }
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                bail!("invalid taint spec: {text}, {}", wrong.join("; "));
            }
            spec = Spec { key: key.to_owned(), value: value.to_owned(), effect: (*effect).to_owned() };
        }
        _ => bail!("invalid taint spec: {text}"),
    }
    let wrong = names::qualified_name(&spec.key);
    if !wrong.is_empty() {
        bail!("invalid taint spec: {text}, {}", wrong.join("; "));
    }
    Ok(spec)
}

fn refuse_both(add: &[Spec], remove: &[Spec]) -> Result<()> {
    let both: Vec<String> = add
        .iter()
        .flat_map(|new| {
            remove.iter().filter(move |old| old.key == new.key && (old.effect.is_empty() || old.effect == new.effect))
        })
        .map(|old| format!("{}={}", old.key, old.effect))
        .collect();
    if !both.is_empty() {
        bail!("can not both modify and remove the following taint(s) in the same command: {}", both.join(", "));
    }
    Ok(())
}

fn matches(taint: &Value, spec: &Spec) -> bool {
    taint["key"] == spec.key.as_str() && (spec.effect.is_empty() || taint["effect"] == spec.effect.as_str())
}

fn no_overwrite(node: &str, old: &[Value], add: &[Spec]) -> Result<()> {
    let there: Vec<&str> =
        add.iter().filter(|new| old.iter().any(|taint| matches(taint, new))).map(|new| new.key.as_str()).collect();
    if !there.is_empty() {
        bail!("node {node} already has {} taint(s) with same effect(s) and --overwrite is false", there.join(","));
    }
    Ok(())
}

/// The new taints first, then the old ones that stay; and the word for what happened.
fn reorganized(old: &[Value], add: &[Spec], remove: &[Spec], overwrite: bool) -> Result<(Vec<Value>, &'static str)> {
    let mut taints: Vec<Value> = add
        .iter()
        .map(|new| {
            let mut taint = json!({"key": new.key, "effect": new.effect});
            if !new.value.is_empty() {
                taint["value"] = new.value.clone().into();
            }
            taint
        })
        .collect();
    taints.extend(old.iter().filter(|taint| !add.iter().any(|new| matches(taint, new))).cloned());
    let added = old.len() != taints.len();
    let mut failures = Vec::new();
    let mut removed = false;
    for spec in remove {
        let before = taints.len();
        taints.retain(|taint| !matches(taint, spec));
        removed = taints.len() != before;
        if !removed {
            failures.push(anyhow!("taint {:?} not found", spec.to_string()));
        }
    }
    all_or(failures)?;
    let done = match (added, removed) {
        _ if overwrite => "modified",
        (true, true) => "modified",
        (true, false) => "tainted",
        (false, _) => "untainted",
    };
    Ok((taints, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(text: &str) -> Result<(Vec<Spec>, Vec<Spec>)> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn taints_are_reorganized() {
        let old =
            [json!({"key": "a", "effect": "NoSchedule"}), json!({"key": "a", "effect": "NoExecute", "value": "x"})];
        let cases = [
            ("b=1:NoSchedule", false, "tainted", "b=1:NoSchedule a:NoSchedule a=x:NoExecute"),
            ("a-", false, "untainted", ""),
            ("a:NoExecute-", false, "untainted", "a:NoSchedule"),
            ("b:NoExecute a:NoSchedule-", false, "modified", "b:NoExecute a=x:NoExecute"),
            ("a=2:NoSchedule", true, "modified", "a=2:NoSchedule a=x:NoExecute"),
        ];
        for (text, overwrite, expected, after) in cases {
            let (add, remove) = specs(text).unwrap();
            let (taints, done) = reorganized(&old, &add, &remove, overwrite).unwrap();
            let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let shown: Vec<String> = taints
                .iter()
                .map(|t| {
                    Spec { key: text_of(&t["key"]), value: text_of(&t["value"]), effect: text_of(&t["effect"]) }
                        .to_string()
                })
                .collect();
            assert_eq!((done, shown.join(" ").as_str()), (expected, after), "{text}");
        }
        let (add, remove) = specs("z-").unwrap();
        assert_eq!(reorganized(&old, &add, &remove, false).unwrap_err().to_string(), "taint \"z\" not found");
        let (add, _) = specs("a=5:NoSchedule").unwrap();
        assert_eq!(
            no_overwrite("n", &old, &add).unwrap_err().to_string(),
            "node n already has a taint(s) with same effect(s) and --overwrite is false"
        );
    }

    #[test]
    fn wrong_taints() {
        let cases = [
            ("a", "invalid taint spec: a"),
            ("a:b:c", "invalid taint spec: a:b:c"),
            ("a:Never", "invalid taint effect: Never, unsupported taint effect"),
            ("a=1:NoExecute a=2:NoExecute", "duplicated taints with the same key and effect: {a 2 NoExecute <nil>}"),
        ];
        for (text, expected) in cases {
            assert_eq!(specs(text).unwrap_err().to_string(), expected);
        }
        let (add, remove) = specs("a=1:NoExecute a-").unwrap();
        assert_eq!(
            refuse_both(&add, &remove).unwrap_err().to_string(),
            "can not both modify and remove the following taint(s) in the same command: a="
        );
    }
}
