//! Processes in running containers through containerd's tasks: streams are FIFOs that the shim opens.

use crate::{Containerd, CriError, containerd::request};
use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, ResizePtyRequest,
    StartRequest, WaitRequest, containers_client::ContainersClient, tasks_client::TasksClient,
};
use serde_json::Value;
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use tokio::net::unix::pipe;
use tonic::transport::Channel;

/// What to run in a container, and which streams it gets.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    pub container: String,
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// A folder of ours for the FIFOs; it must exist.
    pub directory: PathBuf,
}

/// The agent's ends of the streams that were asked for.
pub struct Streams {
    pub stdin: Option<pipe::Sender>,
    pub stdout: Option<pipe::Receiver>,
    pub stderr: Option<pipe::Receiver>,
}

/// A process that runs. [`Exec::wait`] must be called in the end: it also clears up.
pub struct Exec {
    tasks: TasksClient<Channel>,
    container: String,
    id: String,
    directory: PathBuf,
}

impl Containerd {
    pub async fn exec(&self, options: ExecOptions) -> Result<(Exec, Streams), CriError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let directory = options.directory.join(&id);
        let made = std::fs::create_dir_all(&directory);
        made.map_err(|source| CriError::Streams { path: directory.clone(), source })?;
        let exec = Exec {
            tasks: TasksClient::new(self.channel.clone()),
            container: options.container.clone(),
            id,
            directory: directory.clone(),
        };
        match self.start(&exec, &options).await {
            Ok(streams) => Ok((exec, streams)),
            Err(error) => {
                exec.clear_up().await;
                Err(error)
            }
        }
    }

    async fn start(&self, exec: &Exec, options: &ExecOptions) -> Result<Streams, CriError> {
        let process = self.process_of(&options.container, &options.command, options.tty).await?;
        let fifo = |wanted: bool, name: &str| -> Result<Option<PathBuf>, CriError> {
            wanted.then(|| make_fifo(exec.directory.join(name))).transpose()
        };
        let stdin = fifo(options.stdin, "stdin")?;
        // The shim wants both, whoever listens; a terminal has one for both.
        let stdout = fifo(true, "stdout")?;
        let stderr = fifo(!options.tty, "stderr")?;
        // Readers first: the shim opens its ends while the process starts, and must find ours.
        let receiver = |path: &Option<PathBuf>| path.as_deref().map(open_receiver).transpose();
        let (out, err) = (receiver(&stdout)?, receiver(&stderr)?);
        let input = stdin.as_deref().map(open_sender).transpose()?;
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let mut tasks = exec.tasks.clone();
        let ask = ExecProcessRequest {
            container_id: exec.container.clone(),
            stdin: text(&stdin),
            stdout: text(&stdout),
            stderr: text(&stderr),
            terminal: options.tty,
            spec: Some(prost_types::Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
                value: process.to_string().into_bytes(),
            }),
            exec_id: exec.id.clone(),
        };
        tasks.exec(request(ask)).await.map_err(CriError::rpc("Tasks.Exec"))?;
        let ask = StartRequest { container_id: exec.container.clone(), exec_id: exec.id.clone() };
        tasks.start(request(ask)).await.map_err(CriError::rpc("Tasks.Start"))?;
        let out = heard(out, options.stdout || options.tty);
        Ok(Streams { stdin: input, stdout: out, stderr: heard(err, options.stderr) })
    }

    /// The container's own process description with another command.
    async fn process_of(&self, container: &str, command: &[String], tty: bool) -> Result<Value, CriError> {
        let mut containers = ContainersClient::new(self.channel.clone());
        let answer = containers.get(request(GetContainerRequest { id: container.to_owned() })).await;
        let spec = answer.map_err(CriError::rpc("Containers.Get"))?.into_inner().container.and_then(|c| c.spec);
        let spec = spec.ok_or(CriError::Incomplete { call: "Containers.Get", what: "a spec" })?;
        let incomplete = CriError::Incomplete { call: "Containers.Get", what: "a readable spec" };
        let Ok(mut spec) = serde_json::from_slice::<Value>(&spec.value) else { return Err(incomplete) };
        let mut process = spec["process"].take();
        if !process.is_object() {
            return Err(incomplete);
        }
        process["args"] = command.into();
        process["terminal"] = tty.into();
        if tty && let Some(env) = process["env"].as_array_mut() {
            env.retain(|variable| !variable.as_str().is_some_and(|text| text.starts_with("TERM=")));
            env.push("TERM=xterm".into());
        }
        Ok(process)
    }
}

