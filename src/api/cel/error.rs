//! Why an expression has no value.

use std::borrow::Cow;

/// An error while an expression runs, worded as cel-go words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("no such overload{0}")]
    NoSuchOverload(Cow<'static, str>),
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl EvalError {
    pub fn other(text: impl Into<Cow<'static, str>>) -> EvalError {
        EvalError::Other(text.into())
    }

    pub(crate) const fn overload() -> EvalError {
        EvalError::NoSuchOverload(Cow::Borrowed(""))
    }
}
