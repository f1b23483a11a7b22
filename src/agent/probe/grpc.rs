//! The gRPC health protocol, `grpc.health.v1.Health/Check`.

use super::state::Outcome;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

pub(super) async fn check(address: &str, port: i32, service: &str, limit: Duration) -> (Outcome, String) {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let at = format!("{host}:{port}");
    match timeout(limit, call(&at, service)).await {
        Ok(Ok(SERVING)) => (Outcome::Success, "service healthy".into()),
        Ok(Ok(status)) => (Outcome::Failure, format!("service unhealthy (responded with {:?})", name_of(status))),
        Ok(Err(why)) => (Outcome::Failure, why),
        Err(_) => (
            Outcome::Failure,
            format!("timeout: failed to connect service {at:?} within {}s: context deadline exceeded", limit.as_secs()),
        ),
    }
}

fn name_of(status: i32) -> &'static str {
    match status {
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

async fn call(at: &str, service: &str) -> Result<i32, String> {
    let endpoint = Endpoint::try_from(format!("http://{at}")).map_err(|error| error.to_string())?;
    let channel: Channel =
        endpoint.connect().await.map_err(|error| format!("error: failed to connect service at {at:?}: {error}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<CheckRequest, CheckResponse>::default();
    let ask = Request::new(CheckRequest { service: service.to_owned() });
    match client.unary(ask, path, codec).await {
        Ok(answer) => Ok(answer.into_inner().status),
        Err(status) if status.code() == tonic::Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!(
            "error: health rpc probe failed: rpc error: code = {:?} desc = {}",
            status.code(),
            status.message()
        )),
    }
}
