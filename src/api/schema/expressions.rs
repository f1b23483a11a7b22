//! Types of built-in kinds for the type checker of CEL.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::graph::{Node, Shape, ShapeId};
use crate::cel::schema::{DeclType, Kind, ListOrder};

/// The type of a schema's values. A type within itself is not seen the second time.
pub(crate) fn decl_type(node: Node<'_>, name: &str) -> Option<DeclType> {
    Walk { around: Vec::new() }.at(node, name)
}

struct Walk {
    around: Vec<ShapeId>,
}

impl Walk {
    fn at(&mut self, node: Node<'_>, name: &str) -> Option<DeclType> {
        let kind = match node.shape() {
            Shape::Any | Shape::Objects(_) => return None,
            Shape::String | Shape::Quantity => Kind::String,
            Shape::Bytes => Kind::Bytes,
            Shape::Integer { .. } => Kind::Int,
            Shape::Number => Kind::Double,
            Shape::Boolean => Kind::Bool,
            Shape::IntOrString => Kind::IntOrString,
            Shape::Time { .. } => Kind::DateTime,
            Shape::Map(_) => {
                Kind::Map { keys: 0, values: Arc::new(self.at(node.child("")?, &format!("{name}.@elem"))?) }
            }
            Shape::List(_) => Kind::List {
                items: Arc::new(self.at(node.items()?, &format!("{name}.@idx"))?),
                order: ListOrder::Atomic,
            },
            Shape::Object(_) => {
                if self.around.contains(&node.id) {
                    return None;
                }
                self.around.push(node.id);
                let fields = self.fields(node, name);
                self.around.pop();
                Kind::Object { name: name.into(), fields }
            }
        };
        Some(DeclType::new(kind))
    }

    fn fields(&mut self, node: Node<'_>, name: &str) -> BTreeMap<Arc<str>, Arc<DeclType>> {
        let mut fields = BTreeMap::new();
        for field in node.field_names() {
            let escaped = crate::cel::escape_name(field);
            let child = node.child(field).and_then(|child| self.at(child, &format!("{name}.{field}")));
            if let (Some(escaped), Some(child)) = (escaped, child) {
                fields.insert(Arc::from(escaped), Arc::new(child));
            }
        }
        fields
    }
}
