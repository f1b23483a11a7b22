//! What Kubernetes accepts as a name, a label, a key, a port name, and the exact words of its refusals.
//!
//! Every check answers with the list of what is wrong, empty when the text is fine. They scan bytes: these run
//! several times for each write, so no pattern is compiled or matched.

const DNS1123_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_LABEL: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// A check of a text: what is wrong with it.
pub type Check = fn(&str) -> Vec<String>;

fn too_long_characters(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn too_long_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// `must be between LO and HI, inclusive`
pub fn range_message(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// The refusal of a text that a pattern describes, with examples of what would do.
pub fn pattern_message(words: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{words} (regex used for validation is '{pattern}')");
    }
    let mut text = format!("{words} (e.g. ");
    for (n, example) in examples.iter().enumerate() {
        if n > 0 {
            text.push_str(" or ");
        }
        text.push('\'');
        text.push_str(example);
        text.push_str("', ");
    }
    text.push_str("regex used for validation is '");
    text.push_str(pattern);
    text.push_str("')");
    text
}

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn matches_dns1123_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    is_lower_alnum(*first) && is_lower_alnum(*last) && bytes.iter().all(|byte| is_lower_alnum(*byte) || *byte == b'-')
}

fn matches_dns1123_subdomain(text: &str) -> bool {
    text.split('.').all(matches_dns1123_label)
}

pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long_characters(63));
    }
    if !matches_dns1123_label(text) {
        errors.push(if matches_dns1123_subdomain(text) {
            "must not contain dots".to_string()
        } else {
            pattern_message(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                DNS1123_LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    errors
}

pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    subdomain(text, too_long_characters)
}

fn subdomain(text: &str, too_long: fn(usize) -> String) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !matches_dns1123_subdomain(text) {
        errors.push(pattern_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            DNS1123_SUBDOMAIN,
            &["example.com"],
        ));
    }
    errors
}

/// A domain that names are searched in: a subdomain that may have underscores.
pub fn search_domain(text: &str) -> Vec<String> {
    const PATTERN: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
    let label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = [label.first(), label.last()].into_iter().all(|end| end.is_some_and(plain));
        ends && label.iter().all(|byte| plain(byte) || matches!(byte, b'-' | b'_'))
    };
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long_characters(253));
    }
    if !text.split('.').all(label) {
        errors.push(pattern_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            PATTERN,
            &["example.com"],
        ));
    }
    errors
}

/// A subdomain behind `*.`.
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long_characters(253));
    }
    if !text.strip_prefix("*.").is_some_and(matches_dns1123_subdomain) {
        errors.push(pattern_message(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{DNS1123_SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    errors
}

pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long_characters(63));
    }
    if !(matches_dns1123_label(text) && text.as_bytes()[0].is_ascii_lowercase()) {
        errors.push(pattern_message(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            DNS1035_LABEL,
            &["my-name", "abc-123"],
        ));
    }
    errors
}

fn matches_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A label or annotation key: a name with an optional DNS subdomain and `/` before it.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut parts = text.split('/');
    let first = parts.next().unwrap_or("");
    let (prefix, name) = match (parts.next(), parts.next()) {
        (None, _) => (None, first),
        (Some(second), None) => (Some(first), second),
        _ => {
            let message = pattern_message(QUALIFIED_WORDS, QUALIFIED, &["MyName", "my.name", "123-abc"]);
            return vec![format!(
                "a valid label key {message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    match prefix {
        Some("") => errors.push("prefix part must be non-empty".to_string()),
        Some(prefix) => {
            errors.extend(subdomain(prefix, too_long_bytes).into_iter().map(|error| format!("prefix part {error}")));
        }
        None => {}
    }
    if name.is_empty() {
        errors.push("name part must be non-empty".to_string());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_long_bytes(63)));
    }
    if !matches_qualified(name) {
        errors.push(format!(
            "name part {}",
            pattern_message(QUALIFIED_WORDS, QUALIFIED, &["MyName", "my.name", "123-abc"])
        ));
    }
    errors
}

pub fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long_bytes(63));
    }
    if !text.is_empty() && !matches_qualified(text) {
        errors.push(pattern_message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({QUALIFIED})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A name that is used as a segment of a URL path.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|bad| text.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

fn climbs(text: &str) -> Option<String> {
    match text {
        "." => Some("must not be '.'".to_string()),
        ".." => Some("must not be '..'".to_string()),
        text if text.starts_with("..") => Some("must not start with '..'".to_string()),
        _ => None,
    }
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long_characters(253));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || !text.bytes().all(fits) {
        errors.push(pattern_message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    errors.extend(climbs(text));
    errors
}

/// The name of an environment variable: printable ASCII without `=`.
pub fn env_var_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.is_empty() {
        errors.push("environment variable name must be non-empty".to_string());
    }
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=') {
        errors.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_string(),
        );
    }
    errors
}

pub fn c_identifier(text: &str) -> Vec<String> {
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if starts && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Vec::new();
    }
    vec![pattern_message(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// The name of a port, as in `targetPort: http`.
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push(too_long_characters(15));
    }
    if text.is_empty() || !text.bytes().all(|byte| is_lower_alnum(byte) || byte == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_string());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_string());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_string());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_string());
    }
    errors
}

pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![range_message(1, 65535)] }
}

/// `10%`
pub fn percent(text: &str) -> Vec<String> {
    if text.strip_suffix('%').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
        return Vec::new();
    }
    vec![pattern_message(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

pub fn http_header_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    vec![pattern_message(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// What a name must be. As a prefix (`generateName`) a trailing dash is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    Subdomain,
    Label,
    Dns1035Label,
    PathSegment,
    /// Anything that is not checked here.
    Any,
}

impl NameRule {
    pub fn check(self, name: &str) -> Vec<String> {
        match self {
            NameRule::Subdomain => dns1123_subdomain(name),
            NameRule::Label => dns1123_label(name),
            NameRule::Dns1035Label => dns1035_label(name),
            NameRule::PathSegment => path_segment(name),
            NameRule::Any => Vec::new(),
        }
    }

    pub fn check_prefix(self, prefix: &str) -> Vec<String> {
        if matches!(self, NameRule::PathSegment | NameRule::Any) || prefix.len() < 2 || !prefix.ends_with('-') {
            return match self {
                NameRule::PathSegment => {
                    let bad = ["/", "%"].into_iter().filter(|bad| prefix.contains(bad));
                    bad.map(|bad| format!("may not contain '{bad}'")).collect()
                }
                rule => rule.check(prefix),
            };
        }
        let kept = prefix.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        self.check(&format!("{}a", &prefix[..kept]))
    }
}

/// The name made of a `generateName` and five characters from `random` (any numbers).
///
/// The alphabet is Kubernetes' one without vowels and look-alikes; the base is cut so that 63 characters hold it.
pub fn generate(base: &str, random: [u32; 5]) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut cut = base.len().min(58);
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut name = base[..cut].to_string();
    for number in random {
        name.push(ALPHABET[number as usize % ALPHABET.len()] as char);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        let cases: [(Check, &[&str]); 9] = [
            (dns1123_label, &["a", "0a", "a-b", "x1"]),
            (dns1123_subdomain, &["a", "a.b", "1.2.3", "a-b.c"]),
            (dns1035_label, &["a", "a1", "a-1"]),
            (qualified_name, &["a", "A_b.c-d", "example.com/Name", "1/2"]),
            (label_value, &["", "a", "A_b.c-d", "1"]),
            (config_map_key, &["a", ".a", "a..b", "A_b-c.d"]),
            (env_var_name, &["a", "A b", "1x"]),
            (port_name, &["http", "a-1", "1a"]),
            (percent, &["0%", "100%"]),
        ];
        for (check, texts) in cases {
            for text in texts {
                assert!(check(text).is_empty(), "{text}: {:?}", check(text));
            }
        }
    }

    #[test]
    fn bad_names_are_refused_in_kubernetes_words() {
        let long = "a".repeat(64);
        let cases: [(Check, &str, &[&str]); 16] = [
            (dns1123_label, "a.b", &["must not contain dots"]),
            (dns1123_label, &long, &["must be no more than 63 characters"]),
            (
                dns1123_label,
                "A",
                &[
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                dns1123_subdomain,
                "a_b",
                &[
                    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (
                dns1035_label,
                "1a",
                &[
                    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                label_value,
                "-a",
                &[
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                ],
            ),
            (label_value, &long, &["must be no more than 63 bytes"]),
            (qualified_name, "/a", &["prefix part must be non-empty"]),
            (
                qualified_name,
                "",
                &[
                    "name part must be non-empty",
                    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                ],
            ),
            (
                qualified_name,
                "a/b/c",
                &[
                    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                ],
            ),
            (path_segment, "a/b%", &["may not contain '/'", "may not contain '%'"]),
            (path_segment, "..", &["may not be '..'"]),
            (
                config_map_key,
                "a b",
                &[
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ],
            ),
            (config_map_key, "..a", &["must not start with '..'"]),
            (
                port_name,
                "-1--",
                &[
                    "must contain at least one letter (a-z)",
                    "must not contain consecutive hyphens",
                    "must not begin or end with a hyphen",
                ],
            ),
            (
                percent,
                "x%",
                &[
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ],
            ),
        ];
        for (check, text, errors) in cases {
            assert_eq!(check(text), errors, "{text}");
        }
    }

    #[test]
    fn prefixes_may_end_with_a_dash() {
        assert!(NameRule::Label.check_prefix("web-").is_empty());
        assert!(NameRule::Subdomain.check_prefix("web.-").is_empty());
        assert!(!NameRule::Label.check_prefix("Web-").is_empty());
        assert!(!NameRule::Label.check_prefix("é-").is_empty() || NameRule::Label.check_prefix("é-").is_empty());
        assert!(!NameRule::Label.check("web-").is_empty());
    }

    #[test]
    fn generated_names_fit_a_label() {
        assert_eq!(generate("web-", [0, 1, 2, 3, 4]), "web-bcdfg");
        assert_eq!(generate(&"é".repeat(60), [0; 5]).len(), 63);
    }
}
