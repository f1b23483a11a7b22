//! `rollout pause`, `resume` and `restart`: small changes of the workload itself.

use super::{Workloads, tell_nothing_found};
use crate::{
    failure::all_or,
    flags::{ChangeFlags, DryRun, OutputFlag},
    remote::with_query,
    resolve::Info,
    session::Session,
    verbs::targets::{self, between, is_empty},
};
use anyhow::{Result, anyhow, bail};
use jiff::Zoned;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
struct Flags {
    #[command(flatten)]
    workloads: Workloads,
    /// Name of the manager used to track field ownership.
    #[arg(long, value_name = "NAME", default_value = "kubectl-rollout", hide_default_value = true)]
    field_manager: String,
    #[command(flatten)]
    output: OutputFlag,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Pause {
    #[command(flatten)]
    flags: Flags,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Resume {
    #[command(flatten)]
    flags: Flags,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Restart {
    #[command(flatten)]
    flags: Flags,
}

impl Pause {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        self.flags.run(cx, "paused", pause).await
    }
}

impl Resume {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        self.flags.run(cx, "resumed", resume).await
    }
}

impl Restart {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let now = go_time(&Zoned::now());
        self.flags.run(cx, "restarted", move |info, object| restart(info, object, &now)).await
    }
}

impl Flags {
    async fn run(&self, cx: &Session, done: &str, change: impl Fn(&Info, &mut Value) -> Result<()>) -> Result<()> {
        self.workloads.check()?;
        let targets = self.workloads.find(cx).await?;
        if targets.infos.is_empty() && targets.failures.is_empty() {
            return tell_nothing_found(cx).await;
        }
        let mut failures = targets.failures;
        for info in &targets.infos {
            let mut object = info.object.clone();
            let result = match change(info, &mut object) {
                Ok(()) => self.send(cx, info, &object, done).await,
                Err(error) => Err(anyhow!("error: {} {:?} {error}", info.resource.group_resource(), info.name)),
            };
            failures.extend(result.err());
        }
        all_or(failures)
    }

    async fn send(&self, cx: &Session, info: &Info, object: &Value, done: &str) -> Result<()> {
        let (kind, patch) = between(&info.resource, &info.object, object);
        if is_empty(&patch) {
            bail!(
                "failed to create patch for {}: if restart has already been triggered within the past second, please wait before attempting to trigger another",
                info.name
            );
        }
        let path = with_query(&info.path(), &[("fieldManager", &self.field_manager)]);
        let patched = cx.remote().await?.patch(&path, kind, &patch).await;
        let object = patched.map_err(|error| anyhow!("failed to patch: {error:#}"))?;
        let flags = ChangeFlags { output: self.output.clone(), ..ChangeFlags::default() };
        targets::told(&flags, DryRun::None, info, &object, done)
    }
}

fn is(info: &Info, kinds: &[&str]) -> bool {
    info.resource.group == "apps" && kinds.contains(&info.resource.kind.as_str())
}

fn pause(info: &Info, object: &mut Value) -> Result<()> {
    if !is(info, &["Deployment"]) {
        bail!("pausing is not supported");
    }
    if object["spec"]["paused"] == true {
        bail!("is already paused");
    }
    object["spec"]["paused"] = true.into();
    Ok(())
}

fn resume(info: &Info, object: &mut Value) -> Result<()> {
    if !is(info, &["Deployment"]) {
        bail!("resuming is not supported");
    }
    if object["spec"]["paused"] != true {
        bail!("is not paused");
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("paused");
    }
    Ok(())
}

fn restart(info: &Info, object: &mut Value, now: &str) -> Result<()> {
    if !is(info, &["Deployment", "DaemonSet", "StatefulSet"]) {
        bail!("restarting is not supported");
    }
    if object["spec"]["paused"] == true {
        bail!("can't restart paused deployment (run rollout resume first)");
    }
    let metadata = &mut object["spec"]["template"]["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    metadata["annotations"]["kubectl.kubernetes.io/restartedAt"] = now.into();
    Ok(())
}

/// RFC 3339 in whole seconds, `Z` for UTC.
fn go_time(now: &Zoned) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: &str) -> Info {
        let resource =
            crate::resolve::discovery::Resource { group: "apps".into(), kind: kind.into(), ..Default::default() };
        Info { resource: resource.into(), namespace: None, name: "web".into(), object: Value::Null, source: None }
    }

    #[test]
    fn pausing() {
        let mut object = json!({"spec": {}});
        assert_eq!(resume(&info("Deployment"), &mut object).unwrap_err().to_string(), "is not paused");
        pause(&info("Deployment"), &mut object).unwrap();
        assert_eq!(pause(&info("Deployment"), &mut object).unwrap_err().to_string(), "is already paused");
        let message = restart(&info("Deployment"), &mut object, "now").unwrap_err().to_string();
        assert_eq!(message, "can't restart paused deployment (run rollout resume first)");
        resume(&info("Deployment"), &mut object).unwrap();
        assert_eq!(object, json!({"spec": {}}));
        assert_eq!(pause(&info("DaemonSet"), &mut object).unwrap_err().to_string(), "pausing is not supported");
    }

    #[test]
    fn restarting_marks_the_template() {
        let mut object = json!({"spec": {"template": {"spec": {}}}});
        restart(&info("StatefulSet"), &mut object, "now").unwrap();
        assert_eq!(
            object["spec"]["template"]["metadata"]["annotations"],
            json!({"kubectl.kubernetes.io/restartedAt": "now"})
        );
        let time: Zoned = "2024-01-02T03:04:05.6[UTC]".parse().unwrap();
        assert_eq!(go_time(&time), "2024-01-02T03:04:05Z");
    }
}
