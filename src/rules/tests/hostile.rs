//! Texts, rows and options that want to do harm.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{
    Asking, collection, collection_of, compile, compile_for, decide_row, image, list,
};
use crate::catalog::FieldKind;
use crate::event::{RecordId, RowImage};
use crate::rules::ast::{Call, Comparison, Expression, Operand, OperandKind, Operator, Sign, Span};
use crate::rules::parser::parse;
use crate::rules::{Row, RuleUse, Undecidable};

#[test]
fn huge_texts_are_refused_and_not_read() {
    let mb = 1 << 20;
    for text in [
        "(".repeat(10_000),
        "(".repeat(mb),
        format!("{}t='a'{}", "(".repeat(10_000), ")".repeat(10_000)),
        "f(".repeat(10_000),
        "'".repeat(mb),
        "t='a'||".repeat(10_000),
        "=".repeat(60_000),
        "a".repeat(60_000),
        "9".repeat(60_000),
        format!("t = {}", "9".repeat(400)),
        format!("{}=1", "a.".repeat(30_000)),
        format!("{}=1", "a:".repeat(30_000)),
        "💥".repeat(mb / 4),
        "\0".repeat(mb),
        "&".repeat(60_000),
        "// ".repeat(20_000),
    ] {
        let error = compile(&text).expect_err("such a text is no rule");
        assert!(error.to_string().len() < 1_000, "{error}");
    }
}

