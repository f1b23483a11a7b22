//! The ports and addresses of the command line, made into numbers.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::net::IpAddr;

/// A port here (0: any that is free) and one in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) local: u16,
    pub(super) remote: u16,
}

/// An address to listen on. Of those meant by `localhost` one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) needed: bool,
}

pub(super) fn addresses(texts: &[String]) -> Result<Vec<Address>> {
    let mut found: Vec<Address> = Vec::new();
    for text in texts {
        let localhost = text == "localhost";
        let ips: Vec<IpAddr> = match localhost {
            true => vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
            false => vec![text.parse().map_err(|_| anyhow!("{text} is not a valid IP"))?],
        };
        for ip in ips {
            match found.iter_mut().find(|known| known.ip == ip) {
                Some(known) if !localhost => known.needed = true,
                Some(_) => {}
                None => found.push(Address { ip, needed: !localhost }),
            }
        }
    }
    found.sort_by_key(|address| address.ip.to_string());
    Ok(found)
}

/// `LOCAL:REMOTE` or `BOTH`, with names where numbers belong.
fn split(text: &str) -> (&str, &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [local, remote] => (local, remote),
        _ => (parts[0], parts[0]),
    }
}

fn joined(local: &str, remote: &str) -> String {
    if local == remote { remote.to_owned() } else { format!("{local}:{remote}") }
}

/// The ports asked for of a service, as ports of its pod.
pub(super) fn of_service(texts: &[String], service: &Value, pod: &Value) -> Result<Vec<String>> {
    let listed: Vec<&Value> = service["spec"]["ports"].as_array().into_iter().flatten().collect();
    let named = |name: &str| service_port(service, name);
    refuse_udp(texts, listed.iter().map(|port| (&port["port"], &port["protocol"])), named)?;
    let translate = |text: &String| {
        let (mut local, remote) = split(text);
        let number = remote.parse::<i64>().or_else(|_| named(remote))?;
        let digits = number.to_string();
        if local == remote {
            local = &digits;
        }
        let target = target(service, pod, number)?.to_string();
        Ok(joined(local, &target))
    };
    texts.iter().map(translate).collect()
}

fn target(service: &Value, pod: &Value, number: i64) -> Result<i64> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let port = ports
        .into_iter()
        .find(|port| port["port"] == number)
        .ok_or_else(|| anyhow!("Service {name} does not have a service port {number}"))?;
    if service["spec"]["clusterIP"] == "None" {
        return Ok(number);
    }
    match &port["targetPort"] {
        Value::String(name) => pod_port(pod, name),
        given => Ok(given.as_i64().filter(|port| *port != 0).unwrap_or(number)),
    }
}

/// The ports asked for of a pod.
pub(super) fn of_pod(texts: &[String], pod: &Value) -> Result<Vec<String>> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let listed: Vec<&Value> =
        containers.flat_map(|container| container["ports"].as_array().into_iter().flatten()).collect();
    let named = |name: &str| pod_port(pod, name);
    refuse_udp(texts, listed.iter().map(|port| (&port["containerPort"], &port["protocol"])), named)?;
    let convert = |text: &String| {
        let (local, remote) = split(text);
        if remote.is_empty() {
            bail!("remote port cannot be empty");
        }
        let number = remote.parse::<i64>().or_else(|_| named(remote))?;
        Ok(if local == remote { number.to_string() } else { format!("{local}:{number}") })
    };
    texts.iter().map(convert).collect()
}

fn refuse_udp<'a>(
    texts: &[String],
    listed: impl Iterator<Item = (&'a Value, &'a Value)>,
    named: impl Fn(&str) -> Result<i64>,
) -> Result<()> {
    let (mut udp, mut tcp) = (Vec::new(), Vec::new());
    for (number, protocol) in listed {
        match protocol.as_str() {
            Some("UDP") => udp.extend(number.as_i64()),
            Some("TCP") => tcp.extend(number.as_i64()),
            _ => {}
        }
    }
    for text in texts {
        let (_, remote) = split(text);
        let number = remote.parse::<i64>().or_else(|_| named(remote))?;
        if udp.contains(&number) && !tcp.contains(&number) {
            bail!("UDP protocol is not supported for {remote}");
        }
    }
    Ok(())
}

fn service_port(service: &Value, name: &str) -> Result<i64> {
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found =
        ports.find(|port| port["name"].as_str().unwrap_or_default() == name).and_then(|port| port["port"].as_i64());
    let service = service["metadata"]["name"].as_str().unwrap_or_default();
    found.ok_or_else(|| anyhow!("Service '{service}' does not have a named port '{name}'"))
}

