//! Python integers as digits: any size, in base 2, 8, 10 or 16.
//!
//! In: a [`Value`] that is an integer (or a finite float to be cut off). Out: its sign and digits. Pure.
//! Not here: signs, prefixes, grouping and width; the styles add those.

use logserv_wire::value::Value;

use crate::limits::INT_DIGITS_MAX;

/// An integer of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Integer {
    /// One that fits 64 bits.
    Small(i64),
    /// Any other: whether it is negative, and its decimal digits without leading zeros.
    Big { negative: bool, digits: String },
}

/// The base in which digits are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Radix {
    Binary,
    Octal,
    Decimal,
    Hexadecimal,
}

/// Sign and digits of an integer, the digits in lower case.
pub(crate) struct Digits {
    pub(crate) negative: bool,
    text: Text,
}

enum Text {
    /// Right-aligned in the buffer, from the index on. 64 binary digits are the most that an `i64` has.
    Short([u8; 64], usize),
    Long(String),
}

/// `int(number)` where that is exact: below 2^53 every integer is, and the conversion as well.
pub(crate) fn truncated(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "cutting off is what int() does")]
    (number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

impl Digits {
    pub(crate) fn as_str(&self) -> &str {
        match &self.text {
            Text::Short(buffer, start) => buffer
                .get(*start..)
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .unwrap_or_default(),
            Text::Long(digits) => digits,
        }
    }
}

impl Integer {
    /// The integer that `value` is in Python (`True` is 1); `None` for every other type and beyond CPython's limit.
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Small((*value).into())),
            Value::Int(number) => Some(Self::Small(*number)),
            Value::BigInt(digits) => Self::parse(digits),
            _ => None,
        }
    }

    /// `int(number)`: cut off towards zero; `None` for infinities and NaN.
    pub(crate) fn truncate(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        match truncated(number) {
            Some(number) => Some(Self::Small(number)),
            None => Self::parse(&format!("{number:.0}")),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse() {
            return Some(Self::Small(number));
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let digits = digits.trim_start_matches('0');
        if digits.len() > INT_DIGITS_MAX {
            return None;
        }
        Some(Self::Big {
            negative,
            digits: digits.to_owned(),
        })
    }

    /// The nearest float; `None` where Python raises `OverflowError`.
    pub(crate) fn to_float(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "rounds to the nearest even, as Python does"
            )]
            Self::Small(number) => Some(*number as f64),
            Self::Big { negative, digits } => {
                let number: f64 = digits.parse().ok()?;
                let number = if *negative { -number } else { number };
                number.is_finite().then_some(number)
            }
        }
    }

    /// `chr(self)`; `None` outside Unicode and for surrogates, which no line of UTF-8 can hold.
    pub(crate) fn to_char(&self) -> Option<char> {
        match self {
            Self::Small(number) => u32::try_from(*number).ok().and_then(char::from_u32),
            Self::Big { .. } => None,
        }
    }

    /// Sign and digits in `radix`.
    pub(crate) fn digits(&self, radix: Radix) -> Digits {
        match self {
            Self::Small(number) => {
                let mut buffer = [0; 64];
                let start = short_digits(number.unsigned_abs(), radix, &mut buffer);
                Digits {
                    negative: *number < 0,
                    text: Text::Short(buffer, start),
                }
            }
            Self::Big { negative, digits } => {
                let text = match radix {
                    Radix::Decimal => digits.clone(),
                    Radix::Binary => in_bits(digits, 1),
                    Radix::Octal => in_bits(digits, 3),
                    Radix::Hexadecimal => in_bits(digits, 4),
                };
                Digits {
                    negative: *negative,
                    text: Text::Long(text),
                }
            }
        }
    }

    /// Appends `str(self)`.
    pub(crate) fn push_decimal(&self, out: &mut String) {
        let digits = self.digits(Radix::Decimal);
        if digits.negative {
            out.push('-');
        }
        out.push_str(digits.as_str());
    }
}

