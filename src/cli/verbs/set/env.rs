//! `set env`: sets, imports, removes and lists environment variables.

use super::{ALL_AND_SELECTOR, NO_OBJECTS, SetFlags, containers, pod_spec, resolve_env};
use crate::{
    failure::all_or,
    resolve::{Info, Query},
    session::Session,
    verbs::{pairs, targets},
};
use anyhow::{Context, Result, anyhow, bail};
use mk8s_api::names;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Env {
    #[arg(value_name = "TYPE NAME KEY=VALUE KEY-")]
    args: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The containers to change, may use wildcards.
    #[arg(short = 'c', long, default_value = "*")]
    containers: String,
    /// A secret or config map to import variables from.
    #[arg(long, default_value = "", hide_default_value = true)]
    from: String,
    /// What the names of variables begin with.
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// A variable to set, as key=value; may be repeated.
    #[arg(short = 'e', long)]
    env: Vec<String>,
    /// The keys to import, separated by commas.
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
    /// Display the variables.
    #[arg(long)]
    list: bool,
    /// Show what references mean when listing.
    #[arg(long)]
    resolve: bool,
    /// Replace variables that are there already.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_default_value = true)]
    overwrite: String,
    #[command(flatten)]
    flags: SetFlags,
}

/// Variables to set (objects with a name) and names to remove.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Variables {
    pub(super) set: Vec<Value>,
    pub(super) remove: Vec<String>,
}

impl Env {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.flags.change.dry_run()?;
        if self.flags.all && !self.selector.is_empty() {
            bail!(ALL_AND_SELECTOR);
        }
        let whole = self.args.join(" ");
        let is_variable = |arg: &str| arg.find('=').is_some_and(|at| at > 0) || arg.ends_with('-');
        let (objects, pairs) = pairs::split_by(&self.args, is_variable, |_| {
            format!("all resources must be specified before environment changes: {whole}")
        })?;
        self.flags.check_local(dry_run)?;
        if self.flags.files.filename.is_empty() && objects.is_empty() {
            bail!(NO_OBJECTS);
        }
        if self.list && self.flags.change.output.output.is_some() {
            bail!("--list and --output may not be specified together");
        }
        if !self.keys.is_empty() && self.from.is_empty() {
            bail!("when specifying --keys, a configmap or secret must be provided with --from");
        }
        let specs: Vec<String> = self.env.iter().chain(&pairs).cloned().collect();
        let mut variables =
            parse(&specs, || std::io::read_to_string(std::io::stdin()).context("cannot read standard input"))?;
        if !self.from.is_empty() {
            self.import(cx, &mut variables).await?;
        }
        for variable in &mut variables.set {
            variable["name"] = format!("{}{}", self.prefix, variable["name"].as_str().unwrap_or_default()).into();
        }
        let infos = self.flags.infos(cx, &objects, &self.selector).await?;
        if self.list {
            return self.list(cx, &infos, &variables).await;
        }
        let failed = "failed to patch env update to pod template:";
        let failures = self
            .flags
            .change(cx, &infos, "env updated", failed, |info, object| self.update(info, object, &variables))
            .await;
        all_or(failures)
    }

    async fn import(&self, cx: &Session, variables: &mut Variables) -> Result<()> {
        let args = [self.from.clone()];
        let query = Query { args: &args, selector: &self.selector, all: self.flags.all, ..Query::default() };
        for info in targets::find(cx, &query).await?.whole()? {
            variables.set.extend(imported(&info, &self.keys)?);
        }
        Ok(())
    }

    /// Changes the variables of the chosen containers.
    fn update(&self, info: &Info, object: &mut Value, variables: &Variables) -> Result<()> {
        let spec = pod_spec(info, object)?;
        let mut found = false;
        for field in ["containers", "initContainers"] {
            for container in containers::select(spec, field, &self.containers) {
                found = true;
                let existing = container["env"].as_array().cloned().unwrap_or_default();
                if self.overwrite == "false" {
                    no_overwrite(&existing, &variables.set)?;
                }
                let updated = update(&existing, variables);
                if !(updated.is_empty() && existing.is_empty()) {
                    container["env"] = updated.into();
                }
            }
        }
        if !found {
            crate::errln!(
                "Warning: {}/{} does not have any containers matching {:?}",
                info.resource.kind,
                info.name,
                self.containers
            );
        }
        Ok(())
    }

    async fn list(&self, cx: &Session, infos: &[Info], variables: &Variables) -> Result<()> {
        for info in infos {
            let mut object = info.object.clone();
            self.update(info, &mut object, variables)?;
            let whole = object.clone();
            let spec = pod_spec(info, &mut object)?;
            for field in ["containers", "initContainers"] {
                for container in containers::select(spec, field, &self.containers) {
                    crate::outln!(
                        "# {} {}, container {}",
                        info.resource.kind,
                        info.name,
                        container["name"].as_str().unwrap_or_default()
                    );
                    self.list_container(cx, &whole, container).await?;
                }
            }
        }
        Ok(())
    }

    async fn list_container(&self, cx: &Session, object: &Value, container: &Value) -> Result<()> {
        let mut failures: Vec<(String, Vec<&str>)> = Vec::new();
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default();
            let source = &variable["valueFrom"];
            if source.is_null() {
                crate::outln!("{name}={}", variable["value"].as_str().unwrap_or_default());
                continue;
            }
            if self.resolve {
                match resolve_env::value(cx, source, object, container).await {
                    Ok(value) => {
                        crate::outln!("{name}={value}");
                        continue;
                    }
                    Err(error) => {
                        let message = error.to_string();
                        match failures.iter_mut().find(|(known, _)| *known == message) {
                            Some((_, names)) => names.push(name),
                            None => failures.push((message, vec![name])),
                        }
                    }
                }
            }
            crate::outln!("# {name} from {}", resolve_env::described(source));
        }
        let mut lines: Vec<String> = failures
            .into_iter()
            .map(|(message, mut names)| {
                names.sort_unstable();
                format!("error retrieving reference for {}: {message}", names.join(", "))
            })
            .collect();
        lines.sort();
        for line in lines {
            crate::errln!("{line}");
        }
        Ok(())
    }
}

