//! `set image`

use super::{ALL_AND_SELECTOR, LOCAL_AND_SERVER, NO_OBJECTS, SetFlags, complain, pod_spec};
use crate::{
    failure::all_or,
    flags::DryRun,
    record::RecordFlag,
    session::Session,
    verbs::pairs::{self, Changes},
};
use anyhow::{Result, anyhow};
use serde_json::Value;

#[derive(clap::Args, Debug)]
pub(crate) struct Image {
    #[arg(value_name = "TYPE NAME CONTAINER=IMAGE")]
    args: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    flags: SetFlags,
}

impl Image {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.flags.change.dry_run()?;
        let (objects, pairs) = pairs::split(&self.args, "image")?;
        let images = pairs::parse(&pairs, "image", false)?;
        let no_objects = objects.is_empty() && self.flags.files.filename.is_empty();
        let mut complaints = Vec::new();
        if self.flags.all && !self.selector.is_empty() {
            complaints.push(ALL_AND_SELECTOR);
        }
        if no_objects {
            complaints.push(NO_OBJECTS);
        }
        if images.set.is_empty() {
            complaints.push("at least one image update is required");
        } else if images.set.len() > 1 && images.sets("*") {
            complaints.push(
                "all containers are already specified by *, but saw more than one container_name=container_image pairs",
            );
        }
        // kubectl looks for the objects before it complains about the rest.
        let infos = self.flags.infos(cx, &objects, &self.selector).await?;
        if self.flags.local && dry_run == DryRun::Server {
            complaints.push(LOCAL_AND_SERVER);
        }
        complain(complaints)?;
        let mut missing = Vec::new();
        let failed = "failed to patch image update to pod template:";
        let failures = self
            .flags
            .change(cx, &infos, "image updated", failed, |info, object| {
                let names = set_images(pod_spec(info, object)?, &images);
                missing.extend(names.into_iter().map(|name| anyhow!("error: unable to find container named {name:?}")));
                self.record.apply(object);
                Ok(())
            })
            .await;
        all_or(missing.into_iter().chain(failures).collect())
    }
}

/// Sets the images; gives back the names no container has.
pub(super) fn set_images(spec: &mut Value, images: &Changes) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, image) in &images.set {
        let mut found = false;
        for field in ["initContainers", "containers"] {
            let containers = spec.get_mut(field).and_then(Value::as_array_mut);
            for container in
                containers.into_iter().flatten().filter(|container| name == "*" || container["name"] == name.as_str())
            {
                container["image"] = image.clone().into();
                found = true;
            }
        }
        if !found {
            missing.push(name.clone());
        }
    }
    missing
}
