//! `format` of strings: which are known, and what they admit. Unknown ones admit everything.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use base64::Engine;
use regex::Regex;

use crate::names;

const OF_STRINGS: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// The format, when values of this type can have it; else nothing.
pub(super) fn known<'a>(kind: &str, format: &'a str) -> &'a str {
    let known = match kind {
        "" | "string" => OF_STRINGS.contains(&&*format.replace('-', "")),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    };
    if known { format } else { "" }
}

/// Whether a text has a known format.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match &*format.replace('-', "") {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "hostname" => HOSTNAME.is_match(text) && text.len() < 256,
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "mac" => MAC.is_match(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID.is_match(text) && version_of(text) == Some('3'),
        "uuid4" => UUID.is_match(text) && version_of(text) == Some('4') && variant_fits(text),
        "uuid5" => UUID.is_match(text) && version_of(text) == Some('5') && variant_fits(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => CREDIT_CARD.is_match(&text.replace(|c: char| !c.is_ascii_digit(), "")) && luhn(text),
        "ssn" => SSN.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "date" => DATE.is_match(text) && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => DURATION.is_match(text),
        "datetime" => DATE_TIME.is_match(text) && text.parse::<jiff::Timestamp>().is_ok(),
        "k8sshortname" => names::dns1123_label(text).is_empty(),
        "k8slongname" => names::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("the pattern is fixed and tested"));
    };
}

pattern!(
    HOSTNAME,
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
);
pattern!(MAC, r"(?i)^([0-9a-f]{2}([:-])([0-9a-f]{2}[:-]){4,18}[0-9a-f]{2}|[0-9a-f]{4}(\.[0-9a-f]{4}){2,9})$");
pattern!(UUID, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
);
pattern!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
pattern!(HEX_COLOR, r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
pattern!(
    RGB_COLOR,
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
);
pattern!(DATE, r"^\d{4}-\d{2}-\d{2}$");
pattern!(DURATION, r"^(0|[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+|(\d+)\s*([A-Za-zµ]+))$");
pattern!(DATE_TIME, r"(?i)^\d{4}-\d{2}-\d{2}t\d{2}:[0-5]\d:[0-5]\d(\.\d+)?(z|[+-]\d{2}:\d{2})$");

fn version_of(uuid: &str) -> Option<char> {
    uuid.replace('-', "").chars().nth(12)
}

fn variant_fits(uuid: &str) -> bool {
    uuid.replace('-', "").chars().nth(16).is_some_and(|digit| "89abAB".contains(digit))
}

/// As Go's `ParseRequestURI` takes it: an absolute path, or a scheme with something behind it.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return false;
    }
    if text.starts_with('/') || text == "*" {
        return !text.contains(' ');
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let host = rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    scheme_fits && host.is_none_or(|host| !host.contains([' ', '<', '>', '"']))
}

fn is_email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(start), Some(inner)) => inner.get(start + 1..).unwrap_or_default(),
        _ => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let is_atom = |text: &str| {
        !text.is_empty()
            && text.split('.').all(|part| !part.is_empty())
            && text.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
    };
    let quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    (is_atom(local) || quoted) && is_atom(domain)
}

fn digits(text: &str) -> Vec<u32> {
    text.chars()
        .filter(|c| !matches!(c, '-' | ' '))
        .map(|c| if matches!(c, 'X' | 'x') { 10 } else { c.to_digit(10).unwrap_or(99) })
        .collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 10
        && digits[..9].iter().all(|digit| *digit < 10)
        && digits[9] <= 10
        && digits.iter().zip((1..=10).rev()).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 13
        && digits.iter().all(|digit| *digit < 10)
        && digits.iter().enumerate().map(|(at, digit)| if at % 2 == 0 { *digit } else { digit * 3 }).sum::<u32>() % 10
            == 0
}

fn luhn(text: &str) -> bool {
    let sum: u32 = text
        .chars()
        .filter_map(|c| c.to_digit(10))
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
