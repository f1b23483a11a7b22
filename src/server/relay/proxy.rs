//! `nodes/proxy`, `pods/proxy`, `services/proxy`: HTTP requests handed on to what they name, over TLS where they say `https`.
//!
//! A node is reached through its tunnel. Pods and the pods behind Services are dialed at their address, from here or from
//! their node.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mk8s_api::status::{GroupResource, Status};
use rand::seq::IndexedRandom;
use serde_json::Value;
use tokio::time::timeout;

use super::{HOP_BY_HOP, Relay, Relayed, pass_on, secure};
use crate::http::{Body, RequestBody};

const DIAL: Duration = Duration::from_secs(10);

/// Where a pod listens, and on which node.
#[derive(Debug, Clone)]
struct Place {
    address: SocketAddr,
    node: Option<String>,
}

pub async fn forward(relayed: Relayed<'_>, body: RequestBody) -> Result<Response<Body>, Status> {
    let (scheme, name, port) = split_name(relayed.name)?;
    let path = format!("/{}", relayed.rest.unwrap_or_default());
    let query = relayed.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = match relayed.plural {
        "nodes" => None,
        "pods" => Some(place_of_pod(&relayed, name, port)?),
        _ => Some(place_of_service(&relayed, name, port)?),
    };
    let authority = place.as_ref().map_or_else(|| "node".to_string(), |place| place.address.to_string());
    let uri: Uri = format!("http://{authority}{path}{query}")
        .parse()
        .map_err(|error| Status::bad_request(format!("{path}: {error}")))?;
    let mut request = Request::new(body);
    *request.method_mut() = relayed.method.clone();
    *request.headers_mut() = end_to_end(relayed.headers);
    match place {
        None => {
            *request.uri_mut() = uri;
            Ok(pass_on(relayed.relay.send(name, request).await?))
        }
        Some(place) => {
            let host = HeaderValue::from_str(&authority).map_err(Status::internal)?;
            request.headers_mut().insert(header::HOST, host);
            *request.uri_mut() =
                uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
            send(relayed.relay, &place, scheme == "https", request).await
        }
    }
}

/// What concerns the backend, without our own credentials.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept.remove(header::AUTHORIZATION);
    kept.remove(header::HOST);
    kept
}

async fn send(
    relay: &Relay,
    place: &Place,
    sealed: bool,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Status> {
    let failed =
        |why: String| Status::failure(503, "ServiceUnavailable", format!("error trying to reach service: {why}"));
    let address = place.address;
    let dial = async {
        let stream =
            relay.dial(address, place.node.as_deref()).await.map_err(|error| format!("dial tcp {address}: {error}"))?;
        match sealed {
            true => secure::seal(stream, address).await.map_err(|error| format!("tls: {error}")),
            false => Ok(stream),
        }
    };
    let stream = match timeout(DIAL, dial).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(why)) => return Err(failed(why)),
        Err(_) => return Err(failed(format!("dial tcp {address}: i/o timeout"))),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    Ok(pass_on(response))
}

/// `[scheme:]name[:port]`.
fn split_name(text: &str) -> Result<(&str, &str, &str), Status> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [name] => Ok(("", name, "")),
        [name, port] => Ok(("", name, port)),
        [scheme @ ("http" | "https" | ""), name, port] => Ok((scheme, name, port)),
        _ => Err(Status::bad_request(format!("invalid service request {text:?}"))),
    }
}

fn place_of_pod(relayed: &Relayed<'_>, name: &str, port: &str) -> Result<Place, Status> {
    let pod = relayed
        .registry
        .lookup("", "pods", relayed.namespace, name)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), name))?;
    let ip: IpAddr = pod["status"]["podIP"].as_str().unwrap_or_default().parse().map_err(|_| {
        Status::bad_request(format!("pod {name:?} has no address yet; a host must be a non-loopback address"))
    })?;
    if ip.is_loopback() {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = match port {
        "" => {
            let containers = pod["spec"]["containers"].as_array();
            let first = containers.into_iter().flatten().find_map(|c| c["ports"][0]["containerPort"].as_u64());
            first.unwrap_or(80)
        }
        named if named.parse::<u16>().is_err() => {
            let ports = pod["spec"]["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|c| c["ports"].as_array())
                .flatten();
            let found = ports.filter(|p| p["name"] == named).find_map(|p| p["containerPort"].as_u64());
            found.ok_or_else(|| Status::bad_request(format!("pod {name:?} has no port named {named:?}")))?
        }
        number => number.parse().map_err(|_| Status::bad_request(format!("{number:?} is not a port")))?,
    };
    let port = u16::try_from(port).map_err(|_| Status::bad_request(format!("{port} is not a port")))?;
    let node = pod["spec"]["nodeName"].as_str().map(str::to_string);
    Ok(Place { address: SocketAddr::new(ip, port), node })
}

fn place_of_service(relayed: &Relayed<'_>, name: &str, port: &str) -> Result<Place, Status> {
    let service = relayed
        .registry
        .lookup("", "services", relayed.namespace, name)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "services"), name))?;
    let unavailable = || Status::unavailable(format!("no endpoints available for service {:?}", relayed.name));
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let wanted = ports.iter().find(|p| match port {
        "" => ports.len() == 1,
        port => p["name"] == port || p["port"].as_u64().is_some_and(|n| n.to_string() == port),
    });
    let wanted =
        wanted.ok_or_else(|| Status::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let slices = relayed.registry.lookup_labelled(
        "discovery.k8s.io",
        "endpointslices",
        relayed.namespace,
        "kubernetes.io/service-name",
        name,
    );
    let backends: Vec<Place> = slices.iter().flat_map(|slice| backends_of(slice, &wanted["name"])).collect();
    backends.choose(&mut rand::rng()).cloned().ok_or_else(unavailable)
}

/// The ready addresses of a slice, with the port of a name.
fn backends_of(slice: &Value, port_name: &Value) -> Vec<Place> {
    let wanted = port_name.as_str().unwrap_or_default();
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    let port = ports.find(|p| p["name"].as_str().unwrap_or_default() == wanted);
    let Some(port) = port.and_then(|p| u16::try_from(p["port"].as_u64()?).ok()) else { return Vec::new() };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let place = |endpoint: &Value| {
        let ip: IpAddr = endpoint["addresses"][0].as_str()?.parse().ok()?;
        Some(Place { address: SocketAddr::new(ip, port), node: endpoint["nodeName"].as_str().map(str::to_string) })
    };
    ready.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_carry_scheme_and_port() {
        let cases = [
            ("a", Some(("", "a", ""))),
            ("a:80", Some(("", "a", "80"))),
            ("http:a:web", Some(("http", "a", "web"))),
            ("ftp:a:1", None),
            ("a:b:c:d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(split_name(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn only_ready_backends_count() {
        let slice = json!({"ports": [{"name": "web", "port": 8080}], "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "nodeName": "n"},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"]}]});
        let found = backends_of(&slice, &json!("web"));
        let shown: Vec<_> = found.iter().map(|place| (place.address.to_string(), place.node.as_deref())).collect();
        assert_eq!(shown, [("10.0.0.1:8080".to_string(), Some("n")), ("10.0.0.3:8080".to_string(), None)]);
        assert!(backends_of(&slice, &Value::Null).is_empty());
    }
}
