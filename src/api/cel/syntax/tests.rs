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

#[test]
fn operators_bind_as_they_do_in_cel() {
    for (source, grouped) in [
        ("a + b * c - d", "(a + (b * c)) - d"),
        ("a || b && c == d + e", "a || (b && (c == (d + e)))"),
        ("a * b / c % d", "((a * b) / c) % d"),
        ("a < b == c", "(a < b) == c"),
        ("a && b || c && d", "(a && b) || (c && d)"),
        ("a ? b || c : d ? e : f", "a ? (b || c) : (d ? e : f)"),
        ("-a * !b in c", "((-a) * (!b)) in c"),
    ] {
        assert_eq!(shown(source), shown(grouped), "{source}");
    }
}

/// The tree of an expression, without places.
fn shown(source: &str) -> String {
    fn show(ast: &super::Ast, id: super::Id) -> String {
        match ast.expr(id) {
            Expr::Call { function, args, .. } => {
                let args: Vec<String> = args.iter().map(|arg| show(ast, *arg)).collect();
                format!("{function}({})", args.join(", "))
            }
            Expr::Ident(name) => name.to_string(),
            _ => "other".to_owned(),
        }
    }
    let ast = parse(source).unwrap();
    show(&ast, ast.root)
}

#[test]
fn nesting_is_bounded_before_the_stack_is() {
    let reading = std::thread::Builder::new().stack_size(1024 * 1024).spawn(|| {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1: ", "}"), ("a[", "]"), ("size(", ")"), ("a ? b : ", ""), ("T{a: ", "}")]
        {
            let nested = |times: usize| format!("{}a{}", open.repeat(times), close.repeat(times));
            assert!(parse(&nested(200)).is_ok(), "{open}");
            for times in [500, 10_000] {
                let error = parse(&nested(times)).unwrap_err().to_string();
                assert!(error.contains("expression recursion limit exceeded: 250"), "{open}: {error}");
            }
        }
    });
    reading.expect("a thread starts").join().expect("nothing panics");
}
