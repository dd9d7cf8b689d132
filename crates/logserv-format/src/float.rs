//! Python floats as text: `repr`, and the conversions `e`, `f` and `g` as `PyOS_double_to_string` writes them.
//!
//! In: a double and what is asked of it. Out: its text, a leading `-` included. Pure.
//! Not here: width, `+`, grouping; the styles add those.

use crate::percent_render::push_digits;
use crate::text::fill;

/// Which conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `e`: with exponent, precision counts digits behind the point.
    Exponent,
    /// `f`: without.
    Fixed,
    /// `g`: whichever suits, precision counts all digits.
    General,
    /// The shortest digits that read back as the same double.
    Shortest,
}

/// How a double is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversion {
    pub(crate) notation: Notation,
    /// `E`, `INF` instead of `e`, `inf`.
    pub(crate) upper: bool,
    /// Not looked at by [`Notation::Shortest`].
    pub(crate) precision: usize,
    /// `#`: the decimal point is always written, `g` keeps trailing zeros.
    pub(crate) alternate: bool,
    /// At least one digit behind the point where there is no exponent.
    pub(crate) add_dot_0: bool,
    /// `z`: what rounds to zero loses its sign.
    pub(crate) no_negative_zero: bool,
}

/// Appends `repr(number)`, which is also `str(number)`.
pub(crate) fn push_repr(number: f64, out: &mut String) {
    let conversion = Conversion {
        notation: Notation::Shortest,
        upper: false,
        precision: 0,
        alternate: false,
        add_dot_0: true,
        no_negative_zero: false,
    };
    push(number, &conversion, out);
}

/// Appends `number` as `conversion` says.
pub(crate) fn push(number: f64, conversion: &Conversion, out: &mut String) {
    if number.is_nan() {
        out.push_str(if conversion.upper { "NAN" } else { "nan" });
        return;
    }
    let start = out.len();
    let magnitude = number.abs();
    if magnitude.is_infinite() {
        out.push_str(if conversion.upper { "INF" } else { "inf" });
    } else {
        push_finite(magnitude, conversion, out);
    }
    if number.is_sign_negative()
        && !(conversion.no_negative_zero && is_zero(out.get(start..).unwrap_or_default()))
    {
        out.insert(start, '-');
    }
}

/// Whether only zeros were written, whatever the exponent.
fn is_zero(text: &str) -> bool {
    text.bytes()
        .take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'))
        .all(|byte| matches!(byte, b'0' | b'.'))
}

fn push_finite(magnitude: f64, conversion: &Conversion, out: &mut String) {
    let precision = conversion.precision;
    match conversion.notation {
        Notation::Fixed => {
            if !push_fixed(magnitude, precision, out) {
                push_fmt(out, format_args!("{magnitude:.precision$}"));
            }
            if precision == 0 && conversion.alternate {
                out.push('.');
            }
        }
        Notation::Exponent => {
            let (digits, exponent) = digits(magnitude, Some(precision));
            push_scientific(&digits, precision + 1, exponent, conversion, out);
        }
        Notation::General => {
            let precision = precision.max(1);
            let (mut digits, exponent) = digits(magnitude, Some(precision - 1));
            digits.truncate(digits.trim_end_matches('0').len().max(1));
            let point = exponent + 1; // digits before the decimal point, in positional notation
            let kept = if conversion.alternate {
                precision
            } else {
                digits.len()
            };
            let positional_max =
                i32::try_from(precision).unwrap_or(i32::MAX) - i32::from(conversion.add_dot_0);
            if point <= -4 || point > positional_max {
                push_scientific(&digits, kept, exponent, conversion, out);
            } else {
                push_positional(&digits, kept, point, conversion, out);
            }
        }
        Notation::Shortest => {
            let (digits, exponent) = shortest_digits(magnitude);
            let point = exponent + 1;
            if point <= -4 || point > 16 {
                push_scientific(&digits, digits.len(), exponent, conversion, out);
            } else {
                push_positional(&digits, digits.len(), point, conversion, out);
            }
        }
    }
}

