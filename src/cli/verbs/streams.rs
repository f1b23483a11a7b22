//! Standard streams of a process in a container: for `exec`, `attach`, `run -i` and `cp`.

use crate::failure::Failure;
use anyhow::{Result, anyhow, bail};
use futures::SinkExt;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use nix::sys::termios::{self, SetArg, Termios};
use serde_json::Value;
use std::io::IsTerminal;
use tokio::io::AsyncWriteExt;

const BUFFER: usize = 64 * 1024;

/// What of the streams is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
    pub(crate) quiet: bool,
}

impl Wishes {
    /// `-t` needs a terminal here; without one it is dropped, as kubectl does.
    pub(crate) fn checked(mut self) -> Wishes {
        if self.tty && !(self.stdin && std::io::stdin().is_terminal()) {
            if !self.quiet {
                crate::errln!("Unable to use a TTY - input is not a terminal or the right kind of file");
            }
            self.tty = false;
        }
        self
    }

    pub(crate) fn params(self, container: &str) -> AttachParams {
        let params = AttachParams::default().stdin(self.stdin).tty(self.tty).stdout(true).stderr(!self.tty);
        // The default of one kilobyte makes copies slow.
        params.max_stdin_buf_size(BUFFER).max_stdout_buf_size(BUFFER).max_stderr_buf_size(BUFFER).container(container)
    }
}

/// A terminal in raw mode until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<RawTerminal> {
        let before = termios::tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(RawTerminal(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

/// Joins this program's streams to the process until it ends.
pub(crate) async fn join(mut process: AttachedProcess, wishes: Wishes) -> Result<()> {
    let raw = if wishes.tty { RawTerminal::enter() } else { None };
    let status = process.take_status();
    if wishes.tty
        && let Some(sizes) = process.terminal_size()
    {
        tokio::spawn(follow_size(sizes));
    }
    if let Some(mut into) = process.stdin() {
        tokio::spawn(async move {
            let mut stdin = tokio::io::stdin();
            let _ = tokio::io::copy(&mut stdin, &mut into).await;
            let _ = into.shutdown().await;
        });
    }
    let (out, err) = (process.stdout(), process.stderr());
    let copy_out = async move {
        if let Some(mut from) = out {
            let _ = tokio::io::copy(&mut from, &mut tokio::io::stdout()).await;
            let _ = tokio::io::stdout().flush().await;
        }
    };
    let copy_err = async move {
        if let Some(mut from) = err {
            let _ = tokio::io::copy(&mut from, &mut tokio::io::stderr()).await;
            let _ = tokio::io::stderr().flush().await;
        }
    };
    tokio::join!(copy_out, copy_err);
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    drop(raw);
    match status {
        Some(status) => outcome(&serde_json::to_value(status)?),
        None => Ok(()),
    }
}

async fn follow_size(mut sizes: impl SinkExt<TerminalSize> + Unpin) {
    let Ok(mut changed) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = terminal_size::terminal_size()
            && sizes.send(TerminalSize { width: width.0, height: height.0 }).await.is_err()
        {
            return;
        }
        if changed.recv().await.is_none() {
            return;
        }
    }
}

/// What the Status at the end of a stream says.
pub(crate) fn outcome(status: &Value) -> Result<()> {
    if status["status"] == "Success" {
        return Ok(());
    }
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let code = causes.iter().find(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str()?.parse::<u8>().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) if status["reason"] == "NonZeroExitCode" => {
            crate::errln!("command terminated with exit code {code}");
            Err(Failure::Exit(code).into())
        }
        _ => Err(anyhow!("{}", status["message"].as_str().unwrap_or("the stream ended without a status"))),
    }
}

/// An error of kube's client in our terms.
pub(crate) fn from_kube(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => match serde_json::to_value(&*status) {
            Ok(status) => Failure::Api(status).into(),
            Err(_) => anyhow!("{status:?}"),
        },
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(&other);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            anyhow!("{text}")
        }
    }
}

/// The container meant: the named one, the annotated one, or the first, which is then said.
pub(crate) fn container_of(pod: &Value, asked: Option<&str>, quiet: bool) -> Result<String> {
    let names = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
    };
    let (plain, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let everything = || {
        let mut all = plain.clone();
        all.extend(ephemeral.iter().map(|name| format!("{name} (ephem)")));
        all.extend(init.iter().map(|name| format!("{name} (init)")));
        all.join(", ")
    };
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(asked) = asked {
        if plain.iter().chain(&init).chain(&ephemeral).any(|name| name == asked) {
            return Ok(asked.to_owned());
        }
        bail!("container {asked} is not valid for pod {pod_name} out of: {}", everything());
    }
    if let Some(name) = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str() {
        if plain.iter().chain(&init).chain(&ephemeral).any(|known| known == name) {
            return Ok(name.to_owned());
        }
        crate::errln!("Default container name {name:?} not found in pod {pod_name}");
    }
    let first = plain.first().ok_or_else(|| anyhow!("pod {pod_name} has no containers"))?;
    if plain.len() + init.len() + ephemeral.len() > 1 && !quiet {
        crate::errln!("Defaulted container {first:?} out of: {}", everything());
    }
    Ok(first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exit_codes_are_passed_on() {
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "m",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        let code = |status: &Value| outcome(status).map_err(|error| crate::failure::tell(&error));
        assert_eq!(code(&failed), Err((String::new(), 7)));
        assert_eq!(code(&json!({"status": "Success"})), Ok(()));
        assert_eq!(code(&json!({"status": "Failure", "message": "no such command"})), Err(("error: no such command".into(), 1)));
    }

    #[test]
    fn containers_are_chosen() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container_of(&pod, None, true).unwrap(), "a");
        assert_eq!(container_of(&pod, Some("i"), true).unwrap(), "i");
        assert_eq!(container_of(&pod, Some("z"), true).unwrap_err().to_string(), "container z is not valid for pod p out of: a, b, i (init)");
    }
}