fn pod_port(pod: &Value, name: &str) -> Result<i64> {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| pod["spec"][field].as_array().into_iter().flatten());
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let found = ports
        .find(|port| port["name"].as_str().unwrap_or_default() == name)
        .and_then(|port| port["containerPort"].as_i64());
    let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
    found.ok_or_else(|| anyhow!("Pod '{pod}' does not have a named port '{name}'"))
}

/// Numbers out of `8888:5000`, `5000`, `:5000`.
pub(super) fn parse(texts: &[String]) -> Result<Vec<Ports>> {
    texts.iter().map(|text| parse_one(text)).collect()
}

fn parse_one(text: &str) -> Result<Ports> {
    let parts: Vec<&str> = text.split(':').collect();
    let (local, remote) = match parts.as_slice() {
        [both] => (*both, *both),
        ["", remote] => ("0", *remote),
        [local, remote] => (*local, *remote),
        _ => bail!("invalid port format '{text}'"),
    };
    let number = |side: &str, text: &str| {
        let why = match text.parse::<u64>() {
            Ok(number) => match u16::try_from(number) {
                Ok(number) => return Ok(number),
                Err(_) => "value out of range",
            },
            Err(_) => "invalid syntax",
        };
        Err(anyhow!("error parsing {side} port '{text}': strconv.ParseUint: parsing {text:?}: {why}"))
    };
    let (local, remote) = (number("local", local)?, number("remote", remote)?);
    if remote == 0 {
        bail!("remote port must be > 0");
    }
    Ok(Ports { local, remote })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strings(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn ports_are_parsed() {
        let cases = [("5000", (5000, 5000)), ("8888:5000", (8888, 5000)), (":5000", (0, 5000)), ("0:5000", (0, 5000))];
        for (text, (local, remote)) in cases {
            assert_eq!(parse_one(text).unwrap(), Ports { local, remote }, "{text}");
        }
        let failures = [
            ("1:2:3", "invalid port format '1:2:3'"),
            ("x", "error parsing local port 'x': strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("1:70000", "error parsing remote port '70000': strconv.ParseUint: parsing \"70000\": value out of range"),
            ("0", "remote port must be > 0"),
        ];
        for (text, message) in failures {
            assert_eq!(parse_one(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn addresses_are_parsed() {
        let parsed = |text: &str| -> Vec<(String, bool)> {
            let found = addresses(&strings(text)).unwrap();
            found.iter().map(|address| (address.ip.to_string(), address.needed)).collect()
        };
        assert_eq!(parsed("localhost"), [("127.0.0.1".into(), false), ("::1".into(), false)]);
        assert_eq!(
            parsed("localhost 127.0.0.1 10.0.0.1"),
            [("10.0.0.1".into(), true), ("127.0.0.1".into(), true), ("::1".into(), false)]
        );
        assert_eq!(addresses(&strings("example.org")).unwrap_err().to_string(), "example.org is not a valid IP");
    }

    #[test]
    fn names_and_service_ports_become_numbers() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [
            {"name": "web", "containerPort": 8080, "protocol": "TCP"}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}});
        let service = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.0.0.1", "ports": [
            {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}, {"port": 90, "targetPort": 9090, "protocol": "TCP"}, {"port": 91, "protocol": "TCP"}]}});
        let pods = [
            ("web", "Ok([\"8080\"])"),
            ("1:web 5000 :5000", "Ok([\"1:8080\", \"5000\", \":5000\"])"),
            ("1:", "Err(Pod 'p' does not have a named port '')"),
            ("53", "Err(UDP protocol is not supported for 53)"),
            ("nope", "Err(Pod 'p' does not have a named port 'nope')"),
        ];
        for (text, expected) in pods {
            assert_eq!(shown(of_pod(&strings(text), &pod)), expected, "{text}");
        }
        let services = [
            ("http", "Ok([\"80:8080\"])"),
            ("80", "Ok([\"80:8080\"])"),
            (":http 9:90 91", "Ok([\":8080\", \"9:9090\", \"91\"])"),
            ("92", "Err(Service s does not have a service port 92)"),
            ("nope", "Err(Service 's' does not have a named port 'nope')"),
        ];
        for (text, expected) in services {
            assert_eq!(shown(of_service(&strings(text), &service, &pod)), expected, "{text}");
        }
    }

    fn shown(result: Result<Vec<String>>) -> String {
        match result {
            Ok(ports) => format!("Ok({ports:?})"),
            Err(error) => format!("Err({error})"),
        }
    }
}
