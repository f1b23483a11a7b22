//! Looking into kubeconfig files.

use crate::{
    failure::all_or,
    flags::OutputFlag,
    kubeconfig::{edit::Editor, form},
    printers::{self, Output, ordered, tabs},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;

#[derive(clap::Args, Debug)]
pub(super) struct View {
    #[arg(hide = true)]
    args: Vec<String>,
    #[command(flatten)]
    output: OutputFlag,
    /// Display raw byte data and sensitive data.
    #[arg(long)]
    raw: bool,
    /// Flatten the resulting kubeconfig file into self-contained output.
    #[arg(long)]
    flatten: bool,
    /// Remove all information not used by current-context from the output.
    #[arg(long)]
    minify: bool,
    /// Merge the full hierarchy of kubeconfig files.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    merge: Option<bool>,
}

#[derive(clap::Args, Debug)]
pub(super) struct GetContexts {
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Output format: name.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    output: String,
    /// Do not print headers.
    #[arg(long)]
    no_headers: bool,
}

/// The fields of a kubeconfig as upstream's JSON has them.
const ORDER: &[&str] = &[
    "command",
    "args",
    "env",
    "kind",
    "apiVersion",
    "installHint",
    "provideClusterInfo",
    "interactiveMode",
    "preferences",
    "clusters",
    "users",
    "contexts",
    "current-context",
    "name",
    "value",
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
    "username",
    "password",
    "auth-provider",
    "exec",
    "cluster",
    "context",
    "user",
    "namespace",
    "config",
    "extensions",
];

impl View {
    pub(super) fn run(&self, cx: &Session, editor: &Editor) -> Result<()> {
        if !self.args.is_empty() {
            bail!(
                "unexpected arguments: [{}]\nSee 'kubectl config view -h' for help and examples",
                self.args.join(" ")
            );
        }
        if self.merge == Some(false) && cx.globals.kubeconfig.is_none() {
            bail!("if merge==false a precise file must be specified");
        }
        let mut config = if self.flatten { editor.flattened()? } else { editor.merged() };
        if self.minify {
            if let Some(context) = &cx.globals.context {
                config["current-context"] = context.clone().into();
            }
            form::minify(&mut config)?;
        }
        if self.flatten {
            form::embed(&mut config)?;
        } else if !self.raw {
            form::redact(&mut config);
        }
        let output = match self.output.parse()? {
            Output::Table | Output::Wide => Output::Yaml,
            output => output,
        };
        let config = form::normal(&config);
        let text = match output {
            Output::Json => ordered::to_json(&config, ORDER, "    "),
            output => printers::object_text(&output, &config)?,
        };
        crate::say::out(format_args!("{text}"));
        Ok(())
    }
}

impl GetContexts {
    pub(super) fn run(&self, editor: &Editor) -> Result<()> {
        if !matches!(self.output.as_str(), "" | "name") {
            let format = &self.output;
            bail!(
                "--output {format} is not available in kubectl config get-contexts; resetting to default output format"
            );
        }
        let known = editor.names("contexts");
        let mut failures = Vec::new();
        let mut wanted: Vec<&String> = if self.names.is_empty() { known.iter().collect() } else { Vec::new() };
        for name in &self.names {
            match known.get(name) {
                Some(name) => wanted.push(name),
                None => failures.push(anyhow!("context {name} not found")),
            }
        }
        wanted.sort();
        let name_only = self.output == "name";
        let mut lines = String::new();
        if !(self.no_headers || name_only) {
            lines.push_str("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
        }
        for name in wanted {
            if name_only {
                lines.push_str(&format!("{name}\n"));
                continue;
            }
            let context = editor.get("contexts", name).unwrap_or(&Value::Null);
            let [cluster, user, namespace] =
                ["cluster", "user", "namespace"].map(|field| context[field].as_str().unwrap_or_default());
            let mark = if editor.current() == name { "*" } else { " " };
            lines.push_str(&format!("{mark}\t{name}\t{cluster}\t{user}\t{namespace}\n"));
        }
        crate::say::out(format_args!("{}", tabs::align(&lines, 6, 3)));
        all_or(failures)
    }
}
