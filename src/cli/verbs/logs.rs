//! `logs`: what containers wrote.

use super::streams;
use crate::{
    failure::all_or,
    flags::duration,
    remote::with_query,
    resolve::{self, Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use futures::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

#[derive(clap::Args, Debug)]
pub(crate) struct Logs {
    #[arg(value_name = "POD | TYPE/NAME")]
    target: Option<String>,
    #[arg(value_name = "CONTAINER")]
    positional_container: Option<String>,
    /// The container.
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// Stream the logs.
    #[arg(short = 'f', long)]
    follow: bool,
    /// The previous instance of the container.
    #[arg(short = 'p', long)]
    previous: bool,
    /// Only logs newer than a duration like 5s, 2m, or 3h.
    #[arg(long)]
    since: Option<String>,
    /// Only logs after a date (RFC3339).
    #[arg(long)]
    since_time: Option<String>,
    /// Lines of recent log to show; -1 shows all. With a selector the default is 10.
    #[arg(long, allow_hyphen_values = true)]
    tail: Option<i64>,
    /// Maximum bytes of logs.
    #[arg(long)]
    limit_bytes: Option<u64>,
    /// Timestamps on each line.
    #[arg(long)]
    timestamps: bool,
    /// Selector (label query) of the pods.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// All containers of the pods.
    #[arg(long)]
    all_containers: bool,
    /// All pods of the workload.
    #[arg(long)]
    all_pods: bool,
    /// Prefix each line with its pod and container.
    #[arg(long)]
    prefix: bool,
    /// Go on when a stream fails.
    #[arg(long)]
    ignore_errors: bool,
    /// How many streams may be followed at once.
    #[arg(long, default_value_t = 5)]
    max_log_requests: usize,
    /// Do not check the kubelet's certificate.
    #[arg(long)]
    insecure_skip_tls_verify_backend: bool,
    /// Accepted for compatibility.
    #[arg(long, value_name = "DURATION")]
    pod_running_timeout: Option<String>,
}

impl Logs {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if self.since.is_some() && self.since_time.is_some() {
            bail!("at most one of `sinceTime` or `sinceSeconds` may be specified");
        }
        if self.tail.is_some_and(|tail| tail < -1) {
            bail!("--tail must be greater than or equal to -1");
        }
        let container = self.container.as_deref().or(self.positional_container.as_deref());
        if self.all_containers && container.is_some() {
            bail!(
                "--all-containers=true should not be specified with container name {}",
                container.unwrap_or_default()
            );
        }
        let pods = self.pods(cx).await?;
        let mut sources: Vec<(Info, String)> = Vec::new();
        for pod in pods {
            for name in self.containers(&pod.object, container)? {
                sources.push((pod.clone(), name));
            }
        }
        if self.follow && sources.len() > self.max_log_requests {
            bail!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests to increase the limit",
                sources.len(),
                self.max_log_requests
            );
        }
        let width = if self.follow { sources.len().max(1) } else { 1 };
        let results: Vec<Result<()>> = futures::stream::iter(&sources)
            .map(|(pod, container)| self.copy(cx, pod, container))
            .buffered(width)
            .collect()
            .await;
        let failures = results.into_iter().filter_map(Result::err);
        if self.ignore_errors {
            failures.for_each(|error| crate::errln!("{}", crate::failure::tell(&error).0));
            return Ok(());
        }
        all_or(failures.take(1).collect())
    }

    async fn pods(&self, cx: &Session) -> Result<Vec<Info>> {
        if !self.selector.is_empty() {
            if self.target.is_some() {
                bail!("only a selector (-l) or a POD name is allowed");
            }
            let args = ["pods".to_owned()];
            let query = Query { args: &args, selector: &self.selector, ..Query::default() };
            let pods = resolve::fetch(cx, &query).await?;
            if pods.is_empty() {
                crate::errln!("No resources found in {} namespace.", cx.namespace().await?);
            }
            return Ok(pods);
        }
        let Some(target) = &self.target else {
            bail!(
                "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command"
            )
        };
        let args = if target.contains('/') { vec![target.clone()] } else { vec!["pods".to_owned(), target.clone()] };
        let info = resolve::one(cx, &Query { args: &args, ..Query::default() }).await?;
        if info.resource.kind == "Pod" {
            return Ok(vec![info]);
        }
        let selector = resolve::selector_of(&info)?;
        let pods = cx.mapper().await?.find("pods")?;
        let path = with_query(&pods.path(info.namespace.as_deref()), &[("labelSelector", &selector)]);
        let mut found = resolve::items(&pods, cx.remote().await?.list(&path).await?);
        found.sort_by_key(|pod| pod.object["status"]["phase"] != "Running");
        match found.len() {
            0 => bail!("no pods found for {}", info.display()),
            count if count > 1 && !self.all_pods => {
                crate::errln!("Found {count} pods, using pod/{}", found[0].name);
                found.truncate(1);
            }
            _ => {}
        }
        Ok(found)
    }

    fn containers(&self, pod: &Value, asked: Option<&str>) -> Result<Vec<String>> {
        if !self.all_containers {
            return Ok(vec![streams::container_of(pod, asked, false)?]);
        }
        let fields = ["initContainers", "containers", "ephemeralContainers"];
        let all = fields.iter().flat_map(|field| pod["spec"][field].as_array().into_iter().flatten());
        Ok(all.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect())
    }

    fn path(&self, pod: &Info, container: &str) -> Result<String> {
        let flag = |set: bool| if set { "true" } else { "" };
        let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        let tail = match self.tail {
            Some(-1) => None,
            Some(tail) => u64::try_from(tail).ok(),
            None => (!self.selector.is_empty()).then_some(10),
        };
        let since = match &self.since {
            Some(text) => {
                let since = duration(text)?;
                (!since.is_zero()).then(|| since.as_secs_f64().ceil() as u64)
            }
            None => None,
        };
        Ok(with_query(
            &format!("{}/log", pod.path()),
            &[
                ("container", container),
                ("follow", flag(self.follow)),
                ("previous", flag(self.previous)),
                ("timestamps", flag(self.timestamps)),
                ("tailLines", &number(tail)),
                ("sinceSeconds", &number(since)),
                ("sinceTime", self.since_time.as_deref().unwrap_or_default()),
                ("limitBytes", &number(self.limit_bytes)),
                ("insecureSkipTLSVerifyBackend", flag(self.insecure_skip_tls_verify_backend)),
            ],
        ))
    }

    async fn copy(&self, cx: &Session, pod: &Info, container: &str) -> Result<()> {
        let remote = cx.remote().await?;
        let mut reader = remote.stream(&self.path(pod, container)?, "*/*").await?;
        if !self.prefix {
            let mut buffer = vec![0; 32 * 1024];
            loop {
                let count = reader.read(&mut buffer).await.map_err(|error| anyhow!("the log stream broke: {error}"))?;
                if count == 0 {
                    return Ok(());
                }
                crate::say::out_bytes(&buffer[..count]);
            }
        }
        let prefix = format!("[pod/{}/{container}] ", pod.name);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).await.map_err(|error| anyhow!("the log stream broke: {error}"))? == 0
            {
                return Ok(());
            }
            crate::say::out_bytes(&[prefix.as_bytes(), &line].concat());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        logs: Logs,
    }

    #[test]
    fn flags_become_the_query() {
        let resource = crate::resolve::discovery::tests::sample().find("po").unwrap();
        let pod = Info { resource, namespace: Some("n".into()), name: "p".into(), object: Value::Null, source: None };
        let cases = [
            ("x p", "/api/v1/namespaces/n/pods/p/log?container=c"),
            (
                "x p -f --tail=5 --timestamps",
                "/api/v1/namespaces/n/pods/p/log?container=c&follow=true&timestamps=true&tailLines=5",
            ),
            (
                "x p --tail -1 --since 1m --previous",
                "/api/v1/namespaces/n/pods/p/log?container=c&previous=true&sinceSeconds=60",
            ),
            ("x -l a=b", "/api/v1/namespaces/n/pods/p/log?container=c&tailLines=10"),
        ];
        for (text, expected) in cases {
            assert_eq!(Line::parse_from(text.split(' ')).logs.path(&pod, "c").unwrap(), expected, "{text}");
        }
    }
}
