//! Expressions and what they are, by table.

use expect_test::{Expect, expect};
use serde_json::json;

use super::authorize::{Authorize, Authorizer, Decision, Question};
use super::*;

/// The value as text, or the error.
fn run(source: &str) -> String {
    match compile(source, &Declarations::new()) {
        Err(error) => format!("{error}"),
        Ok(compiled) => match compiled.program.evaluate(&[]).result {
            Ok(value) => shown(&value),
            Err(error) => format!("error: {error}"),
        },
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Optional(None) => "none".into(),
        Value::Optional(Some(inner)) => format!("some({})", shown(inner)),
        Value::Type(t) => t.runtime_name().to_string(),
        Value::Uint(value) => format!("{value}u"),
        Value::Quantity(quantity) => quantity.to_string(),
        other => other.to_json().map_or_else(|error| error.to_string(), |json| json.to_string()),
    }
}

#[track_caller]
fn all_true(sources: &[&str]) {
    for source in sources {
        assert_eq!(run(source), "true", "{source}");
    }
}

#[track_caller]
fn errors(table: &[(&str, &str)]) {
    for (source, error) in table {
        assert_eq!(run(source), format!("error: {error}"), "{source}");
    }
}

#[test]
fn arithmetic_and_order() {
    all_true(&[
        "1 + 2 * 3 == 7",
        "-7 / 2 == -3",
        "-7 % 2 == -1",
        "7u - 2u == 5u",
        "1.5 + 1.5 == 3.0",
        "1 < 2u && 2u < 2.5 && 2.5 > 1",
        "dyn(1) == 1u && dyn(1) == 1.0",
        "-9223372036854775808 < 0",
        "'a' + 'b' == 'ab'",
        "b'\\x61' == b'a' && bytes('é').size() == 2",
        "r'\\d' == '\\\\d'",
        "'''a'b''' == \"a'b\"",
        "!!true && !false",
        "1 in [1, 2] && !(3 in [1, 2])",
        "'a' in {'a': 1} && !('b' in {'a': 1})",
        "[1, 2] + [3] == [1, 2, 3]",
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}",
        "dyn(1) != dyn('1')",
        "true ? true : 1 / 0 == 1",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(1 / 0 == 1 && false)",
        "!has(dyn(null).a) && !has(dyn('a').a)",
        "0x1F == 31 && 1e3 == 1000.0 && .5 == 0.5",
    ]);
    errors(&[
        ("9223372036854775807 + 1 > 0", "integer overflow"),
        ("-(-9223372036854775807 - 1) > 0", "integer overflow"),
        ("0u - 1u > 0u", "unsigned integer overflow"),
        ("1 / 0 == 1", "division by zero"),
        ("1 % 0 == 1", "modulus by zero"),
        ("[1][1] == 1", "index out of bounds: 1"),
        ("{'a': 1}['b'] == 1", "no such key: b"),
        ("{'a': 1}.b == 1", "no such key: b"),
        ("dyn(null).b == 1", "no such key: b"),
        ("has(dyn(null).b.c)", "no such key: b"),
        ("dyn(1)['b'] == 1", "no such key: b"),
        ("dyn([1]).b == 1", "unsupported index type 'string' in list"),
        ("dyn('a') + dyn(1) == 1", "no such overload"),
        ("{'a': 1, 'a': 2}.a == 1", "insert failed: key a already exists"),
        ("1 / 0 == 1 || false", "division by zero"),
    ]);
}

