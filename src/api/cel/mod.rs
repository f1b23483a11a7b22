//! CEL, the language of validation rules and admission policies, with Kubernetes' libraries, limits and messages.
//!
//! Reading order: `syntax` (text to a tree), `types` and `functions` (what there is), `declare` (what an expression may name),
//! `check` (types), `estimate` (what it may cost at most), `eval` (its value), `library` (what functions do); `schema` and `value`
//! are how objects are seen. `rules` puts it together for `x-kubernetes-validations`, `admission` for policies and match conditions.
//!
//! ```
//! use mk8s_api::cel::{self, Declarations, Type, Value};
//!
//! let program = cel::compile("name.startsWith('a') && count < 3", &Declarations::new().variable("name", Type::String).variable("count", Type::Int));
//! let program = program.unwrap().program;
//! let run = program.evaluate(&[Some("abc".into()), Some(Value::Int(2))]);
//! assert!(matches!(run.result, Ok(Value::Bool(true))));
//! ```
//!
//! Invariant: an expression of any text is answered: nesting, sizes and costs have bounds, and nothing here recurses without one.
//! Invariant: what cel-go and Kubernetes refuse is refused, in their words.

pub mod admission;
pub mod authorize;
mod check;
mod declare;
pub mod device;
mod equal;
mod error;
mod escape;
mod estimate;
mod eval;
mod from_json;
mod functions;
mod library;
pub mod rules;
pub(crate) mod schema;
mod syntax;
#[cfg(test)]
mod tests;
pub mod type_check;
mod types;
mod value;

pub use self::declare::Declarations;
pub use self::error::EvalError;
pub(crate) use self::escape::is_reserved;
pub use self::eval::{Evaluation, PER_CALL_LIMIT, Program};
pub use self::library::patterns::compile as compile_pattern;
pub use self::schema::DeclType;
pub use self::syntax::Problems;
pub use self::types::Type;
pub use self::value::{Lazy, List, Made, Map, Text, Value};

/// The cost that all rules of one object, or all expressions of one policy's binding, may have together.
pub const RUNTIME_BUDGET: i64 = 10_000_000;
/// The cost that the match conditions of one webhook or policy may have together.
pub const MATCH_CONDITIONS_BUDGET: i64 = 2_500_000;

/// Why an expression cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// With the line of the source and a mark under the place.
    #[error("{0}")]
    Problems(Problems),
    #[error("program instantiation failed: {0}")]
    Instantiation(String),
}

/// A compiled expression.
#[derive(Debug)]
pub struct Compiled {
    pub program: Program,
    /// The most it may cost, as far as schemas tell the sizes of its variables.
    pub max_cost: u64,
    /// Which declared variables it refers to.
    pub variables: Vec<usize>,
}

/// What a sequence of runs may still cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    remaining: i64,
}

impl Budget {
    pub const fn new(limit: i64) -> Budget {
        Budget { remaining: limit }
    }

    pub fn remaining(&self) -> i64 {
        self.remaining
    }

    /// Takes the cost from the budget; false, and nothing remains, when that is too little.
    pub fn spend(&mut self, cost: u64) -> bool {
        match i64::try_from(cost) {
            Ok(cost) if cost <= self.remaining => {
                self.remaining -= cost;
                true
            }
            _ => {
                self.remaining = -1;
                false
            }
        }
    }
}

/// The identifier under which expressions know a property.
pub(crate) fn escape_name(name: &str) -> Option<std::borrow::Cow<'_, str>> {
    escape::escape(name)
}

/// Whether an expression reads this field of this variable by its name: `claims.email`, `claims.?email`, `has(claims.email)`.
pub fn selects(source: &str, variable: &str, field: &str) -> bool {
    let Ok(ast) = syntax::parse(source) else { return false };
    let is_variable = |id| matches!(ast.expr(id), syntax::Expr::Ident(name) if &**name == variable);
    ast.ids().any(|id| match ast.expr(id) {
        syntax::Expr::Select { operand, field: name, .. } => is_variable(*operand) && &**name == field,
        syntax::Expr::Call { function, args, .. } if &**function == "_?._" => match args.as_slice() {
            [operand, name] => is_variable(*operand) && ast.string(*name).is_some_and(|name| &**name == field),
            _ => false,
        },
        _ => false,
    })
}

/// Reads, checks and plans an expression.
pub fn compile(source: &str, declarations: &Declarations) -> Result<Compiled, CompileError> {
    let parse = if declarations.knows_bind() { syntax::parse_with_bind } else { syntax::parse };
    let ast = parse(source).map_err(CompileError::Problems)?;
    let checked = check::check(ast, declarations).map_err(CompileError::Problems)?;
    let max_cost = estimate::estimate(&checked, declarations);
    let program = Program::new(&checked).map_err(CompileError::Instantiation)?;
    let mut variables: Vec<usize> = checked
        .ast
        .ids()
        .filter_map(|id| match checked.reference(id) {
            check::Reference::Variable(index) => Some(*index),
            _ => None,
        })
        .collect();
    variables.sort_unstable();
    variables.dedup();
    Ok(Compiled { program, max_cost, variables })
}
