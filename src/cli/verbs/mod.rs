//! One file a verb: its flags, and what it does with them.

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod exec;
pub(crate) mod expose;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod streams;
