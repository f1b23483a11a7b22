//! `run`: one pod of an image, attached to if wished.

use super::streams::{self, Wishes};
use crate::{
    failure::Failure,
    flags::{ChangeFlags, DryRun},
    printers,
    remote::{JSON, with_query},
    resolve::{Info, files},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Map, Value, json};
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Run {
    name: Option<String>,
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
    port: Option<u16>,
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
    #[arg(long, default_value = "1m0s")]
    pod_running_timeout: String,
    #[command(flatten)]
    change: ChangeFlags,
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Run {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        let attach = self.attach.unwrap_or(self.stdin);
        if self.tty && !self.stdin {
            bail!("-i/--stdin is required for containers with -t/--tty=true");
        }
        if self.rm && !attach {
            bail!("--rm should only be used for attached containers");
        }
        if attach && dry_run != DryRun::None {
            bail!("--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)");
        }
        if self.expose && self.port.is_none() {
            bail!("--port must be set when exposing a service");
        }
        let mut pod = self.pod()?;
        if let Some(text) = &self.overrides {
            pod = self.overridden(pod, text)?;
        }
        if dry_run == DryRun::Client {
            if let Some(namespace) = cx.namespace_flag() {
                pod["metadata"]["namespace"] = namespace.into();
            }
            printers::changed_as(&self.change, dry_run, "pod", &pod, "", "created")?;
            return self.expose(cx, dry_run).await;
        }
        let info = files::info(cx, files::Document { object: pod, source: String::new() }).await?;
        let created = self.post(cx, &info, dry_run).await?;
        if attach {
            let mut outcome = self.attach(cx, &info).await;
            if self.rm {
                let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
                match cx.remote().await?.delete(&info.path(), &options).await {
                    Ok(_) if self.quiet => {}
                    Ok(_) => crate::outln!("pod {:?} deleted from {} namespace", info.name, info.namespace.as_deref().unwrap_or_default()),
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            return outcome;
        }
        printers::changed(&self.change, dry_run, &info, &created, "created")?;
        self.expose(cx, dry_run).await
    }

    fn pod(&self) -> Result<Value> {
        let Some(name) = &self.name else { bail!("NAME is required for run\nSee 'kubectl run -h' for help and examples") };
        let Some(image) = self.image.as_deref().filter(|image| !image.is_empty()) else { bail!("--image is required") };
        if image.contains(char::is_whitespace) || image.starts_with([':', '/']) {
            bail!("Invalid image name {image:?}: invalid reference format");
        }
        if !["Always", "OnFailure", "Never"].contains(&self.restart.as_str()) {
            bail!("invalid restart policy: {}\nSee 'kubectl run -h' for help and examples", self.restart);
        }
        let labels = match &self.labels {
            Some(text) => super::expose::parse_labels(text)?,
            None => Map::from_iter([("run".to_owned(), name.clone().into())]),
        };
        let mut container = json!({"name": name, "image": image, "resources": {}});
        if !self.args.is_empty() {
            container[if self.command { "command" } else { "args" }] = self.args.clone().into();
        }
        if !self.env.is_empty() {
            let env = self.env.iter().map(|pair| match pair.split_once('=') {
                Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
                _ => Err(anyhow!("invalid env: {pair}")),
            });
            container["env"] = env.collect::<Result<Vec<_>>>()?.into();
        }
        if let Some(port) = self.port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if let Some(policy) = &self.image_pull_policy {
            if !["Always", "IfNotPresent", "Never"].contains(&policy.as_str()) {
                bail!("invalid image pull policy: {policy}\nSee 'kubectl run -h' for help and examples");
            }
            container["imagePullPolicy"] = policy.clone().into();
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
        let mut metadata = json!({"name": name, "labels": labels});
        if !self.annotations.is_empty() {
            metadata["annotations"] = super::expose::parse_labels(&self.annotations.join(","))?.into();
        }
        Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
            "containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": self.restart}, "status": {}}))
    }

    fn overridden(&self, pod: Value, text: &str) -> Result<Value> {
        let invalid = |error: &dyn std::fmt::Display| anyhow!("invalid overrides: {error}");
        let patch: Value = serde_json::from_str(text).map_err(|error| invalid(&error))?;
        match self.override_type.as_str() {
            "json" => mk8s_api::patch::json_patch(&pod, text.as_bytes()).map_err(|error| invalid(&error)),
            "merge" => Ok(mk8s_api::patch::merge_patch(pod, &patch)),
            "strategic" => {
                let schema = mk8s_api::schema::schema_of("", "v1", "Pod").ok_or_else(|| anyhow!("no schema of Pod"))?;
                mk8s_api::patch::strategic::apply(schema, pod, &patch).map_err(|error| invalid(&error))
            }
            other => bail!("invalid override type: {other}"),
        }
    }

    async fn post(&self, cx: &Session, info: &Info, dry_run: DryRun) -> Result<Value> {
        let path = with_query(&info.collection(), &[("fieldManager", self.change.manager("kubectl-run")), ("dryRun", dry_run.query())]);
        cx.remote().await?.post(&path, &info.object).await
    }

    async fn expose(&self, cx: &Session, dry_run: DryRun) -> Result<()> {
        let (true, Some(port), Some(name)) = (self.expose, self.port, &self.name) else { return Ok(()) };
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
            "ports": [{"port": port, "protocol": "TCP", "targetPort": port}], "selector": {"run": name}}, "status": {"loadBalancer": {}}});
        let service = if dry_run == DryRun::Client {
            object
        } else {
            let info = files::info(cx, files::Document { object, source: String::new() }).await?;
            self.post(cx, &info, dry_run).await?
        };
        printers::changed_as(&self.change, dry_run, "service", &service, "", "created")
    }

    /// Attaches, and passes the exit code on when the pod ends for good.
    async fn attach(&self, cx: &Session, info: &Info) -> Result<()> {
        let timeout = crate::flags::duration(&self.pod_running_timeout)?;
        let wishes = Wishes { stdin: self.stdin, tty: self.tty, quiet: self.quiet }.checked();
        let pod = tokio::time::timeout(timeout, until(cx, info, has_started))
            .await
            .map_err(|_| anyhow!("timed out waiting for the condition"))??;
        let remote = cx.remote().await?;
        if is_over(&pod) {
            self.print_log(cx, info).await?;
        } else {
            if wishes.stdin && !self.quiet {
                crate::errln!("If you don't see a command prompt, try pressing enter.");
            }
            let api: Api<Pod> = Api::namespaced(remote.client.clone(), info.namespace.as_deref().unwrap_or("default"));
            let container = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default().to_owned();
            match api.attach(&info.name, &wishes.params(&container)).await {
                Ok(process) => {
                    if let Err(error) = streams::join(process, wishes).await {
                        crate::errln!("{}", crate::failure::tell(&error).0);
                    }
                }
                Err(error) => {
                    crate::errln!("warning: couldn't attach to pod/{}, falling back to streaming logs: {}", info.name, streams::from_kube(error));
                    self.print_log(cx, info).await?;
                }
            }
        }
        if self.restart == "Always" || self.leave_stdin_open {
            return Ok(());
        }
        let pod = until(cx, info, is_over).await?;
        let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        match terminated["exitCode"].as_i64() {
            _ if pod["status"]["phase"] == "Succeeded" => Ok(()),
            None => bail!("pod {}/{} failed with unknown exit code", info.namespace.as_deref().unwrap_or_default(), info.name),
            Some(0) => Ok(()),
            Some(code) => {
                let reason = terminated["reason"].as_str().unwrap_or_default();
                let message = terminated["message"].as_str().unwrap_or_default();
                crate::errln!("pod {}/{} terminated ({reason})\n{message}", info.namespace.as_deref().unwrap_or_default(), info.name);
                Err(Failure::Exit(u8::try_from(code).unwrap_or(1)).into())
            }
        }
    }

    async fn print_log(&self, cx: &Session, info: &Info) -> Result<()> {
        let bytes = cx.remote().await?.bytes(http::Method::GET, &format!("{}/log", info.path()), "*/*", None).await?;
        crate::say::out_bytes(&bytes);
        Ok(())
    }
}

fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn has_started(pod: &Value) -> bool {
    let running = pod["status"]["containerStatuses"].as_array().is_some_and(|all| all.iter().any(|c| c["state"].get("running").is_some()));
    is_over(pod) || (pod["status"]["phase"] == "Running" && running)
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
        let path = with_query(&info.collection(), &[("fieldSelector", &only), ("watch", "true"), ("resourceVersion", version)]);
        let mut events = remote.watch(&path, JSON).await?;
        while let Some((kind, object)) = events.next().await? {
            if kind == "DELETED" {
                bail!("pod {:?} was deleted", info.name);
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
        let object = pod("x nginx --image=nginx:1 --port=80 --env=A=b --labels=a=b --restart=Never -i -t --command -- sleep 5").unwrap();
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
        for text in ["x", "x a", "x a --image=b --restart=Maybe", "x a --image=b --env=A"] {
            assert!(pod(text).is_err(), "{text}");
        }
    }
}
