//! FlowSchema and PriorityLevelConfiguration: who waits for whom when the server is busy.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::at::{flag, get, int, list, maybe_text, sub, text, texts};
use super::check::{Errors, invalid_each, keep_metadata, member};
use super::{GENERIC, Generation, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::{meta, names};

const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
/// As much of a hash shuffle sharding may use.
const ENTROPY_BITS: u32 = 60;
const MAX_QUEUES: i64 = 10_000_000;
const MAX_PRECEDENCE: i64 = 10_000;

pub(super) static SCHEMA: Rules = Rules {
    scope: Scope::Cluster,
    generation: Generation::Spec,
    has_status: true,
    prepare_status_update: keep_metadata,
    validate: validate_schema,
    validate_status_update: |new, _, errors| validate_conditions(new, errors),
    ..GENERIC
};

pub(super) static LEVEL: Rules = Rules {
    scope: Scope::Cluster,
    generation: Generation::Spec,
    has_status: true,
    prepare_status_update: keep_metadata,
    validate: validate_level,
    validate_status_update: |new, _, errors| validate_conditions(new, errors),
    ..GENERIC
};

/// The specs that are what they are, by the names of schemas.
static FIXED_SCHEMAS: LazyLock<[(&str, Value); 2]> = LazyLock::new(|| {
    let rules = |groups: &[&str]| {
        let group = |name: &&str| json!({"kind": "Group", "group": {"name": name}});
        json!([{
            "subjects": groups.iter().map(group).collect::<Vec<_>>(),
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }])
    };
    [
        (
            "exempt",
            json!({"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1, "rules": rules(&["system:masters"])}),
        ),
        (
            "catch-all",
            json!({"priorityLevelConfiguration": {"name": "catch-all"}, "matchingPrecedence": 10000,
                "distinguisherMethod": {"type": "ByUser"},
                "rules": rules(&["system:unauthenticated", "system:authenticated"])}),
        ),
    ]
});

static FIXED_CATCH_ALL: LazyLock<Value> = LazyLock::new(|| {
    json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}}})
});

fn validate_schema(schema: &Value, errors: &mut Errors) {
    let (name, spec, path) = (meta::name(schema), sub(schema, "spec"), Path::new("spec"));
    let precedence = int(spec, "matchingPrecedence").unwrap_or(0);
    let mut refuse = |why: String| errors.push(FieldError::invalid(&path.child("matchingPrecedence"), precedence, why));
    if precedence <= 0 {
        refuse("must be a positive value".into());
    }
    if precedence > MAX_PRECEDENCE {
        refuse(format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if precedence == 1 && name != "exempt" {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1".into());
    }
    if let Some(method) = get(spec, "distinguisherMethod") {
        let path = path.child("distinguisherMethod").child("type");
        if !["ByNamespace", "ByUser"].contains(&text(method, "type")) {
            let error = FieldError::not_supported(&path, method.clone(), &["ByNamespace", "ByUser"]);
            errors.push(error.with_shown("FlowDistinguisherMethod"));
        }
    }
    let level = text(sub(spec, "priorityLevelConfiguration"), "name");
    let level_path = path.child("priorityLevelConfiguration").child("name");
    match level {
        "" => errors.push(FieldError::required(&level_path, "must reference a priority level")),
        level => invalid_each(errors, names::dns1123_subdomain(level), || level_path.clone(), level),
    }
    for (index, rule) in list(spec, "rules").iter().enumerate() {
        validate_rule(rule, &path.child("rules").index(index), errors);
    }
    if let Some((_, fixed)) = FIXED_SCHEMAS.iter().find(|(fixed, _)| *fixed == name)
        && fixed != spec
    {
        errors.push(FieldError::invalid(&path, spec.clone(), format!("spec of '{name}' must equal the fixed value")));
    }
    validate_conditions(schema, errors);
}

fn validate_rule(rule: &Value, path: &Path, errors: &mut Errors) {
    let subjects = list(rule, "subjects");
    if subjects.is_empty() {
        errors.push(FieldError::required(&path.child("subjects"), "subjects must contain at least one value"));
    }
    for (index, subject) in subjects.iter().enumerate() {
        validate_subject(subject, &path.child("subjects").index(index), errors);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, detail));
    }
    for (index, rule) in resources.iter().enumerate() {
        validate_resources(rule, &path.child("resourceRules").index(index), errors);
    }
    for (index, rule) in others.iter().enumerate() {
        validate_paths(rule, &path.child("nonResourceRules").index(index), errors);
    }
}

