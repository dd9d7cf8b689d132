//! Renders a replacement field: its indexes, its conversion, and its format specification applied to any value.
//!
//! In: a [`Value`] and a [`Spec`]. Out: characters appended to a line, or that Python raises. Pure.
//! Not here: reading the specification (`brace_spec.rs`); numbers (`brace_number.rs`).

use std::borrow::Cow;

use logserv_wire::value::Value;

use crate::attribute::Scope;
use crate::brace::{Field, FieldSpec, Index};
use crate::brace_number::{push_float, push_integer};
use crate::brace_spec::{Align, Spec};
use crate::formatter::RenderError;
use crate::integer::Integer;
use crate::repr::{self, Doubt, Text};
use crate::text::{chars, fill, first};

pub(crate) const INVALID_SPEC: RenderError = RenderError::Unsupported {
    what: "a format specification on which Python raises",
};
const NO_ITEM: RenderError = RenderError::Unsupported {
    what: "an index that the value does not have; Python raises",
};

impl Field {
    /// Appends this field to `out`.
    pub(crate) fn push(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), RenderError> {
        let named = scope.get(self.name)?;
        let mut value = Cow::Borrowed(&*named);
        for index in &self.path {
            value = Cow::Owned(item(&value, index)?);
        }
        let nested;
        let spec = match &self.spec {
            FieldSpec::Fixed(spec) => spec,
            FieldSpec::Nested(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    piece.push(scope, &mut text)?;
                }
                nested = Spec::parse(&text).map_err(|_| INVALID_SPEC)?;
                &nested
            }
        };
        match self.conversion {
            None => push(&value, spec, scope.doubt, out),
            Some(conversion) => {
                let mut text = String::new();
                repr::push(&value, conversion, scope.doubt, &mut text)?;
                push_text(&text, spec, out)
            }
        }
    }
}

/// `value[index]`.
fn item<'v>(value: &Value<'v>, index: &Index) -> Result<Value<'v>, RenderError> {
    let found = match (value, index) {
        (Value::List(items) | Value::Tuple(items), Index::Number(at)) => items.get(*at).cloned(),
        (Value::Str(text), Index::Number(at)) => text
            .chars()
            .nth(*at)
            .map(|character| Value::Str(Cow::Owned(character.into()))),
        (Value::Bytes(bytes), Index::Number(at)) => bytes.get(*at).map(|&byte| Value::Int(byte.into())),
        (Value::Dict(pairs), Index::Number(number)) => pairs
            .iter()
            .find(|(key, _)| equals(key, *number))
            .map(|(_, value)| value.clone()),
        (Value::Dict(pairs), Index::Text(text)) => pairs
            .iter()
            .find(|(key, _)| matches!(key, Value::Str(key) if **key == **text))
            .map(|(_, value)| value.clone()),
        _ => None,
    };
    found.ok_or(NO_ITEM)
}

/// Whether a key is the integer `number`: `1`, `1.0` and `True` are the same key.
fn equals(key: &Value<'_>, number: usize) -> bool {
    let Ok(number) = i64::try_from(number) else {
        return false;
    };
    match key {
        #[expect(clippy::cast_precision_loss, reason = "compared as integer as well")]
        Value::Float(key) => *key == number as f64 && Integer::truncate(*key) == Some(Integer::Small(number)),
        _ => Integer::of(key) == Some(Integer::Small(number)),
    }
}

/// `format(value, spec)`.
fn push(value: &Value<'_>, spec: &Spec, doubt: Doubt, out: &mut String) -> Result<(), RenderError> {
    if spec.is_empty() {
        return repr::push(value, Text::Str, doubt, out);
    }
    match value {
        Value::Str(text) => push_text(text, spec, out),
        Value::Float(number) => push_float(*number, spec, out),
        _ => match Integer::of(value) {
            Some(integer) => push_integer(&integer, spec, out),
            None => Err(INVALID_SPEC),
        },
    }
}

