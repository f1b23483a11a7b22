//! Label and field selectors: parsing of their text form, of the JSON form of a label selector, and matching.
//!
//! The texts of parse errors are those of apimachinery's `labels` and `fields` packages; the server wraps them.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use serde_json::{Map, Value};

use crate::field::{FieldError, Path, aggregate};
use crate::names;

/// A selector that could not be read; the text says what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// Something that has labels.
pub trait Labels {
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.label(key))
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One comparison of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without repeats.
    pub values: Vec<String>,
}

impl Requirement {
    /// A requirement whose key and values are checked as labels are.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Requirement, SelectorError> {
        let mut errors = Vec::new();
        let path = Path::root();
        let list = || Value::from(values.clone());
        let wrong = names::qualified_name(key);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&path.child("key"), key, wrong.join("; ")));
        }
        let values_path = path.child("values");
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => errors.push(FieldError::invalid(
                &values_path,
                list(),
                "for 'in', 'notin' operators, values set can't be empty",
            )),
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => errors
                .push(FieldError::invalid(&values_path, list(), "exact-match compatibility requires one single value")),
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => errors.push(FieldError::invalid(
                &values_path,
                list(),
                "values set must be empty for exists and does not exist",
            )),
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    errors.push(FieldError::invalid(
                        &values_path,
                        list(),
                        "for 'Gt', 'Lt' operators, exactly one value is required",
                    ));
                }
                for (n, value) in values.iter().enumerate() {
                    if value.parse::<i64>().is_err() {
                        errors.push(FieldError::invalid(
                            &values_path.index(n),
                            value.as_str(),
                            "for 'Gt', 'Lt' operators, the value must be an integer",
                        ));
                    }
                }
            }
            _ => {}
        }
        for (n, value) in values.iter().enumerate() {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(&values_path.index(n).key(key), value.as_str(), wrong.join("; ")));
            }
        }
        if errors.is_empty() {
            Ok(Requirement { key: key.to_string(), operator, values })
        } else {
            Err(SelectorError(aggregate(&errors)))
        }
    }

    pub fn matches(&self, labels: &impl Labels) -> bool {
        let label = labels.label(&self.key);
        let has = |label: &str| self.values.iter().any(|value| value == label);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(has),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let (Some(Ok(left)), [right]) = (label.map(str::parse::<i64>), self.values.as_slice()) else {
                    return false;
                };
                let Ok(right) = right.parse::<i64>() else { return false };
                if self.operator == Operator::GreaterThan { left > right } else { left < right }
            }
        }
    }
}

impl Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        match self.operator {
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
            Operator::Equals => write!(f, "{}={values}", self.key),
            Operator::DoubleEquals => write!(f, "{}=={values}", self.key),
            Operator::NotEquals => write!(f, "{}!={values}", self.key),
            Operator::In => write!(f, "{} in ({values})", self.key),
            Operator::NotIn => write!(f, "{} notin ({values})", self.key),
            Operator::GreaterThan => write!(f, "{}>{values}", self.key),
            Operator::LessThan => write!(f, "{}<{values}", self.key),
        }
    }
}

/// All of its requirements must hold; without any it matches everything, unless it is [`LabelSelector::nothing`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    pub fn matches(&self, labels: &impl Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// All of these requirements, which are known to be good.
    pub fn of(requirements: Vec<Requirement>) -> LabelSelector {
        LabelSelector { requirements, nothing: false }.sorted()
    }

    /// Matches objects that have all of `set`, as the selector of a Service does.
    pub fn from_set<'a>(set: impl IntoIterator<Item = (&'a str, &'a str)>) -> LabelSelector {
        let requirement = |(key, value): (&str, &str)| Requirement {
            key: key.to_string(),
            operator: Operator::Equals,
            values: vec![value.to_string()],
        };
        LabelSelector { requirements: set.into_iter().map(requirement).collect(), nothing: false }.sorted()
    }

    /// Reads a `metav1.LabelSelector`: absent matches nothing, empty matches everything.
    pub fn from_json(selector: &Value) -> Result<LabelSelector, SelectorError> {
        if selector.is_null() {
            return Ok(LabelSelector::nothing());
        }
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or("").to_string();
                requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
            }
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression.get("key").and_then(Value::as_str).unwrap_or("");
            let operator = match expression.get("operator").and_then(Value::as_str).unwrap_or("") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!(
                        "{} is not a valid label selector operator",
                        crate::field::quote(other)
                    )));
                }
            };
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_string).collect();
            requirements.push(Requirement::new(key, operator, normal(values))?);
        }
        Ok(LabelSelector { requirements, nothing: false }.sorted())
    }

    /// Reads the text form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), position: 0 };
        Ok(LabelSelector { requirements: parser.requirements()?, nothing: false }.sorted())
    }

    fn sorted(mut self) -> LabelSelector {
        self.requirements.sort_by(|a, b| a.key.cmp(&b.key));
        self
    }
}