/// The kinds of subjects with the fields they are told in.
const SUBJECTS: [(&str, &str); 3] = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

fn validate_subject(subject: &Value, path: &Path, errors: &mut Errors) {
    let kind = text(subject, "kind");
    let Some((_, field)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        return errors.push(FieldError::not_supported(&path.child("kind"), kind, &known));
    };
    let own = path.child(*field);
    match get(subject, field) {
        None => errors.push(FieldError::required(&own, format!("{field} is required when subject kind is '{kind}'"))),
        Some(told) => {
            let name = text(told, "name");
            if name.is_empty() {
                errors.push(FieldError::required(&own.child("name"), ""));
            } else if kind == "ServiceAccount" && name != "*" {
                invalid_each(errors, names::dns1123_subdomain(name), || own.child("name"), name);
            }
            if kind == "ServiceAccount" {
                match text(told, "namespace") {
                    "" => {
                        let detail = "must specify namespace for service account";
                        errors.push(FieldError::required(&own.child("namespace"), detail));
                    }
                    namespace => {
                        invalid_each(errors, names::dns1123_label(namespace), || own.child("namespace"), namespace);
                    }
                }
            }
        }
    }
    for (other, field) in SUBJECTS.iter().filter(|(other, _)| *other != kind) {
        if get(subject, field).is_some() {
            let detail = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.push(FieldError::forbidden(&path.child(*field), detail));
        }
    }
}

fn has_wildcard(rule: &Value, field: &str) -> bool {
    texts(rule, field).any(|word| word == "*")
}

/// Says so when a list that holds `*` holds something else; whether it holds `*`.
fn wildcard_alone(rule: &Value, field: &'static str, what: &str, path: &Path, errors: &mut Errors) -> bool {
    let has_wildcard = has_wildcard(rule, field);
    if has_wildcard && list(rule, field).len() > 1 {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&path.child(field), sub(rule, field).clone(), detail));
    }
    has_wildcard
}

fn validate_verbs(rule: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("verbs");
    if list(rule, "verbs").is_empty() {
        errors.push(FieldError::required(&at, "verbs must contain at least one value"));
    } else if !wildcard_alone(rule, "verbs", "verbs", path, errors)
        && !texts(rule, "verbs").all(|verb| VERBS.contains(&verb))
    {
        errors.push(FieldError::not_supported(&at, sub(rule, "verbs").clone(), &VERBS));
    }
}

fn validate_paths(rule: &Value, path: &Path, errors: &mut Errors) {
    validate_verbs(rule, path, errors);
    let at = path.child("nonResourceURLs");
    if list(rule, "nonResourceURLs").is_empty() {
        return errors.push(FieldError::required(&at, "nonResourceURLs must contain at least one value"));
    }
    if wildcard_alone(rule, "nonResourceURLs", "non-resource URLs", path, errors) {
        return;
    }
    for (index, url) in texts(rule, "nonResourceURLs").enumerate() {
        let stars = url.matches('*').count();
        let why = match url {
            "" => "must not be empty",
            "/" => continue,
            url if !url.starts_with('/') => "must start with slash",
            url if url.contains(' ') => "must not contain white-space",
            url if url.contains("//") => "must not contain double slash",
            url if stars > 1 || stars == 1 && !url.ends_with("/*") => "wildcard can only do suffix matching",
            _ => continue,
        };
        errors.push(FieldError::invalid(&at.index(index), url, why));
    }
}

