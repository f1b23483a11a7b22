//! Standard streams of a process in a container: for `exec`, `attach`, `run -i` and `cp`.

use crate::{
    failure::Failure,
    remote::{Remote, with_query},
    streaming::{
        channels::{Ends, Size},
        process::{Process, Shape},
    },
};
use anyhow::{Result, anyhow, bail};
use nix::sys::termios::{self, SetArg, Termios};
use serde_json::Value;
use std::io::IsTerminal;
use tokio::{io::AsyncRead, sync::mpsc};
use tokio_util::sync::CancellationToken;

/// What of the streams is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
    pub(crate) quiet: bool,
}

impl Wishes {
    /// `-t` needs stdin and a terminal here; without them it is dropped.
    pub(crate) fn checked(mut self) -> Wishes {
        if self.tty && self.stdin && !std::io::stdin().is_terminal() {
            if !self.quiet {
                crate::errln!("Unable to use a TTY - input is not a terminal or the right kind of file");
            }
            self.tty = false;
        }
        self.tty &= self.stdin;
        self
    }

    pub(crate) fn shape(self) -> Shape {
        Shape { stdin: self.stdin, tty: self.tty }
    }

    /// The query of a request for these streams.
    pub(crate) fn query(self, path: &str, container: &str) -> String {
        let flag = |set: bool| if set { "true" } else { "" };
        let flags = [
            ("container", container),
            ("stdin", flag(self.stdin)),
            ("stdout", "true"),
            ("stderr", flag(!self.tty)),
            ("tty", flag(self.tty)),
        ];
        with_query(path, &flags)
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

/// Where the sizes of this program's terminal come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redraw {
    No,
    /// A size that is slightly off comes first, so that what runs there draws its screen anew.
    Yes,
}

/// Joins this program's streams to the process at `path` until it ends.
pub(crate) async fn join(remote: &Remote, path: &str, wishes: Wishes, redraw: Redraw, input: Input) -> Result<()> {
    let process = Process::open(remote, path).await?;
    let raw = if wishes.tty { RawTerminal::enter() } else { None };
    let sizes = wishes.tty.then(|| follow_size(redraw));
    let ends = Ends {
        stdin: wishes.stdin.then_some(input.reader),
        stdout: Some(Box::new(tokio::io::stdout())),
        stderr: (!wishes.tty).then(|| Box::new(tokio::io::stderr()) as _),
        sizes,
        leave: input.leave,
    };
    let status = process.carry(wishes.shape(), ends).await;
    drop(raw);
    outcome(&status?)
}

/// What is typed, and the wish to leave what goes on.
pub(crate) struct Input {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) leave: CancellationToken,
}

/// This program's standard input.
pub(crate) fn stdin() -> Input {
    Input { reader: Box::new(tokio::io::stdin()), leave: CancellationToken::new() }
}

fn follow_size(redraw: Redraw) -> mpsc::Receiver<Size> {
    let (sizes, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let Ok(mut changed) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()) else {
            return;
        };
        if redraw == Redraw::Yes
            && let Some(Size { width, height }) = terminal()
            && sizes.send(Size { width: width.saturating_add(1), height: height.saturating_add(1) }).await.is_err()
        {
            return;
        }
        loop {
            if let Some(size) = terminal()
                && sizes.send(size).await.is_err()
            {
                return;
            }
            if changed.recv().await.is_none() {
                return;
            }
        }
    });
    receiver
}

fn terminal() -> Option<Size> {
    let (width, height) = terminal_size::terminal_size()?;
    Some(Size { width: width.0, height: height.0 })
}

/// What the Status at the end of a stream says.
pub(crate) fn outcome(status: &Value) -> Result<()> {
    if status["status"] == "Success" {
        return Ok(());
    }
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let code = causes
        .iter()
        .find(|cause| cause["reason"] == "ExitCode")
        .and_then(|cause| cause["message"].as_str()?.parse::<u8>().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) if status["reason"] == "NonZeroExitCode" => {
            crate::errln!("command terminated with exit code {code}");
            Err(Failure::Exit(code).into())
        }
        _ => Err(anyhow!("{}", status["message"].as_str().unwrap_or("the stream ended without a status"))),
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
    let annotated = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let wanted = asked.filter(|name| !name.is_empty()).or(annotated.filter(|name| !name.is_empty()));
    if let Some(wanted) = wanted {
        if plain.iter().chain(&init).chain(&ephemeral).any(|name| name == wanted) {
            return Ok(wanted.to_owned());
        }
        bail!("container {wanted} is not valid for pod {pod_name} out of: {}", everything());
    }
    let first = plain.first().ok_or_else(|| {
        anyhow!(
            "pod {}/{pod_name} does not have any containers",
            pod["metadata"]["namespace"].as_str().unwrap_or_default()
        )
    })?;
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
        assert_eq!(
            code(&json!({"status": "Failure", "message": "no such command"})),
            Err(("error: no such command".into(), 1))
        );
    }

    #[test]
    fn containers_are_chosen() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container_of(&pod, None, true).unwrap(), "a");
        assert_eq!(container_of(&pod, Some("i"), true).unwrap(), "i");
        assert_eq!(
            container_of(&pod, Some("z"), true).unwrap_err().to_string(),
            "container z is not valid for pod p out of: a, b, i (init)"
        );
    }
}
