//! `top`: what nodes and pods use, as the metrics API says.

use crate::{
    printers::tabs,
    remote::{Remote, with_query},
    session::Session,
};
use anyhow::{Result, bail};
use mk8s_api::{duration, quantity::Quantity};
use serde_json::Value;
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

const API: &str = "/apis/metrics.k8s.io/v1beta1";
/// How old a pod may be before it is a mistake that it has no metrics.
const SETTLED: Duration = Duration::from_secs(120);

#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Top {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Display resource (CPU/memory) usage of nodes
    #[command(visible_aliases = ["nodes", "no"])]
    Node(TopNode),
    /// Display resource (CPU/memory) usage of pods
    #[command(visible_aliases = ["pods", "po"])]
    Pod(TopPod),
}

#[derive(clap::Args, Debug)]
struct TopNode {
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Print without headers.
    #[arg(long)]
    no_headers: bool,
    /// Sort by cpu or memory, the largest first.
    #[arg(long, default_value = "", hide_default_value = true)]
    sort_by: String,
    /// Compare with the capacity of nodes instead of what is allocatable.
    #[arg(long)]
    show_capacity: bool,
    /// Print swap memory, too.
    #[arg(long)]
    show_swap: bool,
    /// Accepted for compatibility.
    #[arg(long, hide = true)]
    use_protocol_buffers: bool,
}

#[derive(clap::Args, Debug)]
struct TopPod {
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Selector (field query).
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// Pods of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Print each container.
    #[arg(long)]
    containers: bool,
    /// Print without headers.
    #[arg(long)]
    no_headers: bool,
    /// Sort by cpu or memory, the largest first.
    #[arg(long, default_value = "", hide_default_value = true)]
    sort_by: String,
    /// Print the sum of all.
    #[arg(long)]
    sum: bool,
    /// Print swap memory, too.
    #[arg(long)]
    show_swap: bool,
    /// Accepted for compatibility.
    #[arg(long, hide = true)]
    use_protocol_buffers: bool,
}

impl Top {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        match &self.command {
            Command::Node(node) => node.run(cx).await,
            Command::Pod(pod) => pod.run(cx).await,
        }
    }
}

fn check_sort(by: &str) -> Result<()> {
    match by {
        "" | "cpu" | "memory" => Ok(()),
        _ => bail!("--sort-by accepts only cpu or memory"),
    }
}

async fn available(remote: &Remote) -> Result<()> {
    let groups = remote.get("/apis").await?;
    let served = |group: &Value| {
        let versions = group["versions"].as_array().into_iter().flatten();
        group["name"] == "metrics.k8s.io" && versions.into_iter().any(|one| one["version"] == "v1beta1")
    };
    match groups["groups"].as_array().into_iter().flatten().any(served) {
        true => Ok(()),
        false => bail!("Metrics API not available"),
    }
}

/// What a thing uses, by resource.
type Used = BTreeMap<String, Quantity>;

fn used(quantities: &Value) -> Used {
    let all = quantities.as_object().into_iter().flatten();
    all.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount).ok()?))).collect()
}

fn of(used: &Used, resource: &str) -> Quantity {
    used.get(resource).copied().unwrap_or(Quantity::ZERO)
}

fn add(sum: &mut Used, more: &Used) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
    }
}

/// The cell of a resource: thousandths of cores, or MiB.
fn amount(resource: &str, quantity: Quantity) -> String {
    match resource {
        "cpu" => format!("{}m", quantity.millis()),
        _ => format!("{}Mi", quantity.value() / (1 << 20)),
    }
}

/// The order of lines: the largest first, or by name.
fn sort<T>(lines: &mut [T], by: &str, used: impl Fn(&T) -> Used, name: impl Fn(&T) -> (String, String)) {
    match by {
        "cpu" => lines.sort_by_cached_key(|line| Reverse(of(&used(line), "cpu").millis())),
        "memory" => lines.sort_by_cached_key(|line| Reverse(of(&used(line), "memory").value())),
        _ => lines.sort_by_cached_key(name),
    }
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn resources(swap: bool) -> &'static [&'static str] {
    if swap { &["cpu", "memory", "swap"] } else { &["cpu", "memory"] }
}

