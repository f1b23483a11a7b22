//! `autoscale`: a HorizontalPodAutoscaler for anything with a scale.

use super::targets::{self, told};
use crate::{
    apply::set_last_applied,
    failure::all_or,
    flags::{ChangeFlags, DryRun, Files},
    record::RecordFlag,
    remote::with_query,
    resolve::{Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use mk8s_api::quantity::Quantity;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Autoscale {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The least number of pods; the server's default when negative.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, hide_default_value = true)]
    min: i32,
    /// The greatest number of pods.
    #[arg(long, required = true, allow_hyphen_values = true)]
    max: i32,
    /// Deprecated: use --cpu.
    #[arg(long, allow_hyphen_values = true, hide = true)]
    cpu_percent: Option<i32>,
    /// Wanted CPU use: a percentage (70%) of the requests, or an amount (500m) a pod.
    #[arg(long, default_value = "", hide_default_value = true)]
    cpu: String,
    /// Wanted memory use: a percentage (60%) of the requests, or an amount (200Mi) a pod.
    #[arg(long, default_value = "", hide_default_value = true)]
    memory: String,
    /// The name of the autoscaler; that of the object when it is not given.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Save the configuration in the object's annotation, for later applies.
    #[arg(long)]
    save_config: bool,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

const NOT_FOR_V1: &str =
    "failed to create autoscaling/v2 HPA and the configuration is incompatible with autoscaling/v1:";

impl Autoscale {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        let metrics = self.metrics()?;
        let query = Query { args: &self.args, files: Some(&self.files), ..Query::default() };
        let targets = targets::find(cx, &query).await?;
        if targets.infos.is_empty() && targets.failures.is_empty() {
            bail!("no objects passed to autoscale");
        }
        let mut failures = targets.failures;
        for info in &targets.infos {
            failures.extend(self.one(cx, info, &metrics, dry_run).await.err());
        }
        all_or(failures)
    }

    /// The metrics of the flags, which are checked here.
    fn metrics(&self) -> Result<Vec<Value>> {
        let percent = self.cpu_percent.filter(|percent| *percent > 0);
        if self.max < 1 {
            bail!("--max=MAXPODS is required and must be at least 1, max: {}", self.max);
        }
        if self.max < self.min {
            bail!("--max=MAXPODS must be larger or equal to --min=MINPODS, max: {}, min: {}", self.max, self.min);
        }
        if percent.is_some() && !self.cpu.is_empty() {
            bail!("--cpu-percent and --cpu are mutually exclusive");
        }
        let metric =
            |name: &str, target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
        let mut metrics = Vec::new();
        if let Some(percent) = percent {
            metrics.push(metric("cpu", json!({"type": "Utilization", "averageUtilization": percent})));
        }
        for (name, text, unit) in [("cpu", &self.cpu, "m"), ("memory", &self.memory, "Mi")] {
            if !text.is_empty() {
                metrics.push(metric(name, target(name, text, unit)?));
            }
        }
        Ok(metrics)
    }

    async fn one(&self, cx: &Session, info: &Info, metrics: &[Value], dry_run: DryRun) -> Result<()> {
        let resource = &info.resource;
        if !resource.subresources.iter().any(|name| name == "scale") {
            let place =
                if resource.group.is_empty() { format!("/{}", resource.version) } else { resource.api_version() };
            bail!(
                "cannot autoscale a {}: could not find scale subresource for {place}, Resource={} in discovery information",
                resource.kind,
                resource.plural
            );
        }
        let mut scaler = self.scaler(info, metrics);
        let namespace = cx.namespace().await?;
        if cx.namespace_flag().is_some() {
            scaler["metadata"]["namespace"] = namespace.clone().into();
        }
        self.record.apply(&mut scaler);
        if dry_run == DryRun::Client {
            return told(&self.change, dry_run, info, &scaler, "created");
        }
        if self.save_config {
            set_last_applied(&mut scaler);
        }
        let query = [("fieldManager", self.change.manager("kubectl-autoscale")), ("dryRun", dry_run.query())];
        let path = |version: &str| {
            with_query(&format!("/apis/autoscaling/{version}/namespaces/{namespace}/horizontalpodautoscalers"), &query)
        };
        let remote = cx.remote().await?;
        let created = match remote.post(&path("v2"), &scaler).await {
            Ok(created) => created,
            Err(_) => remote.post(&path("v1"), &self.for_v1(scaler)?).await?,
        };
        told(&self.change, dry_run, info, &created, "autoscaled")
    }

    fn scaler(&self, info: &Info, metrics: &[Value]) -> Value {
        let name = if self.name.is_empty() { &info.name } else { &self.name };
        let mut spec = json!({"maxReplicas": self.max, "scaleTargetRef": {"apiVersion": info.resource.api_version(),
            "kind": info.resource.kind, "name": info.name}});
        if self.min > 0 {
            spec["minReplicas"] = self.min.into();
        }
        if !metrics.is_empty() {
            spec["metrics"] = metrics.to_vec().into();
        }
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec,
            "status": {"currentMetrics": null, "desiredReplicas": 0}})
    }

    /// The same in the old version, which knows only CPU percentages.
    fn for_v1(&self, mut scaler: Value) -> Result<Value> {
        let cpu = target("cpu", &self.cpu, "m").map_err(|error| anyhow!("{NOT_FOR_V1} {error}"))?;
        let percent = self.cpu_percent.filter(|percent| *percent >= 0);
        if !self.memory.is_empty() || !(percent.is_some() || cpu["type"] == "Utilization") {
            bail!("{NOT_FOR_V1} %!w(<nil>)");
        }
        scaler["apiVersion"] = "autoscaling/v1".into();
        if let Some(spec) = scaler["spec"].as_object_mut() {
            spec.remove("metrics");
        }
        if let Some(percent) = percent {
            scaler["spec"]["targetCPUUtilizationPercentage"] = percent.into();
        }
        scaler["status"] = json!({"currentReplicas": 0, "desiredReplicas": 0});
        Ok(scaler)
    }
}

