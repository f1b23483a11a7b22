//! `create ingress`: rules as `host/path=service:port[,tls[=secret]]`.

use super::{Generate, service::port_value};
use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Ingress {
    name: String,
    /// The ingress class.
    #[arg(long)]
    class: Option<String>,
    /// host/path=service:port[,tls[=secret]]; a path ending in * is a prefix. May be repeated.
    #[arg(long)]
    rule: Vec<String>,
    /// The service for everything else, as service:port.
    #[arg(long)]
    default_backend: Option<String>,
    /// key=value; may be repeated.
    #[arg(long)]
    annotation: Vec<String>,
}

fn backend(text: &str) -> Option<Value> {
    let (name, port) =
        text.split_once(':').filter(|(name, port)| !name.is_empty() && !port.is_empty() && !port.contains(':'))?;
    let port = match port_value(port) {
        Value::String(name) => json!({"name": name}),
        number => json!({"number": number}),
    };
    Some(json!({"service": {"name": name, "port": port}}))
}

impl Generate for Ingress {
    fn generate(&self) -> Result<Value> {
        if self.rule.is_empty() && self.default_backend.is_none() {
            bail!(
                "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)"
            );
        }
        let mut spec = json!({});
        if let Some(class) = &self.class {
            spec["ingressClassName"] = class.clone().into();
        }
        if let Some(text) = &self.default_backend {
            spec["defaultBackend"] =
                backend(text).ok_or_else(|| anyhow!("default-backend should be in format servicename:serviceport"))?;
        }
        let (mut rules, mut tls): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for text in &self.rule {
            add_rule(text, &mut rules, &mut tls).ok_or_else(|| {
                anyhow!("rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]")
            })?;
        }
        if !rules.is_empty() {
            spec["rules"] = rules.into();
        }
        if !tls.is_empty() {
            spec["tls"] = tls.into();
        }
        let mut metadata = json!({"name": self.name});
        let mut annotations = Map::new();
        for text in &self.annotation {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| anyhow!("annotation {text} is invalid and should be in format key=[value]"))?;
            annotations.insert(key.to_owned(), value.into());
        }
        if !annotations.is_empty() {
            metadata["annotations"] = annotations.into();
        }
        Ok(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}),
        )
    }
}

fn add_rule(text: &str, rules: &mut Vec<Value>, tls: &mut Vec<Value>) -> Option<()> {
    let (rule, wants_tls) = text.split_once(',').map_or((text, None), |(rule, tls)| (rule, Some(tls)));
    let (host, rest) = rule.split_once('/')?;
    let (path, service) = rest.split_once('=')?;
    let path = format!("/{path}");
    let (path, kind) = path.strip_suffix('*').map_or((path.as_str(), "Exact"), |prefix| (prefix, "Prefix"));
    let entry = json!({"path": path, "pathType": kind, "backend": backend(service)?});
    let same = |rule: &&mut Value| rule["host"].as_str().unwrap_or_default() == host;
    match rules.iter_mut().find(same) {
        Some(rule) => rule["http"]["paths"].as_array_mut()?.push(entry),
        None => {
            let mut rule = json!({"http": {"paths": [entry]}});
            if !host.is_empty() {
                rule["host"] = host.into();
            }
            rules.push(rule);
        }
    }
    let Some(wants) = wants_tls else { return Some(()) };
    let secret = wants.strip_prefix("tls")?.trim_start_matches('=');
    if tls.iter().any(|entry| entry["hosts"].as_array().is_some_and(|hosts| hosts.contains(&host.into()))) {
        return Some(());
    }
    if let Some(entry) = tls.iter_mut().find(|entry| entry["secretName"].as_str().unwrap_or_default() == secret) {
        entry["hosts"].as_array_mut()?.push(host.into());
        return Some(());
    }
    let mut entry = json!({});
    if !host.is_empty() {
        entry["hosts"] = json!([host]);
    }
    if !secret.is_empty() {
        entry["secretName"] = secret.into();
    }
    if entry.as_object().is_some_and(|entry| !entry.is_empty()) {
        tls.push(entry);
    }
    Some(())
}