impl Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, requirement) in self.requirements.iter().enumerate() {
            if n > 0 {
                f.write_char(',')?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

fn normal(mut values: Vec<String>) -> Vec<String> {
    values.sort();
    values.dedup();
    values
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Word,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

fn symbol(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn tokens(text: &str) -> Vec<(Token, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_blank);
        let Some(first) = rest.chars().next().filter(|c| *c != '\0') else {
            found.push((Token::End, String::new()));
            return found;
        };
        if is_symbol(first) {
            let two = rest.get(..2).filter(|two| symbol(two).is_some());
            let literal = two.unwrap_or(&rest[..1]);
            found.push((symbol(literal).unwrap_or(Token::Error), literal.to_string()));
            rest = &rest[literal.len()..];
        } else {
            let end = rest.find(|c| is_symbol(c) || is_blank(c) || c == '\0').unwrap_or(rest.len());
            let word = &rest[..end];
            let token = match word {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Word,
            };
            found.push((token, word.to_string()));
            rest = rest[end..].strip_prefix('\0').unwrap_or(&rest[end..]);
        }
    }
}

struct Parser {
    tokens: Vec<(Token, String)>,
    position: usize,
}

impl Parser {
    /// The token at hand; past the end it stays the end. `in` and `notin` are words unless `operators` are expected.
    fn peek(&self, operators: bool) -> (Token, &str) {
        let last = self.tokens.len() - 1;
        let (token, literal) = &self.tokens[self.position.min(last)];
        let token = match token {
            Token::In | Token::NotIn if !operators => Token::Word,
            token => *token,
        };
        (token, literal)
    }

    fn take(&mut self, operators: bool) -> (Token, String) {
        let (token, literal) = self.peek(operators);
        let taken = (token, literal.to_string());
        self.position += 1;
        taken
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut found = Vec::new();
        loop {
            match self.peek(false) {
                (Token::Word | Token::Not, _) => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?;
                    found.push(requirement);
                    match self.take(false) {
                        (Token::End, _) => return Ok(found),
                        (Token::Comma, _) => {
                            let (next, literal) = self.peek(false);
                            if next != Token::Word && next != Token::Not {
                                return Err(SelectorError(format!(
                                    "found '{literal}', expected: identifier after ','"
                                )));
                            }
                        }
                        (_, literal) => {
                            return Err(SelectorError(format!("found '{literal}', expected: ',' or 'end of string'")));
                        }
                    }
                }
                (Token::End, _) => return Ok(found),
                (_, literal) => {
                    return Err(SelectorError(format!(
                        "found '{literal}', expected: !, identifier, or 'end of string'"
                    )));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut token, mut key) = self.take(false);
        let absent = token == Token::Not;
        if absent {
            (token, key) = self.take(false);
        }
        if token != Token::Word {
            return Err(SelectorError(format!("found '{key}', expected: identifier")));
        }
        let wrong = names::qualified_name(&key);
        if !wrong.is_empty() {
            return Err(SelectorError(FieldError::invalid(&Path::root(), key.as_str(), wrong.join("; ")).to_string()));
        }
        if absent {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(false).0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = match self.take(true) {
            (Token::In, _) => Operator::In,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::NotEquals, _) => Operator::NotEquals,
            (_, literal) => {
                return Err(SelectorError(format!("found '{literal}', expected: in, notin, =, ==, !=, gt, lt")));
            }
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.value_set()?,
            _ => vec![self.one_value()?],
        };
        Requirement::new(&key, operator, normal(values))
    }

    fn one_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(false).0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take(false) {
            (Token::Word, literal) => Ok(literal),
            (_, literal) => Err(SelectorError(format!("found '{literal}', expected: identifier"))),
        }
    }

    fn value_set(&mut self) -> Result<Vec<String>, SelectorError> {
        let (token, literal) = self.take(false);
        if token != Token::Open {
            return Err(SelectorError(format!("found '{literal}' expected: '('")));
        }
        let mut values = Vec::new();
        if self.peek(false).0 == Token::Close {
            self.take(false);
            return Ok(vec![String::new()]);
        }
        let mut after_comma = true;
        loop {
            match self.take(false) {
                (Token::Word, literal) if after_comma => {
                    values.push(literal);
                    after_comma = false;
                    let (next, literal) = self.peek(false);
                    if next != Token::Comma && next != Token::Close {
                        return Err(SelectorError(format!("found '{literal}', expected: ',' or ')'")));
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() || matches!(self.peek(false).0, Token::Comma | Token::Close) {
                        values.push(String::new());
                    }
                    after_comma = true;
                }
                (Token::Close, _) => return Ok(values),
                (_, literal) => {
                    return Err(SelectorError(format!("found '{literal}', expected: ',', or identifier")));
                }
            }
        }
    }
}

/// One comparison of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub equal: bool,
    pub value: String,
}

/// `metadata.name=a,spec.nodeName!=b`: all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    pub fn everything() -> FieldSelector {
        FieldSelector::default()
    }

    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that `field` must have, when a term says so: lets a list of one name be a get.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether all terms hold; an absent field reads as the empty text.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (field(&term.field).unwrap_or("") == term.value) == term.equal)
    }

    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, equal, value)) = split_term(part) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            terms.push(FieldTerm { field: field.to_string(), equal, value: unescape(value)? });
        }
        Ok(FieldSelector { terms })
    }
}

