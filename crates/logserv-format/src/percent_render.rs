//! Applies a `%` conversion to a value, as CPython's `unicode_format_arg_format` does.
//!
//! In: a [`Value`] and a [`Conversion`]. Out: characters appended to a line, or that Python raises. Pure.
//! Not here: reading the format (`percent.rs`).

use logserv_wire::value::Value;

use crate::float::{self, Notation};
use crate::formatter::RenderError;
use crate::integer::{Integer, Radix};
use crate::percent::{Conversion, FloatLetter, Kind};
use crate::repr::{self, Doubt, Text};
use crate::text::{chars, fill, first};

const NOT_A_NUMBER: RenderError = RenderError::Unsupported {
    what: "a number is required; Python raises",
};

/// Digits behind the point where a conversion of a float names no precision.
const FLOAT_PRECISION: usize = 6;

/// Appends `value` as `conversion` says.
pub(crate) fn push(
    value: &Value<'_>,
    conversion: &Conversion,
    doubt: Doubt,
    out: &mut String,
) -> Result<(), RenderError> {
    match conversion.kind {
        Kind::Text(kind) => push_text(value, kind, conversion, doubt, out),
        Kind::Decimal => {
            let integer = match value {
                Value::Float(number) => Integer::truncate(*number),
                _ => Integer::of(value),
            };
            push_integer(&integer.ok_or(NOT_A_NUMBER)?, Radix::Decimal, "", conversion, out);
            Ok(())
        }
        Kind::Octal => {
            let integer = Integer::of(value).ok_or(NOT_A_NUMBER)?;
            push_integer(&integer, Radix::Octal, "0o", conversion, out);
            Ok(())
        }
        Kind::Hexadecimal { upper } => {
            let integer = Integer::of(value).ok_or(NOT_A_NUMBER)?;
            let start = out.len();
            push_integer(&integer, Radix::Hexadecimal, "0x", conversion, out);
            if upper && let Some(written) = out.get_mut(start..) {
                written.make_ascii_uppercase();
            }
            Ok(())
        }
        Kind::Float { letter, upper } => push_float(value, letter, upper, conversion, out),
        Kind::Character => push_character(value, conversion, out),
    }
}

/// The same for an integer, where [`Conversion::is_plain_decimal`] says that it is no more: most numbers of most lines.
pub(crate) fn push_decimal(number: i64, conversion: &Conversion, out: &mut String) {
    if conversion.width == 0
        && let Ok(number) = u64::try_from(number)
    {
        return push_digits(number, out);
    }
    let rest = number.unsigned_abs();
    let len = rest.checked_ilog10().unwrap_or(0) as usize + 1;
    push_number(number < 0, len, conversion, out, |out, padding_zeros| {
        fill(out, '0', padding_zeros);
        push_digits(rest, out);
    });
}

/// The numbers from 00 to 99.
const PAIRS: &str = "0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869\
    707172737475767778798081828384858687888990919293949596979899";

/// Appends a number in decimal digits.
pub(crate) fn push_digits(number: u64, out: &mut String) {
    match number {
        0..10 => out.push(char::from(b'0' + (number % 10) as u8)),
        10..100 => push_pair(number as usize, out),
        _ => {
            push_digits(number / 100, out);
            push_pair((number % 100) as usize, out);
        }
    }
}

/// Two digits: copied without a call, and known to be text.
#[inline]
fn push_pair(number: usize, out: &mut String) {
    out.push_str(PAIRS.get(2 * number..2 * number + 2).unwrap_or_default());
}

fn push_text(
    value: &Value<'_>,
    kind: Text,
    conversion: &Conversion,
    doubt: Doubt,
    out: &mut String,
) -> Result<(), RenderError> {
    if conversion.width == 0 && conversion.precision.is_none() {
        return repr::push(value, kind, doubt, out);
    }
    if let (Value::Str(text), Text::Str) = (value, kind) {
        push_padded(text, conversion, out);
    } else {
        let mut text = String::new();
        repr::push(value, kind, doubt, &mut text)?;
        push_padded(&text, conversion, out);
    }
    Ok(())
}

