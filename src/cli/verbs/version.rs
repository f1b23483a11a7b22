//! `version`: of this program and of the server.

use crate::{
    printers::{ordered, yaml::to_yaml},
    session::Session,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};

/// The release of Kubernetes whose kubectl this is.
use mk8s_api::version::GIT_VERSION as VERSION;
/// What that kubectl names here; it is printed for scripts that expect the line.
const KUSTOMIZE: &str = "v5.8.1";
/// The fields of version documents as upstream's JSON has them.
const ORDER: &[&str] = &[
    "clientVersion",
    "kustomizeVersion",
    "serverVersion",
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];
/// How far apart the minor versions of client and server may be.
const SKEW_MAX: u64 = 1;

#[derive(clap::Args, Debug)]
pub(crate) struct Version {
    #[arg(hide = true)]
    args: Vec<String>,
    /// Only the version of this program; no server is needed.
    #[arg(long)]
    client: bool,
    /// Output format: yaml or json.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    output: String,
}

impl Version {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if !self.args.is_empty() {
            bail!("extra arguments: [{}]", self.args.join(" "));
        }
        if !matches!(self.output.as_str(), "" | "yaml" | "json") {
            bail!("--output must be 'yaml' or 'json'");
        }
        let server = if self.client { Ok(Value::Null) } else { server(cx).await };
        let known = server.as_ref().unwrap_or(&Value::Null);
        crate::say::out(format_args!("{}", text(&self.output, &client(), known)));
        if let Some(warning) = skew(VERSION, known["gitVersion"].as_str().unwrap_or_default()) {
            crate::errln!("Warning: {warning}");
        }
        server.map(drop)
    }
}

async fn server(cx: &Session) -> Result<Value> {
    cx.remote().await?.get("/version").await
}

/// This program, in the terms of a version document.
fn client() -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({"major": "1", "minor": "36", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
        "goVersion": "", "compiler": "rustc", "platform": format!("linux/{architecture}")})
}

fn text(format: &str, client: &Value, server: &Value) -> String {
    let mut all = json!({"clientVersion": client, "kustomizeVersion": KUSTOMIZE});
    if !server.is_null() {
        all["serverVersion"] = server.clone();
    }
    match format {
        "yaml" => to_yaml(&all) + "\n",
        "json" => ordered::to_json(&all, ORDER, "  "),
        _ => {
            let mut lines = format!("Client Version: {VERSION}\nKustomize Version: {KUSTOMIZE}\n");
            if let Some(version) = server["gitVersion"].as_str() {
                lines.push_str(&format!("Server Version: {version}\n"));
            }
            lines
        }
    }
}

/// What to warn of when client and server are too far apart.
fn skew(client: &str, server: &str) -> Option<String> {
    let numbers = |version: &str| {
        let mut parts = version.trim_start_matches('v').split('.').map(|part| part.parse::<u64>().ok());
        Some((parts.next()??, parts.next()??))
    };
    let (client, server) = (numbers(client)?, numbers(server)?);
    (client.0 != server.0 || client.1.abs_diff(server.1) > SKEW_MAX).then(|| {
        format!(
            "version difference between client ({}.{}) and server ({}.{}) exceeds the supported minor version skew of +/-{SKEW_MAX}",
            client.0, client.1, server.0, server.1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_warned_of() {
        let cases = [
            ("v1.36.0", "v1.35.4+x", false),
            ("v1.36.0", "v1.34.0", true),
            ("v1.36.0", "", false),
            ("v1.0.0", "v2.0.0", true),
        ];
        for (client, server, warns) in cases {
            assert_eq!(skew(client, server).is_some(), warns, "{client} {server}");
        }
    }
}