impl Exec {
    /// Waits for the process, takes it down, and says its exit code.
    pub async fn wait(self) -> Result<u32, CriError> {
        let ask = WaitRequest { container_id: self.container.clone(), exec_id: self.id.clone() };
        let answer = self.tasks.clone().wait(request(ask)).await;
        self.clear_up().await;
        answer.map(|answer| answer.into_inner().exit_status).map_err(CriError::rpc("Tasks.Wait"))
    }

    /// A way to resize, close and kill that lives beside [`Exec::wait`].
    pub fn control(&self) -> Control {
        Control { tasks: self.tasks.clone(), container: self.container.clone(), id: self.id.clone() }
    }

    async fn clear_up(&self) {
        let ask = DeleteProcessRequest { container_id: self.container.clone(), exec_id: self.id.clone() };
        if let Err(error) = self.tasks.clone().delete_process(request(ask)).await {
            tracing::debug!(container = self.container, %error, "a process that was added is gone already");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(path = %self.directory.display(), %error, "streams could not be removed");
        }
    }
}

/// Reaches into a process that runs.
#[derive(Clone)]
pub struct Control {
    tasks: TasksClient<Channel>,
    container: String,
    id: String,
}

impl Control {
    pub async fn resize(&self, width: u32, height: u32) -> Result<(), CriError> {
        let ask = ResizePtyRequest { container_id: self.container.clone(), exec_id: self.id.clone(), width, height };
        self.tasks.clone().resize_pty(request(ask)).await.map(drop).map_err(CriError::rpc("Tasks.ResizePty"))
    }

    /// The process sees the end of its standard input.
    pub async fn close_stdin(&self) -> Result<(), CriError> {
        let ask = CloseIoRequest { container_id: self.container.clone(), exec_id: self.id.clone(), stdin: true };
        self.tasks.clone().close_io(request(ask)).await.map(drop).map_err(CriError::rpc("Tasks.CloseIO"))
    }

    pub async fn kill(&self, signal: u32) -> Result<(), CriError> {
        let ask = KillRequest { container_id: self.container.clone(), exec_id: self.id.clone(), signal, all: false };
        self.tasks.clone().kill(request(ask)).await.map(drop).map_err(CriError::rpc("Tasks.Kill"))
    }
}

/// A stream that nobody asked for is read all the same: a process must not wait for a reader.
fn heard(stream: Option<pipe::Receiver>, wanted: bool) -> Option<pipe::Receiver> {
    if wanted {
        return stream;
    }
    if let Some(mut stream) = stream {
        tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
    }
    None
}

fn make_fifo(path: PathBuf) -> Result<PathBuf, CriError> {
    let failed = |source| CriError::Streams { path: path.clone(), source };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    mkfifo(&name).map_err(failed)?;
    Ok(path)
}

#[allow(unsafe_code)]
fn mkfifo(name: &CString) -> std::io::Result<()> {
    // SAFETY: `name` is a valid C string for the length of the call, which keeps nothing of it.
    match unsafe { libc::mkfifo(name.as_ptr(), 0o600) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn open_receiver(path: &Path) -> Result<pipe::Receiver, CriError> {
    let opened = pipe::OpenOptions::new().open_receiver(path);
    opened.map_err(|source| CriError::Streams { path: path.to_owned(), source })
}

/// Opened for both directions, because there is no reader yet.
fn open_sender(path: &Path) -> Result<pipe::Sender, CriError> {
    let opened = pipe::OpenOptions::new().read_write(true).open_sender(path);
    opened.map_err(|source| CriError::Streams { path: path.to_owned(), source })
}