impl TopNode {
    async fn run(&self, cx: &Session) -> Result<()> {
        let name = match self.names.as_slice() {
            [] => "",
            [name] => name,
            _ => bail!("node [NAME | -l label]\nSee 'kubectl top node -h' for help and examples"),
        };
        check_sort(&self.sort_by)?;
        if !name.is_empty() && !self.selector.is_empty() {
            bail!("only one of NAME or --selector can be provided");
        }
        let remote = cx.remote().await?;
        available(remote).await?;
        let selector = [("labelSelector", self.selector.as_str())];
        let (metrics, nodes) = match name {
            "" => (
                items(&remote.get(&with_query(&format!("{API}/nodes"), &selector)).await?),
                items(&remote.list(&with_query("/api/v1/nodes", &selector)).await?),
            ),
            name => (
                vec![remote.get(&format!("{API}/nodes/{name}")).await?],
                vec![remote.get(&format!("/api/v1/nodes/{name}")).await?],
            ),
        };
        if metrics.is_empty() {
            bail!("metrics not available yet");
        }
        crate::say::out(format_args!("{}", self.table(metrics, &nodes)));
        Ok(())
    }

    fn table(&self, mut metrics: Vec<Value>, nodes: &[Value]) -> String {
        sort(
            &mut metrics,
            &self.sort_by,
            |one| used(&one["usage"]),
            |one| (text(&one["metadata"], "name").to_owned(), String::new()),
        );
        let resources = resources(self.show_swap);
        let mut lines = String::new();
        if !self.no_headers {
            lines.push_str("NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\t");
            lines.push_str(if self.show_swap { "SWAP(bytes)\tSWAP(%)\t\n" } else { "\n" });
        }
        let field = if self.show_capacity { "capacity" } else { "allocatable" };
        let mut limits: BTreeMap<&str, Used> = BTreeMap::new();
        for node in nodes {
            let mut limit = used(&node["status"][field]);
            if let Some(swap) = node["status"]["nodeInfo"]["swap"]["capacity"].as_i64() {
                limit.insert("swap".to_owned(), Quantity::from_units(swap, mk8s_api::quantity::Format::Binary));
            }
            limits.insert(text(&node["metadata"], "name"), limit);
        }
        for one in &metrics {
            let (name, used) = (text(&one["metadata"], "name"), used(&one["usage"]));
            let limit = limits.remove(name).unwrap_or_default();
            lines.push_str(&format!("{name}\t"));
            for resource in resources {
                if *resource == "swap" && !limit.contains_key("swap") {
                    lines.push_str("<unknown>\t<unknown>\t");
                    continue;
                }
                let quantity = of(&used, resource);
                lines.push_str(&format!("{}\t", amount(resource, quantity)));
                if let Some(limit) = limit.get(*resource) {
                    let percent = i128::from(quantity.millis()) * 100 / i128::from(limit.millis().max(1));
                    lines.push_str(&format!("{percent}%\t"));
                }
            }
            lines.push('\n');
        }
        // Nodes that say nothing.
        for name in limits.keys() {
            lines.push_str(&format!("{name}\t{}\n", "<unknown>\t".repeat(2 * resources.len())));
        }
        tabs::align(&lines, 6, 3)
    }
}

