//! Types of a parsed expression: every name is found, every call has an overload, or there are problems to tell.
//!
//! The rules and the words are cel-go's checker's: aggregate literals are of one type, numbers compare across their types.

use std::sync::Arc;

use super::declare::{Declarations, type_named};
use super::functions::{self, Overload};
use super::syntax::{Ast, Element, Entry, Expr, Field, Fold, Id, Literal, Problems};
use super::types::{Bindings, Type, most_general};

/// What a node refers to.
#[derive(Clone, Debug, Default)]
pub(crate) enum Reference {
    #[default]
    None,
    Variable(usize),
    /// A variable of a fold.
    Local,
    Type(Type),
    Function(Call),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: Arc<str>,
    pub(crate) overloads: Vec<&'static str>,
    /// The receiver was part of the name: `sets.contains(…)`.
    pub(crate) qualified: bool,
}

/// An expression with types.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) ast: Ast,
    types: Vec<Type>,
    references: Vec<Reference>,
}

impl Checked {
    pub(crate) fn type_of(&self, id: Id) -> &Type {
        &self.types[id.index()]
    }

    pub(crate) fn reference(&self, id: Id) -> &Reference {
        &self.references[id.index()]
    }

    /// Lists and maps must be of one type, but for what is given to `format`.
    fn mixed_literals(&self) -> Problems {
        let mut free = vec![false; self.ast.len()];
        // Wholes come after their parts.
        for id in self.ast.ids().collect::<Vec<_>>().into_iter().rev() {
            let formats = matches!(self.ast.expr(id), Expr::Call { function, .. } if &**function == "format");
            if formats || free[id.index()] {
                self.ast.parts(id).into_iter().for_each(|part| free[part.index()] = true);
            }
        }
        let mut problems = Problems::new(&self.ast.source);
        let mut same = |parts: Vec<(Id, bool)>| {
            let t = |(id, optional): (Id, bool)| {
                let t = self.type_of(id);
                t.unwrap_optional().filter(|_| optional).unwrap_or(t)
            };
            let Some(first) = parts.first().copied().map(t) else { return };
            if let Some(other) = parts.into_iter().find(|part| t(*part) != first) {
                problems.add(self.ast.at(other.0), format!("expected type '{first}' but found '{}'", t(other)));
            }
        };
        for id in self.ast.ids().filter(|id| !free[id.index()]) {
            match self.ast.expr(id) {
                Expr::List(elements) => {
                    same(elements.iter().map(|element| (element.value, element.optional)).collect())
                }
                Expr::Map(entries) => {
                    same(entries.iter().map(|entry| (entry.key, false)).collect());
                    same(entries.iter().map(|entry| (entry.value, entry.optional)).collect());
                }
                _ => {}
            }
        }
        problems
    }
}

pub(crate) fn check(ast: Ast, declarations: &Declarations) -> Result<Checked, Problems> {
    let mut checker = Checker {
        ast: &ast,
        declarations,
        problems: Problems::new(&ast.source),
        types: vec![None; ast.len()],
        references: vec![Reference::None; ast.len()],
        bindings: Bindings::default(),
        scopes: Vec::new(),
        fresh: 0,
    };
    checker.check(ast.root);
    checker.check_literals();
    if checker.bindings.exhausted() {
        checker.too_large(ast.root);
    }
    if !checker.problems.is_empty() {
        return Err(checker.problems);
    }
    let bindings = checker.bindings;
    let types = checker.types.into_iter().map(|t| t.map_or(Type::Dyn, |t| bindings.substitute(&t, true))).collect();
    let references = checker.references;
    let checked = Checked { ast, types, references };
    match checked.mixed_literals() {
        problems if problems.is_empty() => Ok(checked),
        problems => Err(problems),
    }
}

struct Checker<'c> {
    ast: &'c Ast,
    declarations: &'c Declarations,
    problems: Problems,
    types: Vec<Option<Type>>,
    references: Vec<Reference>,
    bindings: Bindings,
    /// The variables of the folds around, the innermost last.
    scopes: Vec<(Arc<str>, Type)>,
    fresh: u32,
}

