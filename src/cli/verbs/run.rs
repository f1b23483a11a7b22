//! `run`: one pod of an image, attached to if wished.

use super::{attach, streams::Wishes};
use crate::{
    failure::Failure,
    flags::{ChangeFlags, DryRun, duration},
    printers,
    record::RecordFlag,
    remote::{JSON, with_query},
    resolve::{Info, files, pods},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Run {
    #[arg(value_name = "NAME [ARGS]")]
    words: Vec<String>,
    /// The image for the container to run.
    #[arg(long)]
    image: Option<String>,
    /// Environment variables, as key=value; may be repeated.
    #[arg(long)]
    env: Vec<String>,
    /// Labels of the pod, separated by commas.
    #[arg(short = 'l', long)]
    labels: Option<String>,
    /// Annotations of the pod; may be repeated.
    #[arg(long)]
    annotations: Vec<String>,
    /// The port the container exposes.
    #[arg(long)]
    port: Option<String>,
    /// Create a ClusterIP service for the pod too.
    #[arg(long)]
    expose: bool,
    /// Always, OnFailure or Never.
    #[arg(long, default_value = "Always")]
    restart: String,
    /// Always, IfNotPresent or Never.
    #[arg(long)]
    image_pull_policy: Option<String>,
    /// Keep stdin open.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Allocate a TTY.
    #[arg(short = 't', long)]
    tty: bool,
    /// Wait for the pod and attach to it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    attach: Option<bool>,
    /// Leave stdin open after the first attach.
    #[arg(long)]
    leave_stdin_open: bool,
    /// Delete the pod after it exits.
    #[arg(long)]
    rm: bool,
    /// Do not print prompts.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Use the arguments as command, not as args.
    #[arg(long)]
    command: bool,
    /// Run privileged.
    #[arg(long)]
    privileged: bool,
    /// A JSON patch of the generated object.
    #[arg(long)]
    overrides: Option<String>,
    /// json, merge or strategic.
    #[arg(long, default_value = "merge")]
    override_type: String,
    /// How long to wait until the pod is running.
    #[arg(long, value_name = "DURATION", default_value = pods::RUNNING_TIMEOUT, value_parser = duration)]
    pod_running_timeout: Duration,
    /// The keys that detach from the container.
    #[arg(long, value_name = "KEYS", default_value = attach::DETACH_KEYS)]
    detach_keys: String,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    change: ChangeFlags,
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// What a command line that contradicts itself is answered.
fn usage(message: &str) -> anyhow::Error {
    anyhow!("{message}\nSee 'kubectl run -h' for help and examples")
}

impl Run {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        let attach = self.attach.unwrap_or(self.stdin);
        self.check(attach, dry_run)?;
        let mut pod = self.overridden(self.pod()?)?;
        self.record.apply(&mut pod);
        if dry_run == DryRun::Client {
            let placed = |mut object: Value| {
                if let Some(namespace) = cx.namespace_flag() {
                    object["metadata"]["namespace"] = namespace.into();
                }
                object
            };
            if self.expose {
                self.print_service(dry_run, &placed(self.service()?))?;
            }
            return printers::changed_as(&self.change, dry_run, "pod", &placed(pod), "", "created");
        }
        let (info, created) = self.post(cx, pod, dry_run).await?;
        let mut all = vec![info.clone()];
        let mut exposed = Ok(());
        if self.expose {
            match self.expose(cx, dry_run).await {
                Ok(service) => all.push(service),
                Err(error) => exposed = Err(error),
            }
        }
        if !attach {
            printers::changed(&self.change, dry_run, &info, &created, "created")?;
            return exposed;
        }
        let attached = self.attach(cx, &info).await;
        if self.rm {
            for info in &all {
                self.remove(cx, info).await;
            }
        }
        match attached? {
            Some(pod) => exit_of(&pod),
            None => Ok(()),
        }
    }

    /// In the order in which kubectl finds fault.
    fn check(&self, attach: bool, dry_run: DryRun) -> Result<()> {
        let Some(image) = &self.image else { bail!("required flag(s) \"image\" not set") };
        if self.words.is_empty() {
            return Err(usage("NAME is required for run"));
        }
        if self.pod_running_timeout.is_zero() {
            return Err(usage("--pod-running-timeout must be higher than zero"));
        }
        if image.is_empty() {
            bail!("--image is required");
        }
        if !is_image(image) {
            bail!("Invalid image name {image:?}: invalid reference format");
        }
        if self.tty && !self.stdin {
            return Err(usage("-i/--stdin is required for containers with -t/--tty=true"));
        }
        if self.expose && self.port.as_deref().unwrap_or_default().is_empty() {
            return Err(usage("--port must be set when exposing a service"));
        }
        if !["", "Always", "OnFailure", "Never"].contains(&self.restart.as_str()) {
            return Err(usage(&format!("invalid restart policy: {}", self.restart)));
        }
        if self.rm && !attach {
            return Err(usage("--rm should only be used for attached containers"));
        }
        if attach && dry_run != DryRun::None {
            return Err(usage(
                "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
            ));
        }
        match self.image_pull_policy.as_deref() {
            None | Some("" | "Always" | "IfNotPresent" | "Never") => Ok(()),
            Some(other) => Err(usage(&format!("invalid image pull policy: {other}"))),
        }
    }

    fn name(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    fn labels(&self) -> Result<Map<String, Value>> {
        match self.labels.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => super::expose::parse_labels(text),
            None => Ok(Map::from_iter([("run".to_owned(), self.name().into())])),
        }
    }

    fn port(&self) -> Result<Option<i32>> {
        let Some(text) = self.port.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| anyhow!("strconv.Atoi: parsing {text:?}: invalid syntax"))
    }

    fn pod(&self) -> Result<Value> {
        let name = self.name();
        let mut container = json!({"name": name, "image": self.image, "resources": {}});
        let args: Vec<&String> = self.words.iter().skip(1).chain(&self.args).collect();
        if !args.is_empty() {
            container[if self.command { "command" } else { "args" }] = json!(args);
        }
        if !self.env.is_empty() {
            let env = self.env.iter().map(|pair| match pair.split_once('=') {
                Some((name, "")) if !name.is_empty() => Ok(json!({"name": name})),
                Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
                _ => Err(anyhow!("invalid env: {pair}")),
            });
            container["env"] = env.collect::<Result<Vec<_>>>()?.into();
        }
        if let Some(port) = self.port()? {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if let Some(policy) = self.image_pull_policy.as_deref().filter(|policy| !policy.is_empty()) {
            container["imagePullPolicy"] = policy.into();
        }
        if self.stdin {
            container["stdin"] = true.into();
            if !self.leave_stdin_open {
                container["stdinOnce"] = true.into();
            }
        }
        if self.tty {
            container["tty"] = true.into();
        }
        if self.privileged {
            container["securityContext"] = json!({"privileged": true});
        }
        let mut metadata = json!({"name": name, "labels": self.labels()?});
        if !self.annotations.is_empty() {
            metadata["annotations"] = super::expose::parse_labels(&self.annotations.join(","))?.into();
        }
        let restart = if self.restart.is_empty() { "Always" } else { &self.restart };
        Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
            "containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": restart}, "status": {}}))
    }

    fn service(&self) -> Result<Value> {
        let port = self.port()?;
        let mut metadata = json!({"name": self.name()});
        if self.labels.as_deref().is_some_and(|text| !text.is_empty()) {
            metadata["labels"] = self.labels()?.into();
        }
        Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "ports": [{"port": port, "protocol": "TCP", "targetPort": port}], "selector": self.labels()?}, "status": {"loadBalancer": {}}}))
    }

    fn overridden(&self, pod: Value) -> Result<Value> {
        let Some(text) = self.overrides.as_deref().filter(|text| !text.is_empty()) else { return Ok(pod) };
        let schema = mk8s_api::schema::schema_of("", "v1", "Pod").ok_or_else(|| anyhow!("no schema of Pod"))?;
        let patch =
            |otherwise: &'static str| -> Result<Value> { serde_json::from_str(text).map_err(|_| anyhow!(otherwise)) };
        let mut patched = match self.override_type.as_str() {
            "json" => mk8s_api::patch::json_patch(&pod, text.as_bytes()).map_err(|error| anyhow!("{error}"))?,
            "merge" => mk8s_api::patch::merge_patch(pod, &patch("Invalid JSON Patch")?),
            "strategic" => mk8s_api::patch::strategic::apply(schema, pod, &patch("invalid JSON document")?)
                .map_err(|error| anyhow!("{error}"))?,
            other => bail!("invalid override type: {other}"),
        };
        if patched["kind"] != "Pod" || !patched["metadata"].is_object() {
            bail!("the overrides do not leave a Pod");
        }
        // Fields that Pods do not have are dropped.
        schema.prune(&mut patched);
        Ok(patched)
    }

    async fn post(&self, cx: &Session, object: Value, dry_run: DryRun) -> Result<(Info, Value)> {
        let info = files::info(cx, files::Document { object, source: String::new() }).await?;
        let path = with_query(
            &info.collection(),
            &[("fieldManager", self.change.manager("kubectl-run")), ("dryRun", dry_run.query())],
        );
        let created = cx.remote().await?.post(&path, &info.object).await?;
        Ok((info, created))
    }

    async fn expose(&self, cx: &Session, dry_run: DryRun) -> Result<Info> {
        let (info, created) = self.post(cx, self.service()?, dry_run).await?;
        self.print_service(dry_run, &created)?;
        Ok(info)
    }

    fn print_service(&self, dry_run: DryRun, service: &Value) -> Result<()> {
        printers::changed_as(&self.change, dry_run, "service", service, "", "created")?;
        if self.change.output.output.as_deref() == Some("yaml") {
            crate::outln!("---");
        }
        Ok(())
    }

    /// Nobody is told when it fails: what happened to the pod is told already.
    async fn remove(&self, cx: &Session, info: &Info) {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
        let Ok(remote) = cx.remote().await else { return };
        if remote.delete(&info.path(), &options).await.is_ok() && !self.quiet {
            let namespace = info.namespace.as_deref().unwrap_or_default();
            crate::outln!("{} {:?} deleted from {namespace} namespace", info.resource.label(), info.name);
        }
    }

    /// Attaches, and waits for the end of a pod that ends for good.
    async fn attach(&self, cx: &Session, info: &Info) -> Result<Option<Value>> {
        let timeout = self.pod_running_timeout;
        let waits = async |wished: fn(&Value) -> bool| {
            let pod = tokio::time::timeout(timeout, until(cx, info, wished)).await;
            pod.map_err(|_| anyhow!("timed out waiting for the condition"))?
        };
        let pod = waits(|pod| is_over(pod) || is_ready(pod)).await?;
        if is_over(&pod) {
            self.print_log(cx, info).await?;
        } else {
            // What was printed before anybody listened.
            match tokio::time::timeout(Duration::from_secs(5), self.print_log(cx, info)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => crate::errln!("warning: couldn't fetch pre-attach logs: {why:#}"),
                Err(_) => crate::errln!("warning: couldn't fetch pre-attach logs: context deadline exceeded"),
            }
            let attached = Info { object: pod, ..info.clone() };
            let wishes = Wishes { stdin: self.stdin, tty: self.tty, quiet: self.quiet };
            if let Err(why) = attach::session(cx, &attached, None, wishes, &self.detach_keys).await {
                crate::errln!("warning: couldn't attach to pod/{}, falling back to streaming logs: {why:#}", info.name);
                self.print_log(cx, info).await?;
            }
        }
        let on_failure = self.restart == "OnFailure" || self.restart.is_empty() && self.stdin;
        if self.leave_stdin_open || !(on_failure || self.restart == "Never") {
            return Ok(None);
        }
        waits(if on_failure { |pod| pod["status"]["phase"] == "Succeeded" } else { is_over }).await.map(Some)
    }

    async fn print_log(&self, cx: &Session, info: &Info) -> Result<()> {
        let path = with_query(&format!("{}/log", info.path()), &[("container", &info.name)]);
        let bytes = cx.remote().await?.bytes(http::Method::GET, &path, "*/*", None).await?;
        crate::say::out_bytes(&bytes);
        Ok(())
    }
}

