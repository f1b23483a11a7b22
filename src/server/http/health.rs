//! `/healthz`, `/livez`, `/readyz`, `/version`.

use http::Response;
use serde_json::json;

use super::{answer, body::Body, query::Query};

/// One thing that must be well, and whether it is.
pub type Check = (&'static str, Result<(), String>);

/// The answer of a health endpoint over its checks, which `?exclude=` may leave out and `?verbose` shows.
pub fn report(path: &str, checks: &[Check], query: &Query) -> Response<Body> {
    let name = path.trim_matches('/');
    let (endpoint, single) = name.split_once('/').unwrap_or((name, ""));
    let wanted =
        |check: &&Check| (single.is_empty() || check.0 == single) && !query.all("exclude").any(|e| e == check.0);
    let checks: Vec<&Check> = checks.iter().filter(wanted).collect();
    if !single.is_empty() && checks.is_empty() {
        return answer::text(404, "404 page not found\n");
    }
    let failed = checks.iter().any(|(_, result)| result.is_err());
    if !failed && !query.flag("verbose") {
        return answer::text(200, "ok");
    }
    let mut text = String::new();
    for (name, result) in &checks {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(why) => text.push_str(&format!("[-]{name} failed: {why}\n")),
        }
    }
    let verdict = if failed { "failed" } else { "passed" };
    text.push_str(&format!("{endpoint} check {verdict}\n"));
    answer::text(if failed { 500 } else { 200 }, text)
}

/// `/version`: the Kubernetes version whose API this is.
pub fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": mk8s_api::version::GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The machine in Go's words, which clients expect.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn checks_are_reported() {
        let well: Check = ("ping", Ok(()));
        let ill: Check = ("store", Err("closed".into()));
        let cases = [
            ("/healthz", vec![well.clone()], "", 200, "ok"),
            ("/healthz", vec![well.clone()], "verbose", 200, "[+]ping ok\nhealthz check passed\n"),
            (
                "/readyz",
                vec![well.clone(), ill.clone()],
                "",
                500,
                "[+]ping ok\n[-]store failed: closed\nreadyz check failed\n",
            ),
            ("/readyz", vec![well.clone(), ill.clone()], "exclude=store", 200, "ok"),
            ("/livez/ping", vec![well.clone(), ill.clone()], "", 200, "ok"),
            ("/livez/other", vec![well, ill], "", 404, "404 page not found\n"),
        ];
        for (path, checks, query, code, text) in cases {
            let response = report(path, &checks, &Query::parse(Some(query)));
            assert_eq!(response.status(), code, "{path}");
            let body = response.into_body().collect().await.expect("no errors in memory").to_bytes();
            assert_eq!(String::from_utf8_lossy(&body), text);
        }
    }
}
