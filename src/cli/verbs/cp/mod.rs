//! `cp`: files to and from a container, through the container's own `tar`.

mod archive;
mod paths;

use super::{
    exec,
    streams::{self, Wishes},
};
use crate::{
    failure::Failure,
    resolve::Info,
    session::Session,
    streaming::{channels::Ends, process::Process},
};
use anyhow::{Result, anyhow, bail};
use paths::Place;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::io::SyncIoBridge;

const BUFFER: usize = 256 << 10;

#[derive(clap::Args, Debug)]
pub(crate) struct Cp {
    #[arg(value_name = "SOURCE DESTINATION")]
    args: Vec<String>,
    /// The container; the first one when left out.
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// Do not keep ownership and permissions in the container.
    #[arg(long)]
    no_preserve: bool,
    /// How often a broken copy from a container is resumed; a negative value never gives up.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    retries: i64,
}

impl Cp {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let [source, destination] = self.args.as_slice() else { bail!("source and destination are required") };
        let (source, destination) = (Place::parse(source)?, Place::parse(destination)?);
        if source.pod.is_some() && destination.pod.is_some() {
            bail!("one of src or dest must be a local file specification");
        }
        if source.path.is_empty() || destination.path.is_empty() {
            bail!("filepath can not be empty");
        }
        match (&source.pod, &destination.pod) {
            (Some(_), _) => self.out_of_pod(cx, &source, &destination.path).await,
            (_, Some(_)) => self.to_pod(cx, &source.path, &destination).await,
            (None, None) => bail!("one of src or dest must be a remote file specification"),
        }
    }

    async fn to_pod(&self, cx: &Session, source: &str, destination: &Place) -> Result<()> {
        if std::fs::metadata(source).is_err() {
            bail!("{source} doesn't exist in local filesystem");
        }
        let pod = pod(cx, destination).await?;
        let container = exec::container(&pod, self.container.as_deref(), false)?;
        let test = ["test", "-d", &destination.path].map(str::to_owned);
        let asked = status(cx, &pod, &container, &test, Ends::default());
        let answer = tokio::time::timeout(Duration::from_secs(30), asked)
            .await
            .map_err(|_| anyhow!("context deadline exceeded"))?;
        let is_directory = answer.is_ok_and(|status| status["status"] == "Success");
        let target = match is_directory {
            true => paths::join(&destination.path, paths::base(source)),
            false => paths::clean(&destination.path),
        };
        let mut command: Vec<String> = vec!["tar".into()];
        if self.no_preserve {
            command.extend(["--no-same-permissions".into(), "--no-same-owner".into()]);
        }
        command.extend(["-xmf", "-", "-C"].map(str::to_owned));
        command.push(paths::parent(&target));
        let (reader, writer) = tokio::io::duplex(BUFFER);
        let (source, name) = (paths::clean(source), paths::base(&target).to_owned());
        let packed = tokio::task::spawn_blocking(move || archive::pack(&source, &name, SyncIoBridge::new(writer)));
        let ends = Ends {
            stdin: Some(Box::new(reader)),
            stdout: Some(Box::new(tokio::io::stdout())),
            stderr: Some(Box::new(tokio::io::stderr())),
            ..Ends::default()
        };
        let done = run(cx, &pod, &container, &command, ends).await;
        // A tar that ended early leaves the packer with a broken pipe; its own words come first.
        done.and(packed.await?)
    }

    async fn out_of_pod(&self, cx: &Session, source: &Place, destination: &str) -> Result<()> {
        let pod = pod(cx, source).await?;
        let container = exec::container(&pod, self.container.as_deref(), false)?;
        let (reader, writer) = tokio::io::duplex(BUFFER);
        let prefix = paths::in_archive(&source.path);
        let hint = format!(
            " (consider using \"kubectl exec -n {:?} {:?} -- tar cf - {:?} | tar xf -\")",
            source.namespace.as_deref().unwrap_or_default(),
            pod.name,
            source.path
        );
        let destination = destination.to_owned();
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut reader = SyncIoBridge::new(reader);
            let unpacking = archive::Unpacking { prefix: &prefix, destination: &destination, hint };
            unpacking.unpack(&mut reader, &mut |warning| crate::errln!("{warning}"))?;
            // What tar fills its last block up with.
            std::io::copy(&mut reader, &mut std::io::sink())?;
            anyhow::Ok(())
        });
        let received = self.receive(cx, &pod, &container, &source.path, writer).await;
        let unpacked = unpacked.await?;
        match received {
            // The exit code of tar explains an archive that is not whole.
            Err(error) if matches!(error.downcast_ref(), Some(Failure::Exit(_))) => Err(error),
            received => unpacked.and(received),
        }
    }

    /// Receives the archive, again from where it broke off as often as is allowed.
    async fn receive(
        &self,
        cx: &Session,
        pod: &Info,
        container: &str,
        path: &str,
        mut into: DuplexStream,
    ) -> Result<()> {
        let mut bytes = 0;
        let mut tries = 0;
        loop {
            let (mut reader, writer) = tokio::io::duplex(BUFFER);
            let into = &mut into;
            let count = &mut bytes;
            // What tar warns about is printed where kubectl prints it.
            let ends =
                Ends { stdout: Some(Box::new(writer)), stderr: Some(Box::new(tokio::io::stdout())), ..Ends::default() };
            let command = self.pack_command(path, *count);
            let pass = async move {
                let mut buffer = vec![0; BUFFER];
                while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                    if into.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                    *count += read as u64;
                }
            };
            let (result, ()) = tokio::join!(run(cx, pod, container, &command, ends), pass);
            match result {
                Err(_) if self.retries < 0 || tries < self.retries => {
                    tries += 1;
                    crate::outln!("Resuming copy at {bytes} bytes, retry {tries}/{}", self.retries);
                }
                result => return result,
            }
        }
    }

    fn pack_command(&self, path: &str, received: u64) -> Vec<String> {
        if self.retries == 0 {
            return ["tar", "cf", "-", path].map(str::to_owned).to_vec();
        }
        let quoted = path.replace('\'', r"'\''");
        vec!["sh".into(), "-c".into(), format!("tar cf - '{quoted}' | tail -c+{}", received + 1)]
    }
}