impl Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, term) in self.terms.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            let sign = if term.equal { "=" } else { "!=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{sign}{value}", term.field)?;
        }
        Ok(())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(sign) {
                return Some((&term[..at], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(other) => {
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{other}")));
                }
                None => {
                    return Err(SelectorError("invalid field selector: invalid escape sequence: \\".to_string()));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    c as u32
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn selectors_are_read_and_written() {
        let cases = [
            ("", ""),
            ("a=b", "a=b"),
            ("b==c, a != d", "a!=d,b==c"),
            ("x in (b, a,a)", "x in (a,b)"),
            ("x notin ()", "x notin ()"),
            ("x in (a,)", "x in (,a)"),
            ("!a,b", "!a,b"),
            ("a>1,b<2", "a>1,b<2"),
            ("in=notin", "in=notin"),
            ("a=", "a="),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).map(|s| s.to_string()), Ok(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn bad_selectors_say_what_was_expected() {
        let cases = [
            ("a=b,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=(", "unable to parse requirement: found '(', expected: identifier"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).map_err(|e| e.0), Err(expected.to_string()), "{text}");
        }
        assert!(LabelSelector::parse("a/b/c=d").unwrap_err().0.contains("a valid label key"));
        assert!(
            LabelSelector::parse("a=b@c").unwrap_err().0.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"b@c\": a valid label must be"
            )
        );
    }

    #[test]
    fn selectors_match_as_kubernetes_matches() {
        let labels = json!({"app": "web", "n": "5"});
        let labels = labels.as_object().unwrap();
        let cases = [
            ("app=web", true),
            ("app!=web", false),
            ("app in (db,web)", true),
            ("app notin (db)", true),
            ("missing notin (db)", true),
            ("missing!=x", true),
            ("missing=x", false),
            ("app,!missing", true),
            ("n>4,n<6", true),
            ("app>4", false),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(labels), expected, "{text}");
        }
        assert!(!LabelSelector::from_json(&Value::Null).unwrap().matches(labels));
        assert!(LabelSelector::from_json(&json!({})).unwrap().matches(labels));
        let selector =
            json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]});
        assert!(LabelSelector::from_json(&selector).unwrap().matches(labels));
        let wrong = json!({"matchExpressions": [{"key": "x", "operator": "Near"}]});
        assert_eq!(LabelSelector::from_json(&wrong).unwrap_err().0, "\"Near\" is not a valid label selector operator");
    }

    #[test]
    fn field_selectors() {
        let selector = FieldSelector::parse("metadata.name=a,spec.x!=b\\,c").unwrap();
        assert_eq!(selector.to_string(), "metadata.name=a,spec.x!=b\\,c");
        assert_eq!(selector.exact("metadata.name"), Some("a"));
        assert!(selector.matches(|field| (field == "metadata.name").then_some("a")));
        assert!(!selector.matches(|field| Some(if field == "metadata.name" { "a" } else { "b,c" })));
        assert_eq!(FieldSelector::parse("abc").unwrap_err().0, "invalid selector: 'abc'; can't understand 'abc'");
        assert_eq!(
            FieldSelector::parse("a=\\x").unwrap_err().0,
            "invalid field selector: invalid escape sequence: \\x"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-z!=<>(), \\\\\\x00é]{0,24}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(&LabelSelector::parse(&selector.to_string()).unwrap(), &selector);
            }
            let _ = FieldSelector::parse(&text);
        }
    }
}