impl<'c> Checker<'c> {
    fn problem(&mut self, id: Id, text: String) {
        self.problems.add(self.ast.at(id), text);
    }

    fn too_large(&mut self, id: Id) {
        self.problem(id, "the types of the expression are too large: nest fewer maps and lists".into());
    }

    fn set(&mut self, id: Id, t: Type) {
        let t = if t.is_too_large() {
            self.too_large(id);
            Type::Error
        } else {
            t
        };
        self.types[id.index()] = Some(t);
    }

    fn get(&self, id: Id) -> Type {
        self.types[id.index()].clone().unwrap_or(Type::Error)
    }

    fn resolved(&self, id: Id) -> Type {
        self.bindings.substitute(&self.get(id), false)
    }

    fn fresh(&mut self) -> Type {
        self.fresh += 1;
        Type::Param(format!("_var{}", self.fresh - 1).into())
    }

    fn check(&mut self, id: Id) {
        let ast = self.ast;
        match ast.expr(id) {
            Expr::Literal(literal) => self.set(id, literal_type(literal)),
            Expr::Ident(name) => self.ident(id, name),
            Expr::Select { operand, field, test } => self.select(id, *operand, field, *test),
            Expr::Call { function, target, args } => self.call(id, function, *target, args),
            Expr::List(elements) => self.list(id, elements),
            Expr::Map(entries) => self.map(id, entries),
            Expr::Struct { name, fields } => self.made(id, name, fields),
            Expr::Fold(fold) => self.fold(id, fold),
        }
    }