/// Appends a text as `%s` with a width or a precision does.
pub(crate) fn push_padded(text: &str, conversion: &Conversion, out: &mut String) {
    let text = match conversion.precision {
        Some(precision) => first(text, precision),
        None => text,
    };
    let padding = conversion
        .width
        .saturating_sub(if conversion.width == 0 { 0 } else { chars(text) });
    if !conversion.left {
        fill(out, ' ', padding);
    }
    out.push_str(text);
    if conversion.left {
        fill(out, ' ', padding);
    }
}

/// `prefix` is written only with `#`. The precision is the least number of digits.
fn push_integer(integer: &Integer, radix: Radix, prefix: &str, conversion: &Conversion, out: &mut String) {
    let digits = integer.digits(radix);
    let zeros = conversion
        .precision
        .unwrap_or(0)
        .saturating_sub(digits.as_str().len());
    let prefix = if conversion.alternate { prefix } else { "" };
    let len = prefix.len() + zeros + digits.as_str().len();
    push_number(digits.negative, len, conversion, out, |out, padding_zeros| {
        out.push_str(prefix);
        fill(out, '0', padding_zeros + zeros);
        out.push_str(digits.as_str());
    });
}

fn push_float(
    value: &Value<'_>,
    letter: FloatLetter,
    upper: bool,
    conversion: &Conversion,
    out: &mut String,
) -> Result<(), RenderError> {
    let number = match value {
        Value::Float(number) => *number,
        _ => Integer::of(value)
            .and_then(|integer| integer.to_float())
            .ok_or(NOT_A_NUMBER)?,
    };
    let notation = match letter {
        FloatLetter::E => Notation::Exponent,
        FloatLetter::F => Notation::Fixed,
        FloatLetter::G => Notation::General,
    };
    let float = float::Conversion {
        notation,
        upper,
        precision: conversion.precision.unwrap_or(FLOAT_PRECISION),
        alternate: conversion.alternate,
        add_dot_0: false,
        no_negative_zero: false,
    };
    if conversion.width == 0 && !conversion.plus && !conversion.blank {
        float::push(number, &float, out);
        return Ok(());
    }
    let mut text = String::new();
    float::push(number, &float, &mut text);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    push_number(negative, digits.len(), conversion, out, |out, padding_zeros| {
        fill(out, '0', padding_zeros);
        out.push_str(digits);
    });
    Ok(())
}

/// Sign and padding around the `len` characters that `body` writes; it is told how many zeros go before its digits.
fn push_number(
    negative: bool,
    len: usize,
    conversion: &Conversion,
    out: &mut String,
    body: impl FnOnce(&mut String, usize),
) {
    let sign = match (negative, conversion.plus, conversion.blank) {
        (true, _, _) => Some('-'),
        (false, true, _) => Some('+'),
        (false, false, true) => Some(' '),
        (false, false, false) => None,
    };
    let padding = conversion.width.saturating_sub(len + usize::from(sign.is_some()));
    let spaces_before = if conversion.left || conversion.zero {
        0
    } else {
        padding
    };
    let zeros = if conversion.zero && !conversion.left {
        padding
    } else {
        0
    };
    fill(out, ' ', spaces_before);
    out.extend(sign);
    body(out, zeros);
    if conversion.left {
        fill(out, ' ', padding);
    }
}