fn validate_resources(rule: &Value, path: &Path, errors: &mut Errors) {
    validate_verbs(rule, path, errors);
    for (field, one, many) in [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")] {
        if list(rule, field).is_empty() {
            let detail = format!("resource rules must supply at least one {one}");
            errors.push(FieldError::required(&path.child(field), detail));
        }
        wildcard_alone(rule, field, many, path, errors);
    }
    let at = path.child("namespaces");
    if list(rule, "namespaces").is_empty() && flag(rule, "clusterScope") != Some(true) {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        return errors.push(FieldError::required(&at, detail));
    }
    if wildcard_alone(rule, "namespaces", "namespaces", path, errors) {
        return;
    }
    for (index, namespace) in texts(rule, "namespaces").enumerate() {
        for why in names::dns1123_label(namespace) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.push(FieldError::invalid(&at.index(index), namespace, detail));
        }
    }
}

fn validate_level(level: &Value, errors: &mut Errors) {
    let (name, spec, path) = (meta::name(level), sub(level, "spec"), Path::new("spec"));
    let kind = text(spec, "type");
    if (name == "exempt") != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid(&path.child("type"), kind, detail));
    }
    let (exempt, limited) = (get(spec, "exempt"), get(spec, "limited"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                let detail = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(&path.child("limited"), detail));
            }
            if let Some(exempt) = exempt {
                validate_shares(exempt, &path.child("exempt"), errors);
                validate_lendable(exempt, &path.child("exempt"), errors);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                errors.push(FieldError::forbidden(&path.child("exempt"), "must be nil if the type is Limited"));
            }
            match limited {
                None => {
                    errors.push(FieldError::required(&path.child("limited"), "must not be empty when type is Limited"))
                }
                Some(limited) => validate_limited(limited, &path.child("limited"), errors),
            }
        }
        _ => member(errors, kind, &["Exempt", "Limited"], &path.child("type")),
    }
    if name == "exempt" && (kind != "Exempt" || limited.is_some()) {
        let detail = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
        errors.push(FieldError::invalid(&path, spec.clone(), detail));
    }
    if name == "catch-all" && *spec != *FIXED_CATCH_ALL {
        errors.push(FieldError::invalid(&path, spec.clone(), "spec of 'catch-all' must equal the fixed value"));
    }
    validate_conditions(level, errors);
}

fn validate_shares(holder: &Value, path: &Path, errors: &mut Errors) {
    if let Some(shares) = int(holder, "nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let path = path.child("nominalConcurrencyShares");
        errors.push(FieldError::invalid(&path, shares, "must be a non-negative integer"));
    }
}

fn validate_lendable(holder: &Value, path: &Path, errors: &mut Errors) {
    if let Some(percent) = int(holder, "lendablePercent").filter(|percent| !(0..=100).contains(percent)) {
        errors.push(FieldError::invalid(
            &path.child("lendablePercent"),
            percent,
            "must be between 0 and 100, inclusive",
        ));
    }
}

fn validate_limited(limited: &Value, path: &Path, errors: &mut Errors) {
    validate_shares(limited, path, errors);
    let (response, at) = (sub(limited, "limitResponse"), path.child("limitResponse"));
    let queuing = get(response, "queuing");
    match (text(response, "type"), queuing) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(FieldError::forbidden(&at.child("queuing"), detail));
        }
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(&at.child("queuing"), detail));
        }
        ("Queue", Some(queuing)) => validate_queuing(queuing, &at.child("queuing"), errors),
        ("Reject", None) => {}
        (other, _) => member(errors, other, &["Queue", "Reject"], &at.child("type")),
    }
    validate_lendable(limited, path, errors);
    if let Some(percent) = int(limited, "borrowingLimitPercent").filter(|percent| *percent < 0) {
        let path = path.child("borrowingLimitPercent");
        errors.push(FieldError::invalid(&path, percent, "if specified, must be a non-negative integer"));
    }
}

