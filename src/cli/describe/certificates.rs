//! Certificate signing requests, with what is inside the request.

use super::{
    Seen,
    fields::{format_labels, human_duration, list, text},
    page::{Page, line},
};
use anyhow::{Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::net::IpAddr;
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

pub(super) fn write(seen: &Seen, page: &mut Page) -> Result<()> {
    let (metadata, spec) = (&seen.object["metadata"], &seen.object["spec"]);
    let wrong = |why: &str| anyhow!("Error parsing CSR: {why}");
    let bytes = BASE64_STANDARD.decode(text(&spec["request"])).unwrap_or_default();
    let (_, pem) = parse_x509_pem(&bytes).map_err(|_| wrong("PEM block type must be CERTIFICATE REQUEST"))?;
    if pem.label != "CERTIFICATE REQUEST" {
        return Err(wrong("PEM block type must be CERTIFICATE REQUEST"));
    }
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|error| wrong(&error.to_string()))?;
    line!(page, 0, "Name:\t{}", text(&metadata["name"]));
    line!(page, 0, "Labels:\t{}", format_labels(&metadata["labels"]));
    line!(page, 0, "Annotations:\t{}", format_labels(&metadata["annotations"]));
    line!(page, 0, "CreationTimestamp:\t{}", seen.clock.time(&metadata["creationTimestamp"]));
    line!(page, 0, "Requesting User:\t{}", text(&spec["username"]));
    if !text(&spec["signerName"]).is_empty() {
        line!(page, 0, "Signer:\t{}", text(&spec["signerName"]));
    }
    if let Some(seconds) = spec["expirationSeconds"].as_i64() {
        line!(page, 0, "Requested Duration:\t{}", human_duration(seconds as f64));
    }
    line!(page, 0, "Status:\t{}", status(&seen.object["status"]));
    subject(&request.certification_request_info.subject, page);
    alternatives(&request, page);
    Ok(())
}

/// `Approved,Issued`
fn status(status: &Value) -> String {
    let is = |kind: &str| list(&status["conditions"]).iter().any(|condition| condition["type"] == kind);
    let decided = if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    };
    let failed = if is("Failed") { ",Failed" } else { "" };
    let issued = if text(&status["certificate"]).is_empty() { "" } else { ",Issued" };
    format!("{decided}{failed}{issued}")
}

fn subject(name: &X509Name<'_>, page: &mut Page) {
    fn texts<'a>(parts: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
        parts.filter_map(|part| part.as_str().ok().map(str::to_owned)).collect()
    }
    let by = |oid: &str| {
        let parts = name.iter_attributes().filter(|part| part.attr_type().to_id_string() == oid);
        texts(parts)
    };
    line!(page, 0, "Subject:");
    line!(page, 0, "\tCommon Name:\t{}", by("2.5.4.3").pop().unwrap_or_default());
    line!(page, 0, "\tSerial Number:\t{}", by("2.5.4.5").pop().unwrap_or_default());
    let lists = [
        ("Organization", "2.5.4.10"),
        ("Organizational Unit", "2.5.4.11"),
        ("Country", "2.5.4.6"),
        ("Locality", "2.5.4.7"),
        ("Province", "2.5.4.8"),
        ("StreetAddress", "2.5.4.9"),
        ("PostalCode", "2.5.4.17"),
    ];
    for (title, oid) in lists {
        each(title, &by(oid), page);
    }
}

fn each(title: &str, values: &[String], page: &mut Page) {
    if !values.is_empty() {
        line!(page, 0, "\t{title}:\t{}", values.join("\n\t\t"));
    }
}

fn alternatives(request: &X509CertificationRequest<'_>, page: &mut Page) {
    let mut found: [Vec<String>; 4] = Default::default();
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => found[0].push((*name).to_owned()),
                GeneralName::RFC822Name(name) => found[1].push((*name).to_owned()),
                GeneralName::URI(name) => found[2].push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => found[3].extend(address(bytes)),
                _ => {}
            }
        }
    }
    if found.iter().all(Vec::is_empty) {
        return;
    }
    line!(page, 0, "Subject Alternative Names:");
    for (title, values) in ["DNS Names", "Email Addresses", "URIs", "IP Addresses"].iter().zip(&found) {
        each(title, values, page);
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}
