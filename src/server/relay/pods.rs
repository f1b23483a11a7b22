//! `pods/log`, `pods/exec`, `pods/attach`, `pods/portforward`: which node, which container, and on through its tunnel.

use form_urlencoded::Serializer;
use http::{Method, Request, Response};
use mk8s_api::status::Status;
use serde_json::Value;

use super::{Relayed, no_body, pass_on, refusal, segment, upgrade};
use crate::http::{Body, query::Query};

/// Parameters of a log request that the agent understands under the same names.
const LOG_PARAMETERS: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Which streams are wanted: the API's words, and the kubelet's.
const STREAMS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// `pods/log`: the text as it comes.
pub async fn log(mut relayed: Relayed<'_>) -> Result<Response<Body>, Status> {
    let query = Query::parse(relayed.uri.query());
    let pod = pod_of(&relayed)?;
    check_log_options(&relayed, &query)?;
    let container = container(&pod, relayed.name, query.get("container"))?;
    let Some(node) = node_of(&pod) else { return Ok(crate::http::answer::text(200, Body::empty())) };
    let path =
        format!("/containerLogs/{}/{}/{}", segment(relayed.namespace), segment(relayed.name), segment(&container));
    let parameters = LOG_PARAMETERS.into_iter().filter_map(|key| Some((key, query.get(key)?)));
    let request = request(Method::GET, &path, &serialize(parameters))?;
    let response = relayed.relay.send(node, request).await?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    if upgrade::Handshake::offered(relayed.headers) {
        let handshake = upgrade::Handshake::read(relayed.headers)?;
        return upgrade::messages(response, &handshake, relayed.upgrade.take());
    }
    let mut response = pass_on(response);
    response.headers_mut().entry(http::header::CONTENT_TYPE).or_insert(http::HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// `pods/exec`, `pods/attach`, `pods/portforward`: a WebSocket whose other end is the agent, or a SPDY connection whose
/// other end is the runtime.
pub async fn stream(mut relayed: Relayed<'_>) -> Result<Response<Body>, Status> {
    let handshake = upgrade::Handshake::read(relayed.headers)?;
    let query = Query::parse(relayed.uri.query());
    let pod = pod_of(&relayed)?;
    let Some(node) = node_of(&pod).map(str::to_string) else {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", relayed.name)));
    };
    let (namespace, name) = (segment(relayed.namespace), segment(relayed.name));
    let (path, parameters) = if relayed.subresource == "portforward" {
        let ports = query.all("ports").flat_map(|ports| ports.split(',')).map(|port| ("port", port));
        (format!("/portForward/{namespace}/{name}"), serialize(ports))
    } else {
        let container = container(&pod, relayed.name, query.get("container"))?;
        let streams = STREAMS.into_iter().filter(|(asked, _)| query.flag(asked)).map(|(_, kubelet)| (kubelet, "1"));
        let parameters = query.all("command").map(|word| ("command", word)).chain(streams);
        (format!("/{}/{namespace}/{name}/{}", relayed.subresource, segment(&container)), serialize(parameters))
    };
    let request = request(Method::POST, &path, &parameters)?;
    let client = relayed.upgrade.take();
    upgrade::splice(relayed.relay, &node, request, handshake, client).await
}

fn serialize<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn request(method: Method, path: &str, query: &str) -> Result<Request<crate::http::RequestBody>, Status> {
    let question = if query.is_empty() { "" } else { "?" };
    // The authority names nobody: the tunnel already ends at the node.
    let uri = format!("http://node{path}{question}{query}");
    Request::builder().method(method).uri(uri).body(no_body()).map_err(|error| Status::bad_request(error.to_string()))
}

fn pod_of(relayed: &Relayed<'_>) -> Result<Value, Status> {
    let resource = mk8s_api::status::GroupResource::new("", "pods");
    relayed
        .registry
        .lookup("", "pods", relayed.namespace, relayed.name)
        .ok_or_else(|| Status::not_found(&resource, relayed.name))
}

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())
}

fn check_log_options(relayed: &Relayed<'_>, query: &Query) -> Result<(), Status> {
    let invalid = |why: String| {
        Err(Status::failure(422, "Invalid", format!("PodLogOptions \"{}\" is invalid: {why}", relayed.name)))
    };
    for key in ["tailLines", "sinceSeconds", "limitBytes"] {
        let Some(text) = query.get(key) else { continue };
        match text.parse::<i64>() {
            Err(_) => return Err(Status::bad_request(format!("{key}: {text:?} is not a number"))),
            Ok(n) if n < 0 => return invalid(format!("{key}: Invalid value: {n}: must be greater than or equal to 0")),
            Ok(0) if key != "tailLines" => return invalid(format!("{key}: Invalid value: 0: must be greater than 0")),
            Ok(_) => {}
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        return invalid(": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".into());
    }
    Ok(())
}

/// The container that is meant: the one named, or the only one.
fn container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, Status> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array();
        list.into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_string)).collect()
    };
    let (regular, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    match asked {
        Some(asked) if [&regular, &init, &ephemeral].into_iter().flatten().any(|n| n == asked) => Ok(asked.to_string()),
        Some(asked) => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
        None if regular.len() == 1 && init.is_empty() && ephemeral.is_empty() => Ok(regular[0].clone()),
        None if regular.is_empty() => {
            Err(Status::bad_request(format!("a container name must be specified for pod {name}")))
        }
        None => {
            let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
            if let Some(default) = default.filter(|default| regular.iter().any(|n| n == default)) {
                return Ok(default.to_string());
            }
            if regular.len() == 1 {
                return Ok(regular[0].clone());
            }
            let mut why =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", regular.join(" "));
            if !init.is_empty() {
                why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_are_chosen() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let cases = [
            (&one, None, Ok("a")),
            (&one, Some("x"), Err("container x is not valid for pod p")),
            (&two, Some("i"), Ok("i")),
            (
                &two,
                None,
                Err(
                    "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
                ),
            ),
        ];
        for (pod, asked, expected) in cases {
            let got = container(pod, "p", asked).map_err(|status| status.message);
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        }
    }
}