const DIGIT: &[u8; 16] = b"0123456789abcdef";

fn short_digits(mut number: u64, radix: Radix, buffer: &mut [u8; 64]) -> usize {
    let base = match radix {
        Radix::Binary => 2,
        Radix::Octal => 8,
        Radix::Decimal => 10,
        Radix::Hexadecimal => 16,
    };
    let mut start = buffer.len();
    for place in buffer.iter_mut().rev() {
        *place = DIGIT.get((number % base) as usize).copied().unwrap_or(b'0');
        start -= 1;
        number /= base;
        if number == 0 {
            break;
        }
    }
    start
}

/// Decimal `digits` in base 2^`bits`. Quadratic, with at most [`INT_DIGITS_MAX`] digits.
fn in_bits(digits: &str, bits: usize) -> String {
    let mut limbs: Vec<u32> = Vec::new(); // little-endian, base 2^32
    for digit in digits.bytes() {
        let mut carry = u64::from(digit.wrapping_sub(b'0'));
        for limb in &mut limbs {
            let product = u64::from(*limb) * 10 + carry;
            *limb = (product & u64::from(u32::MAX)) as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    let bit = |at: usize| limbs.get(at / 32).map_or(0, |limb| (limb >> (at % 32)) & 1);
    let places = (limbs.len() * 32).div_ceil(bits);
    let mut text = String::with_capacity(places);
    for place in (0..places).rev() {
        let digit = (0..bits)
            .rev()
            .fold(0, |digit, at| digit * 2 + bit(place * bits + at));
        if digit != 0 || !text.is_empty() {
            text.push(DIGIT.get(digit as usize).map_or('0', |&digit| digit.into()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value<'_>, radix: Radix) -> String {
        let digits = Integer::of(value).unwrap().digits(radix);
        format!("{}{}", if digits.negative { "-" } else { "" }, digits.as_str())
    }

    #[test]
    fn digits_are_those_of_python() {
        for (number, radix, expected) in [
            (0, Radix::Decimal, "0"),
            (0, Radix::Binary, "0"),
            (-255, Radix::Hexadecimal, "-ff"),
            (i64::MIN, Radix::Decimal, "-9223372036854775808"),
            (i64::MIN, Radix::Hexadecimal, "-8000000000000000"),
            (511, Radix::Octal, "777"),
        ] {
            assert_eq!(text(&Value::Int(number), radix), expected);
        }
    }

    #[test]
    fn big_integers_have_digits_in_every_base() {
        let value = Value::BigInt("-123456789012345678901234567890".into());
        assert_eq!(text(&value, Radix::Decimal), "-123456789012345678901234567890");
        assert_eq!(text(&value, Radix::Hexadecimal), "-18ee90ff6c373e0ee4e3f0ad2");
        assert_eq!(text(&value, Radix::Octal), "-143564417755415637016711617605322");
        assert_eq!(
            text(&Value::BigInt("18446744073709551616".into()), Radix::Binary),
            format!("1{}", "0".repeat(64))
        );
    }

    #[test]
    fn a_big_integer_that_is_small_is_small() {
        assert_eq!(
            Integer::of(&Value::BigInt("-0005".into())),
            Some(Integer::Small(-5))
        );
        assert_eq!(
            Integer::of(&Value::BigInt("9".repeat(INT_DIGITS_MAX + 1).into())),
            None
        );
    }

    #[test]
    fn floats_are_cut_off_exactly() {
        assert_eq!(Integer::truncate(-1.99), Some(Integer::Small(-1)));
        assert_eq!(Integer::truncate(-0.5), Some(Integer::Small(0)));
        let digits = "99999999999999991611392".to_owned();
        assert_eq!(
            Integer::truncate(1e23),
            Some(Integer::Big {
                negative: false,
                digits
            })
        );
        assert_eq!(Integer::truncate(f64::NAN), None);
        assert_eq!(Integer::truncate(f64::INFINITY), None);
    }
}
