//! `set subject`

use super::{ALL_AND_SELECTOR, SetFlags};
use crate::{failure::all_or, resolve::Info, session::Session};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(clap::Args, Debug)]
pub(crate) struct Subject {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The global flag's values.
    #[arg(skip)]
    pub(super) users: Vec<String>,
    /// Groups to bind to the role.
    #[arg(long)]
    group: Vec<String>,
    /// Service accounts to bind to the role, as namespace:name.
    #[arg(long, value_name = "NAMESPACE:NAME")]
    serviceaccount: Vec<String>,
    #[command(flatten)]
    flags: SetFlags,
}

impl Subject {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.flags.change.dry_run()?;
        let infos = self.flags.infos(cx, &self.args, &self.selector).await?;
        self.flags.check_local(dry_run)?;
        self.check(&infos)?;
        let namespace =
            if self.flags.local { cx.namespace_flag().unwrap_or("default").to_owned() } else { cx.namespace().await? };
        let wanted = self.subjects(&namespace);
        let failures = self
            .flags
            .change(cx, &infos, "subjects updated", "failed to patch subjects to rolebinding:", |info, object| {
                if !matches!(info.resource.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
                    bail!("setting subjects is only supported for RoleBinding/ClusterRoleBinding");
                }
                add(object, &wanted);
                Ok(())
            })
            .await;
        all_or(failures)
    }

    fn check(&self, infos: &[Info]) -> Result<()> {
        if self.flags.all && !self.selector.is_empty() {
            bail!(ALL_AND_SELECTOR);
        }
        if self.users.is_empty() && self.group.is_empty() && self.serviceaccount.is_empty() {
            bail!("you must specify at least one value of user, group or serviceaccount");
        }
        for account in &self.serviceaccount {
            let namespace = match account.split_once(':') {
                Some((namespace, name)) if !name.is_empty() && !name.contains(':') => namespace,
                _ => bail!("serviceaccount must be <namespace>:<name>"),
            };
            if namespace.is_empty() && infos.iter().any(|info| info.resource.kind == "ClusterRoleBinding") {
                bail!("serviceaccount must be <namespace>:<name>, namespace must be specified");
            }
        }
        Ok(())
    }

    fn subjects(&self, namespace: &str) -> Vec<Value> {
        let of_kind = |kind: &'static str, names: &[String]| -> Vec<Value> {
            let names: BTreeSet<&String> = names.iter().collect();
            names
                .into_iter()
                .map(|name| json!({"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name}))
                .collect()
        };
        let accounts: BTreeSet<&String> = self.serviceaccount.iter().collect();
        let accounts = accounts.into_iter().filter_map(|account| account.split_once(':')).map(|(given, name)| {
            let namespace = if given.is_empty() { namespace } else { given };
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        });
        of_kind("User", &self.users).into_iter().chain(of_kind("Group", &self.group)).chain(accounts).collect()
    }
}

fn add(binding: &mut Value, wanted: &[Value]) {
    let mut subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
    for subject in wanted {
        if !subjects.contains(subject) {
            subjects.push(subject.clone());
        }
    }
    binding["subjects"] = subjects.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        subject: Subject,
    }

    #[test]
    fn subjects_are_added_once() {
        let line = Line::parse_from("x rb a --group=g --serviceaccount=:d --serviceaccount=n:s".split(' '));
        line.subject.check(&[]).unwrap();
        let wanted = line.subject.subjects("here");
        let mut binding = json!({"subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "s"}]});
        add(&mut binding, &wanted);
        add(&mut binding, &wanted);
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "namespace": "n", "name": "s"},
                {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "g"},
                {"kind": "ServiceAccount", "namespace": "here", "name": "d"}])
        );
        for text in ["x rb a", "x rb a --serviceaccount=x", "x rb a --serviceaccount=a:b:c"] {
            assert!(Line::parse_from(text.split(' ')).subject.check(&[]).is_err(), "{text}");
        }
    }
}
