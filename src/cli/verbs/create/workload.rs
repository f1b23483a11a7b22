//! `create deployment`.

use super::Generate;
use anyhow::{Result, bail};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Deployment {
    name: String,
    /// Image to run; may be repeated for several containers.
    #[arg(long, required = true, value_delimiter = ',')]
    image: Vec<String>,
    /// Number of replicas.
    #[arg(short = 'r', long, default_value_t = 1, allow_hyphen_values = true)]
    replicas: i64,
    /// The container's port.
    #[arg(long)]
    port: Option<u16>,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A container name out of an image: its last part, without registry, tag and odd characters.
pub(crate) fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split(['@', ':']).next().unwrap_or(last);
    let mut name: String = bare.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    name.make_ascii_lowercase();
    name.trim_matches('-').to_owned()
}

impl Generate for Deployment {
    fn generate(&self) -> Result<Value> {
        if self.image.len() > 1 && !self.command.is_empty() {
            bail!("cannot specify multiple --image options and command");
        }
        // Two containers of one image get one name; the server says so.
        let containers: Vec<Value> = self
            .image
            .iter()
            .map(|image| {
                let mut container = json!({"image": image, "name": container_name(image), "resources": {}});
                if !self.command.is_empty() {
                    container["command"] = self.command.clone().into();
                }
                if let Some(port) = self.port {
                    container["ports"] = json!([{"containerPort": port}]);
                }
                container
            })
            .collect();
        let labels = json!({"app": self.name});
        Ok(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "strategy": {},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            },
            "status": {},
        }))
    }
}
