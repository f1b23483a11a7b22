//! `expose`: a Service for the pods of a workload, another Service or a pod.

use super::create::service::port_value;
use crate::{
    flags::{ChangeFlags, DryRun, Files},
    printers,
    record::RecordFlag,
    remote::with_query,
    resolve::{self, Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Expose {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The port that the service should serve on.
    #[arg(long)]
    port: Option<String>,
    /// Name or number of the container's port.
    #[arg(long)]
    target_port: Option<String>,
    /// The name of the new service.
    #[arg(long)]
    name: Option<String>,
    /// ClusterIP, NodePort, LoadBalancer, or ExternalName.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// TCP, UDP or SCTP.
    #[arg(long)]
    protocol: Option<String>,
    /// Labels of the new service.
    #[arg(short = 'l', long)]
    labels: Option<String>,
    /// The selector of the new service.
    #[arg(long)]
    selector: Option<String>,
    /// Additional external IP address.
    #[arg(long)]
    external_ip: Option<String>,
    /// IP to assign to a load balancer.
    #[arg(long)]
    load_balancer_ip: Option<String>,
    /// None or ClientIP.
    #[arg(long)]
    session_affinity: Option<String>,
    /// The cluster IP; None makes a headless service.
    #[arg(long)]
    cluster_ip: Option<String>,
    /// A JSON merge patch for the generated object.
    #[arg(long)]
    overrides: Option<String>,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Expose {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let query = Query { args: &self.args, files: Some(&self.files), ..Query::default() };
        for info in resolve::fetch(cx, &query).await? {
            let mut service = self.service(&info)?;
            let namespace = info.namespace.clone().unwrap_or_default();
            if let Some(overrides) = &self.overrides {
                let patch: Value =
                    serde_json::from_str(overrides).map_err(|error| anyhow!("invalid --overrides: {error}"))?;
                service = mk8s_api::patch::merge_patch(service, &patch);
            }
            self.record.apply(&mut service);
            let dry_run = self.change.dry_run()?;
            if dry_run == DryRun::Client {
                if cx.namespace_flag().is_some() {
                    service["metadata"]["namespace"] = namespace.clone().into();
                }
            } else {
                service["metadata"]["namespace"] = namespace.clone().into();
                let path = format!("/api/v1/namespaces/{namespace}/services");
                let path = with_query(
                    &path,
                    &[("fieldManager", self.change.manager("kubectl-expose")), ("dryRun", dry_run.query())],
                );
                service = cx.remote().await?.post(&path, &service).await?;
            }
            printers::changed_as(&self.change, dry_run, "service", &service, "", "exposed")?;
        }
        Ok(())
    }

    fn service(&self, info: &Info) -> Result<Value> {
        let exposable = ["Service", "ReplicationController", "Pod", "Deployment", "ReplicaSet"];
        if !exposable.contains(&info.resource.kind.as_str()) {
            bail!("cannot expose a {}", info.resource.kind);
        }
        let selector = match &self.selector {
            Some(text) => parse_labels(text)?,
            None => selector(info)?,
        };
        let labels = match &self.labels {
            Some(text) => parse_labels(text)?,
            None => info.object["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
        };
        let headless = self.cluster_ip.as_deref() == Some("None");
        let found = ports(info);
        let ports = match &self.port {
            Some(text) => {
                let numbers: Result<Vec<i64>> = text
                    .split(',')
                    .map(|port| {
                        port.parse::<i64>().map_err(|_| anyhow!("strconv.Atoi: parsing {port:?}: invalid syntax"))
                    })
                    .collect();
                let protocol =
                    |port: i64| found.iter().find(|(number, _)| *number == port).map(|(_, protocol)| protocol.clone());
                numbers?.into_iter().map(|port| (port, protocol(port).unwrap_or_else(|| "TCP".to_owned()))).collect()
            }
            None if found.is_empty() && !headless => bail!("couldn't find port via --port flag or introspection"),
            None => found,
        };
        let mut spec = json!({"selector": selector});
        let many = ports.len() > 1;
        let ports: Vec<Value> = ports
            .into_iter()
            .enumerate()
            .map(|(index, (port, protocol))| {
                let protocol = self.protocol.clone().unwrap_or(protocol);
                let target = self.target_port.as_deref().map_or(port.into(), port_value);
                let mut value = json!({"port": port, "protocol": protocol, "targetPort": target});
                if many {
                    value["name"] = format!("port-{}", index + 1).into();
                }
                value
            })
            .collect();
        if !ports.is_empty() {
            spec["ports"] = ports.into();
        }
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec[field] = value;
            }
        };
        set("type", self.kind.clone().map(Value::from));
        set("externalIPs", self.external_ip.clone().map(|ip| json!([ip])));
        set("loadBalancerIP", self.load_balancer_ip.clone().map(Value::from));
        set("clusterIP", self.cluster_ip.clone().map(Value::from));
        set("sessionAffinity", self.session_affinity.clone().map(Value::from));
        let mut metadata = json!({"name": self.name.as_deref().unwrap_or(&info.name)});
        if !labels.is_empty() {
            metadata["labels"] = labels.into();
        }
        Ok(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}),
        )
    }
}

