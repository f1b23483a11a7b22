//! Tokens to a tree, by descent. The grammar is that of the CEL specification with optional syntax (`a.?b`, `a[?b]`, `[?a]`).
//!
//! Problems are worded as cel-go's parser words them in the usual cases; the first one ends the reading.

use std::sync::Arc;

use super::super::escape::KEPT;
use super::lexer::{Lexeme, Token};
use super::{
    Ast, Builder, Element, Entry, Expr, Field, Id, Literal, MAX_DEPTH, MAX_SIZE, Problems, TooMuch, lexer, macros,
};

const PRIMARY: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Reads an expression.
pub(crate) fn parse(source: &str) -> Result<Ast, Problems> {
    let size = source.chars().take(MAX_SIZE + 1).count();
    if size > MAX_SIZE {
        let size = source.chars().count();
        return Err(Problems::one(
            "",
            0,
            format!("expression code point size exceeds limit: size: {size}, limit {MAX_SIZE}"),
        ));
    }
    let tokens = lexer::tokens(source)?;
    let mut parser = Parser { source, tokens, next: 0, builder: Builder::default(), depth: 0 };
    let root = parser
        .expr()
        .and_then(|root| parser.end().map(|()| root))
        .map_err(|(at, text)| Problems::one(source, at, text))?;
    Ok(parser.builder.finish(source, root))
}