/// `70%`, `500m`, or a bare number in `unit`.
fn target(name: &str, text: &str, unit: &str) -> Result<Value> {
    let text = text.trim();
    if text.is_empty() {
        bail!("empty input");
    }
    if let Some(percent) = text.strip_suffix('%') {
        let value = percent.parse::<i32>().ok().filter(|value| *value >= 0);
        let value = value.ok_or_else(|| anyhow!("invalid percentage value: {percent}"))?;
        return Ok(json!({"type": "Utilization", "averageUtilization": value}));
    }
    let amount = match text.parse::<f64>() {
        Ok(number) => Quantity::parse(&format!("{number}{unit}")).map_err(|error| anyhow!("{error}"))?,
        Err(_) => Quantity::parse(text).map_err(|_| anyhow!("invalid resource {name} value: {text}"))?,
    };
    Ok(json!({"type": "AverageValue", "averageValue": amount.to_string()}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        autoscale: Autoscale,
    }

    #[test]
    fn targets_are_percentages_or_amounts() {
        let cases = [
            ("70%", Ok(json!({"type": "Utilization", "averageUtilization": 70}))),
            ("500m", Ok(json!({"type": "AverageValue", "averageValue": "500m"}))),
            ("1500", Ok(json!({"type": "AverageValue", "averageValue": "1500m"}))),
            ("x%", Err("invalid percentage value: x")),
            ("x", Err("invalid resource cpu value: x")),
            ("", Err("empty input")),
        ];
        for (text, expected) in cases {
            assert_eq!(
                target("cpu", text, "m").map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn flags_are_checked() {
        let cases = [
            ("x deploy a --max=3", Ok(0)),
            ("x deploy a --max=3 --cpu=70% --memory=1Gi", Ok(2)),
            ("x deploy a --max=0", Err("--max=MAXPODS is required and must be at least 1, max: 0")),
            (
                "x deploy a --max=1 --min=2",
                Err("--max=MAXPODS must be larger or equal to --min=MINPODS, max: 1, min: 2"),
            ),
            ("x deploy a --max=1 --cpu-percent=5 --cpu=5%", Err("--cpu-percent and --cpu are mutually exclusive")),
        ];
        for (text, expected) in cases {
            let line = Line::parse_from(text.split(' '));
            let metrics = line.autoscale.metrics().map(|metrics| metrics.len()).map_err(|error| error.to_string());
            assert_eq!(metrics, expected.map_err(str::to_owned), "{text}");
        }
    }
}
