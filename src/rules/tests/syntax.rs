//! Sections 5.2 and 5.3: what is a text of the language.

use super::world::compile;
use crate::rules::parser::{NESTING_MAX, TEXT_BYTES_MAX, parse};

#[test]
fn texts_of_the_language_are_read() {
    for (text, printed) in [
        ("t='a'", r#"t = "a""#),
        (" \t\nt = 'a' // done", r#"t = "a""#),
        ("// first\nt='a'", r#"t = "a""#),
        ("a=1&&b=2||c=3", "(a = 1 && b = 2) || c = 3"),
        ("a=1&&(b=2||c=3)", "a = 1 && (b = 2 || c = 3)"),
        ("((a=1))", "a = 1"),
        ("(a=1 // one\n)", "a = 1"),
        ("a=-1.5", "a = -1.5"),
        ("a=05", "a = 5"),
        ("a?!~b", "a ?!~ b"),
        ("a.b.c:lower>=@now", "a.b.c:lower >= @now"),
        ("#a=_b", "#a = _b"),
        (
            "f( a , 'b' , 1 , )=g(h(i()))",
            r#"f(a, "b", 1) = g(h(i()))"#,
        ),
        ("f(// none\n)=1", "f() = 1"),
        (r#"t = "a'b""#, r#"t = "a'b""#),
        (r"t = 'a\'b\\'", r#"t = "a'b\\""#),
        (
            r"t = '\n\r\t\b\f\u00e9\ud83d\ude00'",
            "t = \"\\n\\u000d\\u0009\\u0008\\u000cé😀\"",
        ),
        (r"t = 'a\%b\_c\x\u12'", r#"t = "a\\%b\\_c\\x\\u12""#),
        (r#"t = '\"'"#, r#"t = "\"""#),
        ("t = 'a\nb'", r#"t = "a\nb""#),
        ("t = '// no comment'", r#"t = "// no comment""#),
        ("t = 'é'", r#"t = "é""#),
    ] {
        let parsed = parse(text).map(|expression| expression.to_string());
        assert_eq!(parsed.as_deref(), Ok(printed), "{text}");
        let again = parse(printed).map(|expression| expression.to_string());
        assert_eq!(again.as_deref(), Ok(printed), "{printed}");
    }
}

#[test]
fn all_sixteen_operators_are_known() {
    for operator in [
        "=", "!=", ">", ">=", "<", "<=", "~", "!~", "?=", "?!=", "?>", "?>=", "?<", "?<=", "?~",
        "?!~",
    ] {
        let text = format!("a {operator} 1");
        let printed = parse(&text).map(|expression| expression.to_string());
        assert_eq!(printed.as_deref(), Ok(&*text));
    }
}

#[test]
fn all_else_is_refused() {
    for text in [
        "",
        " ",
        "// nothing",
        "()",
        "(())",
        "a",
        "true",
        "1",
        "'x'",
        "a=",
        "=1",
        "a=1&&",
        "&&a=1",
        "a=1 b=2",
        "a=1 && b",
        "(a=1)(b=2)",
        "a=1 (b=2)",
        "n = (t='x')",
        "(t='x') = n",
        "(a=1",
        "a=1)",
        ")",
        "(",
        "a==1",
        "a<>1",
        "a=!1",
        "a = !b",
        "!a=1",
        "a => 1",
        "a ?? 1",
        "a !! 1",
        "a=1&b=2",
        "a=1|b=2",
        "a=1&&&b=2",
        "a=1 and b=2",
        "a=1 or b=2",
        "not a=1",
        "a in (1)",
        "a=1 &&|| b=2",
        "a=.5",
        "a=5.",
        "a=+5",
        "a=- 5",
        "a=--5",
        "a=1e2",
        "a=1.2.3",
        "a=-",
        "a=0x1",
        "a=5a",
        "a=`x`",
        "a='x",
        "a=\"x",
        "a='x\"",
        r"a='x\'",
        "a='x''y'",
        "a=1\r\n",
        "a=1 / b",
        "/* x */ a=1",
        "a=1 /* x */",
        "a.=1",
        "a:=1",
        "@=1",
        "_=1",
        "#=1",
        "a@b=1",
        "é=1",
        "a=é",
        "a=1;",
        "a=[1]",
        "a=1,b=2",
        "f (1)=1",
        "f(=1",
        "f(1=1",
        "f(1 2)=1",
        "f(,)=1",
        "f(,1)=1",
        "f((1))=1",
        "f(a=1)=1",
        "f(f(f(f())))=1",
        "a='\0'",
        r"a='\u0000'",
        r"a='\ud800'",
        r"a='\ud800\u0041'",
        r"a='\udc00'",
        "a\u{a0}=1",
        "(a=1 // )\n)",
        "(a=1 // it's\n)",
        "\u{feff}a=1",
    ] {
        assert!(
            parse(text).is_err(),
            "{text:?} is read as {}",
            parse(text).expect("just read")
        );
    }
}

#[test]
fn limits_hold() {
    let comparisons = |count: usize| vec!["t='a'"; count].join(" || ");
    let nested = |depth: usize| format!("{}t='a'{}", "(".repeat(depth), ")".repeat(depth));
    let long = |bytes: usize| format!("t='{}'", "a".repeat(bytes - "t=''".len()));
    for (what, good, bad) in [
        ("comparisons", comparisons(200), comparisons(201)),
        ("nesting", nested(NESTING_MAX), nested(NESTING_MAX + 1)),
        ("length", long(TEXT_BYTES_MAX), long(TEXT_BYTES_MAX + 1)),
        (
            "calls",
            "t=f(f(f()))".to_owned(),
            "t=f(f(f(f())))".to_owned(),
        ),
    ] {
        assert!(parse(&good).is_ok(), "{what}");
        assert!(parse(&bad).is_err(), "{what}");
    }
    assert!(compile(&comparisons(200)).is_ok());
}