/// A place and what is wrong there.
pub(super) type Wrong = (u32, String);
type Parsed<T = Id> = Result<T, Wrong>;

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Lexeme>,
    next: usize,
    builder: Builder,
    depth: u16,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn peek_sign(&self, ahead: usize) -> Option<&'static str> {
        match self.tokens.get(self.next + ahead)?.token {
            Token::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn at(&self) -> u32 {
        self.tokens[self.next].at
    }

    fn advance(&mut self) -> Lexeme {
        let lexeme = self.tokens[self.next].clone();
        // The end is never passed.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        lexeme
    }

    /// The place of the sign, where it is next.
    fn take(&mut self, sign: &str) -> Option<u32> {
        (self.peek_sign(0) == Some(sign)).then(|| self.advance().at)
    }

    fn take_any(&mut self, signs: &[&'static str]) -> Option<(&'static str, u32)> {
        let sign = self.peek_sign(0).filter(|sign| signs.contains(sign))?;
        Some((sign, self.advance().at))
    }

    fn expect(&mut self, sign: &str) -> Parsed<u32> {
        self.take(sign).ok_or_else(|| self.unexpected(&format!("'{sign}'")))
    }

    fn unexpected(&self, expected: &str) -> Wrong {
        (self.at(), format!("Syntax error: mismatched input '{}' expecting {expected}", self.shown()))
    }

    fn shown(&self) -> &str {
        let lexeme = &self.tokens[self.next];
        match lexeme.token {
            Token::End => "<EOF>",
            _ => &self.source[lexeme.at as usize..lexeme.end as usize],
        }
    }

    fn end(&mut self) -> Parsed<()> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err((self.at(), format!("Syntax error: extraneous input '{}' expecting <EOF>", self.shown()))),
        }
    }

    fn node(&mut self, at: u32, expr: Expr) -> Parsed {
        self.builder.node(at, expr).map_err(|too_much| (at, too_much.to_string()))
    }

    fn call(&mut self, at: u32, function: &str, args: Vec<Id>) -> Parsed {
        self.node(at, Expr::Call { function: function.into(), target: None, args })
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((self.at(), TooMuch::Depth.to_string()));
        }
        let condition = self.logic("||", "_||_")?;
        let whole = match self.take("?") {
            None => condition,
            Some(at) => {
                let then = self.logic("||", "_||_")?;
                self.expect(":")?;
                let otherwise = self.expr()?;
                self.call(at, "_?_:_", vec![condition, then, otherwise])?
            }
        };
        self.depth -= 1;
        Ok(whole)
    }

    /// `a || b || c`, `a && b && c`: made into a balanced tree, so that long ones stay flat.
    fn logic(&mut self, sign: &'static str, function: &str) -> Parsed {
        let mut terms = vec![self.logic_term(sign)?];
        let mut ops = Vec::new();
        while let Some(at) = self.take(sign) {
            ops.push(at);
            terms.push(self.logic_term(sign)?);
        }
        self.balanced(function, &terms, &ops)
    }

    fn logic_term(&mut self, sign: &str) -> Parsed {
        if sign == "||" { self.logic("&&", "_&&_") } else { self.relation() }
    }

    fn balanced(&mut self, function: &str, terms: &[Id], ops: &[u32]) -> Parsed {
        if ops.is_empty() {
            return Ok(terms[0]);
        }
        let middle = ops.len() / 2;
        let left = self.balanced(function, &terms[..=middle], &ops[..middle])?;
        let right = self.balanced(function, &terms[middle + 1..], &ops[middle + 1..])?;
        self.call(ops[middle], function, vec![left, right])
    }

    fn relation(&mut self) -> Parsed {
        let mut left = self.sum()?;
        while let Some((sign, at)) = self.take_any(&["==", "!=", "<", "<=", ">", ">=", "in"]) {
            let right = self.sum()?;
            let function = if sign == "in" { "@in".to_string() } else { format!("_{sign}_") };
            left = self.call(at, &function, vec![left, right])?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        while let Some((sign, at)) = self.take_any(&["+", "-"]) {
            let right = self.product()?;
            left = self.call(at, &format!("_{sign}_"), vec![left, right])?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        while let Some((sign, at)) = self.take_any(&["*", "/", "%"]) {
            let right = self.unary()?;
            left = self.call(at, &format!("_{sign}_"), vec![left, right])?;
        }
        Ok(left)
    }

    /// An even number of signs is none.
    fn unary(&mut self) -> Parsed {
        let at = self.at();
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0;
            while self.peek_sign(0) == Some(sign) && !self.negative_number() {
                self.advance();
                count += 1;
            }
            if count > 0 {
                let operand = self.member()?;
                return if count % 2 == 0 { Ok(operand) } else { self.call(at, function, vec![operand]) };
            }
        }
        self.member()
    }

    /// A minus right before a number belongs to the number.
    fn negative_number(&self) -> bool {
        self.peek_sign(0) == Some("-")
            && matches!(
                self.tokens[(self.next + 1).min(self.tokens.len() - 1)].token,
                Token::Digits(_) | Token::Literal(Literal::Double(_))
            )
    }

    fn member(&mut self) -> Parsed {
        let mut operand = self.primary()?;
        loop {
            if let Some(at) = self.take(".") {
                operand = self.selection(operand, at)?;
            } else if let Some(at) = self.take("[") {
                let function = if self.take("?").is_some() { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                operand = self.call(at, function, vec![operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn selection(&mut self, operand: Id, at: u32) -> Parsed {
        let optional = self.take("?").is_some();
        let (field, field_at) = self.name()?;
        if optional {
            let field = self.node(field_at, Expr::Literal(Literal::String(field)))?;
            return self.call(at, "_?._", vec![operand, field]);
        }
        if let Some(open) = self.take("(") {
            let args = self.arguments(")")?;
            return macros::expand(&mut self.builder, open, &field, Some(operand), args);
        }
        self.node(at, Expr::Select { operand, field, test: false })
    }

    fn name(&mut self) -> Parsed<(Arc<str>, u32)> {
        match self.peek() {
            Token::Ident(name) => {
                let name = name.clone();
                Ok((name, self.advance().at))
            }
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    fn arguments(&mut self, close: &str) -> Parsed<Vec<Id>> {
        let mut args = Vec::new();
        if self.take(close).is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.expect(close)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        if self.negative_number() {
            self.advance();
            return self.number(at, true);
        }
        match self.peek().clone() {
            Token::Digits(_) => self.number(at, false),
            Token::Literal(literal) => {
                self.advance();
                self.node(at, Expr::Literal(literal))
            }
            Token::Ident(name) => self.named(name.to_string(), at),
            Token::Sign(".") => {
                self.advance();
                let name = match self.peek() {
                    Token::Ident(name) => name.to_string(),
                    _ => return Err(self.unexpected("IDENTIFIER")),
                };
                // A leading dot means the root of names, which is where we are.
                self.named(name, at)
            }
            Token::Sign("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.list(),
            Token::Sign("{") => self.map(),
            _ => Err(self.unexpected(PRIMARY)),
        }
    }

    fn number(&mut self, at: u32, negative: bool) -> Parsed {
        let literal = match self.advance().token {
            Token::Digits(digits) => {
                let value = if negative { -i128::from(digits) } else { i128::from(digits) };
                Literal::Int(i64::try_from(value).map_err(|_| (at, "invalid int literal".to_string()))?)
            }
            Token::Literal(Literal::Double(value)) => Literal::Double(if negative { -value } else { value }),
            _ => return Err((at, "invalid int literal".to_string())),
        };
        self.node(at, Expr::Literal(literal))
    }

    /// A variable, a function's call, or the making of an object: `a.b.C{}`.
    fn named(&mut self, name: String, at: u32) -> Parsed {
        if let Some(parts) = self.message_name() {
            return self.message(parts);
        }
        self.advance();
        if KEPT.contains(&name.as_str()) {
            return Err((at, format!("reserved identifier: {name}")));
        }
        if let Some(open) = self.take("(") {
            let args = self.arguments(")")?;
            return macros::expand(&mut self.builder, open, &name, None, args);
        }
        self.node(at, Expr::Ident(name.into()))
    }

    /// How many tokens a name has that a `{` follows.
    fn message_name(&self) -> Option<usize> {
        let mut ahead = 1;
        while self.peek_sign(ahead) == Some(".")
            && matches!(self.tokens.get(self.next + ahead + 1)?.token, Token::Ident(_))
        {
            ahead += 2;
        }
        (self.peek_sign(ahead) == Some("{")).then_some(ahead)
    }

    fn message(&mut self, tokens: usize) -> Parsed {
        let mut name = String::new();
        for _ in 0..tokens {
            match self.advance().token {
                Token::Ident(part) => name.push_str(&part),
                _ => name.push('.'),
            }
        }
        let at = self.expect("{")?;
        let mut fields = Vec::new();
        while self.peek_sign(0) != Some("}") {
            let optional = self.take("?").is_some();
            let (field, _) = self.name()?;
            let colon = self.expect(":")?;
            let value = self.expr()?;
            fields.push(Field { at: colon, name: field, value, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        self.node(at, Expr::Struct { name: name.into(), fields })
    }

    fn list(&mut self) -> Parsed {
        let at = self.expect("[")?;
        let mut elements = Vec::new();
        while self.peek_sign(0) != Some("]") {
            let optional = self.take("?").is_some();
            elements.push(Element { value: self.expr()?, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("]")?;
        self.node(at, Expr::List(elements))
    }

    fn map(&mut self) -> Parsed {
        let at = self.expect("{")?;
        let mut entries = Vec::new();
        while self.peek_sign(0) != Some("}") {
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            entries.push(Entry { key, value, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        self.node(at, Expr::Map(entries))
    }
}
