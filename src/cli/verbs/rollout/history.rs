//! `rollout history`: the revisions of a workload, or the pod template of one.

use super::{
    Workloads,
    revisions::{self, Revisions},
};
use crate::{
    describe,
    failure::all_or,
    flags::{ChangeFlags, DryRun, OutputFlag},
    printers::{self, Output, drop_managed_fields, tabs},
    resolve::Info,
    session::Session,
};
use anyhow::{Result, anyhow, bail};

#[derive(clap::Args, Debug)]
pub(crate) struct History {
    #[command(flatten)]
    workloads: Workloads,
    /// Show the pod template of this revision.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, hide_default_value = true)]
    revision: i64,
    #[command(flatten)]
    output: OutputFlag,
}

impl History {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        self.workloads.check()?;
        if self.revision < 0 {
            bail!("revision must be a positive integer: {}", self.revision);
        }
        let targets = self.workloads.find(cx).await?;
        let mut failures = targets.failures;
        for info in &targets.infos {
            failures.extend(self.one(cx, info).await.err());
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info) -> Result<()> {
        revisions::refuse_others(info, "history viewer", "history")?;
        let remote = cx.remote().await?;
        let info = revisions::latest(remote, info).await?;
        let found = revisions::of(remote, &info).await?;
        let output = self.output.parse()?;
        if !output.is_table() {
            return self.objects(&info, &found, &output);
        }
        let text = shown(&info, &found, self.revision)?;
        let with = if self.revision > 0 { format!("with revision #{}", self.revision) } else { String::new() };
        let flags = ChangeFlags { output: self.output.clone(), ..ChangeFlags::default() };
        printers::changed(&flags, DryRun::None, &info, &info.object, &format!("{with}\n{text}"))
    }

    /// The revisions as objects.
    fn objects(&self, info: &Info, found: &Revisions, output: &Output) -> Result<()> {
        if self.revision > 0 && !found.contains_key(&self.revision) {
            bail!("unable to find the specified revision");
        }
        let chosen = found.iter().filter(|(number, _)| self.revision == 0 || **number == self.revision);
        for (index, (_, state)) in chosen.enumerate() {
            let mut object = revisions::restored(info, state)?;
            if !self.output.show_managed_fields {
                drop_managed_fields(&mut object);
            }
            if index > 0 && matches!(output, Output::Yaml) {
                crate::outln!("---");
            }
            crate::say::out(format_args!("{}", printers::object_text(output, &object)?));
        }
        Ok(())
    }
}

fn shown(info: &Info, found: &Revisions, revision: i64) -> Result<String> {
    if found.is_empty() {
        return Ok("No rollout history found.".to_owned());
    }
    if revision > 0 {
        let state = found.get(&revision).ok_or_else(|| anyhow!("unable to find the specified revision"))?;
        return Ok(describe::pod_template(&revisions::template(info, state)?));
    }
    let rows: String = found.iter().map(|(number, state)| format!("{number}\t{}\n", revisions::cause(state))).collect();
    Ok(tabs::align(&format!("REVISION\tCHANGE-CAUSE\n{rows}"), 0, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CHANGE_CAUSE;
    use expect_test::expect;
    use serde_json::{Value, json};

    #[test]
    fn revisions_are_a_table() {
        let resource = crate::resolve::discovery::Resource { kind: "Deployment".into(), ..Default::default() };
        let info =
            Info { resource: resource.into(), namespace: None, name: "web".into(), object: Value::Null, source: None };
        let state = |cause: &str| {
            json!({"metadata": {"annotations": {CHANGE_CAUSE: cause}}, "spec": {"template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}})
        };
        let found = Revisions::from([(2, state("kubectl set image")), (10, state(""))]);
        expect![[r#"
            REVISION  CHANGE-CAUSE
            2         kubectl set image
            10        <none>
        "#]]
        .assert_eq(&shown(&info, &found, 0).unwrap());
        let text = shown(&info, &found, 2).unwrap();
        assert!(
            text.starts_with(
                "Pod Template:\n  Labels:\tapp=web\n  Annotations:\tkubernetes.io/change-cause: kubectl set image\n"
            ),
            "{text}"
        );
        assert_eq!(shown(&info, &found, 3).unwrap_err().to_string(), "unable to find the specified revision");
        assert_eq!(shown(&info, &Revisions::new(), 0).unwrap(), "No rollout history found.");
    }
}
