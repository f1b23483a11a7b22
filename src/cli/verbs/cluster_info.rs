//! `cluster-info`: where the control plane is; with `dump`, what is needed to look into trouble.

use crate::{
    printers::{self, Output},
    remote::{JSON, with_query},
    session::Session,
};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
pub(crate) struct ClusterInfo {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Dump relevant information for debugging and diagnosis
    Dump(Dump),
}

#[derive(clap::Args, Debug)]
struct Dump {
    /// A directory for the files; standard output when empty or '-'.
    #[arg(long, value_name = "DIRECTORY", default_value = "", hide_default_value = true)]
    output_directory: String,
    /// The namespaces to dump; by default the present one and kube-system.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Dump all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Output format: json or yaml.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "json", hide_default_value = true)]
    output: String,
    /// How long to wait for a pod to run; accepted for compatibility.
    #[arg(long, default_value = "20s", hide_default_value = true)]
    pod_running_timeout: String,
}

impl ClusterInfo {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if let Some(Command::Dump(dump)) = &self.command {
            return dump.run(cx).await;
        }
        let shown = show(cx).await;
        crate::outln!("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.");
        shown
    }
}

async fn show(cx: &Session) -> Result<()> {
    let remote = cx.remote().await?;
    let namespace = cx.namespace_flag().unwrap_or("kube-system");
    let path = format!("/api/v1/namespaces/{namespace}/services");
    let services = remote.list(&with_query(&path, &[("labelSelector", "kubernetes.io/cluster-service=true")])).await?;
    crate::outln!("Kubernetes control plane is running at {}", remote.url);
    for service in services["items"].as_array().into_iter().flatten() {
        let metadata = &service["metadata"];
        let name = metadata["labels"]["kubernetes.io/name"].as_str().filter(|name| !name.is_empty());
        let name = name.or(metadata["name"].as_str()).unwrap_or_default();
        crate::outln!("{name} is running at {}", link(&remote.url, service));
    }
    Ok(())
}

/// Where a service is reached: its load balancer, or the proxy of the API server.
fn link(url: &str, service: &Value) -> String {
    let (metadata, ports) = (&service["metadata"], service["spec"]["ports"].as_array());
    let ports = ports.map(Vec::as_slice).unwrap_or_default();
    if let Some(balancer) = service["status"]["loadBalancer"]["ingress"].as_array().and_then(|all| all.first()) {
        let address =
            balancer["ip"].as_str().filter(|ip| !ip.is_empty()).or(balancer["hostname"].as_str()).unwrap_or_default();
        return ports.iter().map(|port| format!("http://{address}:{} ", port["port"])).collect();
    }
    let mut name = metadata["name"].as_str().unwrap_or_default().to_owned();
    if let Some(port) = ports.first() {
        let port_name = port["name"].as_str().unwrap_or_default();
        let scheme = if port_name == "https" || port["port"] == 443 { "https" } else { "" };
        if !(scheme.is_empty() && port_name.is_empty()) {
            let front = if scheme.is_empty() { String::new() } else { format!("{scheme}:") };
            name = format!("{front}{name}:{port_name}");
        }
    }
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    format!("{url}/api/v1/namespaces/{namespace}/services/{name}/proxy")
}

impl Dump {
    async fn run(&self, cx: &Session) -> Result<()> {
        let remote = cx.remote().await?;
        self.print(&remote.list("/api/v1/nodes").await?, "nodes")?;
        for namespace in self.wanted(cx).await? {
            let kinds = [
                ("/api/v1", "events", "events"),
                ("/api/v1", "replicationcontrollers", "replication-controllers"),
                ("/api/v1", "services", "services"),
                ("/apis/apps/v1", "daemonsets", "daemonsets"),
                ("/apis/apps/v1", "deployments", "deployments"),
                ("/apis/apps/v1", "replicasets", "replicasets"),
                ("/api/v1", "pods", "pods"),
            ];
            let mut pods = Value::Null;
            for (root, plural, file) in kinds {
                pods = remote.list(&format!("{root}/namespaces/{namespace}/{plural}")).await?;
                self.print(&pods, &format!("{namespace}/{file}"))?;
            }
            for pod in pods["items"].as_array().into_iter().flatten() {
                self.logs(cx, &namespace, pod).await?;
            }
        }
        if let Some(directory) = self.directory() {
            crate::outln!("Cluster info dumped to {}", directory.display());
        }
        Ok(())
    }

    fn directory(&self) -> Option<&Path> {
        (!matches!(self.output_directory.as_str(), "" | "-")).then(|| Path::new(&self.output_directory))
    }

    async fn wanted(&self, cx: &Session) -> Result<Vec<String>> {
        if self.all_namespaces {
            let all = cx.remote().await?.list("/api/v1/namespaces").await?;
            let names =
                all["items"].as_array().into_iter().flatten().filter_map(|one| one["metadata"]["name"].as_str());
            return Ok(names.map(str::to_owned).collect());
        }
        match self.namespaces.as_slice() {
            [] => Ok(vec!["kube-system".to_owned(), cx.namespace().await?]),
            given => Ok(given.to_vec()),
        }
    }

    fn print(&self, list: &Value, file: &str) -> Result<()> {
        let mut list = list.clone();
        list["items"].as_array_mut().into_iter().flatten().for_each(printers::drop_managed_fields);
        let output = Output::parse(&self.output)?;
        let extension = match output {
            Output::Yaml => "yaml",
            Output::Json => "json",
            _ => "txt",
        };
        self.write(&format!("{file}.{extension}"), printers::object_text(&output, &list)?.as_bytes())
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let Some(directory) = self.directory() else {
            crate::say::out_bytes(bytes);
            return Ok(());
        };
        let path: PathBuf = directory.join(file);
        let parent = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    async fn logs(&self, cx: &Session, namespace: &str, pod: &Value) -> Result<()> {
        let remote = cx.remote().await?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let containers =
            ["initContainers", "containers"].map(|field| pod["spec"][field].as_array().into_iter().flatten());
        let mut all = Vec::new();
        for container in containers.into_iter().flatten().filter_map(|container| container["name"].as_str()) {
            let edge =
                |word: &str| format!("==== {word} logs for container {container} of pod {namespace}/{name} ====\n");
            all.extend(edge("START").into_bytes());
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/log");
            match remote.bytes(http::Method::GET, &with_query(&path, &[("container", container)]), JSON, None).await {
                Ok(log) => all.extend_from_slice(&log),
                Err(error) => all.extend(format!("Request log error: {error}\n").into_bytes()),
            }
            all.extend(edge("END").into_bytes());
        }
        self.write(&format!("{namespace}/{name}/logs.txt"), &all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn links_lead_to_balancers_or_the_proxy() {
        let service = |name: &str, ports: Value, ingress: Value| json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"ports": ports}, "status": {"loadBalancer": {"ingress": ingress}}});
        let proxied = |name: &str| format!("https://h/api/v1/namespaces/n/services/{name}/proxy");
        let cases = [
            (service("a", json!([{"name": "dns", "port": 53}]), json!([])), proxied("a:dns")),
            (service("a", json!([{"port": 443}]), json!([])), proxied("https:a:")),
            (service("a", json!([{"port": 80}]), json!([])), proxied("a")),
            (
                service("a", json!([{"port": 80}, {"port": 81}]), json!([{"ip": "1.2.3.4"}])),
                "http://1.2.3.4:80 http://1.2.3.4:81 ".to_owned(),
            ),
        ];
        for (service, expected) in cases {
            assert_eq!(link("https://h", &service), expected);
        }
    }
}
