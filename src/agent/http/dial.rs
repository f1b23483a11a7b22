//! `dial`: a connection to an address of this node's, for servers that are not in the network of pods.

use super::{Answer, BoxError};
use crate::pod::Pods;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use ipnet::IpNet;
use mk8s_api::status::Status;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, tcp::OwnedWriteHalf},
};
use tokio_stream::StreamExt;
use tokio_util::io::ReaderStream;

const DIAL: Duration = Duration::from_secs(10);
const PIECE: usize = 64 << 10;

/// The request's body goes there, what comes from there is the answer's.
pub(super) async fn serve(pods: &Pods, ip: &str, port: &str, request: Request<Incoming>) -> Answer {
    let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>()) else {
        return Err(Status::bad_request(format!("{ip} port {port} is no address")));
    };
    let host = pods.host();
    let cidr = host.node.object.read().as_ref().and_then(|node| node.spec.as_ref()?.pod_cidr.clone());
    if !is_here(ip, host.options.node_ip, cidr.as_deref()) {
        return Err(Status::bad_request(format!("{ip} is no address of the node {}", host.options.node_name)));
    }
    let address = SocketAddr::new(ip, port);
    let unreachable = |why: &str| Err(Status::failure(502, "BadGateway", format!("dial tcp {address}: {why}")));
    let stream = match tokio::time::timeout(DIAL, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return unreachable("connect: connection refused");
        }
        Ok(Err(error)) => return unreachable(&error.to_string()),
        Err(_) => return unreachable("i/o timeout"),
    };
    stream.set_nodelay(true).map_err(Status::internal)?;
    let (reader, writer) = stream.into_split();
    tokio::spawn(feed(request.into_body(), writer));
    let pieces = ReaderStream::with_capacity(reader, PIECE);
    let frames = pieces.map(|piece| piece.map(Frame::data).map_err(BoxError::from));
    Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
}

fn is_here(ip: IpAddr, node_ip: IpAddr, pod_cidr: Option<&str>) -> bool {
    let of_pods = pod_cidr.and_then(|cidr| cidr.parse::<IpNet>().ok()).is_some_and(|cidr| cidr.contains(&ip));
    of_pods || ip == node_ip
}

async fn feed(mut body: Incoming, mut writer: OwnedWriteHalf) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data): Result<Bytes, _> = frame.into_data() else { continue };
        if writer.write_all(&data).await.is_err() {
            return;
        }
    }
    if let Err(error) = writer.shutdown().await {
        tracing::trace!(%error, "it was closed already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_here_is_dialled() {
        let node: IpAddr = IpAddr::from([10, 0, 0, 1]);
        let cases = [
            ("10.42.1.7", Some("10.42.1.0/24"), true),
            ("10.42.2.7", Some("10.42.1.0/24"), false),
            ("10.42.1.7", None, false),
            ("10.0.0.1", None, true),
            ("127.0.0.1", Some("10.42.1.0/24"), false),
            ("169.254.169.254", Some("nonsense"), false),
        ];
        for (ip, cidr, expected) in cases {
            assert_eq!(is_here(ip.parse().expect("an address"), node, cidr), expected, "{ip}");
        }
    }
}
