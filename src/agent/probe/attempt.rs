//! One attempt of a probe, of whichever kind.

use super::{grpc, http, state::Outcome};
use crate::pod::{facts, host::Host};
use k8s_openapi::api::core::v1::{Container, Probe};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// Output that events carry.
const OUTPUT_MAX: usize = 10 << 10;

/// What it found and what it said. An `Err` could not be carried out.
pub(super) async fn attempt(
    host: &Host,
    container: &Container,
    id: &str,
    address: &str,
    probe: &Probe,
) -> Result<(Outcome, String), String> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
    if let Some(exec) = &probe.exec {
        return command(host, id, exec.command.as_deref().unwrap_or_default(), limit).await;
    }
    if let Some(get) = &probe.http_get {
        let target = http::Target::of(container, get, address)?;
        return Ok(match http::request(&target, limit).await {
            Ok(status) if (200..400).contains(&status) => (Outcome::Success, String::new()),
            Ok(status) => (Outcome::Failure, format!("HTTP probe failed with statuscode: {status}")),
            Err(error) => (Outcome::Failure, error),
        });
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port =
            facts::port_of(container, &tcp.port).ok_or_else(|| "the port of the probe has no number".to_owned())?;
        let at = tcp.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(address);
        return Ok(match timeout(limit, TcpStream::connect((at, port))).await {
            Ok(Ok(_)) => (Outcome::Success, String::new()),
            Ok(Err(error)) => (Outcome::Failure, format!("dial tcp {at}:{port}: connect: {}", http::cause(&error))),
            Err(_) => (Outcome::Failure, format!("dial tcp {at}:{port}: i/o timeout")),
        });
    }
    if let Some(call) = &probe.grpc {
        return Ok(grpc::check(address, call.port, call.service.as_deref().unwrap_or_default(), limit).await);
    }
    Err("missing probe handler".to_owned())
}

async fn command(host: &Host, id: &str, command: &[String], limit: Duration) -> Result<(Outcome, String), String> {
    match host.runtime.exec_sync(id, command, limit).await {
        Ok(answer) => {
            let mut output = [answer.stdout, answer.stderr].concat();
            output.truncate(OUTPUT_MAX);
            let output = String::from_utf8_lossy(&output).into_owned();
            Ok((if answer.exit_code == 0 { Outcome::Success } else { Outcome::Failure }, output))
        }
        Err(error) if error.code() == Some(mk8s_cri::Code::DeadlineExceeded) => {
            Ok((Outcome::Failure, format!("command timed out: {command:?} timed out after {}s", limit.as_secs())))
        }
        Err(error) => Err(error.to_string()),
    }
}
