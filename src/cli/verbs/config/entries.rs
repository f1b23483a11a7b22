//! Making and changing the entries of kubeconfig files: contexts, clusters, users.

use super::exactly;
use crate::{
    kubeconfig::{
        edit::{Editor, relative},
        form::{io_text, set_field},
    },
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::path::Path;

#[derive(clap::Args, Debug)]
pub(super) struct SetContext {
    #[arg(value_name = "NAME")]
    args: Vec<String>,
    /// Modify the current context.
    #[arg(long)]
    current: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct SetCluster {
    #[arg(value_name = "NAME")]
    args: Vec<String>,
    /// Put the certificate itself into the entry.
    #[arg(long)]
    embed_certs: bool,
    /// The proxy for requests of the cluster.
    #[arg(long, value_name = "URL")]
    proxy_url: Option<String>,
}

#[derive(clap::Args, Debug)]
pub(super) struct SetCredentials {
    #[arg(value_name = "NAME")]
    args: Vec<String>,
    /// Put certificate and key themselves into the entry.
    #[arg(long)]
    embed_certs: bool,
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Auth provider for the user entry.
    #[arg(long, value_name = "NAME")]
    auth_provider: Option<String>,
    /// 'key=value' arguments for the auth provider; 'key-' removes one.
    #[arg(long, value_name = "PAIR", value_delimiter = ',')]
    auth_provider_arg: Vec<String>,
    /// Command of the exec credential plugin.
    #[arg(long, value_name = "COMMAND")]
    exec_command: Option<String>,
    /// API version of the exec credential plugin.
    #[arg(long, value_name = "VERSION")]
    exec_api_version: Option<String>,
    /// Interactive mode of the exec credential plugin.
    #[arg(long, value_name = "MODE")]
    exec_interactive_mode: Option<String>,
    /// Tell the exec credential plugin about the cluster.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    exec_provide_cluster_info: Option<bool>,
    /// Arguments of the exec credential plugin.
    #[arg(long, value_name = "ARG", value_delimiter = ',', allow_hyphen_values = true)]
    exec_arg: Vec<String>,
    /// 'key=value' environment of the exec credential plugin; 'key-' removes one.
    #[arg(long, value_name = "PAIR")]
    exec_env: Vec<String>,
}

impl SetContext {
    pub(super) fn run(&self, cx: &Session, mut editor: Editor) -> Result<()> {
        if self.args.len() > 1 {
            bail!("Unexpected args: [{}]", self.args.join(" "));
        }
        let given = self.args.first().map(String::as_str).unwrap_or_default();
        let name = match (given, self.current) {
            ("", false) => bail!("you must specify a non-empty context name or --current"),
            ("", true) if editor.current().is_empty() => bail!("no current context is set"),
            ("", true) => editor.current().to_owned(),
            (_, true) => bail!("you cannot specify both a context name and --current"),
            (name, false) => name.to_owned(),
        };
        let known = editor.get("contexts", &name).cloned();
        let done = if known.is_some() { "modified" } else { "created" };
        let mut context = known.unwrap_or_else(|| json!({}));
        let globals = &cx.globals;
        let fields = [
            ("cluster", globals.cluster.as_ref()),
            ("user", globals.user.last()),
            ("namespace", globals.namespace.as_ref()),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                set_field(&mut context, field, value.as_str());
            }
        }
        editor.put("contexts", &name, context);
        editor.save()?;
        crate::outln!("Context {name:?} {done}.");
        Ok(())
    }
}

/// Puts a file into an entry, by its path or by what is in it.
fn put_file(content: &mut Value, field: &str, path: &str, embed: bool, file: &Path) -> Result<()> {
    let data = format!("{field}-data");
    if embed {
        let bytes = std::fs::read(path).unwrap_or_default();
        set_field(content, &data, BASE64_STANDARD.encode(bytes));
        set_field(content, field, "");
    } else {
        let path = if path.is_empty() { String::new() } else { relative(&std::path::absolute(path)?, file) };
        if !path.is_empty() {
            set_field(content, &data, "");
        }
        set_field(content, field, path);
    }
    Ok(())
}

fn embeddable(flag: &str, path: &str) -> Result<()> {
    std::fs::metadata(path)
        .map_err(|error| anyhow!("could not stat {flag} file {path}: stat {path}: {}", io_text(&error)))?;
    Ok(())
}

impl SetCluster {
    pub(super) fn run(&self, cx: &Session, mut editor: Editor) -> Result<()> {
        let [name] = exactly(&self.args)?;
        let globals = &cx.globals;
        let authority = globals.certificate_authority.as_deref();
        if name.is_empty() {
            bail!("you must specify a non-empty cluster name");
        }
        if globals.insecure_skip_tls_verify && authority.is_some_and(|path| !path.is_empty()) {
            bail!("you cannot specify a certificate authority and insecure mode at the same time");
        }
        if self.embed_certs {
            let path = authority.filter(|path| !path.is_empty());
            embeddable(
                "certificate-authority",
                path.ok_or_else(|| anyhow!("you must specify a --certificate-authority to embed"))?,
            )?;
        }
        let mut cluster = editor.get("clusters", name).cloned().unwrap_or_else(|| json!({"server": ""}));
        if let Some(server) = &globals.server {
            cluster["server"] = server.clone().into();
            set_field(&mut cluster, "tls-server-name", "");
        }
        if let Some(server_name) = &globals.tls_server_name {
            set_field(&mut cluster, "tls-server-name", server_name.as_str());
        }
        if globals.insecure_skip_tls_verify {
            set_field(&mut cluster, "insecure-skip-tls-verify", true);
            set_field(&mut cluster, "certificate-authority", "");
            set_field(&mut cluster, "certificate-authority-data", "");
        }
        if let Some(path) = authority {
            put_file(&mut cluster, "certificate-authority", path, self.embed_certs, editor.file_of("clusters", name))?;
            if self.embed_certs || !path.is_empty() {
                set_field(&mut cluster, "insecure-skip-tls-verify", false);
            }
        }
        if let Some(url) = &self.proxy_url {
            set_field(&mut cluster, "proxy-url", url.as_str());
        }
        editor.put("clusters", name, cluster);
        editor.save()?;
        crate::outln!("Cluster {name:?} set.");
        Ok(())
    }
}

impl SetCredentials {
    pub(super) fn run(&self, cx: &Session, mut editor: Editor) -> Result<()> {
        let [name] = <&[String; 1]>::try_from(self.args.as_slice())
            .map_err(|_| anyhow!("unexpected args: [{}]", self.args.join(" ")))?;
        let globals = &cx.globals;
        self.validate(cx, name)?;
        let mut user = editor.get("users", name).cloned().unwrap_or_else(|| json!({}));
        let file = editor.file_of("users", name).to_owned();
        for (field, path) in [("client-certificate", &globals.client_certificate), ("client-key", &globals.client_key)]
        {
            if let Some(path) = path {
                put_file(&mut user, field, path, self.embed_certs, &file)?;
            }
        }
        let texts = [("token", &globals.token), ("username", &self.username), ("password", &self.password)];
        for (field, value) in texts {
            if let Some(value) = value {
                set_field(&mut user, field, value.as_str());
            }
        }
        self.auth_provider(&mut user)?;
        self.exec(&mut user)?;
        let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let (token, basic) = (given(&globals.token), given(&self.username) || given(&self.password));
        if basic && !token {
            set_field(&mut user, "token", "");
        }
        if token && !basic {
            set_field(&mut user, "username", "");
            set_field(&mut user, "password", "");
        }
        editor.put("users", name, user);
        editor.save()?;
        crate::outln!("User {name:?} set.");
        Ok(())
    }

    fn validate(&self, cx: &Session, name: &str) -> Result<()> {
        let globals = &cx.globals;
        if name.is_empty() {
            bail!("you must specify a non-empty user name");
        }
        let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let mut methods = Vec::new();
        if given(&globals.token) {
            methods.push("--token");
        }
        if given(&self.username) || given(&self.password) {
            methods.push("--username/--password");
        }
        if methods.len() > 1 {
            bail!("you cannot specify more than one authentication method at the same time: {}", methods.join(", "));
        }
        if !self.embed_certs {
            return Ok(());
        }
        let (certificate, key) = (globals.client_certificate.as_deref(), globals.client_key.as_deref());
        if certificate.is_none() && key.is_none() {
            bail!("you must specify a --client-certificate or --client-key to embed");
        }
        for (flag, path) in [("client-certificate", certificate), ("client-key", key)] {
            if let Some(path) = path {
                embeddable(flag, path)?;
            }
        }
        Ok(())
    }

    fn auth_provider(&self, user: &mut Value) -> Result<()> {
        if let Some(name) = &self.auth_provider
            && user["auth-provider"]["name"] != name.as_str()
        {
            user["auth-provider"] = json!({"name": name, "config": {}});
        }
        if user["auth-provider"].is_object() {
            for (key, value) in pairs(&self.auth_provider_arg, "auth-provider-arg")? {
                set_field(&mut user["auth-provider"]["config"], &key, value.unwrap_or_default());
            }
        } else if let Some(user) = user.as_object_mut() {
            user.remove("auth-provider");
        }
        Ok(())
    }

    fn exec(&self, user: &mut Value) -> Result<()> {
        if let Some(command) = &self.exec_command {
            let known = user["exec"].is_object();
            user["exec"]["command"] = command.clone().into();
            if known {
                user["exec"]["args"] = Value::Null;
            }
        }
        if !user["exec"].is_object() {
            if let Some(user) = user.as_object_mut() {
                user.remove("exec");
            }
            return Ok(());
        }
        let exec = &mut user["exec"];
        if let Some(version) = &self.exec_api_version {
            set_field(exec, "apiVersion", version.as_str());
        }
        if let Some(mode) = &self.exec_interactive_mode {
            set_field(exec, "interactiveMode", mode.as_str());
        }
        if let Some(provide) = self.exec_provide_cluster_info {
            exec["provideClusterInfo"] = provide.into();
        }
        if !self.exec_arg.is_empty() {
            exec["args"] = self.exec_arg.clone().into();
        }
        let changes = pairs(&self.exec_env, "exec-env")?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut variables = exec["env"].as_array().cloned().unwrap_or_default();
        for (key, value) in changes {
            let known = variables.iter().position(|variable| variable["name"] == key.as_str());
            match (value, known) {
                (Some(value), Some(index)) => variables[index]["value"] = value.into(),
                (Some(value), None) => variables.push(json!({"name": key, "value": value})),
                (None, Some(index)) => drop(variables.remove(index)),
                (None, None) => {}
            }
        }
        exec["env"] = if variables.is_empty() { Value::Null } else { variables.into() };
        Ok(())
    }
}

/// `key=value` sets, `key-` removes.
fn pairs(args: &[String], flag: &str) -> Result<Vec<(String, Option<String>)>> {
    let pair = |arg: &String| match (arg.split_once('='), arg.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err(anyhow!("invalid {flag} format: {arg}")),
    };
    args.iter().map(pair).collect()
}
