//! From the form to what tokens are checked by: everything that is wrong is said, in Kubernetes' words, with its path. Pure.

use std::collections::BTreeSet;

use mk8s_api::{
    cel::{self, CompileError, Declarations, Program, Type},
    field::{FieldError, Path, aggregate},
    names, url,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::form::{
    Anonymous, AuthenticationConfiguration, ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator, Mapping,
    UserValidationRule,
};

/// So many authenticators, and no more.
const AUTHENTICATORS: usize = 64;

/// An issuer of tokens and how its claims are read.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) issuer: Issuer,
    pub(super) required: Vec<(String, String)>,
    pub(super) rules: Vec<Rule>,
    pub(super) username: Source,
    pub(super) groups: Option<Source>,
    pub(super) uid: Option<Source>,
    /// Each with its key.
    pub(super) extra: Vec<(String, Expression)>,
    pub(super) user_rules: Vec<Rule>,
}

/// Where something of a user comes from.
#[derive(Debug)]
pub(super) enum Source {
    Claim { claim: String, prefix: String },
    Expression(Expression),
}

/// An expression that must be true, and what is said when it is not.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) expression: Expression,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Expression {
    pub(super) source: String,
    pub(super) program: Program,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", aggregate(.0))]
pub struct Invalid(pub Vec<FieldError>);

/// Compiles all authenticators. `taken`: the issuers of the cluster's own tokens.
pub(super) fn compile(form: &AuthenticationConfiguration, taken: &[String]) -> Result<Vec<Compiled>, Invalid> {
    let (root, mut errors) = (Path::new("jwt"), Vec::new());
    if form.jwt.len() > AUTHENTICATORS {
        return Err(Invalid(vec![FieldError::too_many(&root, form.jwt.len(), AUTHENTICATORS)]));
    }
    let (mut urls, mut discovery_urls) = (BTreeSet::new(), BTreeSet::new());
    let mut compiled = Vec::new();
    for (index, authenticator) in form.jwt.iter().enumerate() {
        let path = root.index(index);
        compiled.extend(Check { errors: &mut errors, source: authenticator }.authenticator(&path, taken));
        let Issuer { url, discovery_url, .. } = &authenticator.issuer;
        if !urls.insert(url) {
            errors.push(FieldError::duplicate(&path.child("issuer").child("url"), url.as_str()));
        }
        if !discovery_url.is_empty() && !discovery_urls.insert(discovery_url) {
            let path = path.child("issuer").child("discoveryURL");
            errors.push(FieldError::duplicate(&path, discovery_url.as_str()));
        }
    }
    if let Some(Anonymous { enabled: false, conditions }) = &form.anonymous
        && !conditions.is_empty()
    {
        let shown: Vec<_> = conditions.iter().map(|condition| serde_json::json!({"path": condition.path})).collect();
        let why = "enabled should be set to true when conditions are defined";
        errors.push(FieldError::invalid(&Path::new("anonymous").child("conditions"), shown, why));
    }
    if errors.is_empty() { Ok(compiled) } else { Err(Invalid(errors)) }
}

/// One authenticator under examination.
struct Check<'a> {
    errors: &'a mut Vec<FieldError>,
    source: &'a JwtAuthenticator,
}

