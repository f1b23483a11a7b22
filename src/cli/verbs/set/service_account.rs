//! `set serviceaccount`

use super::{SetFlags, pod_spec};
use crate::{failure::all_or, record::RecordFlag, session::Session};
use anyhow::{Result, bail};

pub(super) const DONE: &str = "serviceaccount updated";

#[derive(clap::Args, Debug)]
pub(crate) struct ServiceAccount {
    #[arg(value_name = "TYPE NAME SERVICE_ACCOUNT")]
    args: Vec<String>,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    flags: SetFlags,
}

impl ServiceAccount {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        self.flags.check_local(self.flags.change.dry_run()?)?;
        let Some((account, objects)) = self.args.split_last() else { bail!("serviceaccount is required") };
        let objects = if self.flags.local { &[] } else { objects };
        let infos = self.flags.infos(cx, objects, "").await?;
        let failures = self
            .flags
            .change(cx, &infos, DONE, "failed to patch ServiceAccountName", |info, object| {
                let spec = pod_spec(info, object)?;
                spec["serviceAccountName"] = account.clone().into();
                self.record.apply(object);
                Ok(())
            })
            .await;
        all_or(failures)
    }
}
