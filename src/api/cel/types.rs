//! Types of expressions, their text, and how two of them are brought together.
//!
//! Type parameters (`A` in `list(A)`) are bound while calls are checked; the rules of what fits where are cel-go's.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::sync::Arc;

/// The type of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Only known when the expression runs.
    Dyn,
    /// What a wrong expression has, so that checking can go on.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    /// An object with declared fields.
    Struct(Arc<str>),
    /// A type that only functions look into; with parameters, as `optional_type(string)`.
    Opaque(Arc<str>, Vec<Type>),
    /// The type of a type.
    Type(Option<Arc<Type>>),
    Param(Arc<str>),
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    pub fn optional(inner: Type) -> Type {
        Type::Opaque(OPTIONAL.into(), vec![inner])
    }

    pub(crate) fn unwrap_optional(&self) -> Option<&Type> {
        match self {
            Type::Opaque(name, params) if &**name == OPTIONAL => params.first(),
            _ => None,
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// The name that `type(x)` has at run time.
    pub(crate) fn runtime_name(&self) -> &str {
        match self {
            Type::Dyn => "dyn",
            Type::Error => "error",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::List(_) => "list",
            Type::Map(..) => "map",
            Type::Type(_) => "type",
            Type::Struct(name) | Type::Opaque(name, _) | Type::Param(name) => name,
        }
    }

    fn params(&self) -> Vec<&Type> {
        match self {
            Type::List(item) => vec![item],
            Type::Map(key, value) => vec![key, value],
            Type::Opaque(_, params) => params.iter().collect(),
            Type::Type(Some(inner)) => vec![inner],
            _ => Vec::new(),
        }
    }

    /// Whether it has more nodes than any honest expression needs.
    pub(crate) fn is_too_large(&self) -> bool {
        let mut ahead = self.params();
        let mut nodes = 1;
        while let Some(inner) = ahead.pop() {
            nodes += 1;
            if nodes > LARGEST {
                return true;
            }
            ahead.extend(inner.params());
        }
        false
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Error => return f.write_str("!error!"),
            Type::Null => return f.write_str("null"),
            Type::Timestamp => return f.write_str("timestamp"),
            Type::Duration => return f.write_str("duration"),
            _ => f.write_str(self.runtime_name())?,
        }
        let params = self.params();
        if !params.is_empty() {
            f.write_str("(")?;
            for (n, param) in params.iter().enumerate() {
                write!(f, "{}{param}", if n > 0 { ", " } else { "" })?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// What type parameters stand for.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    bound: HashMap<Arc<str>, Type>,
    /// What a trial replaced, newest last, so that a trial that fails costs what it changed and not a copy of everything.
    trial: Vec<(Arc<str>, Option<Type>)>,
    /// How many nodes of types have been looked at.
    looked_at: Cell<usize>,
}

/// How many nodes the type of an expression may have. Types double with every `.map(x, {x: x})`.
const LARGEST: usize = 1000;
/// How many nodes of types may be looked at for one program. The longest text that is allowed stays far below this.
const MOST_NODES: usize = 2_000_000;

impl Bindings {
    /// Whether a value of the one type may stand where the other is wanted; binds parameters if so.
    pub(crate) fn assignable(&mut self, wanted: &Type, found: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(wanted), std::slice::from_ref(found))
    }

    /// Binds nothing unless all fit.
    pub(crate) fn all_assignable(&mut self, wanted: &[Type], found: &[Type]) -> bool {
        self.trial.clear();
        let fits =
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| self.fits(wanted, found));
        if !fits {
            while let Some((param, before)) = self.trial.pop() {
                match before {
                    Some(before) => self.bound.insert(param, before),
                    None => self.bound.remove(&param),
                };
            }
        }
        fits
    }

    /// Whether so many nodes have been looked at that what is said of types means nothing any more.
    pub(crate) fn exhausted(&self) -> bool {
        self.looked_at.get() > MOST_NODES
    }

    /// Counts one more node.
    fn exhausts(&self) -> bool {
        self.looked_at.set(self.looked_at.get().saturating_add(1));
        self.exhausted()
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if self.exhausts() {
            return true;
        }
        if let Type::Param(name) = b {
            match self.substitutable(a, name) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(name) = a {
            return self.substitutable(b, name).0;
        }
        match (a, b) {
            _ if a.is_dyn_or_error() || b.is_dyn_or_error() => true,
            (Type::Null, other) | (other, Type::Null) => {
                matches!(other, Type::Null | Type::Struct(_) | Type::Opaque(..) | Type::Timestamp | Type::Duration)
            }
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.fits(a, b),
            (Type::Map(ak, av), Type::Map(bk, bv)) => self.fits(ak, bk) && self.fits(av, bv),
            (Type::Opaque(a, ap), Type::Opaque(b, bp)) => {
                a == b && ap.len() == bp.len() && ap.iter().zip(bp).all(|(a, b)| self.fits(a, b))
            }
            _ => a == b,
        }
    }

    /// Whether the parameter may stand for the type, and whether it stood for something already.
    fn substitutable(&mut self, to: &Type, param: &Arc<str>) -> (bool, bool) {
        if matches!(to, Type::Param(name) if name == param) {
            return (true, true);
        }
        if let Some(bound) = self.bound.get(param).cloned() {
            if bound == *to {
                return (true, true);
            }
            if !self.fits(to, &bound) {
                return (false, true);
            }
            let general = most_general(to, &bound).clone();
            if self.absent(param, &general) {
                self.set(param, general);
            }
            return (true, true);
        }
        if self.absent(param, to) {
            self.set(param, to.clone());
            return (true, false);
        }
        (false, false)
    }

    /// Whether the parameter does not occur within the type, which would make it endless.
    fn absent(&self, param: &Arc<str>, within: &Type) -> bool {
        match within {
            _ if self.exhausts() => true,
            Type::Param(name) if name == param => false,
            Type::Param(name) => self.bound.get(name).is_none_or(|bound| self.absent(param, bound)),
            other => other.params().into_iter().all(|inner| self.absent(param, inner)),
        }
    }

    fn set(&mut self, param: &Arc<str>, to: Type) {
        let before = self.bound.insert(param.clone(), to);
        self.trial.push((param.clone(), before));
    }

    pub(crate) fn bind(&mut self, param: &str, to: Type) {
        self.bound.insert(param.into(), to);
    }

    /// The type with its parameters replaced; with `free_as_dyn`, unbound ones too.
    pub(crate) fn substitute(&self, t: &Type, free_as_dyn: bool) -> Type {
        match t {
            _ if self.exhausts() => Type::Error,
            Type::Param(name) => match self.bound.get(name) {
                Some(bound) => self.substitute(bound, free_as_dyn),
                None if free_as_dyn => Type::Dyn,
                None => t.clone(),
            },
            Type::List(item) => Type::list(self.substitute(item, free_as_dyn)),
            Type::Map(key, value) => Type::map(self.substitute(key, free_as_dyn), self.substitute(value, free_as_dyn)),
            Type::Opaque(name, params) if !params.is_empty() => {
                Type::Opaque(name.clone(), params.iter().map(|param| self.substitute(param, free_as_dyn)).collect())
            }
            Type::Type(Some(inner)) => Type::Type(Some(Arc::new(self.substitute(inner, free_as_dyn)))),
            _ => t.clone(),
        }
    }
}

pub(crate) fn most_general<'t>(a: &'t Type, b: &'t Type) -> &'t Type {
    if at_most_as_specific(a, b) { a } else { b }
}

fn at_most_as_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) => at_most_as_specific(a, b),
        (Type::Map(ak, av), Type::Map(bk, bv)) => at_most_as_specific(ak, bk) && at_most_as_specific(av, bv),
        (Type::Opaque(a, ap), Type::Opaque(b, bp)) => {
            a == b && ap.len() == bp.len() && ap.iter().zip(bp).all(|(a, b)| at_most_as_specific(a, b))
        }
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}
