//! The objects that tell the cluster where its API server is and whom it trusts.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::Bootstrap;

pub(super) fn objects(bootstrap: &Bootstrap) -> Vec<Value> {
    let [slice, endpoints, members] = servers(bootstrap);
    vec![
        service_range(bootstrap),
        service(bootstrap),
        slice,
        endpoints,
        members,
        extension_authentication(bootstrap),
        cluster_info(bootstrap),
        network(bootstrap),
    ]
}

/// Those that say where the servers are.
pub(super) fn servers(bootstrap: &Bootstrap) -> [Value; 3] {
    [endpoint_slice(bootstrap), endpoints(bootstrap), members(bootstrap)]
}

/// Where addresses of Services come from.
fn service_range(bootstrap: &Bootstrap) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [bootstrap.service_cidr.to_string()]},
    })
}

/// `kubernetes.default.svc`.
fn service(bootstrap: &Bootstrap) -> Value {
    let ip = bootstrap.service_ip.to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": [family(bootstrap)],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": bootstrap.port}],
        },
    })
}

fn family(bootstrap: &Bootstrap) -> &'static str {
    if bootstrap.node_ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The addresses behind it: no selector, so no controller writes them.
fn endpoint_slice(bootstrap: &Bootstrap) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family(bootstrap),
        "endpoints": bootstrap.servers().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect::<Vec<_>>(),
        "ports": [{"name": "https", "port": bootstrap.port, "protocol": "TCP"}],
    })
}

fn endpoints(bootstrap: &Bootstrap) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            // The slice above is written here, not mirrored.
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": bootstrap.servers().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": bootstrap.port, "protocol": "TCP"}],
        }],
    })
}

/// Whom nodes hold tunnels to, and turn to.
fn members(bootstrap: &Bootstrap) -> Value {
    let text: Vec<&str> = bootstrap.members.iter().map(String::as_str).collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": mk8s_client::servers::NAME, "namespace": "kube-system"},
        "data": {mk8s_client::servers::KEY: text.join("\n")},
    })
}

/// What extension API servers need to believe requests this server passes on.
fn extension_authentication(bootstrap: &Bootstrap) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": bootstrap.ca_pem,
            "requestheader-allowed-names": "[\"system:front-proxy\"]",
            "requestheader-client-ca-file": bootstrap.front_proxy_ca_pem,
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        },
    })
}

/// What anybody may know: where the API is, and which CA it has. Whoever holds a token can tell whether it is true.
fn cluster_info(bootstrap: &Bootstrap) -> Value {
    let server = format!("https://{}", std::net::SocketAddr::new(bootstrap.node_ip, bootstrap.port));
    let ca = BASE64_STANDARD.encode(&bootstrap.ca_pem);
    let kubeconfig = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {ca}\n    server: {server}\n  name: \"\"\n\
         contexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {{}}\nusers: null\n"
    );
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": kubeconfig},
    })
}

/// What nodes are told of the cluster's networks.
fn network(bootstrap: &Bootstrap) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mk8s-network", "namespace": "kube-system"},
        "data": bootstrap.network,
    })
}