#[test]
fn deep_json_is_walked_without_end() {
    let deep = format!("raw:{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let values = json!({"id": 1, "j": deep});
    let guest = Asking::guest();
    assert_eq!(decide_row("j.0.0.0.0 ~ '[[['", &values, &guest), Ok(true));
    assert_eq!(decide_row("j.a = null", &values, &guest), Ok(true));
    let deep = json!({"id": 1, "s": deep});
    assert_eq!(decide_row("s:each ~ '[[['", &deep, &guest), Ok(true));
    assert_eq!(decide_row("s:length = 1", &deep, &guest), Ok(true));
}

#[test]
fn decisions_that_take_too_long_end() {
    let guest = Asking::guest();
    let many: Vec<String> = (0..3_000).map(|number| format!("x{number}")).collect();
    let values = json!({"id": 1, "s": many, "s2": many, "t": "a".repeat(1 << 20)});
    for rule in [
        "s:each ?= s2:each && s2:each ?= s:each && s:each = 'x'",
        "(s:each ?= 'y' || s2:each ?= 'y') && s:each ?!= s2:each && s2:each ?!= 'x' && s:each ?= 'z'",
        "t ~ 'aaaaaaaaaaaaaaaaaaaab%_b'",
    ] {
        let decided = decide_row(rule, &values, &guest);
        assert!(
            matches!(decided, Err(Undecidable::TooMuchWork) | Ok(false)),
            "{rule}: {decided:?}"
        );
    }
    let long = vec!["t ~ 'b'"; 200].join(" || ");
    assert_eq!(
        decide_row(&long, &values, &guest),
        Err(Undecidable::TooMuchWork)
    );
}

#[test]
fn a_rule_denies_rows_it_was_not_made_for() {
    let rule = compile_for(&collection(), "t != 'x'", RuleUse::Rule).expect("a rule");
    let filter = compile_for(&collection(), "t != 'x'", RuleUse::Filter).expect("a filter");
    let missing = Err(Undecidable::FieldMissing {
        name: "t".to_owned(),
    });
    let mut other_key = collection();
    other_key.key = crate::catalog::CollectionKey(2);
    let mut hidden = collection();
    hidden.fields[1].hidden = true;
    let moved = collection_of(&[("u", FieldKind::Text), ("t", FieldKind::Text)]);
    let dropped = collection_of(&[("u", FieldKind::Text)]);
    let retyped = collection_of(&[("t", FieldKind::Number)]);
    for (what, collection, by_rule, by_filter) in [
        ("the same", collection(), Ok(true), Ok(true)),
        ("moved", moved, Ok(true), Ok(true)),
        ("dropped", dropped, missing.clone(), missing.clone()),
        ("retyped", retyped, missing.clone(), missing.clone()),
        ("hidden", hidden, Ok(true), missing.clone()),
        (
            "other",
            other_key,
            Err(Undecidable::OtherCollection),
            Err(Undecidable::OtherCollection),
        ),
    ] {
        let image = image(&collection, &json!({"t": "y"}));
        let id = RecordId("1".into());
        let row = Row::now(&collection, &id, &image);
        let asking = Asking::guest();
        assert_eq!(rule.decide(row, &asking.context()), by_rule, "{what}");
        assert_eq!(filter.decide(row, &asking.context()), by_filter, "{what}");
    }
}

#[test]
fn a_value_that_was_not_captured_is_not_empty() {
    let collection = collection();
    let nothing = vec![None; collection.fields.len()];
    let image = RowImage::new("{}".into(), nothing.into());
    let id = RecordId("1".into());
    let row = Row::now(&collection, &id, &image);
    let rule = compile("t = ''").expect("a rule");
    let decided = rule.decide(row, &Asking::guest().context());
    assert!(
        matches!(decided, Err(Undecidable::FieldMissing { .. })),
        "{decided:?}"
    );
}

#[test]
fn a_field_called_like_a_word_is_the_field() {
    let collection = collection_of(&[("true", FieldKind::Text), ("tags", list(FieldKind::Text))]);
    let rule = compile_for(&collection, "true = 'x' && TRUE = 1", RuleUse::Rule);
    let image = image(&collection, &json!({"true": "x"}));
    let id = RecordId("1".into());
    let row = Row::now(&collection, &id, &image);
    let decided = rule
        .expect("a rule")
        .decide(row, &Asking::guest().context());
    assert_eq!(decided, Ok(true));
}

fn operand() -> impl Strategy<Value = Operand> {
    let name = prop_oneof![
        "[a-z_@#][a-zA-Z0-9_]{1,5}([.:][a-z0-9]{1,4}){0,3}",
        Just("@request.auth.id".to_owned()),
    ];
    let leaf = prop_oneof![
        name.prop_map(OperandKind::Name),
        (-1e9..1e9).prop_map(OperandKind::Number),
        any::<i32>().prop_map(|number| OperandKind::Number(number.into())),
        "[^\\x00]{0,12}".prop_map(OperandKind::Text),
        r#"[\\'"%_nu0d8]{0,12}"#.prop_map(OperandKind::Text),
    ];
    let plain = |kind| Operand {
        kind,
        span: Span::default(),
    };
    leaf.prop_map(plain).prop_recursive(3, 8, 3, move |inner| {
        let arguments = prop::collection::vec(inner, 0..3);
        ("[a-z]{2,5}", arguments)
            .prop_map(move |(name, arguments)| plain(OperandKind::Call(Call { name, arguments })))
    })
}

fn expression() -> impl Strategy<Value = Expression> {
    let operator = (prop::sample::select(&Sign::ALL[..]), any::<bool>());
    let comparison = (operand(), operator, operand()).prop_map(|(left, (sign, any), right)| {
        Expression::Comparison(Comparison {
            left,
            operator: Operator { sign, any },
            right,
        })
    });
    comparison.prop_recursive(4, 24, 4, |inner| {
        let parts = prop::collection::vec(inner, 2..4);
        (parts, any::<bool>()).prop_map(|(parts, and)| match and {
            true => Expression::And(parts),
            false => Expression::Or(parts),
        })
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Err(error) = compile(&text) {
            let _ = error.to_string();
        }
    }

    #[test]
    fn texts_of_tokens_are_read_or_refused(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "t", "n", "s:each", "j.a.0", "@now", "@request.auth.id", "@request.query.n", "null",
            "'x'", "\"y\\", "1", "-2.5", "=", "!=", "?=", "~", "?!~", "<", "&&", "||", "(", ")",
            "geoDistance(", "strftime('%Y',", ",", " ", "\n", "// x\n", "é", "\\", "'", ":lower",
            "@collection.a.b", "owner.x", ".",
        ]), 0..30)
    ) {
        let text = tokens.concat();
        match compile(&text) {
            Err(error) => {
                let _ = error.to_string();
            }
            Ok(_) => {
                let row = json!({"id": 1, "t": "x", "n": 1, "s": ["x", "y"], "j": {"a": [1]}});
                let _ = decide_row(&text, &row, &Asking::user());
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_same(expression in expression()) {
        let printed = expression.to_string();
        let read = parse(&printed);
        prop_assert!(read.is_ok(), "{printed}: {read:?}");
        prop_assert_eq!(read.expect("just checked").to_string(), printed);
    }

    #[test]
    fn any_json_can_be_asked_about(text in any::<String>(), number in any::<f64>()) {
        let values: Value = json!({
            "id": 1, "t": text, "n": number, "d": text, "j": {"a": [text, number]}, "s": [text, null],
        });
        let rule = "t ~ u || n > m || d < @now && j.a.1 != n || s:each ?= t || strftime('%J', d) = t";
        prop_assert!(decide_row(rule, &values, &Asking::user()).is_ok());
    }
}
