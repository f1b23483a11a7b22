//! From a checked expression to what is run: names become slots, functions are looked up, patterns are compiled, once.

use std::sync::Arc;

use regex::Regex;

use crate::cel::check::{Call, Checked, Reference};
use crate::cel::library::formats::{self, Format};
use crate::cel::library::{self, Function, patterns};
use crate::cel::syntax::{Expr, Fold, Id, Literal};
use crate::cel::types::Type;

#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Type(Type),
    Format(&'static Format),
    Variable(usize),
    Local(usize),
    /// `relative`: the operand is neither a variable nor a part of one, which costs one more.
    Select {
        operand: Box<Node>,
        field: Arc<str>,
        relative: bool,
    },
    Has {
        operand: Box<Node>,
        field: Arc<str>,
    },
    SelectOptional {
        operand: Box<Node>,
        field: Arc<str>,
    },
    Index {
        operand: Box<Node>,
        index: Box<Node>,
        optional: bool,
        relative: bool,
    },
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    NotStrictlyFalse(Box<Node>),
    /// The optional value, or where it is empty the other; `value` opens it.
    Else {
        optional: Box<Node>,
        other: Box<Node>,
        value: bool,
    },
    /// `constant`: a conversion of what is constant, which costs nothing.
    Call {
        name: Arc<str>,
        function: Function,
        args: Vec<Node>,
        constant: bool,
    },
    Pattern {
        name: Arc<str>,
        pattern: Regex,
        args: Vec<Node>,
    },
    /// `constant`: all elements are literals, and it costs nothing.
    List {
        elements: Vec<(Node, bool)>,
        constant: bool,
    },
    Map {
        entries: Vec<(Node, Node, bool)>,
        constant: bool,
    },
    Make {
        name: Arc<str>,
        fields: Vec<(Arc<str>, Node, bool)>,
    },
    Fold(Box<FoldNode>),
    /// Adds to the list that a fold gathers, in place.
    Push {
        slot: usize,
        items: Box<Node>,
    },
    /// Adds to the map that a fold gathers, in place.
    Insert {
        slot: usize,
        args: Vec<Node>,
    },
}

#[derive(Debug)]
pub(super) struct FoldNode {
    pub(super) range: Node,
    pub(super) accumulator: usize,
    pub(super) var: usize,
    pub(super) var2: Option<usize>,
    pub(super) init: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

/// These are done once when all they need is known.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

impl Node {
    /// Whether the value does not depend on anything.
    fn is_constant(&self) -> bool {
        match self {
            Node::Literal(_) => true,
            Node::List { constant, .. } | Node::Map { constant, .. } | Node::Call { constant, .. } => *constant,
            _ => false,
        }
    }
}

/// Plans the expression; tells how many slots it needs. Fails on a pattern that is none.
pub(super) fn plan(checked: &Checked) -> Result<(Node, usize), String> {
    let mut planner = Planner { checked, scopes: Vec::new(), slots: 0 };
    let root = planner.node(checked.ast.root)?;
    Ok((root, planner.slots))
}

struct Planner<'c> {
    checked: &'c Checked,
    /// Names of slots, innermost last; a slot's number is its place.
    scopes: Vec<Arc<str>>,
    slots: usize,
}

type Planned<T = Node> = Result<T, String>;

