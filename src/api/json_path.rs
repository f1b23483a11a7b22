//! Kubernetes' JSONPath templates: text with `{...}` expressions, `range`/`end`, filters, slices, unions, `..`.
//! The command line prints with them, and custom resources name the cells of their columns so.

use serde_json::Value;

/// A template that cannot be read, or does not fit what it is applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(String);

type Result<T> = std::result::Result<T, JsonPathError>;

macro_rules! refusal {
    ($($text:tt)*) => { JsonPathError(format!($($text)*)) };
}

/// How many values a path may find: some steps multiply them.
const FOUND: usize = 1_000_000;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Debug, Clone)]
enum Step {
    /// `$`
    Root,
    Field(String),
    Wildcard,
    Recursive,
    Slice(Option<i64>, Option<i64>, Option<i64>, bool),
    Union(Vec<Vec<Step>>),
    Filter(Box<Operand>, String, Box<Operand>),
}

#[derive(Debug, Clone)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

impl Template {
    pub fn parse(text: &str) -> Result<Template> {
        let mut pieces = pieces(text)?.into_iter();
        let (nodes, ended) = nodes(&mut pieces, 0)?;
        if ended {
            return Err(refusal!("not in range, nothing to end"));
        }
        Ok(Template { nodes })
    }

    /// A single path, with or without braces and the leading dot.
    pub fn relaxed(text: &str) -> Result<Template> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        if inner.is_empty() || inner.contains(['{', '}']) {
            return Err(refusal!(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}'"
            ));
        }
        let dotted = if inner.starts_with(['.', '[', '$', '@']) { inner.to_owned() } else { format!(".{inner}") };
        Template::parse(&format!("{{{dotted}}}"))
    }

    pub fn render(&self, root: &Value) -> Result<String> {
        let mut text = String::new();
        render(&self.nodes, root, root, &mut text)?;
        Ok(text)
    }

    /// What the template's paths find.
    pub fn find<'a>(&self, root: &'a Value) -> Result<Vec<&'a Value>> {
        let mut found = Vec::new();
        for node in &self.nodes {
            if let Node::Path(steps) = node {
                found.extend(walk(steps, root, root)?);
            }
        }
        Ok(found)
    }
}

/// The text of a value: strings bare, everything else as JSON.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

fn render(nodes: &[Node], root: &Value, current: &Value, text: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(words) => text.push_str(words),
            Node::Path(steps) => {
                let found: Vec<String> = walk(steps, root, current)?.into_iter().map(value_text).collect();
                text.push_str(&found.join(" "));
            }
            Node::Range(steps, inner) => {
                for value in walk(steps, root, current)? {
                    render(inner, root, value, text)?;
                }
            }
        }
    }
    Ok(())
}

enum Piece {
    Text(String),
    Action(String),
}