/// Digits behind the point that [`push_fixed`] can do: 10 to this, times a significand of 53 bits, has at most 120 bits.
const FIXED_PRECISION_MAX: usize = 20;

/// Appends a number below 2 to the 63rd with so many digits behind the point, correctly rounded, ties to even, by whole numbers
/// alone: a fraction of what the general way costs where the digits end there, as those of money do. `false`: not done.
fn push_fixed(magnitude: f64, precision: usize, out: &mut String) -> bool {
    const SIGNIFICAND_BITS: u32 = 52;
    let bits = magnitude.to_bits();
    let exponent = (bits >> SIGNIFICAND_BITS) as u32 & 0x7ff;
    let fraction = bits & ((1 << SIGNIFICAND_BITS) - 1);
    // The number is `significand` over 2 to the `shift`. Subnormal and large ones are left to the general way.
    let significand = fraction | 1 << SIGNIFICAND_BITS;
    let Some(shift) = (1023 + SIGNIFICAND_BITS).checked_sub(exponent) else {
        return false;
    };
    if magnitude != 0.0 && (exponent == 0 || shift >= 127) || precision > FIXED_PRECISION_MAX {
        return false;
    }
    let (significand, shift) = if magnitude == 0.0 {
        (0, 0)
    } else {
        (significand, shift)
    };
    let scale = 10_u128.pow(precision as u32);
    let scaled = u128::from(significand) * scale;
    let (mut whole, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
    if shift > 0 {
        let half = 1_u128 << (shift - 1);
        whole += u128::from(rest > half || rest == half && whole & 1 == 1);
    }
    let (before, behind) = (whole / scale, whole % scale);
    let (Ok(before), Ok(behind)) = (u64::try_from(before), u64::try_from(behind)) else {
        return false;
    };
    push_digits(before, out);
    if precision > 0 {
        out.push('.');
        let len = behind.checked_ilog10().unwrap_or(0) as usize + 1;
        fill(out, '0', precision - len.min(precision));
        push_digits(behind, out);
    }
    true
}

/// The shortest digits that read back as the same double. Where the two nearest ones are equally near, Python takes the even one,
/// Rust the larger: `1125899906842624.25` has only one digit behind the point.
fn shortest_digits(magnitude: f64) -> (String, i32) {
    const TIED_LEN_MIN: usize = 15; // doubles of fewer digits are further apart than half a digit
    let (shortest, exponent) = digits(magnitude, None);
    if shortest.len() < TIED_LEN_MIN {
        return (shortest, exponent);
    }
    let behind = shortest.len() - 1;
    let rounded = format!("{magnitude:.behind$e}");
    if rounded.parse() == Ok(magnitude) {
        let (rounded, rounded_exponent) = digits(magnitude, Some(behind));
        if !rounded.ends_with('0') {
            return (rounded, rounded_exponent);
        }
    }
    (shortest, exponent)
}

/// Decimal digits of `magnitude`, correctly rounded to `behind` digits behind the first, or the shortest; and the
/// exponent of the first digit.
fn digits(magnitude: f64, behind: Option<usize>) -> (String, i32) {
    let mut text = match behind {
        Some(behind) => format!("{magnitude:.behind$e}"),
        None => format!("{magnitude:e}"),
    };
    let Some(at) = text.find('e') else {
        return (text, 0);
    };
    let exponent = text
        .get(at + 1..)
        .and_then(|exponent| exponent.parse().ok())
        .unwrap_or(0);
    text.truncate(at);
    text.retain(|character| character != '.');
    (text, exponent)
}

/// `digits` filled up with zeros to `count`, one before the point, then the exponent.
fn push_scientific(digits: &str, count: usize, exponent: i32, conversion: &Conversion, out: &mut String) {
    push_positional(
        digits,
        count,
        1,
        &Conversion {
            add_dot_0: false,
            ..*conversion
        },
        out,
    );
    out.push(if conversion.upper { 'E' } else { 'e' });
    push_fmt(
        out,
        format_args!(
            "{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.unsigned_abs()
        ),
    );
}

/// `digits` filled up with zeros to `count`, `point` of them before the decimal point (zero or negative: `0.00…`).
fn push_positional(digits: &str, count: usize, point: i32, conversion: &Conversion, out: &mut String) {
    let before = usize::try_from(point).unwrap_or(0);
    let after_zeros = if point < 0 {
        point.unsigned_abs() as usize
    } else {
        0
    };
    let end = count.max(if conversion.add_dot_0 { before + 1 } else { before });
    let digit = |at: usize| digits.as_bytes().get(at).map_or('0', |&digit| digit.into());
    if before == 0 {
        out.push('0');
    }
    out.extend((0..before).map(digit));
    let has_fraction = end > before || after_zeros > 0;
    if has_fraction || conversion.alternate {
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', after_zeros));
    out.extend((before..end).map(digit));
}

fn push_fmt(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = std::fmt::Write::write_fmt(out, arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(number: f64) -> String {
        let mut out = String::new();
        push_repr(number, &mut out);
        out
    }

    #[test]
    fn repr_is_that_of_python() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-1.5e-4, "-0.00015"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (123_456_789.125, "123456789.125"),
            (1_125_899_906_842_624.0 + 0.25, "1125899906842624.2"),
            (1_125_899_906_842_624.0 + 0.75, "1125899906842624.8"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(repr(number), expected);
        }
    }

    #[test]
    fn conversions_are_those_of_python() {
        use Notation::{Exponent, Fixed, General};
        for (number, notation, precision, alternate, expected) in [
            (0.5, Fixed, 0, false, "0"),
            (1.5, Fixed, 0, false, "2"),
            (2.5, Fixed, 0, true, "2."),
            (2.675, Fixed, 2, false, "2.67"),
            (-0.0001, Fixed, 3, false, "-0.000"),
            (1e22, Fixed, 1, false, "10000000000000000000000.0"),
            (0.0, Exponent, 3, false, "0.000e+00"),
            (12345.678, Exponent, 0, false, "1e+04"),
            (12345.678, Exponent, 0, true, "1.e+04"),
            (1e100, Exponent, 2, false, "1.00e+100"),
            (100_000.0, General, 6, false, "100000"),
            (1_000_000.0, General, 6, false, "1e+06"),
            (1_000_000.0, General, 6, true, "1.00000e+06"),
            (0.0001, General, 6, false, "0.0001"),
            (0.00001, General, 6, false, "1e-05"),
            (0.0, General, 6, true, "0.00000"),
            (0.0, General, 0, false, "0"),
            (1234.5, General, 2, false, "1.2e+03"),
        ] {
            let conversion = Conversion {
                notation,
                upper: false,
                precision,
                alternate,
                add_dot_0: false,
                no_negative_zero: false,
            };
            let mut out = String::new();
            push(number, &conversion, &mut out);
            assert_eq!(out, expected, "{number} {notation:?} {precision} {alternate}");
        }
    }

    #[test]
    fn fixed_digits_are_those_of_the_general_way() {
        let mut state = 1_u64;
        let mut done = 0;
        for round in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let number = match round % 4 {
                0 => f64::from_bits(state >> 1),
                1 => (state >> 40) as f64 / 100.0,
                2 => (state >> 50) as f64 / 64.0, // ends in a tie for some precision
                _ => (state >> 20) as f64 / (1_u64 << 32) as f64,
            };
            let precision = (state % 24) as usize;
            let mut out = String::new();
            if number.is_finite() && push_fixed(number, precision, &mut out) {
                assert_eq!(out, format!("{number:.precision$}"), "{number:e}");
                done += 1;
            }
        }
        assert!(done > 100_000, "{done}");
        for (number, precision, expected) in [
            (0.0, 2, "0.00"),
            (0.5, 0, "0"),
            (1.5, 0, "2"),
            (12.5, 2, "12.50"),
            (0.125, 2, "0.12"),
        ] {
            let mut out = String::new();
            assert!(push_fixed(number, precision, &mut out));
            assert_eq!(out, expected);
        }
    }
}
