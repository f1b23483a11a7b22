//! `auth`: what the user may do, and who the user is.

use crate::{
    describe::rbac::compacted,
    failure::Failure,
    flags::OutputFlag,
    printers::{self, Output, ordered, tabs},
    resolve::discovery::Resource,
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Auth {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Check whether an action is allowed
    CanI(CanI),
    /// Check self subject attributes
    Whoami(WhoAmI),
}

#[derive(clap::Args, Debug)]
struct CanI {
    #[arg(value_name = "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]")]
    args: Vec<String>,
    /// Check the action in all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Print nothing; only the exit code tells.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Subresource such as log or scale.
    #[arg(long, default_value = "", hide_default_value = true)]
    subresource: String,
    /// Print all allowed actions.
    #[arg(long)]
    list: bool,
    /// Print allowed actions without headers.
    #[arg(long)]
    no_headers: bool,
}

#[derive(clap::Args, Debug)]
struct WhoAmI {
    #[command(flatten)]
    output: OutputFlag,
}

impl Auth {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        match &self.command {
            Command::CanI(can) if can.list => can.list(cx).await,
            Command::CanI(can) => can.check(cx).await,
            Command::Whoami(who) => who.run(cx).await,
        }
    }
}

const RESOURCE_VERBS: [&str; 16] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "impersonate",
    "*",
    "approve",
    "sign",
    "escalate",
    "attest",
];
const URL_VERBS: [&str; 8] = ["get", "put", "post", "head", "options", "delete", "patch", "*"];

/// A warning that ends with an empty line, as upstream's do here.
fn warn(text: &str) {
    crate::errln!("Warning: {text}\n");
}

fn warn_of_verb(verb: &str, known: &[&str]) {
    if !known.contains(&verb) {
        warn(&format!("verb '{verb}' is not a known verb"));
    }
}

impl CanI {
    async fn namespace(&self, cx: &Session) -> Result<String> {
        if self.all_namespaces { Ok(String::new()) } else { cx.namespace().await }
    }

    async fn check(&self, cx: &Session) -> Result<()> {
        let [verb, what] = self.args.as_slice() else {
            bail!(
                "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples."
            );
        };
        let spec = if what.starts_with('/') {
            if !self.subresource.is_empty() {
                bail!("--subresource can not be used with NonResourceURL");
            }
            warn_of_verb(verb, &URL_VERBS);
            json!({"nonResourceAttributes": {"verb": verb, "path": what}})
        } else {
            self.resource_spec(cx, verb, what).await?
        };
        if self.no_headers {
            bail!("--no-headers cannot be set without --list specified");
        }
        let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec});
        let answer = cx.remote().await?.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await?;
        let status = &answer["status"];
        let allowed = status["allowed"] == true;
        let mut line = if allowed { "yes" } else { "no" }.to_owned();
        for field in ["reason", "evaluationError"] {
            if let Some(text) = status[field].as_str().filter(|text| !allowed && !text.is_empty()) {
                line.push_str(&format!(" - {text}"));
            }
        }
        if !self.quiet {
            crate::outln!("{line}");
        }
        if allowed { Ok(()) } else { Err(Failure::Exit(1).into()) }
    }

    async fn resource_spec(&self, cx: &Session, verb: &str, what: &str) -> Result<Value> {
        let (kind, name) = what.split_once('/').unwrap_or((what, ""));
        let resource = find(cx, kind).await?;
        if !self.all_namespaces {
            if resource.plural != "*" && !resource.version.is_empty() && !resource.namespaced {
                match resource.group.as_str() {
                    "" => warn(&format!("resource '{}' is not namespace scoped", resource.plural)),
                    group => {
                        warn(&format!("resource '{}' is not namespace scoped in group '{group}'", resource.plural))
                    }
                }
            }
            warn_of_verb(verb, &RESOURCE_VERBS);
        }
        let attributes = [
            ("namespace", self.namespace(cx).await?),
            ("verb", verb.to_owned()),
            ("group", resource.group),
            ("resource", resource.plural),
            ("subresource", self.subresource.clone()),
            ("name", name.to_owned()),
        ];
        let given = attributes.into_iter().filter(|(_, value)| !value.is_empty());
        let given: serde_json::Map<String, Value> =
            given.map(|(field, value)| (field.to_owned(), value.into())).collect();
        Ok(json!({"resourceAttributes": given}))
    }

    async fn list(&self, cx: &Session) -> Result<()> {
        if !self.args.is_empty() {
            bail!("list option must be specified with no arguments");
        }
        if self.quiet || self.all_namespaces || !self.subresource.is_empty() {
            bail!("list option can't be specified with neither quiet, all-namespaces nor subresource options");
        }
        let review = json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"namespace": cx.namespace().await?}});
        let answer = cx.remote().await?.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review).await?;
        let status = &answer["status"];
        if status["incomplete"] == true {
            crate::errln!(
                "Warning: the list may be incomplete: {}",
                status["evaluationError"].as_str().unwrap_or_default()
            );
        }
        let rules: Vec<Value> = ["resourceRules", "nonResourceRules"]
            .into_iter()
            .flat_map(|field| status[field].as_array().into_iter().flatten().cloned())
            .collect();
        let mut lines = String::new();
        if !self.no_headers {
            lines.push_str("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
        }
        for rule in compacted(&rules) {
            lines.push_str(&format!("{}\n", rule.cells()));
        }
        crate::say::out(format_args!("{}", tabs::align(&lines, 6, 3)));
        Ok(())
    }
}

