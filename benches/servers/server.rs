//! A server that is measured: a process with a directory and a port.

use crate::{Call, Connection, target::Target, until};
use anyhow::Context;
use std::{
    cell::RefCell,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command},
};

/// Where servers run.
pub(crate) struct Place {
    pub(crate) binary: PathBuf,
    pub(crate) address: String,
    pub(crate) directory: PathBuf,
}

/// See the module. It ends with this.
pub(crate) struct Server<'a> {
    place: &'a Place,
    name: &'static str,
    port: u16,
    flags: Vec<String>,
    child: RefCell<Option<Child>>,
}

impl<'a> Server<'a> {
    pub(crate) fn start(
        place: &'a Place,
        name: &'static str,
        port: u16,
        flags: &[String],
    ) -> anyhow::Result<Server<'a>> {
        let server = Server { place, name, port, flags: flags.to_owned(), child: RefCell::default() };
        server.run()?;
        Ok(server)
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.place.directory.join(format!("{}{kind}", self.name))
    }

    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.path(".log"))?;
        let mut command = Command::new(&self.place.binary);
        command.args(["server", "--disable-agent", "--node-name", self.name, "--node-ip", &self.place.address]);
        command.args(["--https-listen-port", &self.port.to_string(), "--data-dir"]).arg(self.path(""));
        command.arg("--write-kubeconfig").arg(self.path(".kubeconfig")).args(&self.flags);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn();
        *self.child.borrow_mut() = Some(child.with_context(|| format!("starting {}", self.place.binary.display()))?);
        Ok(())
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.borrow_mut().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.borrow().as_ref().map_or(0, Child::id)
    }

    fn url(&self) -> String {
        format!("https://{}:{}", self.place.address, self.port)
    }

    /// The flags that join a server to this one.
    pub(crate) fn joining(&self) -> anyhow::Result<Vec<String>> {
        let token = fs::read_to_string(self.path("").join("server/token")).context("the token")?;
        Ok(["--join".to_owned(), self.url(), "--token".to_owned(), token.trim().to_owned()].to_vec())
    }

    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        Target::read(self.path(".kubeconfig").to_str().context("a path that is text")?)
    }

    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        until("the server is ready", async || {
            let Ok(target) = self.target() else { return false };
            let asked = async { Connection::open(&target).await?.expect(Call::get("/readyz"), &[200]).await };
            asked.await.is_ok()
        })
        .await
        .with_context(|| format!("{} has more", self.path(".log").display()))
    }

    /// What `mk8s cluster members` says of this server.
    fn role(&self) -> Option<String> {
        let mut command = Command::new(&self.place.binary);
        command.args(["cluster", "members", "--server", &self.url(), "--data-dir"]).arg(self.path(""));
        let text = String::from_utf8(command.output().ok()?.stdout).ok()?;
        let row = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let own = row.into_iter().find(|row| row.get(1) == Some(&self.name))?;
        own.get(3).map(|role| (*role).to_owned())
    }

    /// Waits until it has a role.
    pub(crate) async fn is(&self, role: &str) -> anyhow::Result<()> {
        until(role, async || self.role().as_deref() == Some(role)).await
    }

    pub(crate) async fn leads(&self) -> anyhow::Result<bool> {
        let mut role = None;
        until("it has a role", async || {
            role = self.role();
            role.is_some()
        })
        .await?;
        Ok(role.as_deref() == Some("leader"))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        drop(self.kill());
    }
}
