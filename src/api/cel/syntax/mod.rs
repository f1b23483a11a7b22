//! CEL text to a tree: [`parse`] reads the whole grammar, expands the macros, and gives every node a place in the source.
//!
//! - `lexer`: characters to tokens, literals decoded.
//! - `parser`: tokens to an [`Ast`], by descent.
//! - `macros`: `has`, `all`, `map` and their like become the folds they stand for.
//! - `error`: problems with the line they are on.
//!
//! Invariant: no node lies deeper than [`MAX_DEPTH`], so whatever walks a tree by recursion needs a bounded stack.
//! Invariant: a node's parts have smaller ids than the node itself.

mod error;
mod lexer;
mod macros;
mod parser;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::error::Problems;
pub(crate) use self::parser::{parse, parse_with_bind};

/// How deep expressions may nest; operators in a row count, each nests in the next.
pub(crate) const MAX_DEPTH: u16 = 250;
/// The longest expression that is read, in characters.
pub(crate) const MAX_SIZE: usize = 100_000;
/// How many nodes an expression may have, one that stands in two places counted twice: what walks a tree comes by twice, and
/// `x.optMap(..)` has `x` in two places, so that twenty in a row have it in a million.
const MAX_NODES: u32 = 200_000;

/// The name under which a fold's result so far is known; not an identifier, so that no expression can mean it.
pub(crate) const ACCUMULATOR: &str = "@result";

/// A node of an [`Ast`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(u32);

impl Id {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// An expression whose macros are expanded.
#[derive(Debug)]
pub(crate) struct Ast {
    pub(crate) source: Arc<str>,
    nodes: Vec<Node>,
    pub(crate) root: Id,
}

#[derive(Debug)]
struct Node {
    expr: Expr,
    /// Where in the source, in bytes.
    at: u32,
    depth: u16,
    /// Itself and all below it.
    nodes: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Literal(Literal),
    Ident(Arc<str>),
    Select { operand: Id, field: Arc<str>, test: bool },
    Call { function: Arc<str>, target: Option<Id>, args: Vec<Id> },
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct { name: Arc<str>, fields: Vec<Field> },
    Fold(Box<Fold>),
}

#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) value: Id,
    /// `[?x]`: left out when `x` is empty.
    pub(crate) optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Id,
    pub(crate) value: Id,
    pub(crate) optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) at: u32,
    pub(crate) name: Arc<str>,
    pub(crate) value: Id,
    pub(crate) optional: bool,
}

/// `result` after `step` ran for each item of `range` while `condition` holds.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Id,
    pub(crate) var: Arc<str>,
    pub(crate) var2: Option<Arc<str>>,
    pub(crate) accumulator: Arc<str>,
    pub(crate) init: Id,
    pub(crate) condition: Id,
    pub(crate) step: Id,
    pub(crate) result: Id,
}

impl Ast {
    pub(crate) fn expr(&self, id: Id) -> &Expr {
        &self.nodes[id.index()].expr
    }

    /// Where the node is, in bytes from the start of the source.
    pub(crate) fn at(&self, id: Id) -> u32 {
        self.nodes[id.index()].at
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes, parts before wholes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..self.nodes.len() as u32).map(Id)
    }

    /// What the node is made of.
    pub(crate) fn parts(&self, id: Id) -> Vec<Id> {
        match self.expr(id) {
            Expr::Literal(_) | Expr::Ident(_) => Vec::new(),
            Expr::Select { operand, .. } => vec![*operand],
            Expr::Call { target, args, .. } => target.iter().chain(args).copied().collect(),
            Expr::List(elements) => elements.iter().map(|element| element.value).collect(),
            Expr::Map(entries) => entries.iter().flat_map(|entry| [entry.key, entry.value]).collect(),
            Expr::Struct { fields, .. } => fields.iter().map(|field| field.value).collect(),
            Expr::Fold(fold) => vec![fold.range, fold.init, fold.condition, fold.step, fold.result],
        }
    }

    /// `a.b.c`, where the node is nothing but names.
    pub(crate) fn qualified_name(&self, id: Id) -> Option<String> {
        match self.expr(id) {
            Expr::Ident(name) => Some(name.to_string()),
            Expr::Select { operand, field, test: false } => {
                let mut name = self.qualified_name(*operand)?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }

    pub(crate) fn string(&self, id: Id) -> Option<&Arc<str>> {
        match self.expr(id) {
            Expr::Literal(Literal::String(text)) => Some(text),
            _ => None,
        }
    }
}

/// What an expression has too much of.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error("expression recursion limit exceeded: {MAX_DEPTH}")]
    Depth,
    #[error("expression has more than {MAX_NODES} parts after its macros are expanded: nest fewer of them")]
    Nodes,
}

/// Builds an [`Ast`] bottom up.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
    /// Whether `cel.bind` is a macro.
    knows_bind: bool,
}

impl Builder {
    /// Refused when the node would have too much below it.
    pub(crate) fn node(&mut self, at: u32, expr: Expr) -> Result<Id, TooMuch> {
        let (mut depth, mut nodes) = (0, 1_u32);
        let mut see = |id: &Id| {
            let below = &self.nodes[id.index()];
            depth = depth.max(below.depth);
            nodes = nodes.saturating_add(below.nodes);
        };
        match &expr {
            Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Select { operand, .. } => see(operand),
            Expr::Call { target, args, .. } => target.iter().chain(args).for_each(see),
            Expr::List(elements) => elements.iter().for_each(|element| see(&element.value)),
            Expr::Map(entries) => entries.iter().for_each(|entry| {
                see(&entry.key);
                see(&entry.value);
            }),
            Expr::Struct { fields, .. } => fields.iter().for_each(|field| see(&field.value)),
            Expr::Fold(fold) => {
                [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result].into_iter().for_each(see);
            }
        }
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(TooMuch::Depth);
        }
        if nodes > MAX_NODES {
            return Err(TooMuch::Nodes);
        }
        let id = Id(u32::try_from(self.nodes.len()).map_err(|_| TooMuch::Nodes)?);
        self.nodes.push(Node { expr, at, depth, nodes });
        Ok(id)
    }

    pub(crate) fn expr(&self, id: Id) -> &Expr {
        &self.nodes[id.index()].expr
    }

    pub(crate) fn at(&self, id: Id) -> u32 {
        self.nodes[id.index()].at
    }

    pub(crate) fn finish(self, source: &str, root: Id) -> Ast {
        Ast { source: source.into(), nodes: self.nodes, root }
    }
}