impl Planner<'_> {
    fn boxed(&mut self, id: Id) -> Planned<Box<Node>> {
        self.node(id).map(Box::new)
    }

    fn all(&mut self, ids: &[Id]) -> Planned<Vec<Node>> {
        ids.iter().map(|id| self.node(*id)).collect()
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.scopes.iter().rposition(|scope| &**scope == name)
    }

    fn enter(&mut self, name: &Arc<str>) -> usize {
        self.scopes.push(name.clone());
        self.slots = self.slots.max(self.scopes.len());
        self.scopes.len() - 1
    }

    /// Whether the value is a variable or a part of one.
    fn is_path(&self, id: Id) -> bool {
        match (self.checked.ast.expr(id), self.checked.reference(id)) {
            (Expr::Ident(_), _) | (_, Reference::Variable(_) | Reference::Type(_)) => true,
            (Expr::Select { test: false, .. }, _) => true,
            (Expr::Call { function, .. }, _) => matches!(&**function, "_[_]" | "_?._" | "_[?_]"),
            _ => false,
        }
    }

    fn node(&mut self, id: Id) -> Planned {
        let checked = self.checked;
        match checked.reference(id) {
            Reference::Variable(index) => return Ok(Node::Variable(*index)),
            Reference::Type(t) if !matches!(checked.ast.expr(id), Expr::Struct { .. }) => {
                return Ok(Node::Type(t.clone()));
            }
            _ => {}
        }
        Ok(match checked.ast.expr(id) {
            Expr::Literal(literal) => Node::Literal(literal.clone()),
            Expr::Ident(name) => Node::Local(self.slot(name).ok_or_else(|| format!("no such attribute(s): {name}"))?),
            Expr::Select { operand, field, test: true } => {
                Node::Has { operand: self.boxed(*operand)?, field: field.clone() }
            }
            Expr::Select { operand, field, test: false } => {
                Node::Select { operand: self.boxed(*operand)?, field: field.clone(), relative: !self.is_path(*operand) }
            }
            Expr::Call { target, args, .. } => match checked.reference(id) {
                Reference::Function(call) => self.call(call, *target, args)?,
                _ => return Err("a call without a function".into()),
            },
            Expr::List(elements) => {
                let elements = elements.iter().map(|element| Ok((self.node(element.value)?, element.optional)));
                let elements: Vec<_> = elements.collect::<Planned<_>>()?;
                Node::List { constant: elements.iter().all(|(node, _)| node.is_constant()), elements }
            }
            Expr::Map(entries) => {
                let entries =
                    entries.iter().map(|entry| Ok((self.node(entry.key)?, self.node(entry.value)?, entry.optional)));
                let entries: Vec<_> = entries.collect::<Planned<_>>()?;
                Node::Map {
                    constant: entries.iter().all(|(key, value, _)| key.is_constant() && value.is_constant()),
                    entries,
                }
            }
            Expr::Struct { name, fields } => {
                let fields =
                    fields.iter().map(|field| Ok((field.name.clone(), self.node(field.value)?, field.optional)));
                Node::Make { name: name.clone(), fields: fields.collect::<Planned<_>>()? }
            }
            Expr::Fold(fold) => self.fold(fold)?,
        })
    }

    fn call(&mut self, call: &Call, target: Option<Id>, args: &[Id]) -> Planned {
        let target = if call.qualified { None } else { target };
        let ast = &self.checked.ast;
        match (&*call.name, args) {
            ("_&&_", [a, b]) => return Ok(Node::And(self.boxed(*a)?, self.boxed(*b)?)),
            ("_||_", [a, b]) => return Ok(Node::Or(self.boxed(*a)?, self.boxed(*b)?)),
            ("_?:_" | "_?_:_", [a, b, c]) => {
                return Ok(Node::Choice(self.boxed(*a)?, self.boxed(*b)?, self.boxed(*c)?));
            }
            ("@not_strictly_false", [a]) => return Ok(Node::NotStrictlyFalse(self.boxed(*a)?)),
            ("_?._", [operand, field]) => {
                let field = ast.string(*field).cloned().unwrap_or_default();
                return Ok(Node::SelectOptional { operand: self.boxed(*operand)?, field });
            }
            ("_[_]" | "_[?_]", [operand, index]) => {
                let (optional, relative) = (&*call.name == "_[?_]", !self.is_path(*operand));
                return Ok(Node::Index {
                    operand: self.boxed(*operand)?,
                    index: self.boxed(*index)?,
                    optional,
                    relative,
                });
            }
            ("or" | "orValue", [other]) => {
                if let Some(target) = target {
                    let value = &*call.name == "orValue";
                    return Ok(Node::Else { optional: self.boxed(target)?, other: self.boxed(*other)?, value });
                }
            }
            ("_+_", [a, b]) => {
                if let Some(slot) = self.gathered(*a).filter(|_| matches!(ast.expr(*b), Expr::List(_))) {
                    return Ok(Node::Push { slot, items: self.boxed(*b)? });
                }
            }
            ("cel.@mapInsert", [into, rest @ ..]) => {
                if let Some(slot) = self.gathered(*into) {
                    return Ok(Node::Insert { slot, args: self.all(rest)? });
                }
            }
            _ => {}
        }
        if let Some(format) = call.name.strip_prefix("format.").and_then(formats::named) {
            return Ok(Node::Format(format));
        }
        let ids: Vec<Id> = target.iter().chain(args).copied().collect();
        if matches!(&*call.name, "matches" | "find" | "findAll")
            && let Some(pattern) = ids.get(1).and_then(|id| ast.string(*id))
        {
            let pattern = patterns::compile(pattern)?;
            return Ok(Node::Pattern { name: call.name.clone(), pattern, args: self.all(&ids)? });
        }
        let function = library::function(&call.name).ok_or_else(|| format!("no such function: {}", call.name))?;
        let args = self.all(&ids)?;
        let constant = CONVERSIONS.contains(&&*call.name) && args.iter().all(Node::is_constant);
        Ok(Node::Call { name: call.name.clone(), function, args, constant })
    }

    /// The slot of the fold's accumulator, where the node names it.
    fn gathered(&self, id: Id) -> Option<usize> {
        match self.checked.ast.expr(id) {
            Expr::Ident(name) if &**name == crate::cel::syntax::ACCUMULATOR => self.slot(name),
            _ => None,
        }
    }

    fn fold(&mut self, fold: &Fold) -> Planned {
        let range = self.node(fold.range)?;
        let init = self.node(fold.init)?;
        let outside = self.scopes.len();
        let accumulator = self.enter(&fold.accumulator);
        let var = self.enter(&fold.var);
        let var2 = fold.var2.as_ref().map(|name| self.enter(name));
        let condition = self.node(fold.condition)?;
        let step = self.node(fold.step)?;
        self.scopes.truncate(outside + 1);
        let result = self.node(fold.result)?;
        self.scopes.truncate(outside);
        Ok(Node::Fold(Box::new(FoldNode { range, accumulator, var, var2, init, condition, step, result })))
    }
}
