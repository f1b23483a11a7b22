//! Acting as somebody else: `Impersonate-User` and its companions, each part of the identity authorized by itself.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderMap;
use mk8s_api::{field::quote, status::Status};

use super::{ANONYMOUS, AUTHENTICATED, Attributes, Authorization, SERVICE_ACCOUNT_PREFIX, UNAUTHENTICATED, User};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// Whether a request says anything of acting as somebody else.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.contains_key(USER)
        || headers.contains_key(GROUP)
        || headers.contains_key(UID)
        || headers.keys().any(|name| name.as_str().starts_with(EXTRA))
}

/// The user the request wants to act as; `None` when it does not ask. Fails with 403 when `user` may not.
pub fn impersonated(
    headers: &HeaderMap,
    user: &User,
    authorization: &Authorization,
) -> Result<Option<Arc<User>>, Status> {
    let Some(wanted) = asked_for(headers)? else { return Ok(None) };
    let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let base = Attributes::for_resource(user, "impersonate", group, resource);
        authorization.check(&Attributes { subresource, namespace, name, ..base })
    };
    match wanted.service_account() {
        Some((namespace, name)) => check("", "serviceaccounts", "", namespace, name)?,
        None => check("", "users", "", "", &wanted.name)?,
    }
    if !wanted.uid.is_empty() {
        check("authentication.k8s.io", "uids", "", "", &wanted.uid)?;
    }
    wanted.groups.iter().try_for_each(|group| check("", "groups", "", "", group))?;
    for (key, values) in &wanted.extra {
        values.iter().try_for_each(|value| check("authentication.k8s.io", "userextras", key, "", value))?;
    }
    Ok(Some(Arc::new(with_implied_groups(wanted))))
}

/// What the headers say, before groups that follow from the name.
fn asked_for(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string();
    let (name, uid) = (text(USER), text(UID));
    let groups: Vec<String> =
        headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok()).map(str::to_string).collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix(EXTRA), value.to_str()) {
            extra.entry(unescape(key)).or_default().push(value.to_string());
        }
    }
    if name.is_empty() {
        return match uid.is_empty() && groups.is_empty() && extra.is_empty() {
            true => Ok(None),
            false => Err(Status::bad_request(format!(
                "requested {} without impersonating a user name",
                in_go(&User { name, uid, groups, extra })
            ))),
        };
    }
    Ok(Some(User { name, uid, groups, extra }))
}

/// A user as Go shows one.
fn in_go(user: &User) -> String {
    let list = |texts: &[String]| match texts {
        [] => "[]string(nil)".to_owned(),
        texts => format!("[]string{{{}}}", texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")),
    };
    let extra = match user.extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => {
            let entries = user.extra.iter().map(|(key, values)| format!("{}:{}", quote(key), list(values)));
            format!("map[string][]string{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    };
    let (name, uid, groups) = (quote(&user.name), quote(&user.uid), list(&user.groups));
    format!("&user.DefaultInfo{{Name:{name}, UID:{uid}, Groups:{groups}, Extra:{extra}}}")
}

fn with_implied_groups(mut user: User) -> User {
    let service_account = user.name.starts_with(SERVICE_ACCOUNT_PREFIX);
    if let (true, true, Some((namespace, _))) = (user.groups.is_empty(), service_account, user.service_account()) {
        user.groups = vec!["system:serviceaccounts".to_string(), format!("system:serviceaccounts:{namespace}")];
    }
    let implied = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.in_group(implied) && !user.in_group(UNAUTHENTICATED) {
        user.groups.push(implied.to_string());
    }
    user
}

/// Header names carry keys percent-encoded.
fn unescape(key: &str) -> String {
    let decoded: Option<(String, String)> =
        form_urlencoded::parse(key.replace('+', "%2B").as_bytes()).next().map(|(k, v)| (k.into(), v.into()));
    decoded.map_or_else(|| key.to_string(), |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn headers_become_a_user() {
        assert!(asked_for(&headers(&[])).expect("nothing asked").is_none());
        let user = asked_for(&headers(&[
            ("impersonate-user", "ann"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-extra-example.com%2fscope", "view"),
        ]));
        let user = with_implied_groups(user.expect("readable").expect("asked"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["example.com/scope"], ["view"]);
        let refused = asked_for(&headers(&[("impersonate-group", "dev")])).expect_err("no user");
        let why = r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"dev"}, Extra:map[string][]string(nil)} without impersonating a user name"#;
        assert_eq!((refused.code, &*refused.message), (400, why));

        let account = with_implied_groups(User::new("system:serviceaccount:a:b", Vec::<String>::new()));
        assert_eq!(account.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
    }
}
