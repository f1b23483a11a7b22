//! Plays a script: in a folder of its own, in a Kubernetes namespace of its own, with `kubectl` being the one asked for.

use super::script::{Mode, Step, lacking};
use crate::support::{host::Host, tools::Kubectl};
use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

/// How long something that must come about may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(90);

struct Player<'a> {
    host: &'a Host,
    folder: PathBuf,
    kubeconfig: PathBuf,
    /// What commands like `POD=$(...)` have set.
    variables: Vec<(String, String)>,
}

struct Outcome {
    success: bool,
    /// Both streams, as a terminal shows them.
    text: String,
}

/// Plays all steps up to the first that fails.
pub(crate) fn play(host: &Host, kubectl: Kubectl, name: &str, steps: &[Step]) -> Result<(), String> {
    let folder = host.scratch(name);
    let programs = host.scratch(&format!("{name}-bin"));
    symlink(kubectl.program(), programs.join("kubectl")).expect("kubectl can be linked");
    let kubeconfig = programs.join("kubeconfig.yaml");
    fs::copy(host.kubeconfig(), &kubeconfig).expect("the kubeconfig can be copied");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let node = ("NODE_IP".to_owned(), host.address.clone());
    let mut player = Player { host, folder, kubeconfig, variables: vec![("PATH".to_owned(), path), node] };
    let namespace = name.replace('_', "-");
    player.set_up(&namespace)?;
    for step in steps {
        player.step(step)?;
    }
    // Only what went well is taken away: a failure leaves its objects to the messages of the host.
    player.run(&format!("kubectl delete namespace {namespace} --wait=false"));
    Ok(())
}

impl Player<'_> {
    fn set_up(&mut self, namespace: &str) -> Result<(), String> {
        for command in [
            format!("kubectl create namespace {namespace}"),
            format!("kubectl config set-context --current --namespace={namespace}"),
        ] {
            let outcome = self.run(&command);
            if !outcome.success {
                return Err(format!("{command}\n{}", outcome.text));
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::File { name, text } => {
                let path = self.folder.join(name);
                let parent = path.parent().expect("a file has a folder");
                fs::create_dir_all(parent)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|error| format!("{name}: {error}"))
            }
            Step::Run { line, mode, command, expected } => {
                let deadline = Instant::now() + PATIENCE;
                loop {
                    let outcome = self.run(command);
                    let wrong = match lacking(&outcome.text, expected) {
                        _ if outcome.success == (*mode == Mode::Fails) => Some("has the wrong outcome".to_owned()),
                        Some(pattern) => Some(format!("lacks the line: {pattern}")),
                        None => None,
                    };
                    match wrong {
                        None => return Ok(()),
                        Some(_) if *mode == Mode::Eventually && Instant::now() < deadline => {
                            std::thread::sleep(Duration::from_millis(200));
                        }
                        Some(wrong) => return Err(format!("line {line}: {command}\n{wrong}\n{}", outcome.text)),
                    }
                }
            }
        }
    }

    /// Runs a command line; one that sets a variable keeps it for those that follow.
    fn run(&mut self, command: &str) -> Outcome {
        let variable = command.split_once("=$(").map(|(name, _)| name);
        let variable = variable.filter(|name| name.bytes().all(|b| b.is_ascii_uppercase()));
        let line = match variable {
            Some(name) => format!("{command} && test -n \"${name}\" && printf %s \"${name}\""),
            None => command.to_owned(),
        };
        let output = self
            .host
            .command("timeout")
            .arg(COMMAND_MAX.as_secs().to_string())
            .args(["sh", "-c", &format!("exec 2>&1\n{line}")])
            .current_dir(&self.folder)
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("nsenter can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some(name) = variable {
            self.variables.push((name.to_owned(), text.clone()));
        }
        Outcome { success: output.status.success(), text }
    }
}
