//! Fields that two managers want differently, and how the client is told.

use super::{
    managers::{Id, Operation},
    step::show,
};
use crate::{
    field::quote,
    status::{Cause, Status},
};

/// A field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub manager: Id,
    /// The steps to the field.
    pub path: Vec<String>,
}

impl Conflict {
    /// The path in the words of messages: `.spec.containers[name="a"].image`.
    pub fn field(&self) -> String {
        show(self.path.iter().map(String::as_str))
    }
}

fn shown(manager: &Id) -> String {
    let mut text = quote(&manager.name);
    if !manager.subresource.is_empty() {
        text += &format!(" with subresource {}", quote(&manager.subresource));
    }
    if manager.operation == Operation::Update {
        text += &format!(" using {}", manager.version);
    }
    text
}

/// The 409 that names all conflicts, manager by manager.
pub fn refusal(conflicts: &[Conflict]) -> Status {
    let causes = conflicts.iter().map(|conflict| Cause {
        reason: "FieldManagerConflict".into(),
        message: format!("conflict with {}", shown(&conflict.manager)),
        field: conflict.field(),
    });
    Status::apply_conflict(causes.collect(), message(conflicts))
}

fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", shown(&one.manager), one.field());
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", shown(&conflict.manager)));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.field()));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