impl TopPod {
    async fn run(&self, cx: &Session) -> Result<()> {
        let name = match self.names.as_slice() {
            [] => "",
            [name] => name,
            _ => bail!("pod [NAME | -l label]\nSee 'kubectl top pod -h' for help and examples"),
        };
        check_sort(&self.sort_by)?;
        let selects = !self.selector.is_empty() || !self.field_selector.is_empty();
        if selects && !name.is_empty() {
            bail!("only one of NAME or selector can be provided");
        }
        let remote = cx.remote().await?;
        available(remote).await?;
        let namespace = cx.namespace().await?;
        let place = if self.all_namespaces { String::new() } else { format!("/namespaces/{namespace}") };
        let selectors = [("labelSelector", self.selector.as_str()), ("fieldSelector", self.field_selector.as_str())];
        let metrics = match name {
            "" => items(&remote.get(&with_query(&format!("{API}{place}/pods"), &selectors)).await?),
            name => vec![remote.get(&format!("{API}{place}/pods/{name}")).await?],
        };
        if metrics.is_empty() {
            let pods = items(&remote.list(&with_query(&format!("/api/v1{place}/pods"), &selectors)).await?);
            explain(&pods, jiff::Timestamp::now())?;
            match self.all_namespaces {
                true => crate::errln!("No resources found"),
                false => crate::errln!("No resources found in {namespace} namespace."),
            }
            return Ok(());
        }
        crate::say::out(format_args!("{}", self.table(metrics)));
        Ok(())
    }

