//! A bootstrap token as a Secret, and back.

use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rand::Rng;
use std::collections::BTreeMap;

pub(super) const TYPE: &str = "bootstrap.kubernetes.io/token";
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

pub(super) fn name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

fn is_word(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

pub(super) fn is_id(text: &str) -> bool {
    is_word(text, 6)
}

pub(super) fn split(token: &str) -> Option<(&str, &str)> {
    token.split_once('.').filter(|(id, secret)| is_id(id) && is_word(secret, 16))
}

pub(super) fn is_group(group: &str) -> bool {
    let rest = group.strip_prefix("system:bootstrappers:").unwrap_or_default();
    let plain = |byte: u8| ALPHABET.contains(&byte);
    rest.len() <= 256
        && rest.bytes().all(|b| plain(b) || matches!(b, b':' | b'-'))
        && rest.bytes().last().is_some_and(plain)
}

/// A new id and a new secret.
pub(super) fn random() -> (String, String) {
    let mut rng = rand::rng();
    let mut word =
        |length: usize| (0..length).map(|_| char::from(ALPHABET[rng.random_range(..ALPHABET.len())])).collect();
    (word(6), word(16))
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) expires: Option<Timestamp>,
    pub(super) description: String,
    pub(super) groups: Vec<String>,
}

impl Wanted {
    pub(super) fn object(&self) -> Secret {
        let mut data = BTreeMap::from([
            ("token-id".to_owned(), self.id.clone()),
            ("token-secret".to_owned(), self.secret.clone()),
            ("usage-bootstrap-authentication".to_owned(), "true".to_owned()),
            ("usage-bootstrap-signing".to_owned(), "true".to_owned()),
        ]);
        if let Some(expires) = self.expires {
            let seconds = Timestamp::from_second(expires.as_second()).unwrap_or(expires);
            data.insert("expiration".to_owned(), seconds.to_string());
        }
        if !self.description.is_empty() {
            data.insert("description".to_owned(), self.description.clone());
        }
        if !self.groups.is_empty() {
            data.insert("auth-extra-groups".to_owned(), self.groups.join(","));
        }
        Secret {
            metadata: ObjectMeta {
                name: Some(name(&self.id)),
                namespace: Some(super::NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.to_owned()),
            string_data: Some(data),
            ..Secret::default()
        }
    }
}

/// A token that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    id: String,
    secret: String,
    expires: Option<Timestamp>,
    description: String,
    groups: Vec<String>,
    usages: Vec<&'static str>,
}

impl Token {
    pub(super) fn read(secret: &Secret) -> Option<Token> {
        let field = |name: &str| {
            let value = secret.data.as_ref()?.get(name)?;
            std::str::from_utf8(&value.0).ok().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let used = |usage: &&str| field(&format!("usage-bootstrap-{usage}")).as_deref() == Some("true");
        Some(Token {
            id: field("token-id").filter(|id| is_id(id))?,
            secret: field("token-secret")?,
            // An end that cannot be read is past.
            expires: field("expiration").map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
            description: field("description").unwrap_or_default(),
            groups: field("auth-extra-groups")
                .unwrap_or_default()
                .split(',')
                .filter(|g| !g.is_empty())
                .map(str::to_owned)
                .collect(),
            usages: ["authentication", "signing"].into_iter().filter(used).collect(),
        })
    }

    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// Another token for the same purpose.
    pub(super) fn renewed(&self, life: Option<SignedDuration>, now: Timestamp) -> Result<Wanted> {
        let (id, secret) = random();
        let expires =
            life.map(|life| now.checked_add(life)).transpose().map_err(|_| anyhow!("the token has no readable end"))?;
        Ok(Wanted { id, secret, expires, description: self.description.clone(), groups: self.groups.clone() })
    }
}

/// How long a token was made for.
pub(super) fn lifetime(secret: &Secret, token: &Token) -> Option<SignedDuration> {
    let made = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
    Some(token.expires?.duration_since(made?))
}

/// One line a token, under a heading.
pub(super) fn table(tokens: &[Token], now: Timestamp) -> Vec<String> {
    let dash = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
    let left = |token: &Token| match token.expires {
        None => "<forever>".to_owned(),
        Some(end) if end <= now => "<expired>".to_owned(),
        Some(end) => short(end.duration_since(now).as_secs()),
    };
    let end = |token: &Token| token.expires.map_or_else(|| "<never>".to_owned(), |end| end.to_string());
    let head = ["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"].map(str::to_owned);
    let rows = tokens.iter().map(|token| {
        let (usages, groups) = (token.usages.join(","), token.groups.join(","));
        [token.id.clone(), left(token), end(token), dash(usages), dash(token.description.clone()), dash(groups)]
    });
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   ")).collect();
        cells.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The two largest parts of a time: `23h59m`.
fn short(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use k8s_openapi::ByteString;

    /// As the server answers: what was sent as text comes as bytes.
    fn stored(wanted: &Wanted) -> Secret {
        let mut secret = wanted.object();
        let text = secret.string_data.take().unwrap_or_default();
        secret.data = Some(text.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect());
        secret
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn wanted(id: &str, expires: Option<&str>) -> Wanted {
        Wanted {
            id: id.into(),
            secret: "0123456789abcdef".into(),
            expires: expires.map(time),
            description: String::new(),
            groups: vec!["system:bootstrappers:a".into()],
        }
    }

    #[test]
    fn tokens_are_listed() {
        let mut first = wanted("abcdef", Some("2026-01-02T11:30:00Z"));
        first.description = "for the shelf".into();
        let all = [first, wanted("bbbbbb", None), wanted("cccccc", Some("2026-01-01T11:00:00Z"))];
        let tokens: Vec<Token> = all.iter().filter_map(|wanted| Token::read(&stored(wanted))).collect();
        expect![[r#"
            TOKEN    TTL         EXPIRES                USAGES                   DESCRIPTION     EXTRA GROUPS
            abcdef   23h30m      2026-01-02T11:30:00Z   authentication,signing   for the shelf   system:bootstrappers:a
            bbbbbb   <forever>   <never>                authentication,signing   <none>          system:bootstrappers:a
            cccccc   <expired>   2026-01-01T11:00:00Z   authentication,signing   <none>          system:bootstrappers:a"#]]
        .assert_eq(&table(&tokens, time("2026-01-01T12:00:00Z")).join("\n"));
    }

    #[test]
    fn a_renewed_token_is_another_for_the_same() {
        let mut secret = stored(&wanted("abcdef", Some("2026-01-02T12:00:00Z")));
        secret.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("2026-01-01T12:00:00Z")));
        let token = Token::read(&secret).expect("a token");
        let life = lifetime(&secret, &token);
        assert_eq!(life, Some(SignedDuration::from_hours(24)));
        let fresh = token.renewed(life, time("2026-02-01T00:00:00Z")).expect("a token");
        assert_eq!(fresh.expires, Some(time("2026-02-02T00:00:00Z")));
        assert_eq!(fresh.groups, token.groups);
        assert_ne!(fresh.id, token.id);
        assert!(split(&format!("{}.{}", fresh.id, fresh.secret)).is_some());
    }

    #[test]
    fn groups_of_tokens_are_bootstrappers() {
        let cases = [
            ("system:bootstrappers:a", true),
            ("system:bootstrappers:a:b-c", true),
            ("system:bootstrappers:", false),
            ("system:masters", false),
        ];
        for (group, good) in cases {
            assert_eq!(is_group(group), good, "{group}");
        }
    }
}
