use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn pick(fields: &str, json: &str) -> String {
    let mut out = Vec::new();
    match Picker::parse(fields) {
        Ok(Some(picker)) => picker.pick(json, &mut out),
        Ok(None) => out.extend_from_slice(b"everything"),
        Err(error) => out.extend_from_slice(format!("{error:?}").as_bytes()),
    }
    String::from_utf8(out).expect("JSON is text")
}

#[test]
fn fields_are_picked_by_name_path_and_star() {
    let record = r#"{"author":"m1","expand":{"author":{"id":"m1","name":"Ann"}},"geo":{"lon":1.5,"lat":2},"id":"a","j":{"b":[{"y":2,"x":1},{"x":3}],"a":{"d":1,"c":2}},"n":10.50,"tags":["x","y"],"title":"T"}"#;
    for (fields, picked) in [
        // Order and spelling are the record's, not the list's.
        ("title,id", r#"{"id":"a","title":"T"}"#),
        (" id ,\ttitle , ", r#"{"id":"a","title":"T"}"#),
        ("id,id,id", r#"{"id":"a"}"#),
        (",,id,,", r#"{"id":"a"}"#),
        ("n", r#"{"n":10.50}"#),
        ("ID,Title", "{}"),
        ("nothing", "{}"),
        ("nothing,id", r#"{"id":"a"}"#),
        // The list is about the record, not about what is around it.
        ("record.id", "{}"),
        ("action", "{}"),
        // Paths.
        ("geo.lon", r#"{"geo":{"lon":1.5}}"#),
        ("geo", r#"{"geo":{"lat":2,"lon":1.5}}"#),
        ("geo.none", r#"{"geo":{}}"#),
        ("geo,geo.lon", r#"{"geo":{"lat":2,"lon":1.5}}"#),
        ("geo.lon,geo", r#"{"geo":{"lat":2,"lon":1.5}}"#),
        ("j.a.c", r#"{"j":{"a":{"c":2}}}"#),
        ("j.b.x", r#"{"j":{"b":[{"x":1},{"x":3}]}}"#),
        (
            "j",
            r#"{"j":{"a":{"c":2,"d":1},"b":[{"x":1,"y":2},{"x":3}]}}"#,
        ),
        (
            "expand.author.name",
            r#"{"expand":{"author":{"name":"Ann"}}}"#,
        ),
        ("tags", r#"{"tags":["x","y"]}"#),
        ("tags.x", r#"{"tags":["x","y"]}"#),
        ("title.x", r#"{"title":"T"}"#),
        ("id.", r#"{"id":"a"}"#),
        // Stars.
        ("geo.*", r#"{"geo":{"lat":2,"lon":1.5}}"#),
        (
            "id,geo.*,geo.lat",
            r#"{"geo":{"lat":2,"lon":1.5},"id":"a"}"#,
        ),
        (
            "id,j.*,j.a.c",
            r#"{"id":"a","j":{"a":{"c":2},"b":[{"x":1,"y":2},{"x":3}]}}"#,
        ),
        ("expand.*.name", r#"{"expand":{"author":{"name":"Ann"}}}"#),
        (
            "*,j.a.c,geo.lat,expand.author.id",
            r#"{"author":"m1","expand":{"author":{"id":"m1"}},"geo":{"lat":2},"id":"a","j":{"a":{"c":2}},"n":10.50,"tags":["x","y"],"title":"T"}"#,
        ),
    ] {
        assert_eq!(pick(fields, record), picked, "{fields:?}");
    }
}

#[test]
fn star_is_everything_in_order() {
    let json = r#"{"b":{"z":[{"y":1,"x":"<"}],"a":null},"a":[1,[{"d":1,"c":2}]]}"#;
    let ordered = r#"{"a":[1,[{"c":2,"d":1}]],"b":{"a":null,"z":[{"x":"<","y":1}]}}"#;
    assert_eq!(pick("*", json), ordered);
}

#[test]
fn list_without_fields_asks_for_everything() {
    for fields in ["", " ", ",", " , ,", "\t"] {
        assert_eq!(Picker::parse(fields), Ok(None), "{fields:?}");
    }
}

#[test]
fn parentheses_and_quotes_protect_commas() {
    let json = r#"{"'a,b'":1,"a":2,"t":"12345"}"#;
    for (fields, picked) in [
        ("'a,b'", r#"{"'a,b'":1}"#),
        ("\"a,b\"", "{}"),
        ("`a,b`,a", r#"{"a":2}"#),
        ("t:excerpt(2,true)", r#"{"t":"12..."}"#),
        ("t:excerpt( 2 , true ),a", r#"{"a":2,"t":"12..."}"#),
        ("(a,b),a", r#"{"a":2}"#),
        ("')',a", r#"{"a":2}"#),
        ("a)", "{}"),
    ] {
        assert_eq!(pick(fields, json), picked, "{fields:?}");
    }
}

#[test]
fn bad_list_is_refused_as_a_whole() {
    let unknown = |name: &str| FieldsError::UnknownModifier(name.to_owned());
    let deep = vec!["a"; Picker::DEPTH_MAX + 1].join(".");
    let many = vec!["a"; Picker::FIELDS_MAX + 1].join(",");
    for (fields, error) in [
        ("id,title:nope(1)", unknown("nope")),
        ("title:", unknown("")),
        ("title:Excerpt(1)", unknown("Excerpt")),
        ("title:excerpt", FieldsError::Excerpt),
        ("title:excerpt()", FieldsError::Excerpt),
        ("title:excerpt(0)", FieldsError::Excerpt),
        ("title:excerpt(-1)", FieldsError::Excerpt),
        ("title:excerpt(1.5)", FieldsError::Excerpt),
        ("title:excerpt(x)", FieldsError::Excerpt),
        ("title:excerpt('5')", FieldsError::Excerpt),
        ("title:excerpt(1,true,2)", FieldsError::Excerpt),
        ("title:excerpt(100001)", FieldsError::Excerpt),
        (
            "title:excerpt(99999999999999999999999)",
            FieldsError::Excerpt,
        ),
        ("title:excerpt(1,id", FieldsError::Open),
        ("'title,id", FieldsError::Open),
        ("id,\"", FieldsError::Open),
        ("(('a)'", FieldsError::Open),
        (&*many, FieldsError::TooMany),
        (&*deep, FieldsError::TooDeep),
    ] {
        assert_eq!(Picker::parse(fields), Err(error), "{fields:?}");
    }
    let most = vec!["a"; Picker::FIELDS_MAX].join(",");
    assert!(Picker::parse(&most).is_ok());
    assert!(Picker::parse(&deep[2..]).is_ok());
}

#[test]
fn excerpts_are_cut_by_characters() {
    for (fields, text, picked) in [
        ("t:excerpt(3)", "abcdef", "abc"),
        ("t:excerpt(3,false)", "abcdef", "abc"),
        ("t:excerpt(3,yes)", "abcdef", "abc"),
        ("t:excerpt(3,true)", "abcdef", "abc..."),
        ("t:excerpt(3,1)", "abcdef", "abc..."),
        ("t:excerpt(3,t)", "abcdef", "abc..."),
        ("t:excerpt(3,T)", "abcdef", "abc..."),
        ("t:excerpt(3,TRUE)", "abcdef", "abc..."),
        ("t:excerpt(3,True)", "abcdef", "abc..."),
        ("t:excerpt(3,true)", "abc", "abc"),
        ("t:excerpt(3,true)", "ab", "ab"),
        ("t:excerpt(3,true)", "", ""),
        // More bytes than that, and not more characters.
        ("t:excerpt(3,true)", "äöü", "äöü"),
        ("t:excerpt(3,true)", "äöüß", "äöü..."),
        ("t:excerpt(3,true)", "ab cd", "ab..."),
        ("t:excerpt(100)", "  a \n\t b  ", "a b"),
        ("*:excerpt(2)", "abc", "ab"),
        ("t:excerpt(1),t:excerpt(2)", "abc", "ab"),
        ("t:excerpt(1),t", "abc", "abc"),
        ("t.x:excerpt(1)", "abc", "abc"),
    ] {
        let json = serde_json::json!({ "t": text }).to_string();
        let expected = serde_json::json!({ "t": picked }).to_string();
        assert_eq!(pick(fields, &json), expected, "{fields} of {text:?}");
    }
}

#[test]
fn excerpts_hold_no_html() {
    for (html, text) in [
        ("<p>Hello <b>big</b> world</p>", "Hello big world"),
        ("<p>a</p><p>b</p>", "a b"),
        ("a<div>b</div>c", "a b c"),
        ("a<br>b<span>c</span>", "abc"),
        ("<ul><li>a<li>b</ul>", "a b"),
        ("<h1>A</h1>\n\n<p>b\n c</p>", "A b c"),
        ("a &amp; b &lt;i&gt; &eacute; &#x41;", "a & b <i> é A"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a<!-- b -->c", "ac"),
        (
            "<!DOCTYPE html><html><head><title>x</title></head><body>y</body></html>",
            "y",
        ),
        ("<style>p{}</style><script>if (a < b) {}</script>z", "z"),
        ("a<script>'</script>b", "ab"),
        ("a<textarea><p>b</textarea>c", "ac"),
        ("a<form><div>b<p>c</form>d", "ad"),
        ("a<svg><g><text>b</text></g></svg>c", "ac"),
        ("a<img alt='b'>c<input value=d>e<embed>f", "acef"),
        ("a<select><option>b<option>c</select>d", "ad"),
        ("a<option>b</option>c", "ac"),
        ("<dialog>a<dialog>b</dialog>c</dialog>d", "d"),
        // An element that is never closed ends with the one around it.
        ("<div><button>a</div>b", "b"),
        ("<template>a", ""),
        ("a</p>b</form>c</unknown>d", "abcd"),
        ("a<x-card>b</x-card>c", "a b c"),
        ("<P>A</P><SCRIPT>b</SCRIPT>", "A"),
        ("<a href=\"x>y\">z</a", "z"),
        ("<", "<"),
    ] {
        let json = serde_json::json!({ "t": html }).to_string();
        let expected = serde_json::json!({ "t": text }).to_string();
        let expected = expected.replace('<', "\\u003c").replace('>', "\\u003e");
        let expected = expected.replace('&', "\\u0026");
        assert_eq!(pick("t:excerpt(1000)", &json), expected, "{html}");
    }
}

#[test]
fn excerpts_leave_other_values_alone() {
    for value in ["1", "1.50", "true", "null", "[\"abc\"]", r#"{"a":"bcd"}"#] {
        let json = format!(r#"{{"t":{value}}}"#);
        assert_eq!(pick("t:excerpt(1)", &json), json);
    }
}

#[test]
fn odd_json_is_copied() {
    let deep = format!("{}1{}", r#"{"b":0,"a":"#.repeat(300), "}".repeat(300));
    let record = format!(r#"{{"j":{deep}}}"#);
    let picked = pick("j", &record);
    assert_eq!(picked.len(), record.len());
    assert!(picked.starts_with(r#"{"j":{"a":{"a":"#), "{picked}");
    // Half of a character: Postgres' type json lets it in.
    let lone = r#"{"a":{"\ud800":1},"t":"\ud800abc"}"#;
    assert_eq!(pick("*,t:excerpt(1)", lone), lone);
    let dotted = r#"{"a":{"b":1},"a.b":2,"a.c":3}"#;
    assert_eq!(pick("a.b", dotted), r#"{"a":{"b":1},"a.b":2}"#);
}

#[test]
fn work_of_an_excerpt_ends_with_its_length() {
    let long = "<p>word</p>".repeat(100_000);
    let excerpt = Excerpt {
        characters_max: 10,
        ellipsis: true,
    };
    assert_eq!(excerpt.of(&long), "word word...");
    assert_eq!(excerpt.plain(&long), " word word word");
    let markup = format!("{}word", "<i é>".repeat(100_000));
    assert_eq!(excerpt.of(&markup), "");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c<>&;/p \\\\\"é\u{2028}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c.]{0,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_list_picks_json_from_json(fields in "([a-c*.,:() '\"]|excerpt\\(2,t\\)){0,24}", json in value()) {
        if let Ok(Some(picker)) = Picker::parse(&fields) {
            let mut out = Vec::new();
            picker.pick(&json.to_string(), &mut out);
            prop_assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{fields:?} of {json}");
            prop_assert!(!out.contains(&b'\n'));
        }
    }

    #[test]
    fn star_changes_nothing_but_the_order(json in value()) {
        let picked: Value = serde_json::from_str(&pick("*", &json.to_string())).expect("JSON");
        prop_assert_eq!(picked, json);
    }

    #[test]
    fn no_text_breaks_an_excerpt(html in any::<String>(), max in 1_usize..20) {
        let excerpt = Excerpt { characters_max: max, ellipsis: false };
        let text = excerpt.of(&html);
        prop_assert!(text.chars().count() <= max);
        prop_assert_eq!(text.trim(), &text);
    }
}