fn validate_queuing(queuing: &Value, path: &Path, errors: &mut Errors) {
    let number = |field: &str| int(queuing, field).unwrap_or(0);
    let (queues, hand, length) = (number("queues"), number("handSize"), number("queueLengthLimit"));
    let mut refuse =
        |field: &'static str, value: i64, why: String| errors.push(FieldError::invalid(&path.child(field), value, why));
    if length <= 0 {
        refuse("queueLengthLimit", length, "must be positive".into());
    }
    if queues <= 0 {
        refuse("queues", queues, "must be positive".into());
    } else if queues > MAX_QUEUES {
        refuse("queues", queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, "must be positive".into());
    } else if hand > queues {
        refuse("handSize", hand, format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > f64::from(ENTROPY_BITS) {
        let what = format!("required entropy bits of deckSize {queues} and handSize {hand}");
        refuse("handSize", hand, format!("{what} should not be greater than {ENTROPY_BITS}"));
    }
}

/// How much of a hash it takes to deal a hand.
#[expect(clippy::cast_precision_loss, reason = "both have been found to be small")]
fn entropy_bits(queues: i64, hand: i64) -> f64 {
    ((queues as f64).log2() * hand as f64).ceil()
}

fn validate_conditions(object: &Value, errors: &mut Errors) {
    let conditions = list(sub(object, "status"), "conditions");
    let path = Path::new("status").child("conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let at = path.index(index).child("type");
        let kind = maybe_text(condition, "type").unwrap_or_default();
        if conditions[..index].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(&at, kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rules: &Rules, object: &Value) -> String {
        let mut errors = Errors::new();
        (rules.validate)(object, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn schemas_are_checked() {
        let with = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let rule = json!({"subjects": [{"kind": "User", "user": {"name": "u"}}], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a/*", "/"]}]});
        let good = json!({"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "l"}, "rules": [rule]});
        let mut bad = good.clone();
        bad["matchingPrecedence"] = json!(1);
        bad["priorityLevelConfiguration"] = json!({});
        bad["rules"][0]["subjects"] = json!([{"kind": "User", "group": {"name": "g"}}, {"kind": "X"}]);
        bad["rules"][0]["nonResourceRules"] = json!([{"verbs": ["*", "get"], "nonResourceURLs": ["a", "/a*"]}]);
        bad["rules"][0]["resourceRules"] =
            json!([{"verbs": ["see"], "apiGroups": [], "resources": ["*", "x"], "namespaces": ["A"]}]);
        let expected = r#"spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1
spec.priorityLevelConfiguration.name: Required value: must reference a priority level
spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'
spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'
spec.rules[0].subjects[1].kind: Unsupported value: "X": supported values: "Group", "ServiceAccount", "User"
spec.rules[0].resourceRules[0].verbs: Unsupported value: ["see"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"
spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group
spec.rules[0].resourceRules[0].resources: Invalid value: ["*","x"]: if '*' is present, must not specify other resources
spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: "A": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
spec.rules[0].nonResourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs
spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash
spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a*": wildcard can only do suffix matching"#;
        assert_eq!(found(&SCHEMA, &with("a", good.clone())), "");
        assert_eq!(found(&SCHEMA, &with("a", bad)), expected);
        assert!(found(&SCHEMA, &with("exempt", good)).ends_with("spec of 'exempt' must equal the fixed value"));
        for (name, spec) in FIXED_SCHEMAS.iter() {
            assert_eq!(found(&SCHEMA, &with(name, spec.clone())), "", "{name}");
        }
    }

    #[test]
    fn levels_are_checked() {
        let with = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let queue = |queues: i64, hand: i64, length: i64| {
            json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {
                "type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length}}}})
        };
        let cases = [
            (with("a", queue(64, 8, 50)), ""),
            (
                with("a", queue(4, 8, 0)),
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: 0: must be positive\nspec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)",
            ),
            (
                with("a", queue(128, 9, 1)),
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 9: required entropy bits of deckSize 128 and handSize 9 should not be greater than 60",
            ),
            (
                with("a", json!({"type": "Exempt"})),
                "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
            ),
            (
                with(
                    "exempt",
                    json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 101}}),
                ),
                "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ),
            (with("catch-all", FIXED_CATCH_ALL.clone()), ""),
            (
                with("a", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}})),
                "spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited",
            ),
            (
                with("a", json!({"type": "Limited", "exempt": {}})),
                "spec.exempt: Forbidden: must be nil if the type is Limited\nspec.limited: Required value: must not be empty when type is Limited",
            ),
        ];
        for (level, expected) in cases {
            assert_eq!(found(&LEVEL, &level), expected, "{level}");
        }
    }
}