    fn table(&self, mut metrics: Vec<Value>) -> String {
        let of_pod = |one: &Value| {
            let mut sum = Used::new();
            one["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .for_each(|container| add(&mut sum, &used(&container["usage"])));
            sum
        };
        let name = |one: &Value| {
            let metadata = &one["metadata"];
            let namespace = if self.all_namespaces { text(metadata, "namespace") } else { "" };
            (namespace.to_owned(), text(metadata, "name").to_owned())
        };
        sort(&mut metrics, &self.sort_by, of_pod, name);
        let resources = resources(self.show_swap);
        let cells = |used: &Used| {
            resources.iter().map(|name| format!("{}\t", amount(name, of(used, name)))).collect::<String>()
        };
        let mut lines = String::new();
        let lead = usize::from(self.all_namespaces) + usize::from(self.containers);
        if !self.no_headers {
            let before = [(self.all_namespaces, "NAMESPACE\t"), (self.containers, "POD\t")];
            before.iter().filter(|(shown, _)| *shown).for_each(|(_, name)| lines.push_str(name));
            lines.push_str("NAME\tCPU(cores)\tMEMORY(bytes)\t");
            lines.push_str(if self.show_swap { "SWAP(bytes)\t\n" } else { "\n" });
        }
        for one in &metrics {
            let metadata = &one["metadata"];
            let namespace =
                if self.all_namespaces { format!("{}\t", text(metadata, "namespace")) } else { String::new() };
            let pod = text(metadata, "name");
            if !self.containers {
                lines.push_str(&format!("{namespace}{pod}\t{}\n", cells(&of_pod(one))));
                continue;
            }
            let mut containers = one["containers"].as_array().cloned().unwrap_or_default();
            sort(
                &mut containers,
                &self.sort_by,
                |one| used(&one["usage"]),
                |one| (text(one, "name").to_owned(), String::new()),
            );
            for container in &containers {
                lines.push_str(&format!(
                    "{namespace}{pod}\t{}\t{}\n",
                    text(container, "name"),
                    cells(&used(&container["usage"]))
                ));
            }
        }
        if self.sum {
            let mut sum = Used::new();
            metrics.iter().for_each(|one| add(&mut sum, &of_pod(one)));
            // Where there are no headers, kubectl does not count the columns in front either.
            let lead = if self.no_headers { 0 } else { lead };
            let columns = resources.len() + 1 + lead;
            lines.push_str(&format!("{}________\t________\t\n", "\t".repeat(columns - 2)));
            lines.push_str(&format!("{}\t{}\n", "\t".repeat(columns - 3), cells(&sum)));
        }
        tabs::align(&lines, 6, 3)
    }
}

/// Why pods that there are have no metrics.
fn explain(pods: &[Value], now: jiff::Timestamp) -> Result<()> {
    if pods.is_empty() {
        return Ok(());
    }
    for pod in pods {
        let metadata = &pod["metadata"];
        let Some(created) = mk8s_api::meta::parse_time(text(metadata, "creationTimestamp")) else { continue };
        let age = Duration::from_secs(u64::try_from(now.as_second() - created.as_second()).unwrap_or_default());
        if age > SETTLED {
            let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
            bail!("Metrics not available for pod {namespace}/{name}, age: {}", duration::text_of(age));
        }
    }
    bail!("metrics not available yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use expect_test::{Expect, expect};
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        top: Top,
    }

    fn read(line: &str) -> Command {
        let words = std::iter::once("top").chain(line.split(' '));
        Line::try_parse_from(words).map_err(|error| error.to_string()).expect("a command line").top.command
    }

    /// Trailing blanks are shown as in kubectl, and marked here.
    fn check(shown: &str, expected: Expect) {
        expected.assert_eq(&shown.replace(" \n", "·\n"));
    }

    fn pods() -> Vec<Value> {
        let container =
            |name: &str, cpu: &str, memory: &str| json!({"name": name, "usage": {"cpu": cpu, "memory": memory}});
        vec![
            json!({"metadata": {"name": "web", "namespace": "default"},
                "containers": [container("nginx", "1500u", "20Mi"), container("side", "250m", "1024Ki")]}),
            json!({"metadata": {"name": "db", "namespace": "data"}, "containers": [container("pg", "1", "1Gi")]}),
        ]
    }

    fn pod(line: &str) -> String {
        let Command::Pod(pod) = read(line) else { panic!("{line} is about pods") };
        pod.table(pods())
    }

    #[test]
    fn pods_are_shown() {
        check(
            &pod("pods"),
            expect![[r#"
            NAME   CPU(cores)   MEMORY(bytes)  ·
            db     1000m        1024Mi         ·
            web    252m         21Mi           ·
        "#]],
        );
        check(
            &pod("pod -A --containers --sort-by=memory --sum"),
            expect![[r#"
            NAMESPACE   POD   NAME    CPU(cores)   MEMORY(bytes)  ·
            data        db    pg      1000m        1024Mi         ·
            default     web   nginx   2m           20Mi           ·
            default     web   side    250m         1Mi            ·
                                      ________     ________       ·
                                      1252m        1045Mi         ·
        "#]],
        );
        check(
            &pod("po --no-headers"),
            expect![[r#"
            db    1000m   1024Mi  ·
            web   252m    21Mi    ·
        "#]],
        );
    }

    #[test]
    fn nodes_are_shown() {
        let node = |name: &str| {
            json!({"metadata": {"name": name}, "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi"}, "capacity": {"cpu": "4", "memory": "8Gi"}}})
        };
        let metrics =
            |name: &str, cpu: &str| json!({"metadata": {"name": name}, "usage": {"cpu": cpu, "memory": "1Gi"}});
        let shown = |line: &str| {
            let Command::Node(top) = read(line) else { panic!("{line} is about nodes") };
            top.table(vec![metrics("b", "300m"), metrics("a", "20m")], &[node("a"), node("b"), node("c")])
        };
        check(
            &shown("node"),
            expect![[r#"
            NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)  ·
            a      20m          1%          1024Mi          25%        ·
            b      300m         15%         1024Mi          25%        ·
            c      <unknown>    <unknown>   <unknown>       <unknown>  ·
        "#]],
        );
        check(
            &shown("nodes --show-capacity --sort-by cpu --no-headers"),
            expect![[r#"
            b     300m        7%          1024Mi      12%        ·
            a     20m         0%          1024Mi      12%        ·
            c     <unknown>   <unknown>   <unknown>   <unknown>  ·
        "#]],
        );
    }

    #[test]
    fn missing_metrics_are_explained() {
        let now = mk8s_api::meta::parse_time("2024-01-01T01:00:00Z").expect("a time");
        let pod = |created: &str| json!({"metadata": {"name": "a", "namespace": "b", "creationTimestamp": created}});
        let said = |pods: &[Value]| explain(pods, now).map_err(|error| error.to_string());
        assert_eq!(said(&[]), Ok(()));
        assert_eq!(said(&[pod("2024-01-01T00:59:30Z")]), Err("metrics not available yet".to_owned()));
        assert_eq!(
            said(&[pod("2024-01-01T00:30:05Z")]),
            Err("Metrics not available for pod b/a, age: 29m55s".to_owned())
        );
    }
}