#[test]
fn conversions_and_types() {
    all_true(&[
        "int('12') == 12 && int(1.9) == 1 && int(2u) == 2 && int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "uint(3) == 3u && double('1.5') == 1.5",
        "string(1.5) == '1.5' && string(1e30) == '1e+30' && string(true) == 'true' && string(b'a') == 'a'",
        "string(duration('90m')) == '5400s' && string(timestamp('2020-01-01T00:00:00.5Z')) == '2020-01-01T00:00:00.5Z'",
        "bool('true') && !bool('0')",
        "type(1) == int && type('') == string && type([]) == list && type({}) == map && type(null) == null_type",
        "type(type(1)) == type && type(duration('1s')) == google.protobuf.Duration",
        "duration('1h30m') == duration('90m') && duration('-1.5s').getMilliseconds() == -1500",
        "timestamp('2023-02-01T00:00:00Z') - timestamp('2023-01-31T23:00:00Z') == duration('1h')",
        "timestamp('2023-02-01T00:00:00Z') + duration('24h') > timestamp('2023-02-01T00:00:00Z')",
        "timestamp('2023-02-03T04:05:06.789Z').getMonth() == 1 && timestamp('2023-02-03T04:05:06.789Z').getDate() == 3",
        "timestamp('2023-02-03T04:05:06.789Z').getMilliseconds() == 789 && timestamp('2023-02-03T04:05:06Z').getDayOfWeek() == 5",
        "timestamp('2023-02-03T04:05:06Z').getHours('-05:00') == 23 && timestamp('2023-02-03T04:05:06Z').getHours('America/New_York') == 23",
    ]);
    errors(&[
        ("int('x') == 1", "type conversion error from 'string' to 'int'"),
        ("uint(-1) == 1u", "unsigned integer overflow"),
        ("int(1e30) == 1", "integer overflow"),
        ("timestamp(dyn('x')) == timestamp(0)", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
    ]);
}

#[test]
fn macros() {
    all_true(&[
        "[1, 2, 3].all(x, x > 0) && !([1, 2].all(x, x > 1))",
        "[1, 2, 3].exists(x, x == 2) && [].all(x, x) && ![].exists(x, x)",
        "[1, 2, 2].exists_one(x, x == 1) && !([1, 1].existsOne(x, x == 1))",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x > 1) == [2, 3]",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'a': 1, 'b': 2}.map(k, k) == ['a', 'b']",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "[1, 2].all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "[1, 2].transformList(i, v, v * i) == [0, 2] && [1, 2].transformList(i, v, i > 0, v) == [2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && ['x'].transformMapEntry(i, v, {v: i}) == {'x': 0}",
        "[[1, 2], [3]].all(l, l.exists(x, x > 1))",
        "[1, 2].exists(x, 1 / (x - 1) == 1)",
        "[3, 1, 2].sortBy(x, -x) == [3, 2, 1]",
    ]);
    errors(&[
        ("[1, 2].all(x, 1 / (x - 1) == 1)", "division by zero"),
        ("[1].map(x, x / 0) == []", "division by zero"),
        ("['x', 'x'].transformMapEntry(i, v, {v: i}) == {}", "insert failed: key x already exists"),
    ]);
}

#[test]
fn optional_values() {
    all_true(&[
        "optional.of(1).hasValue() && !optional.none().hasValue()",
        "{'a': 1}.?a.orValue(2) == 1 && {'a': 1}.?b.orValue(2) == 2",
        "{'a': {'b': 1}}.?a.?b.value() == 1 && !{'a': {'b': 1}}.?x.b.hasValue()",
        "[1][?0].value() == 1 && ![1][?1].hasValue() && {'a': 1}[?'b'].orValue(3) == 3",
        "[?optional.of(1), ?optional.none(), 2] == [1, 2] && {?'a': optional.none()} == {}",
        "optional.none().or(optional.of(1)).value() == 1",
        "optional.of(2).optMap(x, x * 2).value() == 4 && !optional.none().optMap(x, x).hasValue()",
        "optional.of(2).optFlatMap(x, optional.of(x + 1)).value() == 3",
        "!optional.ofNonZeroValue('').hasValue() && [1].first().value() == 1 && ![].last().hasValue()",
        "[optional.of(1), optional.none()].unwrapOpt() == [1]",
    ]);
    errors(&[("optional.none().value() == 1", "optional.none() dereference")]);
}

#[test]
fn texts() {
    all_true(&[
        "'tacocat'.charAt(3) == 'o' && 'hello'.indexOf('l') == 2 && 'hello'.indexOf('l', 3) == 3 && 'hello'.indexOf('x') == -1",
        "'hello'.lastIndexOf('l') == 3 && 'hello'.lastIndexOf('l', 2) == 2 && 'é-é'.lastIndexOf('é') == 2",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'é'.upperAscii() == 'é'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'aaa'.replace('a', 'b', 2) == 'bba'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco'",
        "'  a '.trim() == 'a' && ['a', 'b'].join() == 'ab' && ['a', 'b'].join('-') == 'a-b'",
        "'%s is %d, %.2f and %x'.format(['a', 1, 2.0, 255]) == 'a is 1, 2.00 and ff'",
        "'%s %s'.format([[1, 'x'], {'k': 1.5}]) == '[1, \"x\"] {\"k\":1.500000}'",
        "'%.1f %e'.format([12345.67, 3.14]) == '12,345.7 3.140000×10⁰⁰'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'abc'.matches('^[a-c]+$') && 'abc 123'.find('[0-9]+') == '123' && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
        "'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b') && 'é'.size() == 1",
    ]);
    errors(&[
        ("'a'.charAt(2) == ''", "index out of range: 2"),
        ("'abc'.substring(2, 1) == ''", "invalid substring range. start: 2, end: 1"),
        ("'a'.matches(dyn('(')) ", "Illegal regex: error parsing regexp: invalid pattern: `(`"),
    ]);
}

#[test]
fn lists_and_sets() {
    all_true(&[
        "[1, 2, 3].sum() == 6 && [1.0, 2.0].sum() == 3.0 && [3, 1].min() == 1 && ['a', 'c'].max() == 'c'",
        "[1, 2, 2].isSorted() && !([2, 1].isSorted()) && [].isSorted()",
        "[1, 2, 2].indexOf(2) == 1 && [1, 2, 2].lastIndexOf(2) == 2 && [1].indexOf(3) == -1",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3] && lists.range(3) == [0, 1, 2]",
        "[3, 1, 2].sort() == [1, 2, 3] && [1, 2].reverse() == [2, 1] && [1, 1, 2].distinct() == [1, 2]",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [2])",
    ]);
    errors(&[
        ("[].min() == 1", "min called on empty list"),
        ("[1].slice(0, 2) == [1]", "cannot slice(0, 2), list is length 1"),
    ]);
}

