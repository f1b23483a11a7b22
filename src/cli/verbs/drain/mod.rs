//! `cordon`, `uncordon` and `drain`: nodes go out of service and come back.

mod evict;
mod filters;

use super::targets::{self, between};
use crate::{
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun},
    printers,
    remote::{Remote, with_query},
    resolve::{Info, Query, items},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use filters::{Allowed, Owner, Verdict, daemon_set, grouped, judge};
use std::collections::BTreeMap;

#[derive(clap::Args, Debug)]
pub(crate) struct Cordon {
    #[command(flatten)]
    nodes: Nodes,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Uncordon {
    #[command(flatten)]
    nodes: Nodes,
}

/// Which nodes.
#[derive(clap::Args, Debug)]
struct Nodes {
    #[arg(value_name = "NODE")]
    args: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// none, client or server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "unchanged", value_name = "STRATEGY")]
    dry_run: Option<String>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Drain {
    #[command(flatten)]
    nodes: Nodes,
    /// Continue even if there are pods that do not declare a controller.
    #[arg(long)]
    force: bool,
    /// Ignore pods of daemon sets.
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Continue even if there are pods using emptyDir; their data goes with them.
    #[arg(long)]
    delete_emptydir_data: bool,
    /// Seconds to terminate gracefully; negative is the pod's own.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, hide_default_value = true)]
    grace_period: i64,
    /// How long to wait; 0 is for ever.
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    /// Only pods that match this label query.
    #[arg(long, default_value = "", hide_default_value = true)]
    pod_selector: String,
    /// Delete pods instead of evicting them; disruption budgets are not asked.
    #[arg(long)]
    disable_eviction: bool,
    /// Do not wait for pods deleted longer ago than this many seconds.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    skip_wait_for_delete_timeout: i64,
    /// Page size of lists; accepted for compatibility.
    #[arg(long, default_value_t = 500, hide = true)]
    chunk_size: i64,
}

impl Cordon {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let nodes = self.nodes.find(cx, "cordon").await?;
        self.nodes.mark(cx, &nodes, true).await
    }
}

impl Uncordon {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let nodes = self.nodes.find(cx, "uncordon").await?;
        self.nodes.mark(cx, &nodes, false).await
    }
}

impl Nodes {
    /// What printers want to know.
    fn change(&self) -> ChangeFlags {
        ChangeFlags { dry_run: self.dry_run.clone(), ..ChangeFlags::default() }
    }

    async fn find(&self, cx: &Session, verb: &str) -> Result<Vec<Info>> {
        let usage = |what: String| anyhow!("{what}\nSee 'kubectl {verb} -h' for help and examples");
        if self.args.is_empty() && self.selector.is_none() {
            return Err(usage(format!("USAGE: {verb} NODE [flags]")));
        }
        let selector = self.selector.as_deref().unwrap_or_default();
        if !self.args.is_empty() && !selector.is_empty() {
            return Err(usage("error: cannot specify both a node name and a --selector option".to_owned()));
        }
        self.change().dry_run()?;
        let mut args = vec!["nodes".to_owned()];
        args.extend(self.args.iter().map(|arg| arg.rsplit('/').next().unwrap_or(arg).to_owned()));
        let query = Query { args: &args, selector, ..Query::default() };
        targets::find(cx, &query).await?.whole()
    }

    /// Marks the nodes as (un)schedulable. A failure is told and the work goes on.
    async fn mark(&self, cx: &Session, nodes: &[Info], unschedulable: bool) -> Result<()> {
        let flags = self.change();
        let dry_run = flags.dry_run()?;
        let (verb, done, already) = if unschedulable {
            ("cordon", "cordoned", "already cordoned")
        } else {
            ("uncordon", "uncordoned", "already uncordoned")
        };
        for node in nodes {
            if (node.object["spec"]["unschedulable"] == true) == unschedulable {
                printers::changed(&flags, dry_run, node, &node.object, already)?;
                continue;
            }
            if dry_run != DryRun::Client
                && let Err(error) = send(cx, node, unschedulable, dry_run).await
            {
                crate::errln!("error: unable to {verb} node {:?}: {error:#}", node.name);
                continue;
            }
            printers::changed(&flags, dry_run, node, &node.object, done)?;
        }
        Ok(())
    }
}

async fn send(cx: &Session, node: &Info, unschedulable: bool, dry_run: DryRun) -> Result<()> {
    let mut object = node.object.clone();
    if unschedulable {
        object["spec"]["unschedulable"] = true.into();
    } else if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("unschedulable");
    }
    let (kind, patch) = between(&node.resource, &node.object, &object);
    let path = with_query(&node.path(), &[("fieldManager", "kubectl"), ("dryRun", dry_run.query())]);
    cx.remote().await?.patch(&path, kind, &patch).await.map(drop)
}

/// The pods of a node and what is to become of them.
struct Judged(Vec<(Info, Verdict)>);

impl Judged {
    fn going(&self) -> Vec<Info> {
        let goes = |verdict: &Verdict| matches!(verdict, Verdict::Go | Verdict::GoWith(_));
        self.0.iter().filter(|(_, verdict)| goes(verdict)).map(|(pod, _)| pod.clone()).collect()
    }

    fn warnings(&self) -> String {
        let said = self.0.iter().filter_map(|(pod, verdict)| match verdict {
            Verdict::GoWith(message) | Verdict::StayWith(message) => Some((message.as_str(), &pod.object)),
            _ => None,
        });
        grouped(said).join("; ")
    }

