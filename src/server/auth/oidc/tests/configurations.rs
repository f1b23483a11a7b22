//! Configurations with faults, and what is said of them.

use expect_test::{Expect, expect};

use super::*;

fn check(more: &str, expected: Expect) {
    expected.assert_eq(&complaints(&configuration("https://issuer", more)));
}

fn complaints(text: &str) -> String {
    match AuthenticationConfiguration::read(text) {
        Err(error) => error.to_string(),
        Ok(form) => match (OidcOptions { configuration: form, ..options(&configuration("https://i", "")) }).check() {
            Ok(()) => "good".to_owned(),
            Err(Invalid(errors)) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        },
    }
}

#[test]
fn what_is_no_configuration_is_said() {
    let cases = [
        ("", "empty config data"),
        ("kind: AuthenticationConfiguration\n", "is no AuthenticationConfiguration of apiserver.config.k8s.io/v1"),
        (
            "apiVersion: apiserver.config.k8s.io/v2\nkind: AuthenticationConfiguration\n",
            "but \"AuthenticationConfiguration\" of \"apiserver.config.k8s.io/v2\"",
        ),
        (
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwts: []\n",
            "unknown field `jwts`",
        ),
        (
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: []\njwt: []\n",
            "duplicate field `jwt`",
        ),
        ("[", "is not readable"),
    ];
    for (text, expected) in cases {
        let why = complaints(text);
        assert!(why.contains(expected), "{why}, not {expected}");
    }
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let text = format!("apiVersion: apiserver.config.k8s.io/{version}\nkind: AuthenticationConfiguration\n");
        assert_eq!(complaints(&text), "good");
    }
}

