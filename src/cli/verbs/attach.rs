//! `attach`: the streams of a process that runs in a container.

use super::streams::{self, Input, Redraw, Wishes};
use crate::{
    flags::duration,
    resolve::{self, Info, Query, pods},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Typed to leave a process that goes on.
pub(crate) const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

#[derive(clap::Args, Debug)]
pub(crate) struct Attach {
    #[arg(value_name = "POD | TYPE/NAME | TYPE NAME")]
    target: Vec<String>,
    /// The container; the first one when left out.
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// Pass stdin to the container.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Stdin is a TTY.
    #[arg(short = 't', long)]
    tty: bool,
    /// Only print output from the remote session.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// The keys that detach from the container.
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    detach_keys: String,
    /// How long to wait until at least one pod is there.
    #[arg(long, value_name = "DURATION", default_value = pods::RUNNING_TIMEOUT, value_parser = duration)]
    pod_running_timeout: Duration,
}

impl Attach {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let timeout = self.pod_running_timeout;
        match self.target.len() {
            0 => bail!("at least 1 argument is required for attach"),
            1 | 2 => {}
            n => bail!(
                "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {n}: [{}]",
                self.target.join(" ")
            ),
        }
        if timeout.is_zero() {
            bail!("--pod-running-timeout must be higher than zero");
        }
        let object = match self.target.as_slice() {
            [one] => pods::named(cx, one).await?,
            two => resolve::one(cx, &Query { args: two, ..Query::default() }).await?,
        };
        let pod = pods::behind(cx, object, timeout).await?;
        let phase = pod.object["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            bail!("cannot attach a container in a completed pod; current phase is {phase}");
        }
        let wishes = Wishes { stdin: self.stdin, tty: self.tty, quiet: self.quiet };
        session(cx, &pod, self.container.as_deref(), wishes, &self.detach_keys).await
    }
}

/// Attaches to a running pod until its process ends or the user leaves it.
pub(crate) async fn session(
    cx: &Session,
    pod: &Info,
    asked: Option<&str>,
    mut wishes: Wishes,
    detach_keys: &str,
) -> Result<()> {
    let name = streams::container_of(&pod.object, asked, wishes.quiet)
        .map_err(|why| anyhow!("cannot attach to the container: {why}"))?;
    let (field, container) = find(&pod.object, &name);
    let has_tty = container["tty"] == true;
    if wishes.tty && !has_tty && !wishes.quiet {
        crate::errln!("error: Unable to use a TTY - container {name} did not allocate one");
    }
    // A container with a TTY speaks a language of its own, also to those who did not ask for one.
    wishes.tty = has_tty;
    let wishes = wishes.checked();
    let input = match wishes.tty {
        true => detachable(streams::stdin(), keys(detach_keys)?),
        false => streams::stdin(),
    };
    if !wishes.quiet {
        crate::errln!(
            "All commands and output from this session will be recorded in container logs, including credentials and sensitive information passed through the command prompt."
        );
        crate::errln!("If you don't see a command prompt, try pressing enter.");
    }
    let path = wishes.query(&format!("{}/attach", pod.path()), &name);
    streams::join(cx.remote().await?, &path, wishes, Redraw::Yes, input).await?;
    if wishes.tty && !wishes.quiet {
        let namespace = pod.namespace.as_deref().unwrap_or_default();
        let again = format!("'kubectl attach {} -c {name} -n {namespace} -i -t'", pod.name);
        match field {
            "ephemeralContainers" => crate::outln!(
                "Session ended, the ephemeral container will not be restarted but may be reattached using {again} if it is still running"
            ),
            _ => crate::outln!("Session ended, resume using {again} command"),
        }
    }
    Ok(())
}

fn find<'a>(pod: &'a Value, name: &str) -> (&'static str, &'a Value) {
    let fields = ["containers", "initContainers", "ephemeralContainers"];
    let all = fields
        .into_iter()
        .flat_map(|field| pod["spec"][field].as_array().into_iter().flatten().map(move |one| (field, one)));
    all.into_iter().find(|(_, container)| container["name"] == name).unwrap_or(("containers", &Value::Null))
}

/// The bytes of keys like `ctrl-p,ctrl-q` or `a,ctrl-@`.
fn keys(text: &str) -> Result<Vec<u8>> {
    let text = if text.is_empty() { DETACH_KEYS } else { text };
    let one = |word: &str| match word.as_bytes() {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', key] => match key {
            b'a'..=b'z' => Some(key - b'a' + 1),
            b'@' => Some(0),
            b'[' | b'\\' | b']' | b'^' | b'_' => Some(key - b'[' + 27),
            _ => None,
        },
        _ => None,
    };
    text.split(',')
        .map(|word| one(word).ok_or_else(|| anyhow!("could not bind detach keys: Unknown character: '{word}'")))
        .collect()
}

/// Input that ends when the keys are typed one after the other.
fn detachable(input: Input, keys: Vec<u8>) -> Input {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let Input { mut reader, leave } = input;
    let detached = leave.clone();
    tokio::spawn(async move {
        let mut typed = Typed { keys, matched: 0 };
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            let (pass, left) = typed.take(&buffer[..count]);
            if theirs.write_all(&pass).await.is_err() {
                return;
            }
            if left {
                return detached.cancel();
            }
        }
    });
    Input { reader: Box::new(ours), leave }
}

/// How much of the detach keys has been typed.
struct Typed {
    keys: Vec<u8>,
    matched: usize,
}

impl Typed {
    /// The bytes to pass on, and whether the keys are complete. Keys typed in vain are passed on late.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (pass, true);
                }
                continue;
            }
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0]);
            if self.matched == 0 {
                pass.push(*byte);
            }
        }
        (pass, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_read() {
        assert_eq!(keys("").unwrap(), [16, 17]);
        assert_eq!(keys("a,ctrl-@,ctrl-_").unwrap(), [b'a', 0, 31]);
        assert_eq!(
            keys("ctrl-p,home").unwrap_err().to_string(),
            "could not bind detach keys: Unknown character: 'home'"
        );
    }

    #[test]
    fn typed_keys_end_the_input() {
        let typed = |pieces: &[&[u8]]| {
            let mut typed = Typed { keys: vec![16, 17], matched: 0 };
            let mut passed = Vec::new();
            for piece in pieces {
                let (pass, left) = typed.take(piece);
                passed.extend(pass);
                if left {
                    return (passed, true);
                }
            }
            (passed, false)
        };
        assert_eq!(typed(&[b"ab", &[16, 17], b"c"]), (b"ab".to_vec(), true));
        assert_eq!(typed(&[&[16], &[17]]), (vec![], true));
        assert_eq!(typed(&[&[16], b"x", &[16, 16, 17]]), (vec![16, b'x', 16], true));
        assert_eq!(typed(&[b"plain"]), (b"plain".to_vec(), false));
    }
}