async fn pod(cx: &Session, place: &Place) -> Result<Info> {
    let name = place.pod.clone().unwrap_or_default();
    let resource = cx.mapper().await?.find("pods")?;
    let namespace = match &place.namespace {
        Some(namespace) => namespace.clone(),
        None => cx.namespace().await?,
    };
    let mut info = Info { resource, namespace: Some(namespace), name, object: Value::Null, source: None };
    info.object = cx.remote().await?.get(&info.path()).await?;
    Ok(info)
}

async fn run(cx: &Session, pod: &Info, container: &str, command: &[String], ends: Ends<'_>) -> Result<()> {
    streams::outcome(&status(cx, pod, container, command, ends).await?)
}

/// How a command ended that works on these ends.
async fn status(cx: &Session, pod: &Info, container: &str, command: &[String], ends: Ends<'_>) -> Result<Value> {
    let wishes = Wishes { stdin: ends.stdin.is_some(), ..Wishes::default() };
    let path = exec::path(pod, container, command, wishes);
    Process::open(cx.remote().await?, &path).await?.carry(wishes.shape(), ends).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_copies_are_resumed_behind_what_came() {
        let cp = |retries| Cp { args: vec![], container: None, no_preserve: false, retries };
        assert_eq!(cp(0).pack_command("/a b", 0), ["tar", "cf", "-", "/a b"]);
        assert_eq!(cp(2).pack_command("/it's", 10), ["sh", "-c", r"tar cf - '/it'\''s' | tail -c+11"]);
    }
}
