//! Calls that stand for more than a call: `has(a.b)`, `list.all(x, …)`, `list.map(x, …)`, the forms with two variables,
//! `optMap`, `sortBy` and `cel.bind`. Each becomes a presence test or a fold, the same ones as in cel-go, because costs are counted on them.

use std::sync::Arc;

use super::parser::Wrong;
use super::{ACCUMULATOR, Builder, Element, Expr, Fold, Id, Literal};

type Expanded = Result<Id, Wrong>;

/// The call, or what it stands for.
pub(super) fn expand(builder: &mut Builder, at: u32, function: &str, target: Option<Id>, args: Vec<Id>) -> Expanded {
    let mut make = Make { builder, at };
    match (target, function, args.len()) {
        (None, "has", 1) => make.has(args[0]),
        (Some(range), "all" | "exists" | "exists_one" | "existsOne", 2) => {
            let var = make.variable(args[0], "argument must be a simple name")?;
            make.quantifier(function, range, var, None, args[1])
        }
        (Some(range), "all" | "exists" | "exists_one" | "existsOne", 3) => {
            let (var, var2) = make.two_variables(&args)?;
            make.quantifier(function, range, var, Some(var2), args[2])
        }
        (Some(range), "map", 2 | 3) => make.map(range, &args),
        (Some(range), "filter", 2) => {
            let var = make.variable(args[0], "argument is not an identifier")?;
            make.collect(range, var, None, Some(args[1]), args[0])
        }
        (Some(range), "transformList", 3 | 4) => {
            let (var, var2) = make.two_variables(&args)?;
            let filter = (args.len() == 4).then(|| args[2]);
            make.collect(range, var, Some(var2), filter, args[args.len() - 1])
        }
        (Some(range), "transformMap" | "transformMapEntry", 3 | 4) => make.transform_map(function, range, &args),
        (Some(target), "optMap" | "optFlatMap", 2) => make.opt_map(function, target, &args),
        (Some(target), "bind", 3) if make.binds(target) => {
            let var = make.variable(args[0], "cel.bind() variable names must be simple identifiers")?;
            make.bind(var, args[1], args[2])
        }
        (Some(target), "sortBy", 2) => make.sort_by(target, &args),
        _ => make.node(Expr::Call { function: function.into(), target, args }),
    }
}

struct Make<'b> {
    builder: &'b mut Builder,
    at: u32,
}

