//! The arguments of number opcodes: text of protocol 0 and 1, and binary integers.
//!
//! In: the cursor at the argument. Out: a node; integers beyond 64 bits stay where they are in the frame.
//! Not here: decimal digits of those; that is `integer.rs`, for it takes quadratic time and few are ever looked at.

use super::PickleError;
use super::cursor::{Cursor, Span};
use super::node::Node;

/// Bytes without blanks around them: CPython takes them off before it reads a number.
fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// `I`: `00` and `01` are bools, as Python 2 and 3 write them; anything else is an integer.
pub(super) fn int_line(cursor: &mut Cursor<'_>) -> Result<Node, PickleError> {
    let line = cursor.line()?;
    match cursor.bytes(line) {
        b"00" => Ok(Node::Bool(false)),
        b"01" => Ok(Node::Bool(true)),
        _ => integer(cursor, line),
    }
}

/// `L`: an integer, with the `L` behind it that Python 2 prints.
pub(super) fn long_line(cursor: &mut Cursor<'_>) -> Result<Node, PickleError> {
    let mut line = cursor.line()?;
    if cursor.bytes(line).ends_with(b"L") {
        line.len -= 1;
    }
    integer(cursor, line)
}

fn integer(cursor: &Cursor<'_>, line: Span) -> Result<Node, PickleError> {
    let text = trimmed(cursor.bytes(line));
    if let Some(number) = small(text) {
        return Ok(Node::Int(number));
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(cursor.malformed("expected a decimal integer"));
    }
    Ok(Node::Decimal(line))
}

/// The number that up to 18 digits stand for, the usual case of a thread's identity; or what `i64` can read.
fn small(text: &[u8]) -> Option<i64> {
    if text.len() <= 18 && !text.is_empty() {
        let mut number = 0_i64;
        for &byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return signed(text);
            }
            number = number * 10 + i64::from(digit);
        }
        return Some(number);
    }
    if text.len() <= 24 { signed(text) } else { None }
}

#[cold]
fn signed(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `F`: what `repr` of a float gives, `inf` and `nan` included.
pub(super) fn float_line(cursor: &mut Cursor<'_>) -> Result<Node, PickleError> {
    let line = cursor.line()?;
    let number = std::str::from_utf8(trimmed(cursor.bytes(line)))
        .ok()
        .and_then(|text| text.parse().ok());
    number
        .map(Node::Float)
        .ok_or_else(|| cursor.malformed("expected a float"))
}

/// The index of `PUT` and `GET`.
pub(super) fn index_line(cursor: &mut Cursor<'_>) -> Result<u32, PickleError> {
    let line = cursor.line()?;
    let index = small(trimmed(cursor.bytes(line))).and_then(|number| u32::try_from(number).ok());
    index.ok_or_else(|| cursor.malformed("expected a memo index below 2^32"))
}

/// `LONG1`, `LONG4`: `len` bytes, little-endian two's complement.
pub(super) fn binary(cursor: &mut Cursor<'_>, len: usize) -> Result<Node, PickleError> {
    let mut span = cursor.span(len)?;
    let mut bytes = cursor.bytes(span);
    // Bytes that only repeat the sign say nothing.
    while let [head @ .., before, last] = bytes
        && *last == if *before < 0x80 { 0 } else { 0xff }
    {
        span.len -= 1;
        bytes = cursor.bytes(Span {
            len: head.len() as u32 + 1,
            ..span
        });
    }
    let Some((&last, _)) = bytes.split_last() else {
        return Ok(Node::Int(0));
    };
    let mut wide = if last < 0x80 { [0; 8] } else { [0xff; 8] };
    match wide.get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            Ok(Node::Int(i64::from_le_bytes(wide)))
        }
        None => Ok(Node::Binary(span)),
    }
}

/// `S`: what is between the quotes, which must match.
pub(super) fn within_quotes(cursor: &Cursor<'_>, line: Span) -> Result<Span, PickleError> {
    let text = cursor.bytes(line);
    let lead = text.len() - text.trim_ascii_start().len();
    match text.trim_ascii() {
        [first @ (b'\'' | b'"'), inner @ .., last] if first == last => Ok(Span {
            start: line.start + lead as u32 + 1,
            len: inner.len() as u32,
        }),
        _ => Err(cursor.malformed("expected a text in quotes")),
    }
}
