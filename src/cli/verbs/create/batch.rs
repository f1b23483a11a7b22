//! `create job` and `create cronjob`.

use super::Generate;
use crate::{
    resolve::{self, Query},
    session::Session,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Job {
    name: String,
    /// Image to run.
    #[arg(long)]
    image: Option<String>,
    /// The cron job to make a job of (cronjob/name).
    #[arg(long)]
    from: Option<String>,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct CronJob {
    name: String,
    /// Image to run.
    #[arg(long)]
    image: String,
    /// When to run it, in cron format.
    #[arg(long)]
    schedule: String,
    /// OnFailure or Never.
    #[arg(long, default_value = "OnFailure")]
    restart: String,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn template(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"name": name, "image": image, "resources": {}});
    if !command.is_empty() {
        container["command"] = command.to_vec().into();
    }
    json!({"metadata": {}, "spec": {"containers": [container], "restartPolicy": restart}})
}

impl Generate for Job {
    fn generate(&self) -> Result<Value> {
        let Some(image) = &self.image else { bail!("either --image or --from must be specified") };
        Ok(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": self.name},
            "spec": {"template": template(&self.name, image, &self.command, "Never")}, "status": {}}))
    }
}

impl Job {
    /// The job, also of an existing cron job.
    pub(crate) async fn resolved(&self, cx: &Session) -> Result<Value> {
        let Some(from) = &self.from else { return self.generate() };
        if self.image.is_some() {
            bail!("either --image or --from must be specified");
        }
        if !self.command.is_empty() {
            bail!("cannot specify --from and command");
        }
        let info = resolve::one(cx, &Query { args: std::slice::from_ref(from), ..Query::default() }).await?;
        if info.resource.kind != "CronJob" {
            bail!("from must be an existing cronjob");
        }
        Ok(self.instantiate(&info.object))
    }

    fn instantiate(&self, cron_job: &Value) -> Value {
        let template = &cron_job["spec"]["jobTemplate"];
        let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        annotations.insert("cronjob.kubernetes.io/instantiate".to_owned(), "manual".into());
        let mut metadata = json!({"name": self.name, "annotations": annotations, "ownerReferences": [{"apiVersion": "batch/v1",
            "kind": "CronJob", "name": cron_job["metadata"]["name"], "uid": cron_job["metadata"]["uid"], "controller": true}]});
        if let Some(labels) = template["metadata"]["labels"].as_object() {
            metadata["labels"] = labels.clone().into();
        }
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"], "status": {}})
    }
}

impl Generate for CronJob {
    fn generate(&self) -> Result<Value> {
        Ok(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": self.name}, "spec": {
            "schedule": self.schedule,
            "jobTemplate": {"metadata": {"name": self.name}, "spec": {"template": template(&self.name, &self.image, &self.command, &self.restart)}},
        }, "status": {}}))
    }
}
