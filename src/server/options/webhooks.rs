//! Who is asked whose a token is, and what somebody may do: Kubernetes' flags, with its defaults and complaints.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{OptionsError, ServerArgs, followed, lifetime, missing, parsed, wrong};
use crate::auth::{
    AuthorizerOptions, authorizers,
    webhook::{Access, AccessWebhookOptions, Conditions, TIMEOUT, TokenWebhookOptions, Version},
};

const TOKENS: &str = "authentication-token-webhook-config-file";
const MODE: &str = "authorization-mode";
const FILE: &str = "authorization-config";
const ACCESS: &str = "authorization-webhook-config-file";

pub(super) fn token(args: &ServerArgs) -> Result<Option<TokenWebhookOptions>, OptionsError> {
    let version =
        version("authentication-token-webhook-version", args.authentication_token_webhook_version.as_deref())?;
    let cache_ttl = args.authentication_token_webhook_cache_ttl.as_deref();
    let cache_ttl = lifetime("authentication-token-webhook-cache-ttl", cache_ttl.unwrap_or("2m"))?;
    let Some(path) = args.authentication_token_webhook_config_file.as_deref() else { return Ok(None) };
    let access = Access::read(Path::new(path)).map_err(|why| wrong(TOKENS, path, why))?;
    Ok(Some(TokenWebhookOptions { access, version, cache_ttl }))
}

/// Authorizers, in order, and the file that names them, if it is one, with its text.
type Authorizers = (Vec<AuthorizerOptions>, Option<(PathBuf, String)>);

/// Who is asked what users may do.
pub(super) fn authorizers(args: &ServerArgs) -> Result<Authorizers, OptionsError> {
    let Some(given) = args.authorization_config.as_deref() else { return Ok((of_flags(args)?, None)) };
    let flags = [
        &args.authorization_webhook_config_file,
        &args.authorization_webhook_version,
        &args.authorization_webhook_cache_authorized_ttl,
        &args.authorization_webhook_cache_unauthorized_ttl,
    ];
    if !args.authorization_mode.is_empty() || flags.iter().any(|flag| flag.is_some()) {
        let why = "can not be specified when --authorization-mode or --authorization-webhook-* flags are defined";
        return Err(wrong(FILE, given, why));
    }
    let (path, text) = followed(FILE, given)?;
    let authorizers = authorizers::read(&text).map_err(|error| wrong(FILE, given, error.to_string()))?;
    Ok((authorizers, Some((path, text))))
}

fn of_flags(args: &ServerArgs) -> Result<Vec<AuthorizerOptions>, OptionsError> {
    let version = version("authorization-webhook-version", args.authorization_webhook_version.as_deref())?;
    let (yes, no) =
        (&args.authorization_webhook_cache_authorized_ttl, &args.authorization_webhook_cache_unauthorized_ttl);
    let authorized_ttl = lifetime("authorization-webhook-cache-authorized-ttl", yes.as_deref().unwrap_or("5m"))?;
    let unauthorized_ttl = lifetime("authorization-webhook-cache-unauthorized-ttl", no.as_deref().unwrap_or("30s"))?;
    let path = args.authorization_webhook_config_file.as_deref();
    if args.authorization_mode.is_empty() && path.is_none() {
        return Ok(AuthorizerOptions::usual());
    }
    let modes = &args.authorization_mode;
    if path.is_some() && !modes.iter().any(|mode| mode == "Webhook") {
        return Err(wrong(
            ACCESS,
            path.unwrap_or_default(),
            format!("cannot be specified without mode Webhook; use --{MODE} with it"),
        ));
    }
    if let Some((_, twice)) = modes.iter().enumerate().find(|(at, mode)| modes[..*at].contains(mode)) {
        return Err(wrong(MODE, twice, "is specified more than once"));
    }
    let webhook = || {
        let path =
            path.ok_or_else(|| missing(ACCESS, "authorization-mode Webhook's authorization config file not passed"))?;
        let access = Access::read(Path::new(path)).map_err(|why| wrong(ACCESS, path, why))?;
        Ok(AccessWebhookOptions {
            name: "default".to_owned(),
            access,
            version,
            timeout: TIMEOUT,
            authorized_ttl,
            unauthorized_ttl,
            denies_on_error: false,
            conditions: Arc::new(Conditions::default()),
        })
    };
    let authorizer = |mode: &String| match mode.as_str() {
        "AlwaysAllow" => Ok(AuthorizerOptions::AlwaysAllow),
        "AlwaysDeny" => Ok(AuthorizerOptions::AlwaysDeny),
        "Node" => Ok(AuthorizerOptions::Node),
        "RBAC" => Ok(AuthorizerOptions::Rbac),
        "Webhook" => webhook().map(|webhook| AuthorizerOptions::Webhook(Box::new(webhook))),
        "ABAC" => Err(wrong(MODE, mode, "is not supported; use RBAC, or a webhook")),
        _ => Err(wrong(MODE, mode, "is not a valid mode; use AlwaysAllow, AlwaysDeny, Node, RBAC and Webhook")),
    };
    modes.iter().map(authorizer).collect()
}

/// The version that Kubernetes sends when none is named.
fn version(flag: &'static str, version: Option<&str>) -> Result<Version, OptionsError> {
    parsed(flag, version, "v1beta1", "as the webhook does")
}