/// Splits text from actions; braces inside quotes do not count.
fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            pieces.push(Piece::Text(rest[..open].to_owned()));
        }
        let body = &rest[open + 1..];
        let mut quote = None;
        let mut escaped = false;
        let mut end = None;
        for (index, c) in body.char_indices() {
            match (quote, c) {
                _ if escaped => escaped = false,
                (_, '\\') => escaped = true,
                (Some(q), c) if c == q => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, '}') => {
                    end = Some(index);
                    break;
                }
                _ => {}
            }
        }
        let end = end.ok_or_else(|| refusal!("unclosed action"))?;
        pieces.push(Piece::Action(body[..end].trim().to_owned()));
        rest = &body[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// The nodes up to the matching `end`, and whether there was one.
fn nodes(pieces: &mut std::vec::IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, bool)> {
    if depth > 32 {
        return Err(refusal!("ranges are nested too deeply"));
    }
    let mut found = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                found.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        if action == "end" {
            return Ok((found, true));
        }
        if let Some(path) = action.strip_prefix("range").filter(|rest| rest.starts_with([' ', '.', '[', '@', '$'])) {
            let steps = Parser::new(path.trim()).path()?;
            let (inner, ended) = nodes(pieces, depth + 1)?;
            if !ended {
                return Err(refusal!("unterminated range"));
            }
            found.push(Node::Range(steps, inner));
            continue;
        }
        let mut parser = Parser::new(&action);
        loop {
            parser.skip_space();
            match parser.peek() {
                None => break,
                Some(quote @ ('"' | '\'')) => found.push(Node::Text(parser.quoted(quote)?)),
                Some(c) => {
                    let before = parser.at;
                    found.push(Node::Path(parser.path()?));
                    if parser.at == before {
                        return Err(refusal!("unrecognized character in action: U+{:04X} '{c}'", u32::from(c)));
                    }
                }
            }
        }
    }
    Ok((found, false))
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn new(text: &str) -> Parser {
        Parser { chars: text.chars().collect(), at: 0, depth: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let taken = self.peek() == Some(wanted);
        self.at += usize::from(taken);
        taken
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn rest(&self) -> String {
        self.chars[self.at.min(self.chars.len())..].iter().collect()
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let c = self.peek().ok_or_else(|| refusal!("unterminated quoted string"))?;
            self.at += 1;
            match c {
                c if c == quote => return Ok(text),
                '\\' => {
                    let c = self.peek().ok_or_else(|| refusal!("unterminated quoted string"))?;
                    self.at += 1;
                    text.push(match c {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    });
                }
                c => text.push(c),
            }
        }
    }

    /// Steps up to white space, an operator, or the end.
    fn path(&mut self) -> Result<Vec<Step>> {
        self.depth += 1;
        if self.depth > 32 {
            return Err(refusal!("expression is nested too deeply"));
        }
        let mut steps = Vec::new();
        loop {
            match self.peek() {
                Some('$') => {
                    self.at += 1;
                    steps.push(Step::Root);
                }
                Some('@') => self.at += 1,
                Some('.') => {
                    self.at += 1;
                    if self.take('.') {
                        steps.push(Step::Recursive);
                    }
                    match self.peek() {
                        Some('*') => {
                            self.at += 1;
                            steps.push(Step::Wildcard);
                        }
                        Some('[') | None => {}
                        Some(_) => {
                            let name = self.name();
                            if !name.is_empty() {
                                steps.push(Step::Field(name));
                            }
                        }
                    }
                }
                Some('[') => {
                    self.at += 1;
                    steps.push(self.bracket()?);
                }
                Some(c) if c.is_alphanumeric() && steps.is_empty() => {
                    return Err(refusal!("unrecognized identifier {}", self.name()));
                }
                None => break,
                Some(c) if c.is_whitespace() || matches!(c, ')' | ']' | ',' | '=' | '!' | '<' | '>') => break,
                Some(c) => return Err(refusal!("unrecognized character in action: U+{:04X} '{c}'", c as u32)),
            }
        }
        self.depth -= 1;
        Ok(steps)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    name.extend(self.peek());
                }
                '.' | '[' | ']' | ')' | '(' | ',' | '=' | '!' | '<' | '>' | '$' | '@' | '{' | '}' => break,
                c if c.is_whitespace() => break,
                c => name.push(c),
            }
            self.at += 1;
        }
        name
    }

    fn bracket(&mut self) -> Result<Step> {
        self.skip_space();
        if self.take('?') {
            return self.filter();
        }
        let mut members = Vec::new();
        loop {
            self.skip_space();
            members.push(self.member()?);
            self.skip_space();
            if self.take(']') {
                break;
            }
            if !self.take(',') {
                return Err(refusal!("invalid array index {}", self.rest()));
            }
        }
        if members.len() == 1 {
            return members.pop().ok_or_else(|| refusal!("unterminated array"));
        }
        Ok(Step::Union(members.into_iter().map(|step| vec![step]).collect()))
    }

    fn member(&mut self) -> Result<Step> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => Ok(Step::Field(self.quoted(quote)?)),
            Some('*') => {
                self.at += 1;
                Ok(Step::Wildcard)
            }
            None => Err(refusal!("unterminated array")),
            Some(_) => {
                let start = self.at;
                while self.peek().is_some_and(|c| c.is_ascii_digit() || matches!(c, '-' | ':')) {
                    self.at += 1;
                }
                let text: String = self.chars[start..self.at].iter().collect();
                slice(&text)
            }
        }
    }

    fn filter(&mut self) -> Result<Step> {
        if !self.take('(') {
            return Err(refusal!("unterminated filter"));
        }
        let left = self.operand()?;
        self.skip_space();
        let mut operator = String::new();
        while let Some(c @ ('=' | '!' | '<' | '>')) = self.peek() {
            operator.push(c);
            self.at += 1;
        }
        let right = if operator.is_empty() {
            operator.push_str("exists");
            Operand::Literal(Value::Null)
        } else {
            self.operand()?
        };
        if !["exists", "==", "!=", "<", "<=", ">", ">="].contains(&operator.as_str()) {
            return Err(refusal!("unrecognized filter operator {operator}"));
        }
        self.skip_space();
        if !(self.take(')') && self.take(']')) {
            return Err(refusal!("unclosed array expect ]"));
        }
        Ok(Step::Filter(Box::new(left), operator, Box::new(right)))
    }

    fn operand(&mut self) -> Result<Operand> {
        self.skip_space();
        match self.peek() {
            Some(quote @ ('"' | '\'')) => Ok(Operand::Literal(self.quoted(quote)?.into())),
            Some('@' | '$' | '.' | '[') => Ok(Operand::Path(self.path()?)),
            _ => {
                let start = self.at;
                while self.peek().is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '+' | '.')) {
                    self.at += 1;
                }
                let text: String = self.chars[start..self.at].iter().collect();
                serde_json::from_str(&text)
                    .map(Operand::Literal)
                    .map_err(|_| refusal!("unrecognized identifier {text}"))
            }
        }
    }
}

