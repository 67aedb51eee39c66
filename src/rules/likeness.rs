//! What equal values have in common, so that they are found by a hash.
//!
//! The language has several ideas of equality (see `compare`), by where the two sides come from: as they are, both as
//! numbers, both as texts, NULL as `''`, NULL as itself. A likeness serves all of them: values that are equal by any of
//! these have the same one. Others may have it, too, so it only ever narrows.
//!
//! * NULL and `''` are equal to each other only, but for NULL as itself: all are [`Likeness::Blank`].
//! * Two texts are equal byte by byte, or as the numbers that they look like: a text that looks like a number has that
//!   number's likeness, and any other its bytes.
//! * Two numbers are equal exactly, or as texts of 15 digits: a number has the likeness of what 15 digits say, which
//!   a double keeps wherever it is not too large or too small; all those that are have one likeness for each kind.
//! * A number and a text are equal if the text is that number's, or looks like it: in both cases reading the text as a
//!   number gives the number that 15 digits of it say. Only `Inf` and `-Inf` are written and not read, so they are told
//!   by name.

use super::value::{Value, real_text};

/// What equal values have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Likeness<'v> {
    Blank,
    Whole(i64),
    /// The bits of a number with a fraction.
    Real(u64),
    /// A number that 15 digits do not tell from its neighbours, or infinity.
    Huge,
    /// A number that is nearly nothing.
    Tiny,
    Text(&'v str),
}

impl<'v> Likeness<'v> {
    pub(super) fn of(value: &'v Value<'_>) -> Self {
        match value {
            Value::Null => Self::Blank,
            Value::Integer(integer) => Self::of_integer(*integer),
            Value::Real(real) => Self::of_real(*real),
            Value::Text(text) => Self::of_text(text),
        }
    }

    fn of_text(text: &'v str) -> Self {
        match text {
            "" => return Self::Blank,
            "Inf" | "-Inf" => return Self::Huge,
            _ => {}
        }
        match Value::text(text).numeric() {
            Value::Integer(integer) => Self::of_integer(integer),
            Value::Real(real) => Self::of_real(real),
            Value::Text(_) | Value::Null => Self::Text(text),
        }
    }

    fn of_integer(integer: i64) -> Self {
        /// 15 digits.
        const EXACT: u64 = 1_000_000_000_000_000;
        if integer.unsigned_abs() < EXACT {
            return Self::Whole(integer);
        }
        #[expect(clippy::cast_precision_loss, reason = "15 digits count")]
        Self::of_real(integer as f64)
    }

    fn of_real(real: f64) -> Self {
        const HUGE: f64 = 1e300;
        const TINY: f64 = 1e-290;
        const WHOLE: f64 = 1e15;
        // What is written can be read.
        let rounded: f64 = real_text(real).parse().unwrap_or(real);
        match rounded.abs() {
            0.0 => return Self::Whole(0),
            size if size < TINY => return Self::Tiny,
            size if size < HUGE => {}
            _ => return Self::Huge,
        }
        if rounded.fract() == 0.0 && rounded.abs() < WHOLE {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within limits")]
            return Self::Whole(rounded as i64);
        }
        Self::Real(rounded.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::compare::{Affinity, Origin, Side, equal};

    fn numbers() -> impl Strategy<Value = f64> {
        prop_oneof![
            proptest::num::f64::ANY,
            (-30_i32..30).prop_map(f64::from),
            (any::<i32>(), 0_i32..25).prop_map(|(n, e)| f64::from(n) / 10_f64.powi(e)),
            (any::<i64>()).prop_map(|n| n as f64),
            Just(0.1 + 0.2),
            Just(1e300),
            Just(1e-290),
            Just(f64::INFINITY),
        ]
    }

    /// Neighbours of a number in all spellings.
    fn spellings() -> impl Strategy<Value = Value<'static>> {
        (numbers(), -2_i64..=2, 0..9).prop_map(|(number, steps, way)| {
            let bits = i64::from_ne_bytes(number.to_ne_bytes()).wrapping_add(steps);
            let near = f64::from_ne_bytes(bits.to_ne_bytes());
            match way {
                0 => Value::real(near),
                1 => Value::Integer(near as i64),
                2 => Value::Integer((number as i64).wrapping_add(steps)),
                3 => Value::text(near.to_string()),
                4 => Value::text(real_text(near)),
                5 => Value::text(format!(" {near:e}\n")),
                6 => Value::text(format!("{}", near as i64)),
                7 => Value::text(format!("+0{:.1}", near)),
                _ => Value::real(near).numeric().stored_number(),
            }
        })
    }

    fn values() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            4 => spellings(),
            1 => Just(Value::Null),
            1 => Just(Value::text("")),
            1 => "[ a-bA1.e0+-]{0,4}".prop_map(Value::text),
            1 => prop::sample::select(vec!["Inf", "-Inf", "inf", "nan", "1e999", "0x1", "[]", "u1"])
                .prop_map(Value::text),
        ]
    }

    fn side<'v>(value: &'v Value<'v>, kind: usize) -> Side<'v> {
        let origin = [Origin::Bound, Origin::Json, Origin::Column][kind % 3];
        let affinity = [Affinity::None, Affinity::Text, Affinity::Numeric][kind / 3 % 3];
        Side {
            value: value.borrowed(),
            origin,
            affinity,
        }
    }

    /// Holds for all sides of these values.
    fn check(left: &Value<'_>, right: &Value<'_>) -> Result<(), TestCaseError> {
        for (l, r) in (0..9).flat_map(|l| (0..9).map(move |r| (l, r))) {
            let (one, other) = (side(left, l), side(right, r));
            if equal(&one, &other) == Some(true) {
                let alike = Likeness::of(left) == Likeness::of(right);
                prop_assert!(alike, "{one:?} equals {other:?}");
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_is_equal_is_alike(left in values(), right in values()) {
            check(&left, &right)?;
        }

        #[test]
        fn every_spelling_of_a_number_is_like_it(number in numbers()) {
            let real = Value::real(number);
            let integer = Value::Integer(number as i64);
            for value in [&real, &integer] {
                let text = value.to_text().map_or(Value::Null, |text| Value::text(text.into_owned()));
                let read = text.borrowed().numeric();
                let stored = value.borrowed().stored_number();
                let spelled = Value::text(number.to_string());
                for other in [&text, &read, &stored, &spelled, &real, &integer] {
                    check(value, other)?;
                }
            }
        }
    }

    #[test]
    fn what_differs_is_mostly_not_alike() {
        let different = ["", "u1", "u2", "1", "1.5", "Inf", "1e-300", "[]"].map(Value::text);
        for (index, one) in different.iter().enumerate() {
            for other in &different[..index] {
                assert_ne!(Likeness::of(one), Likeness::of(other), "{one:?} {other:?}");
            }
        }
    }
}
