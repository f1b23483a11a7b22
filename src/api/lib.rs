//! The language of the API: what objects are, pure and without I/O.

pub mod field;
pub mod meta;
pub mod names;
pub mod quantity;
pub mod select;
pub mod status;
