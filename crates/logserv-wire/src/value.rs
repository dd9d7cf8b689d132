//! A Python value on the wire: the JSON-like types, told apart as Python tells them apart (a tuple is no list).
//!
//! In: bytes of one value, or a [`Value`]. Out: a [`Value`] that borrows its text, or bytes appended to a buffer.
//! Encoding: one tag byte, then what the table in PROTOCOL.md says; containers hold a `u32` count and their items.
//! Not here: how Python prints a value; that is `logserv-format`.

use std::borrow::Cow;

use crate::bytes::{Reader, WireError, len_to_u32};
use crate::limits::{VALUE_DEPTH_MAX, VALUE_NODES_MAX};

/// One Python value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int` that fits 64 bits.
    Int(i64),
    /// Any other `int`, as its decimal text, with a leading `-` where negative.
    BigInt(Cow<'a, str>),
    /// A `float`, NaN and infinities included.
    Float(f64),
    /// A `str`; lone surrogates have become backslash escapes.
    Str(Cow<'a, str>),
    /// A `bytes`.
    Bytes(Cow<'a, [u8]>),
    /// A `list`.
    List(Vec<Value<'a>>),
    /// A `tuple`.
    Tuple(Vec<Value<'a>>),
    /// A `dict`, in its order.
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// Anything else: a text that stands for it, such as `<module.Name(args)>`. Python's own text is not known.
    Opaque(Cow<'a, str>),
}

pub(crate) const TAG_NONE: u8 = 0;
pub(crate) const TAG_FALSE: u8 = 1;
pub(crate) const TAG_TRUE: u8 = 2;
pub(crate) const TAG_INT: u8 = 3;
pub(crate) const TAG_BIG_INT: u8 = 4;
pub(crate) const TAG_FLOAT: u8 = 5;
pub(crate) const TAG_STR: u8 = 6;
pub(crate) const TAG_BYTES: u8 = 7;
pub(crate) const TAG_LIST: u8 = 8;
pub(crate) const TAG_TUPLE: u8 = 9;
pub(crate) const TAG_DICT: u8 = 10;
pub(crate) const TAG_OPAQUE: u8 = 11;

impl Value<'_> {
    /// Appends this value to `out`. The depth and count limits are the reader's to check; a producer that
    /// exceeds them has its attribute refused.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::None => out.push(TAG_NONE),
            Value::Bool(false) => out.push(TAG_FALSE),
            Value::Bool(true) => out.push(TAG_TRUE),
            Value::Int(number) => {
                out.push(TAG_INT);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::BigInt(digits) => put_bytes(out, TAG_BIG_INT, digits.as_bytes()),
            Value::Float(number) => {
                out.push(TAG_FLOAT);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Str(text) => put_bytes(out, TAG_STR, text.as_bytes()),
            Value::Bytes(bytes) => put_bytes(out, TAG_BYTES, bytes),
            Value::List(items) => put_items(out, TAG_LIST, items),
            Value::Tuple(items) => put_items(out, TAG_TUPLE, items),
            Value::Dict(pairs) => {
                put_count(out, TAG_DICT, pairs.len());
                for (key, value) in pairs {
                    key.encode(out);
                    value.encode(out);
                }
            }
            Value::Opaque(text) => put_bytes(out, TAG_OPAQUE, text.as_bytes()),
        }
    }

    /// The same value, owning its text.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        let all = |items: Vec<Value<'_>>| items.into_iter().map(Value::into_owned).collect();
        match self {
            Value::None => Value::None,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(number) => Value::Int(number),
            Value::BigInt(digits) => Value::BigInt(Cow::Owned(digits.into_owned())),
            Value::Float(number) => Value::Float(number),
            Value::Str(text) => Value::Str(Cow::Owned(text.into_owned())),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::List(items) => Value::List(all(items)),
            Value::Tuple(items) => Value::Tuple(all(items)),
            Value::Dict(pairs) => Value::Dict(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.into_owned(), value.into_owned()))
                    .collect(),
            ),
            Value::Opaque(text) => Value::Opaque(Cow::Owned(text.into_owned())),
        }
    }
}

pub(crate) fn put_count(out: &mut Vec<u8>, tag: u8, count: usize) {
    out.push(tag);
    out.extend_from_slice(&len_to_u32(count).to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    put_count(out, tag, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_items(out: &mut Vec<u8>, tag: u8, items: &[Value<'_>]) {
    put_count(out, tag, items.len());
    for item in items {
        item.encode(out);
    }
}

/// Reads one value from `reader` and leaves the reader behind it.
///
/// # Errors
/// `Truncated`, `Unknown` tag, `NotUtf8`, or `OverLimit` beyond [`VALUE_DEPTH_MAX`] or [`VALUE_NODES_MAX`].
pub fn decode<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, WireError> {
    let mut nodes = 0;
    decode_at(reader, 0, &mut nodes)
}

fn decode_at<'a>(reader: &mut Reader<'a>, depth: usize, nodes: &mut usize) -> Result<Value<'a>, WireError> {
    *nodes += 1;
    if *nodes > VALUE_NODES_MAX {
        return Err(WireError::OverLimit {
            what: "values in an attribute",
            limit: VALUE_NODES_MAX,
        });
    }
    if depth > VALUE_DEPTH_MAX {
        return Err(WireError::OverLimit {
            what: "depth of a value",
            limit: VALUE_DEPTH_MAX,
        });
    }
    let tag = reader.u8()?;
    Ok(match tag {
        TAG_NONE => Value::None,
        TAG_FALSE => Value::Bool(false),
        TAG_TRUE => Value::Bool(true),
        TAG_INT => Value::Int(reader.i64()?),
        TAG_BIG_INT => Value::BigInt(Cow::Borrowed(decode_digits(reader)?)),
        TAG_FLOAT => Value::Float(reader.f64()?),
        TAG_STR => Value::Str(Cow::Borrowed(decode_text(reader)?)),
        TAG_BYTES => {
            let len = reader.len_u32()?;
            Value::Bytes(Cow::Borrowed(reader.take(len)?))
        }
        TAG_LIST => Value::List(decode_items(reader, depth, nodes)?),
        TAG_TUPLE => Value::Tuple(decode_items(reader, depth, nodes)?),
        TAG_DICT => {
            let count = reader.len_u32()?;
            // A pair takes two bytes at least, so that a lying count reserves no more than the bytes received.
            let mut pairs = Vec::with_capacity(count.min(reader.rest().len() / 2));
            for _ in 0..count {
                let key = decode_at(reader, depth + 1, nodes)?;
                pairs.push((key, decode_at(reader, depth + 1, nodes)?));
            }
            Value::Dict(pairs)
        }
        TAG_OPAQUE => Value::Opaque(Cow::Borrowed(decode_text(reader)?)),
        received => {
            return Err(WireError::Unknown {
                what: "value tag",
                received: received.into(),
            });
        }
    })
}

fn decode_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, WireError> {
    let len = reader.len_u32()?;
    reader.text(len)
}

fn decode_digits<'a>(reader: &mut Reader<'a>) -> Result<&'a str, WireError> {
    let text = decode_text(reader)?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WireError::Malformed {
            what: "integer",
            why: "expected decimal digits".into(),
        });
    }
    Ok(text)
}

