//! `replace`: an object of a file takes the place of the server's.

use super::{delete::until_gone, targets};
use crate::{
    apply::{LAST_APPLIED, set_last_applied},
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun, Files, ValidateFlag, duration},
    printers,
    remote::{JSON, with_query},
    resolve::{Info, files},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};
use std::{io::Read, time::Duration};

#[derive(clap::Args, Debug)]
pub(crate) struct Replace {
    #[command(flatten)]
    files: Files,
    /// Delete and create anew.
    #[arg(long)]
    force: bool,
    /// background, orphan or foreground.
    #[arg(long, default_value = "background", num_args = 0..=1, require_equals = true, default_missing_value = "background")]
    cascade: String,
    /// Seconds to terminate gracefully; negative is the object's own.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, hide_default_value = true)]
    grace_period: i64,
    /// How long to wait for a deletion; 0 is for ever.
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    /// Wait for the objects to be gone.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_default_value = true)]
    wait: String,
    /// Save the configuration in the object's annotation, for later applies.
    #[arg(long)]
    save_config: bool,
    /// A path to PUT the file to on the server as it is.
    #[arg(long, value_name = "URI")]
    raw: Option<String>,
    /// Replace this subresource.
    #[arg(long, default_value = "", hide_default_value = true)]
    subresource: String,
    #[command(flatten)]
    validate: ValidateFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Replace {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        self.check(dry_run)?;
        if let Some(raw) = &self.raw {
            return self.put_raw(cx, raw).await;
        }
        // Standard input is read only once, also when the objects are needed twice.
        let documents = files::documents(&self.files).await?;
        let mut infos = Vec::new();
        let mut failures = Vec::new();
        for document in documents {
            match files::info(cx, document).await {
                Ok(info) => infos.push(info),
                Err(error) => failures.push(error),
            }
        }
        if infos.is_empty() && failures.is_empty() {
            bail!("no objects passed to replace");
        }
        if self.force {
            all_or(failures)?;
            return self.anew(cx, infos).await;
        }
        for info in infos {
            if let Err(error) = self.one(cx, info, dry_run).await {
                failures.push(error);
            }
        }
        all_or(failures)
    }

    fn check(&self, dry_run: DryRun) -> Result<()> {
        if self.files.filename.is_empty() {
            bail!("must specify one of -f and -k");
        }
        if self.grace_period >= 0 && !self.force {
            bail!("--grace-period must have --force specified");
        }
        if !duration(&self.timeout)?.is_zero() && !self.force {
            bail!("--timeout must have --force specified");
        }
        if self.force && dry_run != DryRun::None {
            bail!("--dry-run can not be used when --force is set");
        }
        if self.raw.is_some() {
            if self.files.filename.len() != 1 {
                bail!("--raw can only use a single local file or stdin");
            }
            if self.files.filename[0].starts_with("http://") || self.files.filename[0].starts_with("https://") {
                bail!("--raw cannot read from a url");
            }
            if self.files.recursive {
                bail!("--raw and --recursive are mutually exclusive");
            }
            if self.change.output.output.is_some() {
                bail!("--raw and --output are mutually exclusive");
            }
        }
        Ok(())
    }

    async fn put_raw(&self, cx: &Session, raw: &str) -> Result<()> {
        let name = &self.files.filename[0];
        let mut bytes = Vec::new();
        let read = if name == "-" {
            std::io::stdin().read_to_end(&mut bytes).map(drop)
        } else {
            std::fs::read(name).map(|content| bytes = content)
        };
        read.map_err(|error| anyhow!("open {name}: {}", targets::go_error(&error)))?;
        let answer = cx.remote().await?.bytes(http::Method::PUT, raw, JSON, Some((JSON, bytes))).await?;
        crate::say::out_bytes(&answer);
        Ok(())
    }

    /// The object of a file with what the flags add to it.
    fn prepare(&self, info: &mut Info) {
        if self.save_config || info.object["metadata"]["annotations"].get(LAST_APPLIED).is_some() {
            set_last_applied(&mut info.object);
        }
    }

