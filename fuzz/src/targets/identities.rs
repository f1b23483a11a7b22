//! Tokens of other issuers, the file that says who they are, and kubeconfigs of webhooks.

use std::path::Path;

use mk8s_server::auth::{
    OidcOptions, Providers, authorizers,
    oidc::{ALGORITHMS, AuthenticationConfiguration},
    webhook::Access,
};

use super::Feed;
use crate::mutate;

const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'https://a.b/c', discoveryURL: 'https://d', audiences: [e, f], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {claim: g, requiredValue: h}
  - {expression: 'claims.exp - claims.iat < 86400.0', message: too long}
  claimMappings:
    username: {expression: '"x:" + claims.email + (claims.?email_verified.orValue(true) ? "" : "?")'}
    groups: {claim: groups, prefix: 'g:'}
    uid: {claim: sub}
    extra: [{key: 'example.org/i', valueExpression: 'claims.groups.map(g, g)'}]
  userValidationRules: [{expression: '!user.username.startsWith("system:")', message: reserved}]
anonymous: {enabled: true, conditions: [{path: /livez}]}
"#;

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: 'https://a:1/b?c', certificate-authority-data: YQ==}}]
users: [{name: u, user: {token: t, username: v, password: w}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
";

const AUTHORIZATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: Node, name: node}
- type: Webhook
  name: hook
  webhook:
    timeout: 3.5s
    authorizedTTL: 1h5m
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /nowhere}
    matchConditions: [{expression: 'has(request.resourceAttributes)'}]
";

/// Whatever the file says, it is refused or obeyed.
pub(super) fn issuers() -> Feed {
    let (configurations, kubeconfigs) = (vec![CONFIGURATION.into()], vec![KUBECONFIG.into()]);
    let authorizations = vec![AUTHORIZATION.into()];
    Box::new(move |dice| {
        if let Ok(configuration) = AuthenticationConfiguration::read(&mutate::text(dice, &configurations)) {
            let options = OidcOptions { configuration, ..OidcOptions::default() };
            assert_eq!(options.check().is_ok(), Providers::new(&options, "server").is_ok());
        }
        drop(Access::parse(&mutate::text(dice, &kubeconfigs), Path::new("/nowhere")));
        drop(authorizers::read(&mutate::text(dice, &authorizations)));
    })
}

/// Without keys no token is good.
pub(super) fn id_tokens() -> Feed {
    let configuration = AuthenticationConfiguration::read(CONFIGURATION).expect("it is one");
    let options =
        OidcOptions { configuration, signing_algs: ALGORITHMS.map(Into::into).to_vec(), ..Default::default() };
    let providers = Providers::new(&options, "server").expect("it is good");
    // {"alg":"RS256","kid":"k"} and {"iss":"https://a.b/c","aud":"e","exp":1}
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2EuYi9jIiwiYXVkIjoiZSIsImV4cCI6MX0.AAAA";
    let tokens = vec![token.into()];
    Box::new(move |dice| {
        let token = mutate::text(dice, &tokens);
        assert!(providers.read(&token).is_none_or(|read| read.is_err()), "{token:?}");
    })
}