    fn errors(&self) -> Vec<anyhow::Error> {
        let said = self.0.iter().filter_map(|(pod, verdict)| match verdict {
            Verdict::Stop(message) => Some((message.as_str(), &pod.object)),
            _ => None,
        });
        grouped(said).into_iter().map(|line| anyhow!("cannot delete {line}")).collect()
    }
}

impl Drain {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.nodes.change().dry_run()?;
        if mk8s_api::select::LabelSelector::parse(&self.pod_selector).is_err() {
            bail!("--pod-selector=<pod_selector> must be a valid label selector");
        }
        let nodes = self.nodes.find(cx, "drain").await?;
        self.nodes.mark(cx, &nodes, true).await?;
        let mut fatal: Vec<Vec<anyhow::Error>> = Vec::new();
        let mut remaining: Vec<&str> = Vec::new();
        for node in &nodes {
            let failures = self.one(cx, node, dry_run).await;
            if failures.is_empty() {
                printers::changed(&self.nodes.change(), dry_run, node, &node.object, "drained")?;
                continue;
            }
            crate::errln!(
                "error: unable to drain node {:?} due to error: {}, continuing command...",
                node.name,
                listed(&failures)
            );
            remaining.push(&node.name);
            fatal.push(failures);
        }
        if !remaining.is_empty() {
            crate::errln!("There are pending nodes to be drained:");
            remaining.iter().for_each(|name| crate::errln!(" {name}"));
        }
        match fatal.len() {
            0 => Ok(()),
            1 => Err(Failure::Several(fatal.remove(0)).into()),
            _ => all_or(fatal.iter().map(|failures| anyhow!("{}", listed(failures))).collect()),
        }
    }

    /// Empties one node; what stood in the way.
    async fn one(&self, cx: &Session, node: &Info, dry_run: DryRun) -> Vec<anyhow::Error> {
        let judged = match self.judged(cx, node).await {
            Ok(judged) => judged,
            Err(error) => return vec![error],
        };
        let errors = judged.errors();
        if !errors.is_empty() {
            return errors;
        }
        let warnings = judged.warnings();
        if !warnings.is_empty() {
            crate::errln!("Warning: {warnings}");
        }
        let pods = judged.going();
        if dry_run == DryRun::Client {
            for pod in &pods {
                crate::outln!("evicting pod {}/{} (dry run)", pod.namespace.as_deref().unwrap_or_default(), pod.name);
            }
            return Vec::new();
        }
        let failures = self.send_away(cx, &pods, dry_run).await;
        if !failures.is_empty() {
            self.tell_pending(cx, node, &failures).await;
        }
        failures
    }

    async fn tell_pending(&self, cx: &Session, node: &Info, failures: &[anyhow::Error]) {
        match self.judged(cx, node).await {
            Ok(judged) => {
                let pods = judged.going();
                if !pods.is_empty() {
                    crate::errln!(
                        "There are pending pods in node {:?} when an error occurred: {}",
                        node.name,
                        listed(failures)
                    );
                    pods.iter().for_each(|pod| crate::errln!("pod/{}", pod.name));
                }
                let errors = judged.errors();
                if !errors.is_empty() {
                    crate::errln!(
                        "Following errors occurred while getting the list of pods to delete:\n{}",
                        listed(&errors)
                    );
                }
            }
            Err(error) => {
                crate::errln!("Following errors occurred while getting the list of pods to delete:\n{error:#}")
            }
        }
    }

    async fn judged(&self, cx: &Session, node: &Info) -> Result<Judged> {
        let remote = cx.remote().await?;
        let pods = cx.mapper().await?.find("pods")?;
        let on_node = format!("spec.nodeName={}", node.name);
        let path = with_query(&pods.path(None), &[("labelSelector", &self.pod_selector), ("fieldSelector", &on_node)]);
        let pods = items(&pods, remote.list(&path).await?);
        let mut owners: BTreeMap<String, Owner> = BTreeMap::new();
        let allowed = Allowed {
            force: self.force,
            ignore_daemon_sets: self.ignore_daemonsets,
            empty_dir_data: self.delete_emptydir_data,
            skip_deleted_seconds: self.skip_wait_for_delete_timeout,
        };
        let mut judged = Vec::new();
        for pod in pods {
            let path = daemon_set(&pod.object).map(|name| {
                format!("/apis/apps/v1/namespaces/{}/daemonsets/{name}", pod.namespace.as_deref().unwrap_or_default())
            });
            if let Some(path) = &path
                && !owners.contains_key(path)
            {
                owners.insert(path.clone(), owner(remote, path).await);
            }
            let owner = path.as_ref().and_then(|path| owners.get(path));
            let verdict = judge(&pod.object, owner, &allowed, jiff::Timestamp::now());
            judged.push((pod, verdict));
        }
        Ok(Judged(judged))
    }
}

async fn owner(remote: &Remote, path: &str) -> Owner {
    match remote.get(path).await {
        Ok(_) => Owner::There,
        Err(error) if Failure::is_not_found(&error) => Owner::Gone(error.to_string()),
        Err(error) => Owner::Unknown(error.to_string()),
    }
}

/// Failures in one line: one as it is, several in brackets.
fn listed(failures: &[anyhow::Error]) -> String {
    let mut lines: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
    lines.dedup();
    if lines.len() == 1 { lines.remove(0) } else { format!("[{}]", lines.join(", ")) }
}