fn slice(text: &str) -> Result<Step> {
    let wrong = || refusal!("invalid array index {text}");
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: Option<&&str>| match part {
        None | Some(&"") => Ok(None),
        Some(part) => part.parse::<i64>().map(Some).map_err(|_| wrong()),
    };
    match parts.len() {
        1 => Ok(Step::Slice(Some(number(parts.first())?.ok_or_else(wrong)?), None, None, true)),
        2 | 3 => Ok(Step::Slice(number(parts.first())?, number(parts.get(1))?, number(parts.get(2))?, false)),
        _ => Err(wrong()),
    }
}

fn walk<'a>(steps: &[Step], root: &'a Value, current: &'a Value) -> Result<Vec<&'a Value>> {
    let mut found = vec![current];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            apply(step, root, value, &mut next)?;
            if next.len() > FOUND {
                return Err(refusal!("more than {FOUND} values are found"));
            }
        }
        found = next;
    }
    Ok(found)
}

fn apply<'a>(step: &Step, root: &'a Value, value: &'a Value, next: &mut Vec<&'a Value>) -> Result<()> {
    match step {
        Step::Root => next.push(root),
        Step::Field(name) => next.extend(value.get(name)),
        Step::Wildcard => next.extend(children(value)),
        Step::Recursive => recurse(value, next),
        Step::Slice(from, to, by, single) => {
            if let Some(items) = value.as_array() {
                pick(items, *from, *to, *by, *single, next)?;
            }
        }
        Step::Union(members) => {
            for steps in members {
                next.extend(walk(steps, root, value)?);
            }
        }
        Step::Filter(left, operator, right) => {
            for item in value.as_array().into_iter().flatten() {
                if holds(left, operator, right, root, item)? {
                    next.push(item);
                }
            }
        }
    }
    Ok(())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn recurse<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    if value.is_object() || value.is_array() {
        found.push(value);
    }
    for child in children(value) {
        recurse(child, found);
    }
}

fn pick<'a>(
    items: &'a [Value],
    from: Option<i64>,
    to: Option<i64>,
    by: Option<i64>,
    single: bool,
    next: &mut Vec<&'a Value>,
) -> Result<()> {
    let length = items.len() as i64;
    let place = |index: i64| if index < 0 { index + length } else { index };
    if single {
        let index = from.unwrap_or(0);
        let found = usize::try_from(place(index)).ok().and_then(|at| items.get(at));
        next.push(found.ok_or_else(|| refusal!("array index out of bounds: index {index}, length {length}"))?);
        return Ok(());
    }
    let step =
        usize::try_from(by.unwrap_or(1)).ok().filter(|step| *step > 0).ok_or_else(|| refusal!("step must be > 0"))?;
    let start = place(from.unwrap_or(0)).clamp(0, length) as usize;
    let end = place(to.unwrap_or(length)).clamp(0, length) as usize;
    if start < end {
        next.extend(items[start..end].iter().step_by(step));
    }
    Ok(())
}