/// `KEY=VALUE`, `KEY-`, and `-` for lines of standard input.
pub(super) fn parse(specs: &[String], stdin: impl Fn() -> Result<String>) -> Result<Variables> {
    let mut variables = Variables::default();
    let mut named: Vec<&str> = Vec::new();
    for spec in specs {
        if spec == "-" {
            let text = stdin()?;
            let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(line, _)| line));
            variables
                .set
                .extend(lines.filter_map(|line| line.split_once('=')).map(|(name, value)| variable(name, value)));
        } else if let Some((name, value)) = spec.split_once('=') {
            let wrong = wrong_name(name);
            if !wrong.is_empty() {
                bail!("{name:?} is not a valid key name: {}", wrong.join(";"));
            }
            named.push(name);
            variables.set.push(variable(name, value));
        } else if let Some(name) = spec.strip_suffix('-') {
            variables.remove.push(name.to_owned());
        } else {
            bail!("unknown environment variable: {spec}");
        }
    }
    if variables.remove.iter().any(|name| named.contains(&name.as_str())) {
        bail!("can not both modify and remove the same environment variable in the same command");
    }
    Ok(variables)
}

/// Stricter than the server, which takes any printable name.
fn wrong_name(name: &str) -> Vec<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(fits) {
        return Vec::new();
    }
    vec![names::pattern_message(
        "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
        "[-._a-zA-Z][-._a-zA-Z0-9]*",
        &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
    )]
}

fn variable(name: &str, value: &str) -> Value {
    if value.is_empty() { json!({"name": name}) } else { json!({"name": name, "value": value}) }
}

/// A new variable takes the place of the first of its name; others of the name go.
pub(super) fn update(existing: &[Value], variables: &Variables) -> Vec<Value> {
    let mut covered: Vec<&Value> = Vec::new();
    let mut updated = Vec::new();
    let removed = |name: &Value| variables.remove.iter().any(|removed| name == removed.as_str());
    for old in existing {
        let name = &old["name"];
        if removed(name) || covered.contains(&name) {
            continue;
        }
        match variables.set.iter().find(|new| new["name"] == *name) {
            Some(new) => {
                covered.push(name);
                updated.push(new.clone());
            }
            None => updated.push(old.clone()),
        }
    }
    for new in &variables.set {
        if !removed(&new["name"]) && !covered.contains(&&new["name"]) {
            covered.push(&new["name"]);
            updated.push(new.clone());
        }
    }
    updated
}

fn no_overwrite(existing: &[Value], wanted: &[Value]) -> Result<()> {
    for new in wanted {
        if let Some(old) = existing.iter().find(|old| old["name"] == new["name"] && old["value"] != new["value"]) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            bail!("'{}' already has a value ({}), and --overwrite is false", text(&old["name"]), text(&old["value"]));
        }
    }
    Ok(())
}

/// References to the keys of a secret or config map.
pub(super) fn imported(info: &Info, keys: &[String]) -> Result<Vec<Value>> {
    let reference = match info.resource.kind.as_str() {
        "Secret" => "secretKeyRef",
        "ConfigMap" => "configMapKeyRef",
        _ => return Err(anyhow!("unsupported resource specified in --from")),
    };
    let data = info.object["data"].as_object().into_iter().flatten().map(|(key, _)| key);
    let wanted = data.filter(|key| keys.is_empty() || keys.contains(key));
    Ok(wanted
        .map(|key| json!({"name": env_name(key), "valueFrom": {reference: {"name": info.name, "key": key}}}))
        .collect())
}

fn env_name(key: &str) -> String {
    let name: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if name != key {
        crate::errln!("Warning: key {key} transferred to {name}");
    }
    name
}
