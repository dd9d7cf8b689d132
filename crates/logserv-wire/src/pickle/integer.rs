//! Decimal text of the integers that are wider than 64 bits.
//!
//! In: a node and the frame it lies in. Out: digits, or `None` beyond
//! [`PICKLE_INTEGER_DIGITS_MAX`](crate::limits::PICKLE_INTEGER_DIGITS_MAX), where CPython's `str()` raises, too.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::node::Node;
use super::work::{OverBudget, Work};
use crate::limits::PICKLE_INTEGER_DIGITS_MAX;

/// Bytes that 4300 digits need: log2(10) / 8 each, rounded up.
const BYTES_MAX: usize = PICKLE_INTEGER_DIGITS_MAX * 416 / 1000 + 1;

/// Nine digits fit 32 bits.
const GROUP: u64 = 1_000_000_000;

/// What stands for an integer of so many digits or bytes that it is not converted.
pub(super) fn note(node: Node) -> String {
    match node {
        Node::Decimal(span) => format!("…[cut: an integer of {} digits]", span.len),
        Node::Binary(span) => format!("…[cut: an integer of {} bytes]", span.len),
        _ => "…[cut: an integer]".to_owned(),
    }
}

/// The digits of a `Decimal` or `Binary`, `-` first where negative.
pub(super) fn decimal<'f>(
    node: Node,
    frame: &'f [u8],
    work: &mut Work,
) -> Result<Option<Cow<'f, str>>, OverBudget> {
    match node {
        Node::Decimal(span) => {
            work.bytes(span.len as usize)?;
            Ok(of_text(span.of(frame)))
        }
        Node::Binary(span) if span.len as usize <= BYTES_MAX => {
            // Quadratic, at about half a nanosecond per pair of bytes.
            work.bytes(64 + (span.len as usize).pow(2) / 8)?;
            let digits = of_binary(span.of(frame));
            Ok((digits.len() <= PICKLE_INTEGER_DIGITS_MAX + 1).then_some(Cow::Owned(digits)))
        }
        _ => Ok(None),
    }
}

fn of_text(line: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(line).ok()?.trim_ascii();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() > PICKLE_INTEGER_DIGITS_MAX {
        return None;
    }
    match digits.trim_start_matches('0') {
        plain if plain.len() == digits.len() => Some(Cow::Borrowed(text)),
        "" => Some(Cow::Borrowed("0")),
        plain if text.starts_with('-') => Some(Cow::Owned(format!("-{plain}"))),
        plain => Some(Cow::Borrowed(plain)),
    }
}

fn of_binary(bytes: &[u8]) -> String {
    let is_negative = bytes.last().is_some_and(|&last| last >= 0x80);
    let sign = if is_negative { 0xff } else { 0 };
    let mut limbs: Vec<u32> = Vec::with_capacity(bytes.len() / 4 + 1);
    let mut carry = is_negative;
    for chunk in bytes.chunks(4) {
        let mut limb = [sign; 4];
        for (place, &byte) in limb.iter_mut().zip(chunk) {
            *place = byte;
        }
        let limb = u32::from_le_bytes(limb);
        if is_negative {
            let (negated, overflow) = (!limb).overflowing_add(carry.into());
            carry = overflow;
            limbs.push(negated);
        } else {
            limbs.push(limb);
        }
    }
    if carry {
        limbs.push(1);
    }
    let mut groups: Vec<u32> = Vec::with_capacity(limbs.len() * 11 / 10 + 1);
    while limbs.pop_if(|limb| *limb == 0).is_some() {}
    while !limbs.is_empty() {
        let mut remainder = 0_u64;
        for limb in limbs.iter_mut().rev() {
            let dividend = remainder << 32 | u64::from(*limb);
            // Below 2^32, for the remainder is below the divisor.
            *limb = (dividend / GROUP) as u32;
            remainder = dividend % GROUP;
        }
        groups.push(remainder as u32);
        while limbs.pop_if(|limb| *limb == 0).is_some() {}
    }
    let mut text = String::with_capacity(groups.len() * 9 + 1);
    if is_negative {
        text.push('-');
    }
    let mut groups = groups.into_iter().rev();
    // Writing to a String does not fail.
    let _ = write!(text, "{}", groups.next().unwrap_or(0));
    for group in groups {
        let _ = write!(text, "{group:09}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_integers_become_the_digits_that_python_prints() {
        assert_eq!(of_binary(&[0; 9]), "0");
        assert_eq!(of_binary(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), "9223372036854775808");
        assert_eq!(
            of_binary(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff]),
            "-9223372036854775809"
        );
        assert_eq!(
            of_binary(&[0, 0, 0, 0, 0, 0, 0, 0, 0x80]),
            "-2361183241434822606848"
        );
        let google = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(of_binary(&google), "79228162514264337593543950336");
    }

    #[test]
    fn leading_zeros_and_blanks_are_taken_off() {
        assert_eq!(
            of_text(b" 0012345678901234567890 ").unwrap(),
            "12345678901234567890"
        );
        assert_eq!(
            of_text(b"-0012345678901234567890").unwrap(),
            "-12345678901234567890"
        );
        assert_eq!(of_text(&b"9".repeat(4300)).unwrap().len(), 4300);
        assert_eq!(of_text(&b"9".repeat(4301)), None);
    }
}