fn holds(left: &Operand, operator: &str, right: &Operand, root: &Value, item: &Value) -> Result<bool> {
    let value = |operand: &Operand| -> Result<Option<Value>> {
        match operand {
            Operand::Literal(literal) => Ok(Some(literal.clone())),
            Operand::Path(steps) => {
                let mut found = walk(steps, root, item)?;
                if found.len() > 1 {
                    return Err(refusal!("can only compare one element at a time"));
                }
                Ok(found.pop().cloned())
            }
        }
    };
    let Some(left) = value(left)? else { return Ok(false) };
    if operator == "exists" {
        return Ok(true);
    }
    let Some(right) = value(right)? else { return Ok(false) };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) if a == b => Some(std::cmp::Ordering::Equal),
        _ => None,
    };
    Ok(match operator {
        "==" => order.is_some_and(std::cmp::Ordering::is_eq),
        "!=" => !order.is_some_and(std::cmp::Ordering::is_eq),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Value {
        json!({"kind": "List", "items": [
            {"metadata": {"name": "n1", "labels": {"a.b/c": "x"}}, "status": {"n": 1, "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}},
            {"metadata": {"name": "n2", "labels": {}}, "status": {"n": 2, "conditions": [{"type": "Ready", "status": "False"}]}},
            {"metadata": {"name": "n3"}, "spec": {"x": null}}]})
    }

    #[test]
    fn templates() {
        let cases = [
            ("{.kind}", "List"),
            ("{$.kind}", "List"),
            ("kind is {.kind}!", "kind is List!"),
            ("{.items[*].metadata.name}", "n1 n2 n3"),
            ("{.items[0].metadata.name}", "n1"),
            ("{.items[-1].metadata.name}", "n3"),
            ("{.items[0:2].metadata.name}", "n1 n2"),
            ("{.items[::2].metadata.name}", "n1 n3"),
            ("{.items[0,2].metadata.name}", "n1 n3"),
            ("{.items[*]['metadata.name']}", ""),
            ("{.items[0].metadata['name']}", "n1"),
            ("{.items[0]['metadata','kind'].name}", "n1"),
            ("{.items[0].metadata.labels.a\\.b/c}", "x"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.status.n}{\"\\n\"}{end}", "n1\t1\nn2\t2\nn3\t\n"),
            (
                "{range .items[*]}{.metadata.name}:{range .status.conditions[*]}{.type},{end};{end}",
                "n1:Ready,Other,;n2:Ready,;n3:;",
            ),
            ("{.items[?(@.metadata.name==\"n2\")].status.n}", "2"),
            ("{.items[?(@.status.n>=1)].metadata.name}", "n1 n2"),
            ("{.items[?(@.status)].metadata.name}", "n1 n2"),
            ("{.items[0].status.conditions[?(@.type=='Ready')].status}", "True"),
            ("{.items[0].status.conditions[?(@.type != 'Ready')].status}", "False"),
            ("{..name}", "n1 n2 n3"),
            ("{.items[0].metadata.labels}", "{\"a.b/c\":\"x\"}"),
            ("{.missing.field}", ""),
            ("{.kind} {.items[0].status.n}", "List 1"),
            ("{.kind}{'}'}", "List}"),
            ("{@.kind}", "List"),
        ];
        for (template, expected) in cases {
            assert_eq!(Template::parse(template).unwrap().render(&sample()).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn bad_templates_are_errors() {
        for template in [
            "{",
            "{.a",
            "{range .x}",
            "{end}",
            "{.a[}",
            "{.a[?(@.b=1)]}",
            "{.a[?(@.b==}",
            "{foo}",
            "{.a[1:2:3:4]}",
            "{\"x}",
        ] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
        let message = Template::parse("{.items[9]}").unwrap().render(&sample()).unwrap_err().to_string();
        assert_eq!(message, "array index out of bounds: index 9, length 3");
    }

    #[test]
    fn relaxed_paths() {
        for text in ["kind", ".kind", "{.kind}", "{kind}"] {
            assert_eq!(Template::relaxed(text).unwrap().render(&sample()).unwrap(), "List", "{text}");
        }
        assert!(Template::relaxed("{.a}{.b}").is_err());
    }
}