fn selector(info: &Info) -> Result<Map<String, Value>> {
    let object = &info.object;
    let labels = match info.resource.kind.as_str() {
        "Pod" => &object["metadata"]["labels"],
        "Service" | "ReplicationController" => &object["spec"]["selector"],
        _ => {
            if object["spec"]["selector"]["matchExpressions"].as_array().is_some_and(|all| !all.is_empty()) {
                bail!(
                    "couldn't retrieve selectors via --selector flag or introspection: couldn't convert expressions - {} to map-based selector format",
                    object["spec"]["selector"]["matchExpressions"]
                );
            }
            &object["spec"]["selector"]["matchLabels"]
        }
    };
    match labels.as_object() {
        Some(labels) if !labels.is_empty() => Ok(labels.clone()),
        _ if info.resource.kind == "Pod" => {
            bail!(
                "couldn't retrieve selectors via --selector flag or introspection: the pod has no labels and cannot be exposed"
            )
        }
        _ => bail!(
            "couldn't retrieve selectors via --selector flag or introspection: the {} has no pod selector set",
            info.resource.kind.to_lowercase()
        ),
    }
}

/// Numbers and protocols of the ports an object has.
fn ports(info: &Info) -> Vec<(i64, String)> {
    let spec = &info.object["spec"];
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match info.resource.kind.as_str() {
        "Service" => {
            list(&spec["ports"]).iter().filter_map(|port| Some((port["port"].as_i64()?, protocol(port)))).collect()
        }
        kind => {
            let pod = if kind == "Pod" { spec } else { &spec["template"]["spec"] };
            let containers = list(&pod["containers"]);
            let ports = containers.iter().flat_map(|container| list(&container["ports"]));
            ports.filter_map(|port| Some((port["containerPort"].as_i64()?, protocol(&port)))).collect()
        }
    }
}

/// `a=b,c=d`
pub(crate) fn parse_labels(text: &str) -> Result<Map<String, Value>> {
    if text.is_empty() {
        bail!("no label spec passed");
    }
    text.split(',')
        .map(|pair| match pair.split_once('=') {
            Some(("", _)) => Err(anyhow!("unexpected empty label key")),
            Some((key, value)) if !value.contains('=') => Ok((key.to_owned(), value.into())),
            _ => Err(anyhow!("unexpected label spec: {pair}")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printers::yaml::to_yaml;
    use clap::Parser;
    use expect_test::expect;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        expose: Expose,
    }

    fn service(flags: &str, object: Value) -> Result<String> {
        let line = Line::parse_from(format!("x {flags}").split_whitespace());
        let resource =
            crate::resolve::discovery::Resource { kind: object["kind"].as_str().unwrap().into(), ..Default::default() };
        let info = Info { resource: resource.into(), namespace: None, name: "web".into(), object, source: None };
        line.expose.service(&info).map(|service| to_yaml(&service))
    }

    #[test]
    fn services_follow_what_they_expose() {
        let deployment = json!({"kind": "Deployment", "metadata": {"labels": {"app": "web"}}, "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}]}}}});
        expect![[r#"
            apiVersion: v1
            kind: Service
            metadata:
              labels:
                app: web
              name: web
            spec:
              ports:
              - port: 8080
                protocol: TCP
                targetPort: 80
              selector:
                app: web
              type: NodePort
            status:
              loadBalancer: {}
        "#]]
        .assert_eq(&service("--port 8080 --target-port 80 --type NodePort", deployment.clone()).unwrap());
        let both = service("--name other", deployment).unwrap();
        assert!(both.contains("name: port-1") && both.contains("protocol: UDP"), "{both}");
        let bare = json!({"kind": "Pod", "metadata": {}, "spec": {}});
        assert_eq!(
            service("--port 1", bare).unwrap_err().to_string(),
            "couldn't retrieve selectors via --selector flag or introspection: the pod has no labels and cannot be exposed"
        );
    }
}
