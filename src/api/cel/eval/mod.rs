//! Running expressions: [`Program`] is a checked and planned one, [`Program::evaluate`] its value for some variables.
//!
//! - `plan`: names to slots, functions to pointers, patterns compiled.
//! - `charge`: what each step costs.
//!
//! Invariant: a run stops when its cost passes the limit; no step does more work than its cost says by more than a constant.
//! Invariant: nothing is remembered between runs, and a program can be run by many threads at once.

mod charge;
mod plan;

use std::collections::BTreeMap;
use std::rc::Rc;

use self::plan::{FoldNode, Node};
use super::check::Checked;
use super::error::EvalError;
use super::library;
use super::syntax::Literal;
use super::types::{OPTIONAL, Type};
use super::value::{List, Made, Map, Text, Value};

/// The cost that one run may have.
pub const PER_CALL_LIMIT: u64 = 1_000_000;

/// An expression that can be run.
#[derive(Debug)]
pub struct Program {
    root: Node,
    slots: usize,
    output: Type,
}

/// A run's outcome and what it cost.
#[derive(Debug)]
pub struct Evaluation<'a> {
    pub result: Result<Value<'a>, EvalError>,
    pub cost: u64,
}

impl Program {
    pub(crate) fn new(checked: &Checked) -> Result<Program, String> {
        let (root, slots) = plan::plan(checked)?;
        Ok(Program { root, slots, output: checked.type_of(checked.ast.root).clone() })
    }