fn push_text(text: &str, spec: &Spec, out: &mut String) -> Result<(), RenderError> {
    let is_of_numbers =
        spec.sign.is_some() || spec.no_negative_zero || spec.alternate || spec.grouping.is_some();
    if is_of_numbers || spec.align == Some(Align::AfterSign) || !matches!(spec.kind, None | Some(b's')) {
        return Err(INVALID_SPEC);
    }
    let text = match spec.precision {
        Some(precision) => first(text, precision),
        None => text,
    };
    let padding = spec.width.map_or(0, |width| width.saturating_sub(chars(text)));
    let before = match spec.align {
        Some(Align::Right) => padding,
        Some(Align::Center) => padding / 2,
        _ => 0,
    };
    let fill_character = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    fill(out, fill_character, before);
    out.push_str(text);
    fill(out, fill_character, padding - before);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(spec: &str, value: &Value<'_>) -> Result<String, RenderError> {
        let mut out = String::new();
        push(value, &Spec::parse(spec).unwrap(), Doubt::Refuse, &mut out).map(|()| out)
    }

    #[test]
    fn texts_are_those_of_python() {
        for (spec, expected) in [
            ("", "häß"),
            ("6", "häß   "),
            (">6", "   häß"),
            ("*^6", "*häß**"),
            (".2", "hä"),
            ("05", "häß00"),
            ("é<4.1s", "hééé"),
            ("0", "häß"),
            ("2", "häß"),
        ] {
            assert_eq!(
                render(spec, &Value::Str("häß".into())).unwrap(),
                expected,
                "{spec}"
            );
        }
    }

    #[test]
    fn integers_are_those_of_python() {
        for (spec, number, expected) in [
            ("d", 42, "42"),
            ("6", -42, "   -42"),
            ("06", -42, "-00042"),
            ("<6", 42, "42    "),
            ("^7", 42, "  42   "),
            ("*=+6", 42, "+***42"),
            (" ", 42, " 42"),
            (",", 1_234_567, "1,234,567"),
            ("_", -1_234_567, "-1_234_567"),
            ("010,", 1234, "00,001,234"),
            ("09,", 1234, "0,001,234"),
            ("08,", 1234, "0,001,234"),
            ("x", 255, "ff"),
            ("#X", 255, "0XFF"),
            ("#010x", 255, "0x000000ff"),
            ("_b", 255, "1111_1111"),
            ("#_x", 1 << 40, "0x100_0000_0000"),
            ("#o", -8, "-0o10"),
            ("c", 0x20ac, "€"),
            ("05c", 65, "0000A"),
            (".2f", 42, "42.00"),
            ("%", 1, "100.000000%"),
            ("e", 12345, "1.234500e+04"),
        ] {
            assert_eq!(render(spec, &Value::Int(number)).unwrap(), expected, "{spec}");
        }
        assert_eq!(render("5", &Value::Bool(true)).unwrap(), "    1");
        assert_eq!(render("", &Value::Bool(true)).unwrap(), "True");
    }

    #[test]
    fn floats_are_those_of_python() {
        for (spec, number, expected) in [
            ("10", 1.5, "       1.5"),
            ("+", 1.0, "+1.0"),
            (",", 1_234_567.5, "1,234,567.5"),
            (".3", 1234.0, "1.23e+03"),
            (".5", 1234.0, "1234.0"),
            (".4", 1234.0, "1.234e+03"),
            ("015,.2f", -1234.5, "-000,001,234.50"),
            ("#.0f", 3.0, "3."),
            ("g", 1e6, "1e+06"),
            ("G", 1e-7, "1E-07"),
            (".1%", 0.123, "12.3%"),
            ("08", f64::INFINITY, "00000inf"),
            ("F", f64::NAN, "NAN"),
            ("z.1f", -0.04, "0.0"),
            (".1f", -0.04, "-0.0"),
            ("z", -0.0, "0.0"),
            ("_.1f", 1e7, "10_000_000.0"),
        ] {
            assert_eq!(
                render(spec, &Value::Float(number)).unwrap(),
                expected,
                "{spec} {number}"
            );
        }
    }

    #[test]
    fn where_python_raises_there_is_no_line() {
        for (spec, value) in [
            ("d", Value::Str("1".into())),
            ("=5", Value::Str("1".into())),
            ("+", Value::Str("1".into())),
            (",", Value::Str("1".into())),
            ("#", Value::Str("1".into())),
            ("z", Value::Int(1)),
            ("s", Value::Int(1)),
            (".2", Value::Int(1)),
            (",x", Value::Int(1)),
            ("+c", Value::Int(65)),
            ("c", Value::Int(-1)),
            ("d", Value::Float(1.0)),
            ("s", Value::Float(1.0)),
            ("_x", Value::Float(1.0)),
            ("5", Value::None),
            (">5", Value::List(vec![])),
            ("f", Value::BigInt("9".repeat(400).into())),
        ] {
            assert!(render(spec, &value).is_err(), "{spec} {value:?}");
        }
    }

    #[test]
    fn indexes_find_what_python_finds() {
        let dict = Value::Dict(vec![
            (Value::Bool(true), Value::Int(7)),
            (Value::Str("k".into()), Value::Int(8)),
        ]);
        assert_eq!(item(&dict, &Index::Number(1)), Ok(Value::Int(7)));
        assert_eq!(item(&dict, &Index::Text("k".into())), Ok(Value::Int(8)));
        assert!(item(&dict, &Index::Number(0)).is_err());
        assert_eq!(
            item(&Value::Str("äb".into()), &Index::Number(1)),
            Ok(Value::Str("b".into()))
        );
        assert!(item(&Value::Tuple(vec![]), &Index::Number(0)).is_err());
        assert!(item(&Value::Int(3), &Index::Number(0)).is_err());
    }
}
