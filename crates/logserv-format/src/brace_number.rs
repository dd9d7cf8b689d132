//! Numbers by a format specification, as `int.__format__` and `float.__format__` write them: sign, prefix, grouped digits.
//!
//! In: a number and a [`Spec`]. Out: characters appended to a line, or that Python raises. Pure.
//! Not here: which value is a number (`brace_render.rs`, where the tests are as well); digits (`integer.rs`, `float.rs`).

use std::borrow::Cow;

use crate::brace_render::INVALID_SPEC;
use crate::brace_spec::{Align, Grouping, Sign, Spec};
use crate::float::{self, Conversion, Notation};
use crate::formatter::RenderError;
use crate::integer::{Integer, Radix};
use crate::text::{chars, fill};

/// Digits behind the point where a type of a float names no precision.
const FLOAT_PRECISION: usize = 6;

/// The parts of a number, in the order in which they are written.
struct Number<'n> {
    negative: bool,
    prefix: &'n str,
    /// Digits before the point: the ones that are grouped.
    digits: &'n str,
    /// Point, fraction, exponent, percent sign; or all of a character, `inf` and `nan`.
    rest: &'n str,
    group_len: usize,
}

/// `int.__format__`.
pub(crate) fn push_integer(integer: &Integer, spec: &Spec, out: &mut String) -> Result<(), RenderError> {
    let (radix, prefix, group_len) = match spec.kind {
        None | Some(b'd') => (Radix::Decimal, "", 3),
        Some(b'b') => (Radix::Binary, "0b", 4),
        Some(b'o') => (Radix::Octal, "0o", 4),
        Some(b'x') => (Radix::Hexadecimal, "0x", 4),
        Some(b'X') => (Radix::Hexadecimal, "0X", 4),
        Some(b'c') => return push_character(integer, spec, out),
        Some(b's') => return Err(INVALID_SPEC),
        Some(_) => return push_float(integer.to_float().ok_or(INVALID_SPEC)?, spec, out),
    };
    let commas_fit = radix == Radix::Decimal || spec.grouping != Some(Grouping::Comma);
    if spec.precision.is_some() || spec.no_negative_zero || !commas_fit {
        return Err(INVALID_SPEC);
    }
    let digits = integer.digits(radix);
    let mut text = Cow::Borrowed(digits.as_str());
    if spec.kind == Some(b'X') {
        text.to_mut().make_ascii_uppercase();
    }
    let prefix = if spec.alternate { prefix } else { "" };
    push_number(
        &Number {
            negative: digits.negative,
            prefix,
            digits: &text,
            rest: "",
            group_len,
        },
        spec,
        out,
    );
    Ok(())
}

fn push_character(integer: &Integer, spec: &Spec, out: &mut String) -> Result<(), RenderError> {
    let is_of_numbers =
        spec.sign.is_some() || spec.alternate || spec.no_negative_zero || spec.grouping.is_some();
    if is_of_numbers || spec.precision.is_some() {
        return Err(INVALID_SPEC);
    }
    let character = integer.to_char().ok_or(INVALID_SPEC)?;
    let rest = character.encode_utf8(&mut [0; 4]).to_owned();
    push_number(
        &Number {
            negative: false,
            prefix: "",
            digits: "",
            rest: &rest,
            group_len: 3,
        },
        spec,
        out,
    );
    Ok(())
}

/// `float.__format__`.
pub(crate) fn push_float(number: f64, spec: &Spec, out: &mut String) -> Result<(), RenderError> {
    let (notation, upper) = match spec.kind {
        // Without a type: like `repr`, with a precision like `g`, but always with a digit behind the point.
        None if spec.precision.is_none() => (Notation::Shortest, false),
        None | Some(b'g') => (Notation::General, false),
        Some(b'G') => (Notation::General, true),
        Some(b'e') => (Notation::Exponent, false),
        Some(b'E') => (Notation::Exponent, true),
        Some(b'f' | b'%') => (Notation::Fixed, false),
        Some(b'F') => (Notation::Fixed, true),
        Some(_) => return Err(INVALID_SPEC),
    };
    let conversion = Conversion {
        notation,
        upper,
        precision: spec.precision.unwrap_or(FLOAT_PRECISION),
        alternate: spec.alternate,
        add_dot_0: spec.kind.is_none(),
        no_negative_zero: spec.no_negative_zero,
    };
    let is_percent = spec.kind == Some(b'%');
    let mut text = String::new();
    float::push(
        if is_percent { number * 100.0 } else { number },
        &conversion,
        &mut text,
    );
    if is_percent {
        text.push('%');
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.as_str()),
    };
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    push_number(
        &Number {
            negative,
            prefix: "",
            digits,
            rest,
            group_len: 3,
        },
        spec,
        out,
    );
    Ok(())
}

/// `calc_number_widths` and `fill_number` of CPython's `formatter_unicode.c`.
fn push_number(number: &Number<'_>, spec: &Spec, out: &mut String) {
    let sign = match (number.negative, spec.sign) {
        (true, _) => Some('-'),
        (false, Some(Sign::Plus)) => Some('+'),
        (false, Some(Sign::Space)) => Some(' '),
        (false, _) => None,
    };
    let zero_fill = spec.zero && spec.fill.is_none();
    let fill_character = spec.fill.unwrap_or(if zero_fill { '0' } else { ' ' });
    let align = spec
        .align
        .unwrap_or(if zero_fill { Align::AfterSign } else { Align::Right });
    let fixed = usize::from(sign.is_some()) + number.prefix.len() + chars(number.rest);
    let width = spec.width.unwrap_or(0);
    let digits_min = if fill_character == '0' && align == Align::AfterSign {
        width.saturating_sub(fixed)
    } else {
        0
    };
    let separator = spec.grouping.map(|grouping| match grouping {
        Grouping::Comma => ',',
        Grouping::Underscore => '_',
    });
    let grouped = match number.digits {
        "" => Cow::Borrowed(""),
        digits => group(digits, separator, number.group_len, digits_min),
    };
    let padding = width.saturating_sub(fixed + grouped.len());
    let (before, inside) = match align {
        Align::Left => (0, 0),
        Align::Right => (padding, 0),
        Align::Center => (padding / 2, 0),
        Align::AfterSign => (0, padding),
    };
    fill(out, fill_character, before);
    out.extend(sign);
    out.push_str(number.prefix);
    fill(out, fill_character, inside);
    out.push_str(&grouped);
    out.push_str(number.rest);
    fill(out, fill_character, padding - before - inside);
}

/// `digits` with zeros before them to at least `len_min` characters, separators counted: a separator never comes first,
/// a zero does instead, so that it may be one more.
fn group<'d>(digits: &'d str, separator: Option<char>, group_len: usize, len_min: usize) -> Cow<'d, str> {
    let Some(separator) = separator else {
        if digits.len() >= len_min {
            return Cow::Borrowed(digits);
        }
        return Cow::Owned(format!("{digits:0>len_min$}"));
    };
    let mut backwards = String::new();
    let mut rest = digits.bytes().rev();
    let mut len_in_group = 0;
    let mut next = rest.next();
    while next.is_some() || backwards.len() < len_min || len_in_group == 0 {
        if len_in_group == group_len {
            backwards.push(separator);
            len_in_group = 0;
        }
        backwards.push(next.map_or('0', char::from));
        len_in_group += 1;
        next = rest.next();
    }
    Cow::Owned(backwards.chars().rev().collect())
}