    /// The type of the expression.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// Runs the expression. `variables` are in the order of their declarations; `None` is one that has no value.
    pub fn evaluate<'a>(&'a self, variables: &[Option<Value<'a>>]) -> Evaluation<'a> {
        self.evaluate_within(variables, PER_CALL_LIMIT)
    }

    pub fn evaluate_within<'a>(&'a self, variables: &[Option<Value<'a>>], limit: u64) -> Evaluation<'a> {
        let mut run = Run { variables, locals: vec![Ok(Value::Null); self.slots], cost: 0, limit };
        let result = run.eval(&self.root);
        Evaluation { result, cost: run.cost }
    }
}

type Outcome<'a> = Result<Value<'a>, EvalError>;

struct Run<'r, 'a> {
    variables: &'r [Option<Value<'a>>],
    locals: Vec<Outcome<'a>>,
    cost: u64,
    limit: u64,
}

fn no_such_key(name: &str) -> EvalError {
    EvalError::other(format!("no such key: {name}"))
}

impl<'a> Run<'_, 'a> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Literal(literal) => Ok(constant(literal)),
            Node::Type(t) => Ok(Value::Type(t.clone())),
            Node::Format(format) => self.charge(1).map(|()| Value::Format(format)),
            Node::Variable(index) => {
                self.charge(charge::SELECT)?;
                let value = self.variables.get(*index).cloned().flatten();
                value.ok_or_else(|| EvalError::other("no such attribute(s)"))
            }
            Node::Local(slot) => {
                self.charge(charge::SELECT)?;
                self.locals[*slot].clone()
            }
            Node::Select { operand, field, relative } => {
                let operand = self.eval(operand)?;
                self.charge(charge::SELECT + u64::from(*relative))?;
                select(&operand, field)
            }
            Node::Has { operand, field } => {
                let operand = self.eval(operand)?;
                Ok(Value::Bool(has(&operand, field)?))
            }
            Node::SelectOptional { operand, field } => {
                let operand = self.eval(operand)?;
                self.charge(charge::SELECT)?;
                let Some(inner) = opened(&operand) else { return Ok(Value::NONE) };
                Ok(field_of(inner, field)?.map_or(Value::NONE, Value::some))
            }
            Node::Index { operand, index, optional, relative } => self.index(operand, index, *optional, *relative),
            Node::And(a, b) => self.logic(a, b, false),
            Node::Or(a, b) => self.logic(a, b, true),
            Node::Choice(condition, then, otherwise) => match self.eval(condition)? {
                Value::Bool(true) => self.eval(then),
                Value::Bool(false) => self.eval(otherwise),
                _ => Err(EvalError::overload()),
            },
            Node::NotStrictlyFalse(inner) => {
                let value = self.eval(inner);
                self.charge(1)?;
                match value {
                    Err(EvalError::CostLimit) => Err(EvalError::CostLimit),
                    Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                    _ => Ok(Value::Bool(true)),
                }
            }
            Node::Else { optional, other, value } => {
                self.charge(1)?;
                match self.eval(optional)? {
                    Value::Optional(Some(inner)) if *value => Ok((*inner).clone()),
                    Value::Optional(None) => self.eval(other),
                    found @ Value::Optional(_) => Ok(found),
                    _ => Err(EvalError::overload()),
                }
            }
            Node::Call { name, function, args, constant } => {
                let free =
                    *constant || &**name == "@in" && matches!(args.get(1), Some(Node::List { constant: true, .. }));
                let args = self.all(args)?;
                if !free {
                    self.charge(charge::before(name, &args))?;
                }
                let result = function(&args)?;
                self.charge(charge::after(name, &result))?;
                Ok(result)
            }
            Node::Pattern { name, pattern, args } => {
                let args = self.all(args)?;
                self.charge(charge::pattern(args[0].size(), args[1].size()))?;
                library::patterns::prepared(name, pattern, &args)
            }
            Node::List { elements, constant } => self.list(elements, *constant).map(Value::list),
            Node::Map { entries, constant } => self.map(entries, *constant),
            Node::Make { name, fields } => self.make(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Push { slot, items } => self.push(*slot, items),
            Node::Insert { slot, args } => self.insert(*slot, args),
        }
    }

    fn all(&mut self, nodes: &'a [Node]) -> Result<Vec<Value<'a>>, EvalError> {
        nodes.iter().map(|node| self.eval(node)).collect()
    }

    /// An error on one side does not matter when the other side decides.
    fn logic(&mut self, a: &'a Node, b: &'a Node, decisive: bool) -> Outcome<'a> {
        let left = self.eval(a);
        match left {
            Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
            Err(EvalError::CostLimit) => return left,
            _ => {}
        }
        match (left, self.eval(b)) {
            (_, Err(EvalError::CostLimit)) => Err(EvalError::CostLimit),
            (_, Ok(Value::Bool(value))) if value == decisive => Ok(Value::Bool(decisive)),
            (Err(error), _) | (Ok(Value::Bool(_)), Err(error)) => Err(error),
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decisive)),
            _ => Err(EvalError::overload()),
        }
    }

    fn index(&mut self, operand: &'a Node, index: &'a Node, optional: bool, relative: bool) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        let index = self.eval(index)?;
        self.charge(charge::SELECT + u64::from(relative))?;
        let optional = optional || matches!(operand, Value::Optional(_));
        let Some(inner) = opened(&operand) else { return Ok(Value::NONE) };
        match library::index(inner, &index)? {
            Some(found) if optional => Ok(Value::some(found)),
            Some(found) => Ok(found),
            None if optional => Ok(Value::NONE),
            None if matches!(inner, Value::List(_)) => {
                Err(EvalError::other(format!("index out of bounds: {}", index.shown())))
            }
            None => Err(no_such_key(&index.shown())),
        }
    }

    fn list(&mut self, elements: &'a [(Node, bool)], constant: bool) -> Result<Vec<Value<'a>>, EvalError> {
        let mut items = Vec::with_capacity(elements.len());
        for (node, optional) in elements {
            items.extend(present(self.eval(node)?, *optional)?);
        }
        if !constant {
            self.charge(charge::LIST)?;
        }
        Ok(items)
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)], constant: bool) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            if let Some(value) = present(self.eval(value)?, *optional)? {
                library::map_insert(&mut map, &key, value)?;
            }
        }
        if !constant {
            self.charge(charge::MAP)?;
        }
        Ok(Value::Map(Map::Owned(Rc::new(map))))
    }

    fn make(&mut self, name: &'a str, nodes: &'a [(std::sync::Arc<str>, Node, bool)]) -> Outcome<'a> {
        let mut fields = BTreeMap::new();
        for (field, node, optional) in nodes {
            if let Some(value) = present(self.eval(node)?, *optional)? {
                fields.insert(&**field, value);
            }
        }
        self.charge(charge::OBJECT)?;
        Ok(Value::Made(Rc::new(Made { name, fields })))
    }

    fn fold(&mut self, fold: &'a FoldNode) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init);
        self.locals[fold.accumulator] = init;
        match range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let item = list.get(index).unwrap_or(Ok(Value::Null));
                    match fold.var2 {
                        None => self.locals[fold.var] = item,
                        Some(var2) => {
                            self.locals[fold.var] = Ok(Value::Int(index as i64));
                            self.locals[var2] = item;
                        }
                    }
                    if !self.step(fold)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    if let Some(var2) = fold.var2 {
                        self.locals[var2] = map.get(&key).unwrap_or(Ok(Value::Null));
                    }
                    self.locals[fold.var] = Ok(key);
                    if !self.step(fold)? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::overload()),
        }
        let result = self.eval(&fold.result);
        // What is gathered is not kept alive, so that the next one to hold it may change it in place.
        self.locals[fold.accumulator] = Ok(Value::Null);
        result
    }

    /// Runs a fold's step for one element; whether to go on.
    fn step(&mut self, fold: &'a FoldNode) -> Result<bool, EvalError> {
        // Elements are not free even where a step is.
        let always = matches!(fold.condition, Node::Literal(_));
        match self.eval(&fold.condition)? {
            Value::Bool(true) => {}
            _ => return Ok(false),
        }
        let next = self.eval(&fold.step);
        match next {
            Err(EvalError::CostLimit) => return Err(EvalError::CostLimit),
            // Nothing mends what is gathered.
            Err(error) if always => return Err(error),
            _ => self.locals[fold.accumulator] = next,
        }
        Ok(true)
    }

    fn push(&mut self, slot: usize, items: &'a Node) -> Outcome<'a> {
        let Value::List(List::Owned { items, .. }) = self.eval(items)? else { return Err(EvalError::overload()) };
        self.charge(charge::SELECT + 1)?;
        match std::mem::replace(&mut self.locals[slot], Ok(Value::Null))? {
            Value::List(List::Owned { items: mut gathered, order }) => {
                Rc::make_mut(&mut gathered).extend(items.iter().cloned());
                Ok(Value::List(List::Owned { items: gathered, order }))
            }
            _ => Err(EvalError::overload()),
        }
    }

    fn insert(&mut self, slot: usize, args: &'a [Node]) -> Outcome<'a> {
        let args = self.all(args)?;
        self.charge(charge::SELECT + 1)?;
        let entries = match &args[..] {
            [key, value] => vec![(key.clone(), value.clone())],
            [Value::Map(map)] => map.entries()?,
            _ => return Err(EvalError::overload()),
        };
        match std::mem::replace(&mut self.locals[slot], Ok(Value::Null))? {
            Value::Map(Map::Owned(mut gathered)) => {
                for (key, value) in entries {
                    library::map_insert(Rc::make_mut(&mut gathered), &key, value)?;
                }
                Ok(Value::Map(Map::Owned(gathered)))
            }
            _ => Err(EvalError::overload()),
        }
    }
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Rc::from(&**bytes)),
    }
}