    /// What a name means, innermost first.
    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        if let Some((_, t)) = self.scopes.iter().rev().find(|(variable, _)| &**variable == name) {
            return Some((t.clone(), Reference::Local));
        }
        if let Some((index, t)) = self.declarations.find(name) {
            return Some((t.clone(), Reference::Variable(index)));
        }
        let named = type_named(name).or_else(|| self.declarations.made_type(name))?;
        Some((Type::Type(Some(Arc::new(named.clone()))), Reference::Type(named)))
    }

    fn ident(&mut self, id: Id, name: &str) {
        match self.lookup(name) {
            Some((t, reference)) => {
                self.set(id, t);
                self.references[id.index()] = reference;
            }
            None => {
                self.set(id, Type::Error);
                self.undeclared(id, name);
            }
        }
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.problem(id, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn select(&mut self, id: Id, operand: Id, field: &str, test: bool) {
        if let Some(name) = self.ast.qualified_name(id) {
            // A variable of a fold hides longer names that begin with its own.
            let root = name.split('.').next().unwrap_or_default();
            let hidden = self.scopes.iter().any(|(variable, _)| &**variable == root);
            if let Some((t, reference)) = self.lookup(&name).filter(|_| !hidden) {
                self.set(id, t);
                self.references[id.index()] = reference;
                return;
            }
        }
        let t = self.field(id, operand, field, false);
        let t = if test { Type::Bool } else { self.bindings.substitute(&t, false) };
        self.set(id, t);
    }

    /// The type of a field, optional where the operand or the selection is.
    fn field(&mut self, id: Id, operand: Id, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand = self.resolved(operand);
        let inner = operand.unwrap_optional();
        let optional = optional || inner.is_some();
        let target = inner.unwrap_or(&operand).clone();
        let found = match &target {
            Type::Map(_, value) => (**value).clone(),
            Type::Struct(name) => self.struct_field(self.ast.at(id), name, field),
            Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.problem(id, format!("type '{other}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if optional { Type::optional(found) } else { found }
    }

    fn struct_field(&mut self, at: u32, name: &str, field: &str) -> Type {
        match self.declarations.field(name, field) {
            Some(Some(t)) => t,
            Some(None) => {
                self.problems.add(at, format!("undefined field '{field}'"));
                Type::Error
            }
            None => {
                self.problems.add(at, format!("unexpected failed resolution of '{name}'"));
                Type::Error
            }
        }
    }

    fn call(&mut self, id: Id, function: &str, target: Option<Id>, args: &[Id]) {
        if function == "_?._" {
            let field = self.ast.string(args[1]).cloned().unwrap_or_default();
            let t = self.field(id, args[0], &field, true);
            let t = self.bindings.substitute(&t, false);
            self.set(args[1], Type::String);
            self.set(id, t);
            return self.refer(id, function, vec!["select_optional_field"], false);
        }
        args.iter().for_each(|arg| self.check(*arg));
        if let Some(target) = target {
            if let Some(name) = self.ast.qualified_name(target).map(|prefix| format!("{prefix}.{function}"))
                && let Some(overloads) = functions::overloads(&name)
            {
                return self.overload(id, &name, overloads, None, args, true);
            }
            self.check(target);
        }
        match functions::overloads(function) {
            Some(overloads) => self.overload(id, function, overloads, target, args, false),
            None => {
                self.set(id, Type::Error);
                self.undeclared(id, function);
            }
        }
    }

    fn refer(&mut self, id: Id, name: &str, overloads: Vec<&'static str>, qualified: bool) {
        self.references[id.index()] = Reference::Function(Call { name: name.into(), overloads, qualified });
    }

    fn overload(
        &mut self,
        id: Id,
        name: &str,
        overloads: &[Overload],
        target: Option<Id>,
        args: &[Id],
        qualified: bool,
    ) {
        let found: Vec<Type> = target.iter().chain(args).map(|arg| self.get(*arg)).collect();
        let mut matching = Vec::new();
        let mut result: Option<Type> = None;
        for overload in overloads.iter().filter(|overload| overload.member == target.is_some()) {
            if overload.params.len() != found.len() {
                continue;
            }
            let mut own = Bindings::default();
            for param in &overload.generic {
                let fresh = self.fresh();
                own.bind(param, fresh);
            }
            let params: Vec<Type> = overload.params.iter().map(|param| own.substitute(param, false)).collect();
            if !self.bindings.all_assignable(&found, &params) {
                continue;
            }
            matching.push(overload.id);
            let t = self.bindings.substitute(&own.substitute(&overload.result, false), false);
            result = Some(match result {
                Some(before) if !before.is_dyn() && before != t => Type::Dyn,
                Some(before) => before,
                None => t,
            });
        }
        match result {
            Some(t) => {
                self.set(id, t);
                self.refer(id, name, matching, qualified);
            }
            None => {
                self.set(id, Type::Error);
                let shown: Vec<String> = found.iter().map(|t| self.bindings.substitute(t, true).to_string()).collect();
                let (receiver, rest) = if target.is_some() {
                    (format!("{}.", shown[0]), &shown[1..])
                } else {
                    (String::new(), &shown[..])
                };
                self.problem(
                    id,
                    format!("found no matching overload for '{name}' applied to '{receiver}({})'", rest.join(", ")),
                );
            }
        }
    }

    /// The type of what an optional element holds.
    fn unwrapped(&mut self, id: Id, optional: bool) -> Type {
        let t = self.get(id);
        if !optional {
            return t;
        }
        if let Some(inner) = t.unwrap_optional() {
            return inner.clone();
        }
        if !t.is_dyn() {
            let wanted = Type::optional(t.clone());
            self.mismatch(id, &wanted, &t);
        }
        t
    }

    fn mismatch(&mut self, id: Id, wanted: &Type, found: &Type) {
        self.problem(id, format!("expected type '{wanted}' but found '{found}'"));
    }

    fn join(&mut self, so_far: Option<Type>, next: Type) -> Type {
        let Some(so_far) = so_far else { return next };
        if self.bindings.assignable(&so_far, &next) {
            return most_general(&so_far, &next).clone();
        }
        Type::Dyn
    }

    fn list(&mut self, id: Id, elements: &[Element]) {
        let mut joined = None;
        for element in elements {
            self.check(element.value);
            let t = self.unwrapped(element.value, element.optional);
            joined = Some(self.join(joined, t));
        }
        let item = joined.unwrap_or_else(|| self.fresh());
        self.set(id, Type::list(item));
    }

    fn map(&mut self, id: Id, entries: &[Entry]) {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(entry.key);
            let key = self.get(entry.key);
            keys = Some(self.join(keys, key));
            self.check(entry.value);
            let value = self.unwrapped(entry.value, entry.optional);
            values = Some(self.join(values, value));
        }
        let key = keys.unwrap_or_else(|| self.fresh());
        let value = values.unwrap_or_else(|| self.fresh());
        self.set(id, Type::map(key, value));
    }

    fn made(&mut self, id: Id, name: &str, fields: &[Field]) {
        let t = match self.lookup(name) {
            None => {
                self.undeclared(id, name);
                Type::Error
            }
            Some((_, Reference::Type(t @ Type::Struct(_)))) => t,
            Some((_, Reference::Type(other))) => {
                self.problem(id, format!("'{}' is not a message type", other.runtime_name()));
                Type::Error
            }
            Some((t, _)) => {
                self.problem(id, format!("'{}' is not a type", t.runtime_name()));
                Type::Error
            }
        };
        for field in fields {
            self.check(field.value);
            if t == Type::Error {
                continue;
            }
            let wanted = self.struct_field(field.at, name, &field.name);
            let found = self.unwrapped(field.value, field.optional);
            if !self.bindings.assignable(&wanted, &found) {
                let text =
                    format!("expected type of field '{}' is '{wanted}' but provided type is '{found}'", field.name);
                self.problems.add(field.at, text);
            }
        }
        self.set(id, t);
    }

    fn fold(&mut self, id: Id, fold: &Fold) {
        self.check(fold.range);
        self.check(fold.init);
        let range = self.resolved(fold.range);
        let accumulated = self.get(fold.init);
        let (var, var2) = match &range {
            Type::List(item) if fold.var2.is_some() => (Type::Int, (**item).clone()),
            Type::List(item) => ((**item).clone(), Type::Error),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.problem(fold.range, text);
                (Type::Error, Type::Error)
            }
        };
        let outside = self.scopes.len();
        self.scopes.push((fold.accumulator.clone(), accumulated.clone()));
        let around = self.scopes.len();
        self.scopes.push((fold.var.clone(), var));
        if let Some(name) = &fold.var2 {
            self.scopes.push((name.clone(), var2));
        }
        self.check(fold.condition);
        self.wanted(fold.condition, &Type::Bool);
        self.check(fold.step);
        self.wanted(fold.step, &accumulated);
        self.scopes.truncate(around);
        self.check(fold.result);
        self.scopes.truncate(outside);
        let t = self.resolved(fold.result);
        self.set(id, t);
    }

    fn wanted(&mut self, id: Id, wanted: &Type) {
        let found = self.get(id);
        if !self.bindings.assignable(wanted, &found) {
            self.mismatch(id, wanted, &found);
        }
    }

    /// Literal times, durations and patterns are looked at before the expression ever runs.
    fn check_literals(&mut self) {
        let ast = self.ast;
        for id in ast.ids() {
            let Expr::Call { function, args, .. } = ast.expr(id) else { continue };
            let (index, fine): (usize, fn(&str) -> bool) = match &**function {
                "duration" => (0, |text| crate::duration::parse(text).is_ok()),
                "timestamp" => (0, |text| super::library::times::parse_timestamp(text).is_some()),
                "matches" => (args.len().saturating_sub(1), |text| super::library::patterns::compile(text).is_ok()),
                _ => continue,
            };
            let Some(arg) = args.get(index).copied() else { continue };
            if ast.string(arg).is_some_and(|text| !fine(text)) {
                self.problem(arg, format!("invalid {function} argument"));
            }
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
