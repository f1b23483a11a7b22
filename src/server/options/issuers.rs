//! Who issues tokens beside the cluster itself, and whether requests without credentials are taken: the flags `--oidc-*`, or
//! a file in their place.

use super::{OptionsError, ServerArgs, followed, missing, parsed, wrong};
use crate::auth::{
    AuthorizerOptions, OidcOptions,
    oidc::{
        ALGORITHMS, AuthenticationConfiguration,
        form::{Anonymous, ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator, Mapping},
    },
};

const FILE: &str = "authentication-config";
const ANONYMOUS: &str = "anonymous-auth";

/// `taken`: the issuer of the cluster's own tokens.
pub(super) fn read(
    args: &ServerArgs,
    taken: String,
    authorizers: &[AuthorizerOptions],
) -> Result<(OidcOptions, Anonymous), OptionsError> {
    let (flag, value) = if args.authentication_config.is_some() {
        (FILE, args.authentication_config.as_ref())
    } else {
        ("oidc-issuer-url", args.oidc_issuer_url.as_ref())
    };
    let options = OidcOptions { taken: vec![taken], ..if flag == FILE { of_file(args)? } else { of_flags(args)? } };
    if let Err(invalid) = options.check() {
        let value = value.cloned().unwrap_or_default();
        return Err(wrong(flag, value, format!("invalid authentication configuration: {invalid}")));
    }
    let said = args.anonymous_auth.as_deref();
    let enabled = parsed(ANONYMOUS, said, "true", "use true or false")?;
    let anonymous = match (&options.configuration.anonymous, said) {
        (Some(_), Some(said)) => {
            return Err(wrong(
                ANONYMOUS,
                said,
                "cannot be set when the file of --authentication-config has `anonymous`",
            ));
        }
        (Some(anonymous), None) => anonymous.clone(),
        // Whoever asks may everything: nobody asks without a name.
        (None, _) if authorizers.iter().any(|one| matches!(one, AuthorizerOptions::AlwaysAllow)) => {
            Anonymous::everywhere(false)
        }
        (None, _) => Anonymous::everywhere(enabled),
    };
    Ok((options, anonymous))
}

fn of_file(args: &ServerArgs) -> Result<OidcOptions, OptionsError> {
    let given = args.authentication_config.as_deref().unwrap_or_default();
    let one = [
        &args.oidc_issuer_url,
        &args.oidc_client_id,
        &args.oidc_username_claim,
        &args.oidc_username_prefix,
        &args.oidc_groups_claim,
        &args.oidc_groups_prefix,
        &args.oidc_ca_file,
    ];
    let many = [&args.oidc_required_claim, &args.oidc_signing_algs];
    if one.iter().any(|flag| flag.is_some()) || many.iter().any(|flag| !flag.is_empty()) {
        return Err(wrong(FILE, given, "authentication-config file and oidc-* flags are mutually exclusive"));
    }
    let (path, text) = followed(FILE, given)?;
    let configuration =
        AuthenticationConfiguration::read(&text).map_err(|error| wrong(FILE, given, error.to_string()))?;
    let signing_algs = ALGORITHMS.map(str::to_owned).to_vec();
    Ok(OidcOptions { configuration, signing_algs, file: Some((path, text)), taken: Vec::new() })
}

/// One provider, if there is one.
fn of_flags(args: &ServerArgs) -> Result<OidcOptions, OptionsError> {
    let Some(url) = &args.oidc_issuer_url else {
        return match args.oidc_client_id {
            Some(_) => Err(missing("oidc-issuer-url", "a client id is given, say whose")),
            None => Ok(OidcOptions::default()),
        };
    };
    let client_id = args
        .oidc_client_id
        .clone()
        .ok_or_else(|| missing("oidc-client-id", "say whom the provider's tokens are for"))?;
    let username_claim = args.oidc_username_claim.clone().unwrap_or_else(|| "sub".to_owned());
    let username_prefix = match args.oidc_username_prefix.as_deref() {
        Some("-") => String::new(),
        Some(prefix) if !prefix.is_empty() => prefix.to_owned(),
        _ if username_claim == "email" => String::new(),
        _ => format!("{url}#"),
    };
    let rule = |text: &String| match text.split_once('=') {
        Some((claim, value)) => {
            let (claim, required_value) = (claim.to_owned(), value.to_owned());
            Ok(ClaimValidationRule { claim, required_value, ..ClaimValidationRule::default() })
        }
        None => Err(wrong("oidc-required-claim", text, "has no value; write CLAIM=VALUE")),
    };
    let signing_algs =
        if args.oidc_signing_algs.is_empty() { vec!["RS256".to_owned()] } else { args.oidc_signing_algs.clone() };
    if let Some(unknown) = signing_algs.iter().find(|algorithm| !ALGORITHMS.contains(&algorithm.as_str())) {
        return Err(wrong("oidc-signing-algs", unknown, format!("is not one of {}", ALGORITHMS.join(", "))));
    }
    let certificate_authority = match &args.oidc_ca_file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| wrong("oidc-ca-file", path, format!("cannot be read: {error}")))?,
    };
    let of_claim = |claim: String, prefix: String| Mapping { claim, prefix: Some(prefix), ..Mapping::default() };
    let groups_prefix = args.oidc_groups_prefix.clone().unwrap_or_default();
    let groups = args.oidc_groups_claim.clone().filter(|claim| !claim.is_empty());
    let jwt = JwtAuthenticator {
        issuer: Issuer { url: url.clone(), audiences: vec![client_id], certificate_authority, ..Issuer::default() },
        claim_validation_rules: args.oidc_required_claim.iter().map(rule).collect::<Result<_, _>>()?,
        claim_mappings: ClaimMappings {
            username: of_claim(username_claim, username_prefix),
            groups: groups.map(|claim| of_claim(claim, groups_prefix)).unwrap_or_default(),
            ..ClaimMappings::default()
        },
        user_validation_rules: Vec::new(),
    };
    Ok(OidcOptions {
        configuration: AuthenticationConfiguration::of(vec![jwt]),
        signing_algs,
        file: None,
        taken: Vec::new(),
    })
}
