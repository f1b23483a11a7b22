//! `annotate`: sets, replaces and removes annotations.

use super::{
    label::{KeyFlags, change, list},
    pairs::{self, Changes},
};
use crate::{failure::all_or, flags::DryRun, printers, record::CHANGE_CAUSE, resolve::Info, session::Session};
use anyhow::{Result, bail};
use serde_json::Value;

#[derive(clap::Args, Debug)]
pub(crate) struct Annotate {
    #[command(flatten)]
    keys: KeyFlags,
}

impl Annotate {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let keys = &self.keys;
        let dry_run = keys.change.dry_run()?;
        let (objects, pairs) = pairs::split(&keys.args, "annotation")?;
        let changes = pairs::parse(&pairs, "annotation", true)?;
        keys.check(&objects, dry_run, "rsrc")?;
        if changes.is_empty() && !keys.list {
            bail!("at least one annotation update is required");
        }
        let both: Vec<&str> = changes.remove.iter().filter(|key| changes.sets(key)).map(String::as_str).collect();
        if !both.is_empty() {
            bail!(
                "can not both modify and remove the following annotation(s) in the same command: {}",
                both.join(", ")
            );
        }
        let targets = keys.targets(cx, &objects).await?;
        let mut failures = targets.failures;
        for info in &targets.infos {
            if let Err(error) = self.one(cx, info, &changes, dry_run, targets.single).await {
                failures.push(error);
            }
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info, changes: &Changes, dry_run: DryRun, single: bool) -> Result<()> {
        let keys = &self.keys;
        let mut object = info.object.clone();
        if !keys.stays_here(dry_run) {
            keys.record.apply(&mut object);
        }
        if !keys.overwrite {
            no_overwrite(&info.object, changes)?;
        }
        change(&mut object, "annotations", changes);
        if keys.list {
            list(info, single, "annotations", &object["metadata"]["annotations"]);
            return Ok(());
        }
        if !keys.stays_here(dry_run) {
            object = keys.send(cx, info, &keys.patch(&info.object, &object), "kubectl-annotate", dry_run).await?;
        }
        printers::changed(&keys.change, dry_run, info, &object, "annotated")
    }
}

/// The cause of a change may always be replaced.
fn no_overwrite(object: &Value, changes: &Changes) -> Result<()> {
    let clashes: Vec<String> = changes
        .set
        .iter()
        .filter(|(key, _)| key != CHANGE_CAUSE)
        .filter_map(|(key, value)| {
            let now = object["metadata"]["annotations"][key].as_str().filter(|now| now != value)?;
            Some(format!("'{key}' already has a value ({now})"))
        })
        .collect();
    if !clashes.is_empty() {
        bail!("--overwrite is false but found the following declared annotation(s): {}", clashes.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_cause_may_be_replaced_and_others_not() {
        let object = json!({"metadata": {"annotations": {"a": "1", CHANGE_CAUSE: "x"}}});
        let mut changes = Changes::default();
        changes.set(CHANGE_CAUSE, "y");
        assert!(no_overwrite(&object, &changes).is_ok());
        changes.set("a", "2");
        assert_eq!(
            no_overwrite(&object, &changes).unwrap_err().to_string(),
            "--overwrite is false but found the following declared annotation(s): 'a' already has a value (1)"
        );
    }
}
