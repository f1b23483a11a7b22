//! Characters to tokens. Literals are decoded here, so that the parser sees values.

use std::sync::Arc;

use super::{Literal, Problems};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// An operator or a bracket.
    Sign(&'static str),
    /// `in` is a sign; `true`, `false` and `null` are literals.
    Ident(Arc<str>),
    Literal(Literal),
    /// `1` where a minus may still come to stand before it, which matters for the least integer.
    Digits(u64),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) at: u32,
    pub(super) end: u32,
}

const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}",
];

pub(super) fn tokens(source: &str) -> Result<Vec<Lexeme>, Problems> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::with_capacity(source.len() / 3 + 1);
    loop {
        lexer.skip();
        let at = lexer.at;
        let token = lexer.token().map_err(|text| Problems::one(source, at as u32, text))?;
        let end = token == Token::End;
        tokens.push(Lexeme { token, at: at as u32, end: lexer.at as u32 });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
            self.at += blank;
            if self.rest().starts_with("//") {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if blank == 0 {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, String> {
        if self.rest().is_empty() {
            return Ok(Token::End);
        }
        if let Some(text) = self.text()? {
            return Ok(text);
        }
        let first = self.byte(0);
        if first.is_ascii_digit() || (first == b'.' && self.byte(1).is_ascii_digit()) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == b'_' {
            return Ok(self.word());
        }
        if first == b'`' {
            return Err("unsupported syntax: '`'".into());
        }
        match SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            None => Err(format!("Syntax error: token recognition error at: '{}'", self.unknown())),
        }
    }

    /// What cannot be a token: at least one character; a lone `=`, `&` or `|` is shown with what follows it.
    fn unknown(&self) -> String {
        let lone = matches!(self.byte(0), b'=' | b'&' | b'|');
        self.rest().chars().take(if lone { 2 } else { 1 }).collect()
    }

    fn word(&mut self) -> Token {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        match &rest[..end] {
            "in" => Token::Sign("in"),
            "true" => Token::Literal(Literal::Bool(true)),
            "false" => Token::Literal(Literal::Bool(false)),
            "null" => Token::Literal(Literal::Null),
            name => Token::Ident(name.into()),
        }
    }

    fn digits(&mut self, allowed: impl Fn(u8) -> bool) -> &'s str {
        let start = self.at;
        while allowed(self.byte(0)) {
            self.at += 1;
        }
        &self.source[start..self.at]
    }

    fn number(&mut self) -> Result<Token, String> {
        let start = self.at;
        if self.rest().starts_with("0x") && self.byte(2).is_ascii_hexdigit() {
            self.at += 2;
            let digits = self.digits(|b| b.is_ascii_hexdigit());
            return self.whole(u64::from_str_radix(digits, 16).ok());
        }
        self.digits(|b| b.is_ascii_digit());
        let mut float = false;
        if self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
            float = true;
            self.at += 1;
            self.digits(|b| b.is_ascii_digit());
        }
        if matches!(self.byte(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
            if self.byte(1 + sign).is_ascii_digit() {
                float = true;
                self.at += 1 + sign;
                self.digits(|b| b.is_ascii_digit());
            }
        }
        let text = &self.source[start..self.at];
        if float {
            let value: f64 = text.parse().map_err(|_| "invalid double literal".to_string())?;
            return if value.is_finite() {
                Ok(Token::Literal(Literal::Double(value)))
            } else {
                Err("invalid double literal".into())
            };
        }
        self.whole(text.parse().ok())
    }

    fn whole(&mut self, value: Option<u64>) -> Result<Token, String> {
        let unsigned = matches!(self.byte(0), b'u' | b'U');
        if unsigned {
            self.at += 1;
            return value
                .map(|value| Token::Literal(Literal::Uint(value)))
                .ok_or_else(|| "invalid uint literal".into());
        }
        value.map(Token::Digits).ok_or_else(|| "invalid int literal".into())
    }

    /// A string or bytes literal, where one begins here.
    fn text(&mut self) -> Result<Option<Token>, String> {
        let mut prefix = 0;
        let (mut raw, mut bytes) = (false, false);
        while prefix < 2 {
            match self.byte(prefix) {
                b'r' | b'R' if !raw => raw = true,
                b'b' | b'B' if !bytes => bytes = true,
                _ => break,
            }
            prefix += 1;
        }
        let quote = self.byte(prefix);
        if quote != b'"' && quote != b'\'' {
            return Ok(None);
        }
        let start = self.at + prefix;
        let triple = self.source.as_bytes()[start..].starts_with(&[quote; 3]);
        let mark = if triple { 3 } else { 1 };
        let body = start + mark;
        let Some(length) = closing(&self.source.as_bytes()[body..], quote, triple, raw) else {
            return Err(format!("Syntax error: token recognition error at: '{}'", self.rest()));
        };
        let text = &self.source[body..body + length];
        self.at = body + length + mark;
        let literal = if bytes {
            Literal::Bytes(unescape(text, raw, true)?.into())
        } else {
            let decoded = unescape(text, raw, false)?;
            Literal::String(String::from_utf8(decoded).map_err(|_| "invalid string literal".to_string())?.into())
        };
        Ok(Some(Token::Literal(literal)))
    }
}

/// The length of the text up to its closing mark.
fn closing(text: &[u8], quote: u8, triple: bool, raw: bool) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' if !raw => at += 2,
            b'\n' | b'\r' if !triple => return None,
            b if b == quote && (!triple || text[at..].starts_with(&[quote; 3])) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

fn unescape(text: &str, raw: bool, bytes: bool) -> Result<Vec<u8>, String> {
    // Line ends are always newlines.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    if raw || !text.contains('\\') {
        return Ok(text.into_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next().ok_or("unable to unescape string, found '\\' as last character")?;
        rest = &rest[escape.len_utf8()..];
        let digits = |rest: &str, count: usize, radix: u32| -> Option<u32> {
            rest.get(..count)
                .filter(|digits| digits.bytes().all(|b| (b as char).is_digit(radix)))
                .and_then(|d| u32::from_str_radix(d, radix).ok())
        };
        let code = match escape {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            '\\' | '\'' | '"' | '`' | '?' => escape as u32,
            'x' | 'X' | 'u' | 'U' => {
                let count = match escape {
                    'u' => 4,
                    'U' => 8,
                    _ => 2,
                };
                if bytes && count != 2 {
                    return Err("unable to unescape string".into());
                }
                let code = digits(rest, count, 16).ok_or("unable to unescape string")?;
                rest = &rest[count..];
                code
            }
            '0'..='3' => {
                let high = escape.to_digit(8).expect("an octal digit");
                let low = digits(rest, 2, 8).ok_or("unable to unescape octal sequence in string")?;
                rest = &rest[2..];
                high * 64 + low
            }
            _ => return Err("unable to unescape string".into()),
        };
        if bytes && (escape.eq_ignore_ascii_case(&'x') || escape.is_ascii_digit()) {
            out.push(u8::try_from(code).map_err(|_| "unable to unescape string")?);
        } else {
            let c = char::from_u32(code).ok_or("invalid unicode code point")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(out)
}
