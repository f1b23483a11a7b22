//! ServiceAccount: nothing but its name is checked.

use super::{GENERIC, Rules, Scope};

pub(super) static RULES: Rules = Rules { scope: Scope::Namespaced, ..GENERIC };