#[test]
fn kubernetes_libraries() {
    all_true(&[
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('50k').add(20) == quantity('50020') && sign(quantity('-1')) == -1",
        "quantity('50M').compareTo(quantity('50Mi')) == -1 && quantity('1.5').isInteger() == false && quantity('2').asInteger() == 2",
        "isQuantity('1.3Gi') && !isQuantity('1,3')",
        "ip('192.168.0.1').family() == 4 && isIP('::1') && !isIP('10.0.0.256') && !isIP('::ffff:1.2.3.4') && ip('::1').isLoopback()",
        "ip.isCanonical('::1') && !ip.isCanonical('::0:1') && string(ip('10.0.0.1')) == '10.0.0.1' && ip('10.0.0.1').isGlobalUnicast()",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
        "cidr('::1/128').prefixLength() == 128 && cidr('10.0.0.1/8').ip() == ip('10.0.0.1') && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33')",
        "url('https://example.com:80/a b?k=1&k=2&x').getHost() == 'example.com:80' && url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://example.com:80/a b?k=1&k=2').getEscapedPath() == '/a%20b' && url('https://e.com/?k=1&k=2').getQuery() == {'k': ['1', '2']}",
        "url('/path').getScheme() == '' && isURL('https://a') && !isURL('../a') && !isURL('https://a:b/')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-alpha.1').isLessThan(semver('1.0.0')) && isSemver('v1.2', true) && !isSemver('1.2')",
        "semver('v1.02', true) == semver('1.2.0') && semver('1.2.3').minor() == 2",
        "!format.dns1123Label().validate('my-label').hasValue() && format.dns1123Label().validate('My').hasValue()",
        "format.named('uuid').value().validate('123e4567-e89b-12d3-a456-426614174000') == optional.none() && !format.named('x').hasValue()",
        "jsonpatch.escapeKey('k8s.io/my~label') == 'k8s.io~1my~0label'",
    ]);
    errors(&[
        (
            "quantity('x') == quantity('1')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("ip('::ffff:1.2.3.4').family() == 4", "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"),
    ]);
}

#[track_caller]
fn refused(source: &str, expected: Expect) {
    let declarations = Declarations::new()
        .variable("x", Type::Int)
        .variable("m", Type::map(Type::String, Type::Int))
        .variable("o", Type::Struct("Thing".into()))
        .object("Thing", [("name", Type::String), ("count", Type::Int)]);
    let error = compile(source, &declarations).expect_err("no such expression");
    expected.assert_eq(&error.to_string());
}

#[test]
fn refused_expressions_are_told_with_their_place() {
    refused(
        "y > 1",
        expect![[r#"
        ERROR: <input>:1:1: undeclared reference to 'y' (in container '')
         | y > 1
         | ^"#]],
    );
    refused(
        "o.size > 1",
        expect![[r#"
        ERROR: <input>:1:2: undefined field 'size'
         | o.size > 1
         | .^"#]],
    );
    refused(
        "x + 'a' == 'b'",
        expect![[r#"
        ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'
         | x + 'a' == 'b'
         | ..^"#]],
    );
    refused(
        "o.name.foo()",
        expect![[r#"
        ERROR: <input>:1:11: undeclared reference to 'foo' (in container '')
         | o.name.foo()
         | ..........^"#]],
    );
    refused(
        "x.startsWith('a')",
        expect![[r#"
        ERROR: <input>:1:13: found no matching overload for 'startsWith' applied to 'int.(string)'
         | x.startsWith('a')
         | ............^"#]],
    );
    refused(
        "x.y",
        expect![[r#"
        ERROR: <input>:1:2: type 'int' does not support field selection
         | x.y
         | .^"#]],
    );
    refused(
        "x.all(y, true)",
        expect![[r#"
        ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)
         | x.all(y, true)
         | ^"#]],
    );
    refused(
        "[1, 'a'].size() == 2",
        expect![[r#"
        ERROR: <input>:1:5: expected type 'int' but found 'string'
         | [1, 'a'].size() == 2
         | ....^"#]],
    );
    refused(
        "m.all(k, k + 1 > 1)",
        expect![[r#"
        ERROR: <input>:1:12: found no matching overload for '_+_' applied to '(string, int)'
         | m.all(k, k + 1 > 1)
         | ...........^"#]],
    );
    refused(
        "duration('x') == duration('1s') && timestamp('y') > timestamp(0) && 'a'.matches('(')",
        expect![[r#"
        ERROR: <input>:1:10: invalid duration argument
         | duration('x') == duration('1s') && timestamp('y') > timestamp(0) && 'a'.matches('(')
         | .........^
        ERROR: <input>:1:46: invalid timestamp argument
         | duration('x') == duration('1s') && timestamp('y') > timestamp(0) && 'a'.matches('(')
         | .............................................^
        ERROR: <input>:1:81: invalid matches argument
         | duration('x') == duration('1s') && timestamp('y') > timestamp(0) && 'a'.matches('(')
         | ................................................................................^"#]],
    );
    refused(
        "x +\n  * 1",
        expect![[r#"
        ERROR: <input>:2:3: Syntax error: mismatched input '*' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
         |   * 1
         | ..^"#]],
    );
    refused(
        "x = 1",
        expect![[r#"
        ERROR: <input>:1:3: Syntax error: token recognition error at: '= '
         | x = 1
         | ..^"#]],
    );
    refused(
        "has(x)",
        expect![[r#"
        ERROR: <input>:1:5: invalid argument to has() macro
         | has(x)
         | ....^"#]],
    );
    refused(
        "namespace == 'a'",
        expect![[r#"
        ERROR: <input>:1:1: reserved identifier: namespace
         | namespace == 'a'
         | ^"#]],
    );
    refused(
        "Object{}.x == 1",
        expect![[r#"
        ERROR: <input>:1:7: undeclared reference to 'Object' (in container '')
         | Object{}.x == 1
         | ......^"#]],
    );
}

#[test]
fn objects_are_made_for_patches() {
    let declarations = Declarations::new().with_mutation();
    let make = |source: &str| {
        let compiled = compile(source, &declarations).expect("an expression");
        compiled.program.evaluate(&[]).result.expect("a value").to_json().expect("JSON")
    };
    assert_eq!(
        make(
            "Object{spec: Object.spec{replicas: 1, labels: {'a': 'b'}, containers: [Object.spec.containers{name: 'x'}]}}"
        ),
        json!({"spec": {"replicas": 1, "labels": {"a": "b"}, "containers": [{"name": "x"}]}})
    );
    assert_eq!(
        make("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]"),
        json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "x"}])
    );
    assert!(compile("JSONPatch{op: 1}", &declarations).is_err());
    assert!(compile("JSONPatch{other: '1'}", &declarations).is_err());
}

#[derive(Debug)]
struct OnlyPods;

impl Authorize for OnlyPods {
    fn decide(&self, service_account: Option<(&str, &str)>, question: &Question) -> Decision {
        let allowed =
            matches!(question, Question::Resource(question) if question.resource == "pods" && question.verb == "get");
        Decision { allowed, reason: service_account.map(|(_, name)| name.to_string()).unwrap_or_default(), error: None }
    }
}

#[test]
fn the_authorizer_is_asked() {
    let declarations =
        Declarations::new().variable("authorizer", Type::Struct("kubernetes.authorization.Authorizer".into()));
    for (source, expected) in [
        ("authorizer.group('').resource('pods').namespace('default').name('x').check('get').allowed()", true),
        ("authorizer.group('').resource('secrets').check('get').allowed()", false),
        ("authorizer.path('/healthz').check('get').allowed()", false),
        ("authorizer.serviceAccount('default', 'bot').group('').resource('pods').check('get').reason() == 'bot'", true),
    ] {
        let compiled = compile(source, &declarations).expect(source);
        let authorizer =
            Value::Authorizer(std::rc::Rc::new(Authorizer { authorize: &OnlyPods, service_account: None }));
        let run = compiled.program.evaluate(&[Some(authorizer)]);
        assert!(matches!(run.result, Ok(Value::Bool(value)) if value == expected), "{source}: {:?}", run.result);
        assert!(run.cost >= 350_000);
    }
}

#[test]
fn deep_and_large_expressions_are_refused_or_answered() {
    let deep = |n: usize| {
        vec![
            format!("{}1{}", "(".repeat(n), ")".repeat(n)),
            format!("1{}", "+1".repeat(n)),
            format!("{}true", "!".repeat(n)),
            format!("{}1", "- ".repeat(n)),
            format!("{{}}{}", ".b".repeat(n)),
            format!("{}1{}", "[".repeat(n), "]".repeat(n)),
            format!("true{}", "?true:true".repeat(n)),
            format!("true{}", " && true".repeat(n)),
            format!("{}1{}", "dyn(".repeat(n), ")".repeat(n)),
            format!("{}x{}", "[1].map(x,".repeat(n), ")".repeat(n)),
            format!("{}{}", "[[1]]".to_string(), "[0]".repeat(n)),
        ]
    };
    // The stack of a server's thread.
    let checked = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for n in [10, 60, 120, 200, 249, 5000] {
            for source in deep(n) {
                run(&source);
            }
        }
    });
    checked.expect("a thread").join().expect("no overflow");
    assert!(run(&"(".repeat(300)).contains("expression recursion limit exceeded: 250"));
    assert!(run(&"a".repeat(100_001)).contains("expression code point size exceeds limit"));
}

#[test]
fn costs_are_counted_and_bounded() {
    let cost = |source: &str| compile(source, &Declarations::new()).expect(source).program.evaluate(&[]).cost;
    assert_eq!(cost("1 + 1 == 2"), 2);
    assert_eq!(cost("'aaaaaaaaaaaaaaaaaaaa'.startsWith('aaaaaaaaaaaaaaaaaaaa')"), 2);
    // Per element the condition and the accumulator twice, the element, the comparison; then the result.
    assert_eq!(cost("[1, 2, 3].all(x, x > 0)"), 3 * (2 + 1 + 1 + 1) + 1);
    errors(&[
        (
            "lists.range(1000).all(x, lists.range(1000).all(y, x + y >= 0))",
            "operation cancelled: actual cost limit exceeded",
        ),
        ("lists.range(1000000000).size() > 1", "operation cancelled: actual cost limit exceeded"),
        (
            "lists.range(1000).map(x, lists.range(1000)).size() > 1 || true",
            "operation cancelled: actual cost limit exceeded",
        ),
    ]);
}

/// Types that double with each step, and texts as long as they may be, are judged in little time.
#[test]
fn types_have_an_end() {
    let start = std::time::Instant::now();
    let doubling = format!("[0]{}", ".map(a, {dyn(a): a, 'x': a}).map(a, {a: a})".repeat(30));
    let error = compile(&doubling, &Declarations::new()).unwrap_err().to_string();
    assert!(error.contains("types of the expression are too large"), "{error}");
    for long in ["[]", "{}", "1 == 2 || true", "[[1] + [2]]"] {
        let text = format!("[{long}{}].size() > 0", format!(", {long}").repeat(90_000 / (long.len() + 2)));
        compile(&text, &Declarations::new()).unwrap();
    }
    let copied = format!("optional.of(1){}", ".optMap(e, e)".repeat(60));
    let error = compile(&copied, &Declarations::new()).unwrap_err().to_string();
    assert!(error.contains("more than 200000 parts"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn fields_that_expressions_read_by_name_are_known() {
    let cases = [
        ("claims.email", true),
        ("claims.?email.orValue('')", true),
        ("has(claims.email) && true", true),
        ("[1].exists(x, claims.email == string(x))", true),
        ("claims['email']", false),
        ("claims.emails", false),
        ("user.email", false),
        ("user.claims.email", false),
        ("claims.", false),
    ];
    for (source, expected) in cases {
        assert_eq!(super::selects(source, "claims", "email"), expected, "{source}");
    }
}

#[test]
fn claims_have_escaped_names_and_doubles() {
    let claims = serde_json::json!({"a.b/c-d": {"e__f": [{"if": 1}]}, "n": 3, "plain": "x"});
    let declarations = Declarations::new().variable("claims", Type::map(Type::String, Type::Dyn));
    let cases = [
        ("claims.a__dot__b__slash__c__dash__d.e__underscores__f[0].__if__ == 1.0", true),
        ("claims['a.b/c-d'].e__f[0]['if'] == 1", true),
        ("claims['a__dot__b__slash__c__dash__d'].size() == 1", true),
        ("type(claims.n) == double && claims.plain == 'x'", true),
        ("has(claims.absent)", false),
        ("size(claims) == 3 && claims.exists(name, name == 'a.b/c-d')", true),
    ];
    for (source, expected) in cases {
        let program = compile(source, &declarations).expect(source).program;
        let run = program.evaluate(&[Some(Value::claims(&claims))]);
        assert!(matches!(run.result, Ok(Value::Bool(value)) if value == expected), "{source}: {:?}", run.result);
    }
}
