//! ConfigMaps, Secrets, ServiceAccounts.

use super::{
    Seen,
    fields::{keys, list, text},
    page::{Page, line},
};
use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

fn decoded(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(text(value)).unwrap_or_default()
}

pub(super) fn config_map(seen: &Seen, page: &mut Page) -> Result<()> {
    let map = &seen.object;
    page.head(map);
    line!(page, 0, "\nData\n====");
    for key in keys(&map["data"]) {
        line!(page, 0, "{key}:\n----\n{}\n", text(&map["data"][key]));
    }
    line!(page, 0, "\nBinaryData\n====");
    for key in keys(&map["binaryData"]) {
        line!(page, 0, "{key}: {} bytes", decoded(&map["binaryData"][key]).len());
    }
    line!(page, 0, "");
    Ok(())
}

pub(super) fn secret(seen: &Seen, page: &mut Page) -> Result<()> {
    let secret = &seen.object;
    page.head(secret);
    line!(page, 0, "\nType:\t{}", text(&secret["type"]));
    line!(page, 0, "\nData\n====");
    for key in keys(&secret["data"]) {
        let data = decoded(&secret["data"][key]);
        if key == "token" && secret["type"] == "kubernetes.io/service-account-token" {
            line!(page, 0, "{key}:\t{}", String::from_utf8_lossy(&data));
        } else {
            line!(page, 0, "{key}:\t{} bytes", data.len());
        }
    }
    Ok(())
}

pub(super) fn service_account(seen: &Seen, page: &mut Page) -> Result<()> {
    let account = &seen.object;
    page.head(account);
    let names: Vec<&str> = list(&account["imagePullSecrets"]).iter().map(|secret| text(&secret["name"])).collect();
    const TITLE: &str = "Image pull secrets:";
    if names.is_empty() {
        line!(page, 0, "{TITLE}\t<none>");
    }
    for (index, name) in names.iter().enumerate() {
        let title = if index == 0 { TITLE } else { "" };
        line!(page, 0, "{title:width$}\t{name}", width = TITLE.len());
    }
    Ok(())
}
