//! `wait`: until objects are there, are gone, or are as wished.

mod condition;

use super::{
    following::{Seen, follow},
    targets::{self, Targets},
};
use crate::{
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun, Files, OutputFlag, duration},
    printers,
    resolve::{Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use condition::Condition;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

#[derive(clap::Args, Debug)]
pub(crate) struct Wait {
    #[arg(value_name = "TYPE NAME | TYPE/NAME | TYPE -l label")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// create, delete, condition=NAME[=VALUE] or jsonpath=PATH[=VALUE]; may be repeated.
    #[arg(long = "for", value_name = "CONDITION", action = clap::ArgAction::Append)]
    conditions: Vec<String>,
    /// How long to wait; 0 looks once, a negative one is a week.
    #[arg(long, default_value = "30s", allow_hyphen_values = true)]
    timeout: String,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Selector (field query).
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// All objects of the types in the namespace.
    #[arg(long)]
    all: bool,
    /// In all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Accepted for compatibility.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    output: OutputFlag,
}

const WEEK: Duration = Duration::from_secs(168 * 3600);
const TIMED_OUT: &str = "timed out waiting for the condition";

impl Wait {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if self.conditions.is_empty() {
            bail!("unrecognized condition: []");
        }
        let conditions = self.conditions.iter().map(|text| Condition::parse(text)).collect::<Result<Vec<_>>>()?;
        let timeout = if self.timeout.starts_with('-') { WEEK } else { duration(&self.timeout)? };
        let deadline = Instant::now() + timeout;
        let has = |wanted: fn(&Condition) -> bool| conditions.iter().any(wanted);
        if has(|condition| matches!(condition, Condition::Create)) {
            match tokio::time::timeout_at(deadline, self.created(cx)).await {
                Ok(result) => result?,
                Err(_) => bail!(TIMED_OUT),
            }
        }
        let for_delete = has(|condition| matches!(condition, Condition::Delete));
        let targets = self.find(cx).await?;
        let mut failures = targets.failures;
        if for_delete {
            failures.retain(|error| !Failure::is_not_found(error));
        }
        let empty = targets.infos.is_empty();
        for info in &targets.infos {
            for condition in &conditions {
                if let Err(error) = self.one(cx, info, condition, timeout, deadline).await {
                    failures.push(error);
                    break;
                }
            }
        }
        all_or(failures)?;
        if empty && !for_delete {
            bail!("no matching resources found");
        }
        Ok(())
    }

    async fn find(&self, cx: &Session) -> Result<Targets> {
        let query = Query {
            args: &self.args,
            files: Some(&self.files),
            selector: &self.selector,
            field_selector: &self.field_selector,
            all_namespaces: self.all_namespaces,
            all: self.all,
            bare_types: false,
        };
        targets::find(cx, &query).await
    }

    /// Until there is something; kubectl asks twice a second too.
    async fn created(&self, cx: &Session) -> Result<()> {
        loop {
            let mut targets = self.find(cx).await?;
            if let Some(at) = targets.failures.iter().position(|error| !Failure::is_not_found(error)) {
                return Err(targets.failures.swap_remove(at));
            }
            if !targets.infos.is_empty() && targets.failures.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn one(
        &self,
        cx: &Session,
        info: &Info,
        condition: &Condition,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<()> {
        let object = if matches!(condition, Condition::Create) {
            info.object.clone()
        } else if timeout.is_zero() {
            self.once(cx, info, condition).await?
        } else {
            let limited = tokio::time::timeout_at(deadline, until(cx, info, condition)).await;
            limited.unwrap_or_else(|_| Err(anyhow!("{TIMED_OUT} on {}/{}", info.resource.plural, info.name)))?
        };
        let flags = ChangeFlags { output: self.output.clone(), ..ChangeFlags::default() };
        printers::changed(&flags, DryRun::None, info, &object, "condition met")
    }

    async fn once(&self, cx: &Session, info: &Info, condition: &Condition) -> Result<Value> {
        let for_delete = matches!(condition, Condition::Delete);
        match cx.remote().await?.get(&info.path()).await {
            Ok(object) if !for_delete && condition.met(&object)? => Ok(object),
            Ok(_) => bail!("condition not met for {}/{}", info.resource.plural, info.name),
            Err(error) if for_delete && Failure::is_not_found(&error) => Ok(info.object.clone()),
            Err(error) => Err(error),
        }
    }
}

/// Until the condition is met; gives back the object that meets it, or the last one there was.
async fn until(cx: &Session, info: &Info, condition: &Condition) -> Result<Value> {
    let for_delete = matches!(condition, Condition::Delete);
    let mut last = info.object.clone();
    follow(cx.remote().await?, info, |seen| match seen {
        Seen::Is(object) => {
            last = object.clone();
            Ok(condition.met(object)?.then(|| object.clone()))
        }
        Seen::Missing | Seen::Gone if for_delete => Ok(Some(last.clone())),
        Seen::Missing => Err(missing(info)),
        // It may come back.
        Seen::Gone => Ok(None),
    })
    .await
}

fn missing(info: &Info) -> anyhow::Error {
    let message = format!("{} {:?} not found", info.resource.group_resource(), info.name);
    Failure::Api(json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": message})).into()
}