fn push_character(value: &Value<'_>, conversion: &Conversion, out: &mut String) -> Result<(), RenderError> {
    let character = match value {
        Value::Str(text) => {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        }
        _ => Integer::of(value).and_then(|integer| integer.to_char()),
    };
    let Some(character) = character else {
        return Err(RenderError::Unsupported {
            what: "%c requires one character; Python raises",
        });
    };
    let conversion = Conversion {
        precision: None,
        ..*conversion
    };
    push_padded(character.encode_utf8(&mut [0; 4]), &conversion, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percent::{Part, parse};

    fn render(format: &str, value: &Value<'_>) -> Result<String, RenderError> {
        let mut out = String::new();
        let mut result = Ok(());
        parse(format, |part| {
            if let (Part::Field(_, conversion), true) = (part, result.is_ok()) {
                result = push(value, &conversion, Doubt::Refuse, &mut out);
            }
            Ok(())
        })
        .unwrap();
        result.map(|()| out)
    }

    #[test]
    fn integers_are_those_of_python() {
        for (format, number, expected) in [
            ("%d", 42, "42"),
            ("%5d", -42, "  -42"),
            ("%-5d", 42, "42   "),
            ("%-05d", 2, "2    "),
            ("%05d", -42, "-0042"),
            ("%+05d", 42, "+0042"),
            ("% d", 42, " 42"),
            ("%.4d", -42, "-0042"),
            ("%7.4d", 42, "   0042"),
            ("%07.4d", 42, "0000042"),
            ("%#x", 255, "0xff"),
            ("%#08X", 255, "0X0000FF"),
            ("%#8o", -8, "   -0o10"),
            ("%x", -255, "-ff"),
            ("%#.4x", 255, "0x00ff"),
            ("%5c", 65, "    A"),
            ("%-3.0c", 65, "A  "),
            ("%s", 65, "65"),
            ("%.1s", 65, "6"),
            ("%+5s", 65, "   65"),
            ("%f", 3, "3.000000"),
        ] {
            assert_eq!(render(format, &Value::Int(number)).unwrap(), expected, "{format}");
        }
    }

    #[test]
    fn floats_are_those_of_python() {
        for (format, number, expected) in [
            ("%d", -2.9, "-2"),
            ("%03d", 7.9, "007"),
            ("%d", 1e23, "99999999999999991611392"),
            ("%08.2f", -2.71, "-0002.71"),
            ("%05f", f64::INFINITY, "00inf"),
            ("%+F", f64::NAN, "+NAN"),
            ("%-9.1e|", 12345.0, "1.2e+04  "),
            ("%#.3g", 1.0, "1.00"),
            ("%s", 1e16, "1e+16"),
            ("%r", 0.1, "0.1"),
        ] {
            assert_eq!(
                render(format, &Value::Float(number)).unwrap(),
                expected,
                "{format}"
            );
        }
    }

    #[test]
    fn the_short_way_of_an_integer_gives_what_the_long_one_gives() {
        let numbers = [0, 7, -7, 42, -4200, 1_700_000_000, i64::MAX, i64::MIN];
        for format in ["%d", "%i", "%5d", "%-5d", "%05d", "%-05d", "%#d", "%40d", "%040d"] {
            for number in numbers {
                let mut short = String::new();
                parse(format, |part| {
                    if let Part::Field(_, conversion) = part {
                        assert!(conversion.is_plain_decimal());
                        push_decimal(number, &conversion, &mut short);
                    }
                    Ok(())
                })
                .unwrap();
                assert_eq!(
                    Ok(short),
                    render(format, &Value::Int(number)),
                    "{format} {number}"
                );
            }
        }
        for format in ["%+d", "% d", "%.3d", "%x", "%s"] {
            parse(format, |part| {
                assert!(matches!(part, Part::Field(_, conversion) if !conversion.is_plain_decimal()));
                Ok(())
            })
            .unwrap();
        }
    }

    #[test]
    fn texts_are_padded_and_cut_by_characters() {
        for (format, expected) in [
            ("%s", "häß"),
            ("%5s", "  häß"),
            ("%-5s", "häß  "),
            ("%.2s", "hä"),
            ("%05.1s", "    h"),
            ("%a", "'h\\xe4\\xdf'"),
        ] {
            assert_eq!(
                render(format, &Value::Str("häß".into())).unwrap(),
                expected,
                "{format}"
            );
        }
    }

    #[test]
    fn where_python_raises_there_is_no_line() {
        for (format, value) in [
            ("%d", Value::Str("1".into())),
            ("%d", Value::None),
            ("%x", Value::Float(1.0)),
            ("%d", Value::Float(f64::NAN)),
            ("%f", Value::Str("1".into())),
            ("%f", Value::BigInt("9".repeat(400).into())),
            ("%c", Value::Str("ab".into())),
            ("%c", Value::Int(-1)),
            ("%c", Value::Int(0xd800)),
            ("%c", Value::Float(65.0)),
            ("%d", Value::List(vec![])),
        ] {
            assert!(render(format, &value).is_err(), "{format} {value:?}");
        }
    }
}