impl Check<'_> {
    fn authenticator(&mut self, path: &Path, taken: &[String]) -> Option<Compiled> {
        let JwtAuthenticator { issuer, claim_validation_rules, claim_mappings, user_validation_rules } = self.source;
        self.issuer(issuer, &path.child("issuer"), taken);
        let (required, rules) = self.rules(claim_validation_rules, &path.child("claimValidationRules"));
        let mappings = path.child("claimMappings");
        let username = self.source(&claim_mappings.username, &mappings.child("username"), true);
        let groups = self.source(&claim_mappings.groups, &mappings.child("groups"), false);
        let uid = self.uid(claim_mappings, &mappings.child("uid"));
        let extra = self.extra(claim_mappings, &mappings.child("extra"));
        self.email(&mappings);
        let user_rules = self.user_rules(user_validation_rules, &path.child("userValidationRules"));
        let issuer = issuer.clone();
        Some(Compiled { issuer, required, rules, username: username?, groups, uid, extra, user_rules })
    }

    fn issuer(&mut self, issuer: &Issuer, path: &Path, taken: &[String]) {
        let url_path = path.child("url");
        match issuer.url.as_str() {
            "" => self.errors.push(FieldError::required(&url_path, "")),
            url => self.url(url, &url_path, taken),
        }
        let discovery_url = issuer.discovery_url.as_str();
        if !discovery_url.is_empty() {
            let path = path.child("discoveryURL");
            let bare = |url: &str| url.trim_end_matches('/').to_owned();
            if !issuer.url.is_empty() && bare(&issuer.url) == bare(discovery_url) {
                self.errors.push(FieldError::invalid(&path, discovery_url, "discoveryURL must be different from URL"));
            }
            self.url(discovery_url, &path, &[]);
        }
        self.audiences(issuer, path);
        let bundle = issuer.certificate_authority.as_bytes();
        if !bundle.is_empty() {
            let mut certificates = CertificateDer::pem_slice_iter(bundle).peekable();
            let why = match certificates.peek() {
                None => Some("data does not contain any valid RSA or ECDSA certificates".to_owned()),
                Some(_) => certificates.find_map(Result::err).map(|error| error.to_string()),
            };
            let path = path.child("certificateAuthority");
            self.errors.extend(why.map(|why| FieldError::invalid(&path, "<omitted>", why)));
        }
        let (path, selector) = (path.child("egressSelectorType"), issuer.egress_selector_type.as_str());
        match selector {
            "" => {}
            "controlplane" | "cluster" => {
                let why = "egress selectors are not configured here: connections go where the URL leads";
                self.errors.push(FieldError::invalid(&path, selector, why));
            }
            _ => {
                let why = "egress selector must be either controlplane or cluster";
                self.errors.push(FieldError::invalid(&path, selector, why));
            }
        }
    }

    fn url(&mut self, text: &str, path: &Path, taken: &[String]) {
        let mut refuse = |why: String| self.errors.push(FieldError::invalid(path, text, why));
        if taken.iter().any(|issuer| issuer == text) {
            refuse(format!("URL must not overlap with disallowed issuers: [{}]", taken.join(" ")));
        }
        let parts = match url::split(text) {
            Ok(parts) => parts,
            Err(why) => return refuse(why),
        };
        let complaints = [
            (parts.scheme != "https", "URL scheme must be https"),
            (parts.user.is_some(), "URL must not contain a username or password"),
            (!parts.query.is_empty(), "URL must not contain a query"),
            (!parts.fragment.is_empty(), "URL must not contain a fragment"),
        ];
        complaints.into_iter().filter(|(wrong, _)| *wrong).for_each(|(_, why)| refuse(why.to_owned()));
    }

    fn audiences(&mut self, issuer: &Issuer, path: &Path) {
        let audiences = path.child("audiences");
        if issuer.audiences.is_empty() {
            let why = format!("at least one {audiences} is required");
            return self.errors.push(FieldError::required(&audiences, why));
        }
        let mut seen = BTreeSet::new();
        for (index, audience) in issuer.audiences.iter().enumerate() {
            let path = audiences.index(index);
            if audience.is_empty() {
                self.errors.push(FieldError::required(&path, ""));
            }
            if !seen.insert(audience) {
                self.errors.push(FieldError::duplicate(&path, audience.as_str()));
            }
        }
        let (path, policy) = (path.child("audienceMatchPolicy"), issuer.audience_match_policy.as_str());
        let why = match (issuer.audiences.len(), policy) {
            (_, "MatchAny") | (1, "") => return,
            (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
            _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
        };
        self.errors.push(FieldError::invalid(&path, policy, why));
    }

    fn rules(&mut self, rules: &[ClaimValidationRule], path: &Path) -> (Vec<(String, String)>, Vec<Rule>) {
        let (mut claims, mut expressions) = (BTreeSet::new(), BTreeSet::new());
        let (mut required, mut compiled) = (Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            let path = path.index(index);
            let ClaimValidationRule { claim, required_value, expression, message } = rule;
            match (claim.as_str(), expression.as_str()) {
                ("", "") => self.errors.push(FieldError::required(&path, "claim or expression is required")),
                (claim, "") => {
                    if !message.is_empty() {
                        let why = "may not be specified when claim is set";
                        self.errors.push(FieldError::invalid(&path.child("message"), message.as_str(), why));
                    }
                    if !claims.insert(claim) {
                        self.errors.push(FieldError::duplicate(&path.child("claim"), claim));
                    }
                    required.push((claim.to_owned(), required_value.clone()));
                }
                ("", expression) => {
                    if !required_value.is_empty() {
                        let why = "may not be specified when expression is set";
                        let path = path.child("requiredValue");
                        self.errors.push(FieldError::invalid(&path, required_value.as_str(), why));
                    }
                    let path = path.child("expression");
                    if !expressions.insert(expression) {
                        self.errors.push(FieldError::duplicate(&path, expression));
                        continue;
                    }
                    let expression = self.expression(expression, Over::Claims, true, &path);
                    compiled.extend(expression.map(|expression| Rule { expression, message: message.clone() }));
                }
                (claim, _) => {
                    let why = "claim and expression can't both be set";
                    self.errors.push(FieldError::invalid(&path, claim, why));
                }
            }
        }
        (required, compiled)
    }

    /// A claim with a prefix, or an expression.
    fn source(&mut self, mapping: &Mapping, path: &Path, required: bool) -> Option<Source> {
        let Mapping { claim, prefix, expression } = mapping;
        match (claim.as_str(), expression.as_str()) {
            ("", "") => {
                if required {
                    self.errors.push(FieldError::required(path, "claim or expression is required"));
                }
                None
            }
            (claim, "") => {
                if prefix.is_none() {
                    let why =
                        "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                    self.errors.push(FieldError::required(&path.child("prefix"), why));
                }
                Some(Source::Claim { claim: claim.to_owned(), prefix: prefix.clone().unwrap_or_default() })
            }
            ("", expression) => {
                if let Some(prefix) = prefix {
                    let why = "may not be specified when expression is set";
                    self.errors.push(FieldError::invalid(&path.child("prefix"), prefix.as_str(), why));
                }
                let path = path.child("expression");
                self.expression(expression, Over::Claims, false, &path).map(Source::Expression)
            }
            _ => {
                self.errors.push(FieldError::invalid(path, "", "claim and expression can't both be set"));
                None
            }
        }
    }

    fn uid(&mut self, mappings: &ClaimMappings, path: &Path) -> Option<Source> {
        match (mappings.uid.claim.as_str(), mappings.uid.expression.as_str()) {
            ("", "") => None,
            (claim, "") => Some(Source::Claim { claim: claim.to_owned(), prefix: String::new() }),
            ("", expression) => {
                let path = path.child("expression");
                self.expression(expression, Over::Claims, false, &path).map(Source::Expression)
            }
            _ => {
                self.errors.push(FieldError::invalid(path, "", "claim and expression can't both be set"));
                None
            }
        }
    }

    fn extra(&mut self, mappings: &ClaimMappings, path: &Path) -> Vec<(String, Expression)> {
        let (mut seen, mut compiled) = (BTreeSet::new(), Vec::new());
        for (index, mapping) in mappings.extra.iter().enumerate() {
            let (path, key) = (path.index(index), mapping.key.as_str());
            self.extra_key(key, &path.child("key"));
            if !seen.insert(key) {
                self.errors.push(FieldError::duplicate(&path.child("key"), key));
                continue;
            }
            let path = path.child("valueExpression");
            if mapping.value_expression.is_empty() {
                self.errors.push(FieldError::required(&path, ""));
                continue;
            }
            let expression = self.expression(&mapping.value_expression, Over::Claims, false, &path);
            compiled.extend(expression.map(|expression| (key.to_owned(), expression)));
        }
        compiled
    }

    fn extra_key(&mut self, key: &str, path: &Path) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
        match key.split_once('/') {
            _ if key.is_empty() => self.errors.push(FieldError::required(path, "")),
            Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
                let complaints = names::dns1123_subdomain(domain);
                self.errors.extend(complaints.into_iter().map(|why| FieldError::invalid(path, domain, why)));
                if !rest.chars().all(allowed) {
                    let pattern = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
                    let why = names::pattern_message("Invalid path", pattern, &[]);
                    self.errors.push(FieldError::invalid(path, rest, why));
                }
            }
            _ => {
                let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                self.errors.push(FieldError::invalid(path, key, why));
            }
        }
        if key.chars().any(char::is_uppercase) {
            self.errors.push(FieldError::invalid(path, key, "must be lowercase"));
        }
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        let reserved = ["kubernetes.io", "k8s.io"];
        if reserved
            .iter()
            .any(|own| domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
        {
            let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
            self.errors.push(FieldError::invalid(path, key, why));
        }
    }

    /// Who takes the e-mail for a name must look whether it is one.
    fn email(&mut self, mappings_path: &Path) {
        let mappings = &self.source.claim_mappings;
        let username = mappings.username.expression.as_str();
        if !cel::selects(username, "claims", "email") {
            return;
        }
        let rules = self.source.claim_validation_rules.iter().map(|rule| rule.expression.as_str());
        let extra = mappings.extra.iter().map(|mapping| mapping.value_expression.as_str());
        let mut all = rules.chain(extra).chain([username]);
        if !all.any(|expression| cel::selects(expression, "claims", "email_verified")) {
            let why = "claims.email_verified must be used in claimMappings.username.expression or \
                       claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email \
                       is used in claimMappings.username.expression";
            let path = mappings_path.child("username").child("expression");
            self.errors.push(FieldError::invalid(&path, username, why));
        }
    }

    fn user_rules(&mut self, rules: &[UserValidationRule], path: &Path) -> Vec<Rule> {
        let (mut seen, mut compiled) = (BTreeSet::new(), Vec::new());
        for (index, UserValidationRule { expression, message }) in rules.iter().enumerate() {
            let path = path.index(index).child("expression");
            if expression.is_empty() {
                self.errors.push(FieldError::required(&path, ""));
                continue;
            }
            if !seen.insert(expression) {
                self.errors.push(FieldError::duplicate(&path, expression.as_str()));
                continue;
            }
            let expression = self.expression(expression, Over::User, true, &path);
            compiled.extend(expression.map(|expression| Rule { expression, message: message.clone() }));
        }
        compiled
    }

    /// Compiles an expression; `condition`: it must be true or false.
    fn expression(&mut self, source: &str, over: Over, condition: bool, path: &Path) -> Option<Expression> {
        let compiled = match cel::compile(source, &over.declarations()) {
            Ok(compiled) => compiled,
            Err(error @ CompileError::Problems(_)) => {
                self.errors.push(FieldError::invalid(path, source, format!("compilation failed: {error}")));
                return None;
            }
            Err(error) => {
                self.errors.push(FieldError::internal(path, error.to_string()));
                return None;
            }
        };
        if condition && *compiled.program.output() != Type::Bool {
            self.errors.push(FieldError::invalid(path, source, "must evaluate to bool"));
            return None;
        }
        Some(Expression { source: source.to_owned(), program: compiled.program })
    }
}

/// What an expression is about.
#[derive(Clone, Copy)]
enum Over {
    Claims,
    User,
}

impl Over {
    fn declarations(self) -> Declarations {
        let texts = || Type::list(Type::String);
        match self {
            Over::Claims => Declarations::new().variable("claims", Type::map(Type::String, Type::Dyn)),
            Over::User => Declarations::new()
                .object(
                    "kubernetes.UserInfo",
                    [
                        ("username", Type::String),
                        ("uid", Type::String),
                        ("groups", texts()),
                        ("extra", Type::map(Type::String, texts())),
                    ],
                )
                .variable("user", Type::Struct("kubernetes.UserInfo".into())),
        }
    }
}
