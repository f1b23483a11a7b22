//! `explain`: the documentation of a type or of one of its fields.

use crate::{
    explain::{self, Subject},
    failure::Failure,
    remote::JSON,
    resolve::discovery::Resource,
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::sync::Arc;

#[derive(clap::Args, Debug)]
pub(crate) struct Explain {
    #[arg(value_name = "TYPE[.FIELD...]")]
    args: Vec<String>,
    /// Print the fields of fields, without their descriptions.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Explain this API version (group/version).
    #[arg(long, default_value = "", hide_default_value = true)]
    api_version: String,
    /// Output format: plaintext.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "plaintext")]
    output: String,
}

impl Explain {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let argument = match self.args.as_slice() {
            [] => bail!(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources."
            ),
            [argument] => argument,
            _ => bail!("We accept only this format: explain RESOURCE"),
        };
        let (resource, fields) = self.subject(cx, argument).await?;
        let (group, version) = match self.api_version.as_str() {
            "" => (resource.group.as_str(), resource.version.as_str()),
            given => given.split_once('/').unwrap_or(("", given)),
        };
        let remote = cx.remote().await?;
        let index = remote.get("/openapi/v3").await?;
        let key = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        let Some(path) = index["paths"][&key]["serverRelativeURL"].as_str() else {
            bail!("couldn't find resource for \"{group}/{version}, Resource={}\"", resource.plural);
        };
        if !matches!(self.output.as_str(), "plaintext" | "plaintext-openapiv2") {
            bail!("unrecognized format: {}", self.output);
        }
        let document: Value = remote.get_as(path, JSON).await?;
        let kind = &resource.kind;
        let subject = Subject { document: &document, group, version, kind, fields: &fields, recursive: self.recursive };
        crate::say::out(format_args!("{}", explain::head(&subject)));
        let body = explain::body(&subject).map_err(|message| anyhow!(message))?;
        crate::say::out(format_args!("{body}"));
        Ok(())
    }

    /// The type and the path of fields of `deployments.apps.spec.replicas` or `deploy.spec.replicas`.
    async fn subject(&self, cx: &Session, argument: &str) -> Result<(Arc<Resource>, Vec<String>)> {
        let mapper = cx.mapper().await?;
        let path = argument.trim_start_matches('.');
        let mut steps = path.split('.').filter(|step| !step.is_empty()).map(str::to_owned);
        let Some(first) = steps.next() else { bail!("invalid jsonpath syntax, first node must be field node") };
        let rest: Vec<String> = steps.collect();
        let preferred = mapper.find(&first).map_err(|error| Failure::Worded(error.to_string()))?;
        if !self.api_version.is_empty() {
            return Ok((preferred, rest));
        }
        // A type may be named with its group, and other groups may have types of that name.
        for resource in mapper.resources.iter().filter(|one| one.plural == preferred.plural) {
            if let Some(suffix) = argument.strip_prefix(&resource.group_resource())
                && (suffix.is_empty() || suffix.starts_with('.'))
            {
                let fields = suffix.split('.').filter(|step| !step.is_empty()).map(str::to_owned);
                return Ok((resource.clone(), fields.collect()));
            }
        }
        Ok((preferred, rest))
    }
}