impl Make<'_> {
    fn node(&mut self, expr: Expr) -> Expanded {
        self.builder.node(self.at, expr).map_err(|too_much| (self.at, too_much.to_string()))
    }

    fn call(&mut self, function: &str, args: Vec<Id>) -> Expanded {
        self.node(Expr::Call { function: function.into(), target: None, args })
    }

    fn literal(&mut self, literal: Literal) -> Expanded {
        self.node(Expr::Literal(literal))
    }

    fn ident(&mut self, name: &str) -> Expanded {
        self.node(Expr::Ident(name.into()))
    }

    fn accumulator(&mut self) -> Expanded {
        self.ident(ACCUMULATOR)
    }

    fn list(&mut self, items: Vec<Id>) -> Expanded {
        self.node(Expr::List(items.into_iter().map(|value| Element { value, optional: false }).collect()))
    }

    fn variable(&mut self, arg: Id, complaint: &str) -> Result<Arc<str>, Wrong> {
        match self.builder.expr(arg) {
            Expr::Ident(name) if &**name == "__result__" => {
                Err((self.builder.at(arg), "iteration variable overwrites accumulator variable".into()))
            }
            Expr::Ident(name) => Ok(name.clone()),
            _ => Err((self.builder.at(arg), complaint.into())),
        }
    }

    fn two_variables(&mut self, args: &[Id]) -> Result<(Arc<str>, Arc<str>), Wrong> {
        let first = self.variable(args[0], "argument must be a simple name")?;
        let second = self.variable(args[1], "argument must be a simple name")?;
        if first == second {
            return Err((self.builder.at(args[1]), format!("duplicate variable name: {first}")));
        }
        Ok((first, second))
    }

    fn has(&mut self, arg: Id) -> Expanded {
        match self.builder.expr(arg).clone() {
            Expr::Select { operand, field, test: false } => self.node(Expr::Select { operand, field, test: true }),
            _ => Err((self.builder.at(arg), "invalid argument to has() macro".into())),
        }
    }

    fn quantifier(
        &mut self,
        function: &str,
        range: Id,
        var: Arc<str>,
        var2: Option<Arc<str>>,
        predicate: Id,
    ) -> Expanded {
        let init = self.literal(match function {
            "all" => Literal::Bool(true),
            "exists" => Literal::Bool(false),
            _ => Literal::Int(0),
        })?;
        let seen = self.accumulator()?;
        let (condition, step, result) = match function {
            "all" => {
                let condition = self.call("@not_strictly_false", vec![seen])?;
                let so_far = self.accumulator()?;
                (condition, self.call("_&&_", vec![so_far, predicate])?, self.accumulator()?)
            }
            "exists" => {
                let not = self.call("!_", vec![seen])?;
                let condition = self.call("@not_strictly_false", vec![not])?;
                let so_far = self.accumulator()?;
                (condition, self.call("_||_", vec![so_far, predicate])?, self.accumulator()?)
            }
            _ => {
                let one = self.literal(Literal::Int(1))?;
                let more = self.call("_+_", vec![seen, one])?;
                let same = self.accumulator()?;
                let step = self.call("_?_:_", vec![predicate, more, same])?;
                let count = self.accumulator()?;
                let one = self.literal(Literal::Int(1))?;
                (self.literal(Literal::Bool(true))?, step, self.call("_==_", vec![count, one])?)
            }
        };
        self.fold(range, var, var2, init, condition, step, result)
    }

    fn map(&mut self, range: Id, args: &[Id]) -> Expanded {
        let var = self.variable(args[0], "argument is not an identifier")?;
        let filter = (args.len() == 3).then(|| args[1]);
        self.collect(range, var, None, filter, args[args.len() - 1])
    }

    /// A list of `item` for each element that `filter` lets through.
    fn collect(&mut self, range: Id, var: Arc<str>, var2: Option<Arc<str>>, filter: Option<Id>, item: Id) -> Expanded {
        let init = self.list(Vec::new())?;
        let so_far = self.accumulator()?;
        let items = self.list(vec![item])?;
        let step = self.call("_+_", vec![so_far, items])?;
        self.gather(range, var, var2, filter, init, step)
    }

    fn transform_map(&mut self, function: &str, range: Id, args: &[Id]) -> Expanded {
        let (var, var2) = self.two_variables(args)?;
        let filter = (args.len() == 4).then(|| args[2]);
        let transform = args[args.len() - 1];
        let init = self.node(Expr::Map(Vec::new()))?;
        let so_far = self.accumulator()?;
        let step = if function == "transformMap" {
            let key = self.ident(&var)?;
            self.call("cel.@mapInsert", vec![so_far, key, transform])?
        } else {
            self.call("cel.@mapInsert", vec![so_far, transform])?
        };
        self.gather(range, var, Some(var2), filter, init, step)
    }

    fn gather(
        &mut self,
        range: Id,
        var: Arc<str>,
        var2: Option<Arc<str>>,
        filter: Option<Id>,
        init: Id,
        step: Id,
    ) -> Expanded {
        let step = match filter {
            None => step,
            Some(filter) => {
                let same = self.accumulator()?;
                self.call("_?_:_", vec![filter, step, same])?
            }
        };
        let condition = self.literal(Literal::Bool(true))?;
        let result = self.accumulator()?;
        self.fold(range, var, var2, init, condition, step, result)
    }

    /// `target.hasValue() ? optional.of(…) : optional.none()` with the value under a name.
    fn opt_map(&mut self, function: &str, target: Id, args: &[Id]) -> Expanded {
        let var = self.variable(args[0], &format!("{function}() variable name must be a simple identifier"))?;
        let has = self.node(Expr::Call { function: "hasValue".into(), target: Some(target), args: Vec::new() })?;
        let value = self.node(Expr::Call { function: "value".into(), target: Some(target), args: Vec::new() })?;
        let bound = self.bind(var, value, args[1])?;
        let then = if function == "optMap" { self.call("optional.of", vec![bound])? } else { bound };
        let none = self.call("optional.none", Vec::new())?;
        self.call("_?_:_", vec![has, then, none])
    }

    /// Whether this is the `cel` of `cel.bind`.
    fn binds(&self, target: Id) -> bool {
        self.builder.knows_bind && matches!(self.builder.expr(target), Expr::Ident(name) if &**name == "cel")
    }

    fn sort_by(&mut self, target: Id, args: &[Id]) -> Expanded {
        const INPUT: &str = "@__sortBy_input__";
        if !matches!(
            self.builder.expr(target),
            Expr::List(_) | Expr::Select { .. } | Expr::Ident(_) | Expr::Fold(_) | Expr::Call { .. }
        ) {
            let complaint =
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Err((self.builder.at(target), complaint.into()));
        }
        let range = self.ident(INPUT)?;
        let keys = self.map(range, args)?;
        let input = self.ident(INPUT)?;
        let sorted =
            self.node(Expr::Call { function: "@sortByAssociatedKeys".into(), target: Some(input), args: vec![keys] })?;
        self.bind(INPUT.into(), target, sorted)
    }

    /// A fold over nothing, which gives its first value a name.
    fn bind(&mut self, name: Arc<str>, value: Id, result: Id) -> Expanded {
        let range = self.list(Vec::new())?;
        let condition = self.literal(Literal::Bool(false))?;
        let step = self.ident(&name)?;
        let fold =
            Fold { range, var: "#unused".into(), var2: None, accumulator: name, init: value, condition, step, result };
        self.node(Expr::Fold(Box::new(fold)))
    }

    #[allow(clippy::too_many_arguments)]
    fn fold(
        &mut self,
        range: Id,
        var: Arc<str>,
        var2: Option<Arc<str>>,
        init: Id,
        condition: Id,
        step: Id,
        result: Id,
    ) -> Expanded {
        let accumulator = ACCUMULATOR.into();
        self.node(Expr::Fold(Box::new(Fold { range, var, var2, accumulator, init, condition, step, result })))
    }
}
