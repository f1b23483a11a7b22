//! Trees of expressions, where their values do not show them.

use super::{Expr, parse};

#[test]
fn long_chains_of_logic_stay_flat() {
    let source = vec!["a"; 1000].join(" && ");
    assert!(parse(&source).is_ok());
    let source = vec!["a"; 1000].join(" + ");
    assert!(parse(&source).unwrap_err().to_string().contains("expression recursion limit exceeded"));
}

#[test]
fn names_of_objects_are_told_from_names() {
    let ast = parse("Object.spec{a: 1}").unwrap();
    assert!(matches!(ast.expr(ast.root), Expr::Struct { name, .. } if &**name == "Object.spec"));
    let ast = parse("a.b.c").unwrap();
    assert_eq!(ast.qualified_name(ast.root).as_deref(), Some("a.b.c"));
    assert!(parse("a.namespace == 'x' && a.if.for").is_ok());
}