/// A pod that failed passes its exit code on.
fn exit_of(pod: &Value) -> Result<()> {
    let field = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (field("namespace"), field("name"));
    if pod["status"]["phase"] != "Failed" {
        return Ok(());
    }
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    let Some(code) = terminated["exitCode"].as_i64().filter(|code| *code != 0) else {
        bail!("pod {namespace}/{name} failed with unknown exit code");
    };
    let said = |field: &str| terminated[field].as_str().unwrap_or_default();
    let text = format!("pod {namespace}/{name} terminated ({})\n{}", said("reason"), said("message"));
    crate::errln!("{}", text.trim_end_matches('\n'));
    Err(Failure::Exit(u8::try_from(code & 0xff).unwrap_or(1)).into())
}

/// Whether a text is a reference of an image: `[host[:port]/]path[:tag][@digest]`.
fn is_image(text: &str) -> bool {
    const ATOM: &str = "[a-z0-9]+";
    const LABEL: &str = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let path = format!("{ATOM}(?:(?:[._]|__|-+){ATOM})*");
    let host = format!(r"(?:{LABEL}(?:\.{LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
    let tag = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    let whole = format!("^(?:{host}/)?{path}(?:/{path})*(?::{tag})?(?:@{digest})?$");
    Regex::new(&whole).expect("the pattern is a constant").is_match(text)
}

fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["status"]["phase"] == "Running" && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Waits until the pod is as wished.
async fn until(cx: &Session, info: &Info, wished: fn(&Value) -> bool) -> Result<Value> {
    let remote = cx.remote().await?;
    loop {
        let pod = remote.get(&info.path()).await?;
        if wished(&pod) {
            return Ok(pod);
        }
        let only = format!("metadata.name={}", info.name);
        let version = pod["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let path = with_query(
            &info.collection(),
            &[("fieldSelector", &only), ("watch", "true"), ("resourceVersion", version)],
        );
        let mut events = remote.watch(&path, JSON).await?;
        while let Some((kind, object)) = events.next().await? {
            if kind == "DELETED" {
                let gone = json!({"reason": "NotFound", "message": "pods \"\" not found"});
                return Err(Failure::Api(gone).into());
            }
            if wished(&object) {
                return Ok(object);
            }
        }
        // The server ended the watch; it is begun anew without haste.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use expect_test::expect;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    #[test]
    fn pods_are_made_of_flags() {
        let pod = |text: &str| Line::parse_from(text.split(' ')).run.pod();
        let object =
            pod("x nginx --image=nginx:1 --port=80 --env=A=b --labels=a=b --restart=Never -i -t --command -- sleep 5")
                .unwrap();
        expect![[r#"
            apiVersion: v1
            kind: Pod
            metadata:
              labels:
                a: b
              name: nginx
            spec:
              containers:
              - command:
                - sleep
                - "5"
                env:
                - name: A
                  value: b
                image: nginx:1
                name: nginx
                ports:
                - containerPort: 80
                resources: {}
                stdin: true
                stdinOnce: true
                tty: true
              dnsPolicy: ClusterFirst
              restartPolicy: Never
            status: {}
        "#]]
        .assert_eq(&printers::yaml::to_yaml(&object));
        assert!(pod("x a --image=b --env=A").is_err());
        assert!(pod("x a --image=b --port=http").is_err());
    }

    #[test]
    fn contradictions_are_found_in_order() {
        let cases = [
            ("x", "required flag(s) \"image\" not set"),
            ("x --image=b", "NAME is required for run"),
            ("x --image=b -- a", "NAME is required for run"),
            ("x a --image=", "--image is required"),
            ("x a --image=B", "Invalid image name \"B\": invalid reference format"),
            ("x a --image=b -t", "-i/--stdin is required for containers with -t/--tty=true"),
            ("x a --image=b --expose", "--port must be set when exposing a service"),
            ("x a --image=b --restart=Maybe", "invalid restart policy: Maybe"),
            ("x a --image=b --rm", "--rm should only be used for attached containers"),
            ("x a --image=b --image-pull-policy=Maybe", "invalid image pull policy: Maybe"),
        ];
        for (text, expected) in cases {
            let run = Line::parse_from(text.split(' ')).run;
            let message = run.check(run.attach.unwrap_or(run.stdin), DryRun::None).unwrap_err().to_string();
            assert_eq!(message.lines().next(), Some(expected), "{text}");
        }
    }

    #[test]
    fn images_are_recognised() {
        for image in [
            "nginx",
            "nginx:1.2",
            "a/b/c",
            "localhost:5000/a:b",
            "[::1]:5000/a",
            "a.b/c@sha256:00000000000000000000000000000000",
            "Host.example/x",
        ] {
            assert!(is_image(image), "{image}");
        }
        for image in ["", "A", "a b", ":x", "/a", "a:", "a@sha256:0", "a/../b", "#"] {
            assert!(!is_image(image), "{image}");
        }
    }

    #[test]
    fn a_failed_pod_passes_its_exit_code_on() {
        let pod = |phase: &str, terminated: Value| json!({"metadata": {"namespace": "n", "name": "p"}, "status": {"phase": phase, "containerStatuses": [{"state": {"terminated": terminated}}]}});
        assert!(exit_of(&pod("Succeeded", json!({"exitCode": 0}))).is_ok());
        let told = |pod: &Value| crate::failure::tell(&exit_of(pod).unwrap_err());
        assert_eq!(told(&pod("Failed", json!({"exitCode": 3, "reason": "Error"}))), (String::new(), 3));
        assert_eq!(told(&pod("Failed", Value::Null)), ("error: pod n/p failed with unknown exit code".into(), 1));
    }
}