fn decode_items<'a>(
    reader: &mut Reader<'a>,
    depth: usize,
    nodes: &mut usize,
) -> Result<Vec<Value<'a>>, WireError> {
    let count = reader.len_u32()?;
    let mut items = Vec::with_capacity(count.min(reader.rest().len()));
    for _ in 0..count {
        items.push(decode_at(reader, depth + 1, nodes)?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_back() {
        let value = Value::Dict(vec![
            (
                Value::Str("a".into()),
                Value::List(vec![Value::None, Value::Bool(true), Value::Bool(false)]),
            ),
            (
                Value::Int(-3),
                Value::Tuple(vec![
                    Value::Float(1.5),
                    Value::BigInt("-123456789012345678901".into()),
                ]),
            ),
            (Value::Bytes(vec![0, 255].into()), Value::Opaque("<x.Y()>".into())),
        ]);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut reader = Reader::new(&bytes, "value");
        assert_eq!(decode(&mut reader).unwrap(), value);
        assert!(reader.is_empty());
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        let mut bytes = Vec::new();
        for _ in 0..=VALUE_DEPTH_MAX + 1 {
            put_count(&mut bytes, TAG_LIST, 1);
        }
        bytes.push(TAG_NONE);
        let error = decode(&mut Reader::new(&bytes, "value")).unwrap_err();
        assert!(matches!(error, WireError::OverLimit { .. }), "{error}");
    }

    #[test]
    fn a_lying_count_reserves_nothing_and_is_truncated() {
        let mut bytes = Vec::new();
        put_count(&mut bytes, TAG_LIST, usize::MAX);
        let error = decode(&mut Reader::new(&bytes, "value")).unwrap_err();
        assert!(matches!(error, WireError::Truncated { .. }), "{error}");
    }
}
