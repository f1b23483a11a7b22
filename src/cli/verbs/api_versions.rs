//! `api-versions`: the group versions a server has.

use crate::session::Session;
use anyhow::{Result, bail};

#[derive(clap::Args, Debug)]
pub(crate) struct ApiVersions {
    #[arg(hide = true)]
    args: Vec<String>,
}

impl ApiVersions {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if !self.args.is_empty() {
            bail!(
                "unexpected arguments: [{}]\nSee 'kubectl api-versions -h' for help and examples",
                self.args.join(" ")
            );
        }
        let mut versions = cx.mapper().await?.group_versions.clone();
        versions.sort();
        for version in versions {
            crate::outln!("{version}");
        }
        Ok(())
    }
}
