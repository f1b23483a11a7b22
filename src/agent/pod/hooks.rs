//! Lifecycle hooks: a command in the container, an HTTP request to the pod, or a sleep.

use super::{facts, host::Host};
use crate::probe::http;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;

const HTTP_LIMIT: Duration = Duration::from_secs(30);

/// Runs a hook to its end. `Err` says why it failed.
pub(super) async fn run(
    host: &Host,
    container: &Container,
    id: &str,
    address: Option<&str>,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let answer = host.runtime.exec_sync(id, &command, Duration::ZERO).await;
        let answer =
            answer.map_err(|error| format!("Exec lifecycle hook ({command:?}) failed: {}", error.description()))?;
        return match answer.exit_code {
            0 => Ok(()),
            code => {
                let output = [answer.stdout, answer.stderr].concat();
                let output = String::from_utf8_lossy(&output).into_owned();
                Err(format!(
                    "Exec lifecycle hook ({command:?}) for Container {:?} failed - error: command exited with {code}, message: {output:?}",
                    container.name
                ))
            }
        };
    }
    if let Some(get) = &hook.http_get {
        let target = http::Target::of(container, get, address.unwrap_or_default())?;
        return http::request(&target, HTTP_LIMIT).await.map(drop);
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())).await;
        return Ok(());
    }
    if let Some(tcp) = &hook.tcp_socket {
        let port = facts::port_of(container, &tcp.port).ok_or("the port of the hook has no number")?;
        let at = tcp.host.clone().filter(|host| !host.is_empty()).or(address.map(str::to_owned)).unwrap_or_default();
        return tokio::net::TcpStream::connect((at.as_str(), port)).await.map(drop).map_err(|error| error.to_string());
    }
    Err("invalid handler: no action is given".to_owned())
}