/// The type meant; one that the server does not have is asked about by the name given.
async fn find(cx: &Session, kind: &str) -> Result<Resource> {
    let unknown = |kind: &str| Resource { plural: kind.to_owned(), ..Resource::default() };
    if kind == "*" {
        return Ok(unknown("*"));
    }
    match cx.mapper().await?.find(kind) {
        Ok(resource) => Ok((*resource).clone()),
        Err(_) => {
            let lower = kind.to_lowercase();
            match lower.split_once('.') {
                _ if matches!(lower.as_str(), "users" | "groups") => {}
                None => warn(&format!("the server doesn't have a resource type '{lower}'")),
                Some((name, group)) => {
                    warn(&format!("the server doesn't have a resource type '{name}' in group '{group}'"))
                }
            }
            Ok(unknown(kind))
        }
    }
}

/// The fields of a SelfSubjectReview as upstream's JSON has them.
const ORDER: &[&str] = &["kind", "apiVersion", "metadata", "status", "userInfo", "username", "uid", "groups", "extra"];

impl WhoAmI {
    async fn run(&self, cx: &Session) -> Result<()> {
        let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = cx.remote().await?.post(path, &review).await.map_err(|error| match Failure::reason(&error) {
            Some("Forbidden") => anyhow!("the selfsubjectreviews API is not enabled in the cluster or you do not have permission to call it"),
            Some("NotFound") => anyhow!("the selfsubjectreviews API is not enabled in the cluster\nenable APISelfSubjectReview feature gate and authentication.k8s.io/v1alpha1 or authentication.k8s.io/v1beta1 API"),
            _ => error,
        })?;
        let text = match self.output.parse()? {
            Output::Table | Output::Wide => table(&answer["status"]["userInfo"]),
            Output::Json => ordered::to_json(&answer, ORDER, "    "),
            output => printers::object_text(&output, &answer)?,
        };
        crate::say::out(format_args!("{text}"));
        Ok(())
    }
}

fn table(user: &Value) -> String {
    use crate::describe::fields::{go_list, keys, words};
    let mut lines = "ATTRIBUTE\tVALUE\n".to_owned();
    for (title, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(value) = user[field].as_str().filter(|value| !value.is_empty()) {
            lines.push_str(&format!("{title}\t{value}\n"));
        }
    }
    let groups = words(&user["groups"]);
    if !groups.is_empty() {
        lines.push_str(&format!("Groups\t{}\n", go_list(&groups)));
    }
    for key in keys(&user["extra"]) {
        lines.push_str(&format!("Extra: {key}\t{}\n", go_list(&words(&user["extra"][key]))));
    }
    tabs::align(&lines, 6, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn users_are_shown_with_what_they_have() {
        let user = json!({"username": "eve", "groups": ["a", "b"], "extra": {"x/y": ["1", "2"]}});
        expect![[r#"
            ATTRIBUTE    VALUE
            Username     eve
            Groups       [a b]
            Extra: x/y   [1 2]
        "#]]
        .assert_eq(&table(&user));
    }
}
