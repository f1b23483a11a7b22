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
    read(source, Builder::default())
}

/// Reads an expression in which `cel.bind(name, value, result)` gives a value a name.
pub(crate) fn parse_with_bind(source: &str) -> Result<Ast, Problems> {
    read(source, Builder { knows_bind: true, ..Builder::default() })
}

fn read(source: &str, builder: Builder) -> Result<Ast, Problems> {
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
    let mut parser = Parser { source, tokens, next: 0, builder, depth: 0 };
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

/// How tightly operators bind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Relation,
    Sum,
    Product,
}

/// Signs before an operand.
struct Signs {
    at: u32,
    function: &'static str,
    count: u32,
}

/// An operator and what is on its left.
struct Pending {
    operand: Id,
    function: &'static str,
    at: u32,
    level: Level,
}

/// What was read of operands with operators between them.
#[derive(Default)]
struct Operation {
    any: Chain,
    all: Chain,
    pending: Vec<Pending>,
}

/// Terms with the same operator between them, and the operators' places: `a || b || c` and `a && b && c` are made into
/// balanced trees, so that long ones stay flat.
#[derive(Default)]
struct Chain {
    terms: Vec<Id>,
    places: Vec<u32>,
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

    // What is nested calls `expr`, `operation`, `unary`, `member` and `primary` for each of its levels: these five are
    // small, and leave all they can to others, so that the deepest expression needs little stack in a debug build, too.
    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.too_deep();
        }
        let mut whole = self.operation()?;
        if self.peek_sign(0) == Some("?") {
            whole = self.choice(whole)?;
        }
        self.depth -= 1;
        Ok(whole)
    }

    fn too_deep(&self) -> Parsed {
        Err((self.at(), TooMuch::Depth.to_string()))
    }

    /// `condition ? then : otherwise`, from the question mark on.
    fn choice(&mut self, condition: Id) -> Parsed {
        let at = self.expect("?")?;
        let then = self.operation()?;
        self.expect(":")?;
        let otherwise = self.expr()?;
        self.call(at, "_?_:_", vec![condition, then, otherwise])
    }

    /// Operands with operators between them. All levels of operators are read here, without a call for each.
    fn operation(&mut self) -> Parsed {
        let mut read = Operation::default();
        loop {
            let operand = self.unary()?;
            if let Some(whole) = self.add_operand(&mut read, operand)? {
                return Ok(whole);
            }
        }
    }

    /// Takes an operand and the operator behind it; the whole, when there is none.
    fn add_operand(&mut self, read: &mut Operation, mut operand: Id) -> Parsed<Option<Id>> {
        let operator = self.operator();
        let level = operator.map_or(Level::Or, |(level, _)| level);
        while let Some(left) = read.pending.pop_if(|left| left.level >= level) {
            operand = self.call(left.at, left.function, vec![left.operand, operand])?;
        }
        if let Some((level @ (Level::Relation | Level::Sum | Level::Product), function)) = operator {
            let at = self.advance().at;
            read.pending.push(Pending { operand, function, at, level });
            return Ok(None);
        }
        read.all.terms.push(operand);
        if let Some((Level::And, _)) = operator {
            read.all.places.push(self.advance().at);
            return Ok(None);
        }
        let all = std::mem::take(&mut read.all);
        read.any.terms.push(self.balanced("_&&_", &all.terms, &all.places)?);
        if operator.is_some() {
            read.any.places.push(self.advance().at);
            return Ok(None);
        }
        self.balanced("_||_", &read.any.terms, &read.any.places).map(Some)
    }

    /// The operator that is next, and the function that it stands for.
    fn operator(&self) -> Option<(Level, &'static str)> {
        Some(match self.peek_sign(0)? {
            "||" => (Level::Or, "_||_"),
            "&&" => (Level::And, "_&&_"),
            "==" => (Level::Relation, "_==_"),
            "!=" => (Level::Relation, "_!=_"),
            "<" => (Level::Relation, "_<_"),
            "<=" => (Level::Relation, "_<=_"),
            ">" => (Level::Relation, "_>_"),
            ">=" => (Level::Relation, "_>=_"),
            "in" => (Level::Relation, "@in"),
            "+" => (Level::Sum, "_+_"),
            "-" => (Level::Sum, "_-_"),
            "*" => (Level::Product, "_*_"),
            "/" => (Level::Product, "_/_"),
            "%" => (Level::Product, "_%_"),
            _ => return None,
        })
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

    fn unary(&mut self) -> Parsed {
        let signs = self.signs();
        let operand = self.member()?;
        if signs.count.is_multiple_of(2) { Ok(operand) } else { self.call(signs.at, signs.function, vec![operand]) }
    }

    /// The signs before an operand. An even number of them is none.
    fn signs(&mut self) -> Signs {
        let at = self.at();
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0;
            while self.peek_sign(0) == Some(sign) && !self.negative_number() {
                self.advance();
                count += 1;
            }
            if count > 0 {
                return Signs { at, function, count };
            }
        }
        Signs { at, function: "", count: 0 }
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
            match self.peek_sign(0) {
                Some(".") => operand = self.selection(operand)?,
                Some("[") => operand = self.element(operand)?,
                _ => return Ok(operand),
            }
        }
    }

    fn element(&mut self, operand: Id) -> Parsed {
        let at = self.expect("[")?;
        let function = if self.take("?").is_some() { "_[?_]" } else { "_[_]" };
        let index = self.expr()?;
        self.expect("]")?;
        self.call(at, function, vec![operand, index])
    }

    fn selection(&mut self, operand: Id) -> Parsed {
        let at = self.expect(".")?;
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
        match self.peek_sign(0) {
            Some("(") => self.parenthesis(),
            Some("[") => self.list(),
            Some("{") => self.map(),
            _ => self.plain(),
        }
    }

    fn parenthesis(&mut self) -> Parsed {
        self.advance();
        let inner = self.expr()?;
        self.expect(")")?;
        Ok(inner)
    }

    /// A literal or what begins with a name.
    fn plain(&mut self) -> Parsed {
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
