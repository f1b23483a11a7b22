//! `create token`: a token of a service account.

use crate::{flags::duration, printers, session::Session};
use anyhow::{Result, anyhow, bail};
use serde_json::json;

#[derive(clap::Args, Debug)]
pub(crate) struct Token {
    name: String,
    /// Audience of the token; may be repeated.
    #[arg(long)]
    audience: Vec<String>,
    /// Requested lifetime of the token.
    #[arg(long)]
    duration: Option<String>,
    /// Kind of an object to bind the token to: Node, Pod, or Secret.
    #[arg(long)]
    bound_object_kind: Option<String>,
    /// Name of the object to bind the token to.
    #[arg(long)]
    bound_object_name: Option<String>,
    /// UID of the object to bind the token to.
    #[arg(long)]
    bound_object_uid: Option<String>,
    /// json or yaml prints the whole answer.
    #[arg(short = 'o', long)]
    output: Option<String>,
}

impl Token {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let mut spec = json!({});
        if !self.audience.is_empty() {
            spec["audiences"] = self.audience.clone().into();
        }
        if let Some(text) = &self.duration {
            spec["expirationSeconds"] = duration(text)?.as_secs().into();
        }
        match (&self.bound_object_kind, &self.bound_object_name) {
            (Some(kind), Some(name)) => {
                if !["Node", "Pod", "Secret"].contains(&kind.as_str()) {
                    bail!("supported --bound-object-kind values are Node, Pod, Secret");
                }
                spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": name});
                if let Some(uid) = &self.bound_object_uid {
                    spec["boundObjectRef"]["uid"] = uid.clone().into();
                }
            }
            (Some(_), None) => bail!("--bound-object-name is required if --bound-object-kind is provided"),
            (None, Some(_)) => bail!("--bound-object-name can only be set if --bound-object-kind is provided"),
            (None, None) => {}
        }
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", cx.namespace().await?, self.name);
        let request =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec});
        let answer = cx
            .remote()
            .await?
            .post(&path, &request)
            .await
            .map_err(|error| anyhow!("failed to create token: {error}"))?;
        match self.output.as_deref() {
            None | Some("") => {
                let token = answer["status"]["token"].as_str().filter(|token| !token.is_empty());
                let token = token.ok_or_else(|| anyhow!("failed to create token: no token in server response"))?;
                crate::outln!("{token}");
            }
            Some(format) => {
                let output = printers::Output::parse(format)?;
                crate::say::out(format_args!("{}", printers::object_text(&output, &answer)?));
            }
        }
        Ok(())
    }
}