    async fn one(&self, cx: &Session, mut info: Info, dry_run: DryRun) -> Result<()> {
        self.prepare(&mut info);
        if dry_run == DryRun::Client {
            return printers::changed(&self.change, dry_run, &info, &info.object, "replaced");
        }
        let replaced = self.put(cx, &mut info, dry_run).await;
        let object = replaced.map_err(|error| Failure::from_source(error, "replacing", info.source.as_deref()))?;
        printers::changed(&self.change, dry_run, &info, &object, "replaced")
    }

    async fn put(&self, cx: &Session, info: &mut Info, dry_run: DryRun) -> Result<Value> {
        if info.name.is_empty() {
            bail!("resource name may not be empty");
        }
        let remote = cx.remote().await?;
        let path =
            if self.subresource.is_empty() { info.path() } else { format!("{}/{}", info.path(), self.subresource) };
        if info.object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty()
            && let Ok(now) = remote.get(&path).await
        {
            info.object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        }
        let query = self.query("kubectl-replace", dry_run)?;
        remote.put(&with_query(&path, &query), &info.object).await
    }

    fn query<'a>(&'a self, manager: &'a str, dry_run: DryRun) -> Result<[(&'static str, &'a str); 3]> {
        Ok([
            ("fieldManager", self.change.manager(manager)),
            ("fieldValidation", self.validate.query()?),
            ("dryRun", dry_run.query()),
        ])
    }

    /// Deletes what there is, waits until it is gone, and creates.
    async fn anew(&self, cx: &Session, infos: Vec<Info>) -> Result<()> {
        let remote = cx.remote().await?;
        let policy = match self.cascade.as_str() {
            "background" | "true" => "Background",
            "orphan" | "false" => "Orphan",
            "foreground" => "Foreground",
            other => bail!("invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""),
        };
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        if self.grace_period >= 0 {
            options["gracePeriodSeconds"] = self.grace_period.max(1).into();
        }
        let mut failures = Vec::new();
        let mut found = false;
        for info in &infos {
            match remote.delete(&info.path(), &options).await {
                Ok(_) => {
                    found = true;
                    self.tell_deleted(info);
                }
                Err(error) if Failure::is_not_found(&error) => {}
                Err(error) => failures.push(Failure::from_source(error, "deleting", info.source.as_deref())),
            }
        }
        all_or(failures)?;
        if !found {
            crate::outln!("No resources found");
        }
        let timeout = match duration(&self.timeout)? {
            Duration::ZERO if self.wait == "false" => Duration::from_secs(300),
            timeout => timeout,
        };
        for info in &infos {
            until_gone(remote, info, None, timeout).await?;
        }
        let mut failures = Vec::new();
        for mut info in infos {
            self.prepare(&mut info);
            let query = self.query("kubectl-replace", DryRun::None)?;
            let created = remote.post(&with_query(&info.collection(), &query), &info.object).await;
            let told =
                created.and_then(|object| printers::changed(&self.change, DryRun::None, &info, &object, "replaced"));
            failures.extend(told.err());
        }
        all_or(failures)
    }

    fn tell_deleted(&self, info: &Info) {
        if self.change.output.output.as_deref() == Some("name") {
            crate::outln!("{}", info.display());
            return;
        }
        let place =
            info.namespace.as_deref().map(|namespace| format!(" from {namespace} namespace")).unwrap_or_default();
        crate::outln!("{} {:?} deleted{place}", info.resource.label(), info.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        replace: Replace,
    }

    #[test]
    fn flags_that_need_force() {
        let cases = [
            ("x -f a", None),
            ("x", Some("must specify one of -f and -k")),
            ("x -f a --grace-period=3", Some("--grace-period must have --force specified")),
            ("x -f a --timeout=3s", Some("--timeout must have --force specified")),
            ("x -f a --raw /api -o yaml", Some("--raw and --output are mutually exclusive")),
        ];
        for (text, expected) in cases {
            let line = Line::parse_from(text.split(' '));
            assert_eq!(
                line.replace.check(DryRun::None).err().map(|error| error.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
        let line = Line::parse_from(["x", "-f", "a", "--force"]);
        assert!(line.replace.check(DryRun::Client).is_err());
    }
}
