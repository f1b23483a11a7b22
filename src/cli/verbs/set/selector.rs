//! `set selector`

use super::SetFlags;
use crate::{
    failure::all_or, flags::DryRun, printers, record::RecordFlag, remote::with_query, resolve::Info, session::Session,
    verbs::targets::between,
};
use anyhow::{Result, anyhow, bail};
use mk8s_api::select::{LabelSelector, Operator};
use serde_json::{Map, Value};

#[derive(clap::Args, Debug)]
pub(crate) struct Selector {
    #[arg(value_name = "TYPE NAME EXPRESSIONS")]
    args: Vec<String>,
    /// Only succeed when this is the object's resource version.
    #[arg(long, default_value = "", hide_default_value = true)]
    resource_version: String,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    flags: SetFlags,
}

impl Selector {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.flags.change.dry_run()?;
        let Some((expression, objects)) = self.args.split_last() else { bail!("one selector is required") };
        let selector = labels(expression)?;
        let infos = self.flags.infos(cx, objects, "").await?;
        let mut failures = Vec::new();
        for info in &infos {
            failures.extend(self.one(cx, info, &selector, dry_run).await.err());
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info, selector: &Map<String, Value>, dry_run: DryRun) -> Result<()> {
        if info.resource.kind != "Service" || !info.resource.group.is_empty() {
            bail!("setting a selector is only supported for Services");
        }
        let mut object = info.object.clone();
        object["spec"]["selector"] = selector.clone().into();
        self.record.apply(&mut object);
        let flags = &self.flags.change;
        if !self.flags.local && dry_run != DryRun::Client {
            let (kind, mut patch) = between(&info.resource, &info.object, &object);
            if !self.resource_version.is_empty() {
                patch["metadata"]["resourceVersion"] = self.resource_version.clone().into();
            }
            let path = with_query(
                &info.path(),
                &[("fieldManager", flags.manager("kubectl-set")), ("dryRun", dry_run.query())],
            );
            object = cx.remote().await?.patch(&path, kind, &patch).await?;
        }
        printers::changed(flags, dry_run, info, &object, "selector updated")
    }
}

/// A Service knows only equality.
fn labels(expression: &str) -> Result<Map<String, Value>> {
    let parsed = LabelSelector::parse(expression)
        .map_err(|error| anyhow!("couldn't parse the selector string \"{expression}\": {error}"))?;
    let label =
        |requirement: &mk8s_api::select::Requirement| match (&requirement.operator, requirement.values.as_slice()) {
            (Operator::Equals | Operator::DoubleEquals, [value]) => Ok((requirement.key.clone(), value.clone().into())),
            (operator, values) => Err(anyhow!(
                "match expression [{{{} {operator:?} [{}]}}] not supported on this object",
                requirement.key,
                values.join(" ")
            )),
        };
    parsed.requirements().iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_equality() {
        assert_eq!(Value::from(labels("a=b,c==d").unwrap()), json!({"a": "b", "c": "d"}));
        assert!(labels("a in (b)").is_err());
        assert!(labels("=").is_err());
    }
}