#[test]
fn issuers_are_checked() {
    check("", expect!["good"]);
    let issuer = |issuer: &str| {
        let text = format!("- issuer: {{{issuer}}}\n  claimMappings: {{username: {{claim: sub, prefix: ''}}}}\n");
        complaints(&format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n{text}"))
    };
    let cases = [
        "",
        "url: 'http://u:p@a?q#f', audiences: ['']",
        "url: 'https://own', audiences: [a, a]",
        "url: ':', audiences: [a], audienceMatchPolicy: MatchAll",
        "url: 'https://a/', discoveryURL: 'https://a', audiences: [a], certificateAuthority: no",
        "url: 'https://a', audiences: [a], egressSelectorType: cluster",
        "url: 'https://a', audiences: [a], egressSelectorType: moon",
    ];
    let said: Vec<_> = cases.iter().map(|case| format!("{case}\n{}\n", issuer(case))).collect();
    expect![[r#"

        jwt[0].issuer.url: Required value
        jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required

        url: 'http://u:p@a?q#f', audiences: ['']
        jwt[0].issuer.url: Invalid value: "http://u:p@a?q#f": URL scheme must be https
        jwt[0].issuer.url: Invalid value: "http://u:p@a?q#f": URL must not contain a username or password
        jwt[0].issuer.url: Invalid value: "http://u:p@a?q#f": URL must not contain a query
        jwt[0].issuer.url: Invalid value: "http://u:p@a?q#f": URL must not contain a fragment
        jwt[0].issuer.audiences[0]: Required value

        url: 'https://own', audiences: [a, a]
        jwt[0].issuer.url: Invalid value: "https://own": URL must not overlap with disallowed issuers: [https://own]
        jwt[0].issuer.audiences[1]: Duplicate value: "a"
        jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences

        url: ':', audiences: [a], audienceMatchPolicy: MatchAll
        jwt[0].issuer.url: Invalid value: ":": parse ":": missing protocol scheme
        jwt[0].issuer.audienceMatchPolicy: Invalid value: "MatchAll": audienceMatchPolicy must be empty or MatchAny for single audience

        url: 'https://a/', discoveryURL: 'https://a', audiences: [a], certificateAuthority: no
        jwt[0].issuer.discoveryURL: Invalid value: "https://a": discoveryURL must be different from URL
        jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA certificates

        url: 'https://a', audiences: [a], egressSelectorType: cluster
        jwt[0].issuer.egressSelectorType: Invalid value: "cluster": egress selectors are not configured here: connections go where the URL leads

        url: 'https://a', audiences: [a], egressSelectorType: moon
        jwt[0].issuer.egressSelectorType: Invalid value: "moon": egress selector must be either controlplane or cluster
    "#]].assert_eq(&said.join("\n"));
}

#[test]
fn rules_and_mappings_are_checked() {
    check(
        "  claimValidationRules:\n  - {}\n  - {claim: a, expression: 'true'}\n  - {claim: a, message: m}\n  - {claim: a}\n  \
         - {expression: 'claims.a == 1', requiredValue: v}\n  - {expression: 'claims.a == 1'}\n  - {expression: 'claims.a'}\n  \
         - {expression: 'a +'}\n  userValidationRules:\n  - {}\n  - {expression: 'user.name'}\n  - {expression: 'true'}\n  - {expression: 'true'}\n",
        expect![[r#"
            jwt[0].claimValidationRules[0]: Required value: claim or expression is required
            jwt[0].claimValidationRules[1]: Invalid value: "a": claim and expression can't both be set
            jwt[0].claimValidationRules[2].message: Invalid value: "m": may not be specified when claim is set
            jwt[0].claimValidationRules[3].claim: Duplicate value: "a"
            jwt[0].claimValidationRules[4].requiredValue: Invalid value: "v": may not be specified when expression is set
            jwt[0].claimValidationRules[5].expression: Duplicate value: "claims.a == 1"
            jwt[0].claimValidationRules[6].expression: Invalid value: "claims.a": must evaluate to bool
            jwt[0].claimValidationRules[7].expression: Invalid value: "a +": compilation failed: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
             | a +
             | ...^
            jwt[0].userValidationRules[0].expression: Required value
            jwt[0].userValidationRules[1].expression: Invalid value: "user.name": compilation failed: ERROR: <input>:1:5: undefined field 'name'
             | user.name
             | ....^
            jwt[0].userValidationRules[3].expression: Duplicate value: "true""#]],
    );
    check(
        "  claimMappings: {}\n",
        expect!["jwt[0].claimMappings.username: Required value: claim or expression is required"],
    );
    check(
        "  claimMappings:\n    username: {claim: a}\n    groups: {expression: a, prefix: p}\n    uid: {claim: a, expression: b}\n    extra:\n    \
         - {}\n    - {key: 'A/b', valueExpression: '1'}\n    - {key: a.b/c, valueExpression: ''}\n    - {key: a.b/c, valueExpression: '1'}\n    \
         - {key: 'x.k8s.io/c', valueExpression: '1'}\n    - {key: 'a/b c', valueExpression: '1'}\n",
        expect![[r#"
            jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing
            jwt[0].claimMappings.groups.prefix: Invalid value: "p": may not be specified when expression is set
            jwt[0].claimMappings.groups.expression: Invalid value: "a": compilation failed: ERROR: <input>:1:1: undeclared reference to 'a' (in container '')
             | a
             | ^
            jwt[0].claimMappings.uid: Invalid value: "": claim and expression can't both be set
            jwt[0].claimMappings.extra[0].key: Required value
            jwt[0].claimMappings.extra[0].valueExpression: Required value
            jwt[0].claimMappings.extra[1].key: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            jwt[0].claimMappings.extra[1].key: Invalid value: "A/b": must be lowercase
            jwt[0].claimMappings.extra[2].valueExpression: Required value
            jwt[0].claimMappings.extra[3].key: Duplicate value: "a.b/c"
            jwt[0].claimMappings.extra[4].key: Invalid value: "x.k8s.io/c": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use
            jwt[0].claimMappings.extra[5].key: Invalid value: "b c": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"#]],
    );
    check(
        "  claimMappings: {username: {claim: a, expression: b, prefix: ''}}\n",
        expect![[r#"jwt[0].claimMappings.username: Invalid value: "": claim and expression can't both be set"#]],
    );
    check(
        "  claimMappings: {username: {expression: claims.email}}\n",
        expect![[
            r#"jwt[0].claimMappings.username.expression: Invalid value: "claims.email": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"#
        ]],
    );
    check(
        "  claimMappings: {username: {expression: 'claims.?email_verified.orValue(true) ? claims.email : claims.sub'}}\n",
        expect!["good"],
    );
    check(
        "anonymous: {enabled: false, conditions: [{path: /livez}]}\n",
        expect![[
            r#"anonymous.conditions: Invalid value: [{"path":"/livez"}]: enabled should be set to true when conditions are defined"#
        ]],
    );
}

#[test]
fn issuers_are_told_apart() {
    let one = "- issuer: {url: 'https://a', audiences: [a], discoveryURL: 'https://d'}\n  claimMappings: {username: {claim: sub, prefix: ''}}\n";
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n";
    expect![[r#"
        jwt[1].issuer.url: Duplicate value: "https://a"
        jwt[1].issuer.discoveryURL: Duplicate value: "https://d""#]]
    .assert_eq(&complaints(&format!("{head}{one}{one}")));
    expect!["jwt: Too many: 65: must have at most 64 items"]
        .assert_eq(&complaints(&format!("{head}{}", one.repeat(65))));
}