/// The value itself, or what an optional one holds; nothing when it holds nothing.
fn opened<'v, 'a>(value: &'v Value<'a>) -> Option<&'v Value<'a>> {
    match value {
        Value::Optional(inner) => inner.as_deref(),
        other => Some(other),
    }
}

/// What goes into a list or a map: of optional values only what they hold.
fn present<'a>(value: Value<'a>, optional: bool) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        Value::Optional(inner) if optional => Ok(inner.map(|inner| (*inner).clone())),
        other if optional => {
            let found = other.type_of();
            Err(EvalError::other(format!(
                "cannot initialize optional entry from non-optional value {} ({OPTIONAL})",
                found.runtime_name()
            )))
        }
        other => Ok(Some(other)),
    }
}

/// The field of an object or the entry of a map. What is neither, such as the null that stands for the object of a
/// delete, has no fields.
fn field_of<'a>(value: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        Value::Map(map) => match map.get_text(field).transpose()? {
            Some(value) => Ok(Some(value)),
            // A reserved word may stand after a dot as it is.
            None => map.get_text(&format!("__{field}__")).transpose(),
        },
        Value::Made(made) => Ok(made.fields.get(field).cloned()),
        Value::List(_) => Err(EvalError::other("unsupported index type 'string' in list")),
        _ => Ok(None),
    }
}

fn select<'a>(operand: &Value<'a>, field: &str) -> Outcome<'a> {
    match operand {
        Value::Optional(inner) => match inner {
            None => Ok(Value::NONE),
            Some(inner) => Ok(field_of(inner, field)?.map_or(Value::NONE, Value::some)),
        },
        other => field_of(other, field)?.ok_or_else(|| no_such_key(field)),
    }
}

fn has(operand: &Value<'_>, field: &str) -> Result<bool, EvalError> {
    match opened(operand) {
        None => Ok(false),
        Some(inner) => Ok(field_of(inner, field)?.is_some()),
    }
}
