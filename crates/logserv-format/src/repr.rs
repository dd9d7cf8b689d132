//! `str()`, `repr()` and `ascii()` of Python's JSON-like types, nested as they may be.
//!
//! In: a [`Value`]. Out: its text, or that only Python knows it. Pure. The recursion is bounded by the wire's limit on
//! the depth of a value.
//! Not here: conversions with a format; those are the styles'.

use logserv_wire::value::Value;

use crate::float;
use crate::formatter::RenderError;
use crate::integer::Integer;

/// Which of Python's three texts of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// `str(value)`.
    Str,
    /// `repr(value)`.
    Repr,
    /// `ascii(value)`.
    Ascii,
}

/// What to do where the exact text is known to Python only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// An error: the producer can still render it.
    Refuse,
    /// The nearest text: nobody else can render it any more.
    Guess,
}

/// Appends the `text` of `value`.
pub(crate) fn push(value: &Value<'_>, text: Text, doubt: Doubt, out: &mut String) -> Result<(), RenderError> {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(_) | Value::BigInt(_) => match Integer::of(value) {
            Some(integer) => integer.push_decimal(out),
            None => {
                return Err(RenderError::Unsupported {
                    what: "an integer beyond Python's limit of digits",
                });
            }
        },
        Value::Float(number) => float::push_repr(*number, out),
        Value::Str(string) => match text {
            Text::Str => out.push_str(string),
            Text::Repr => push_string(string, false, doubt, out)?,
            Text::Ascii => push_string(string, true, doubt, out)?,
        },
        Value::Bytes(bytes) => push_bytes(bytes, out),
        Value::List(items) => {
            out.push('[');
            push_items(items, text, doubt, out)?;
            out.push(']');
        }
        Value::Tuple(items) => {
            out.push('(');
            push_items(items, text, doubt, out)?;
            out.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
        Value::Dict(pairs) => {
            let text = inner(text);
            out.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push(key, text, doubt, out)?;
                out.push_str(": ");
                push(value, text, doubt, out)?;
            }
            out.push('}');
        }
        Value::Opaque(stand_in) if doubt == Doubt::Guess => out.push_str(stand_in),
        // Opaque, and kinds of a later wire.
        _ => {
            return Err(RenderError::Unsupported {
                what: "an object whose text only Python knows",
            });
        }
    }
    Ok(())
}

/// `str()` of a container is made of the `repr()` of its items.
fn inner(text: Text) -> Text {
    if text == Text::Ascii {
        Text::Ascii
    } else {
        Text::Repr
    }
}

fn push_items(items: &[Value<'_>], text: Text, doubt: Doubt, out: &mut String) -> Result<(), RenderError> {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push(item, inner(text), doubt, out)?;
    }
    Ok(())
}

/// Single quotes, unless only they would have to be escaped.
fn quote_for(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn push_string(text: &str, ascii: bool, doubt: Doubt, out: &mut String) -> Result<(), RenderError> {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => {
                if character == quote {
                    out.push('\\');
                }
                out.push(character);
            }
            '\0'..='\x7f' => push_hex(u32::from(character), 'x', 2, out),
            _ if ascii => match u32::from(character) {
                code @ ..=0xff => push_hex(code, 'x', 2, out),
                code @ ..=0xffff => push_hex(code, 'u', 4, out),
                code => push_hex(code, 'U', 8, out),
            },
            // Which characters are printable depends on the producer's Unicode version.
            _ if doubt == Doubt::Guess => out.push(character),
            _ => {
                return Err(RenderError::Unsupported {
                    what: "repr of a text beyond ASCII",
                });
            }
        }
    }
    out.push(quote);
    Ok(())
}

fn push_bytes(bytes: &[u8], out: &mut String) {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    out.push('b');
    out.push(quote);
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b' '..=b'~' => {
                if char::from(byte) == quote {
                    out.push('\\');
                }
                out.push(byte.into());
            }
            _ => push_hex(byte.into(), 'x', 2, out),
        }
    }
    out.push(quote);
}

fn push_hex(code: u32, kind: char, digits: u32, out: &mut String) {
    out.push('\\');
    out.push(kind);
    out.extend(
        (0..digits)
            .rev()
            .filter_map(|place| char::from_digit((code >> (4 * place)) & 15, 16)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value<'_>, text: Text) -> Result<String, RenderError> {
        let mut out = String::new();
        push(value, text, Doubt::Refuse, &mut out).map(|()| out)
    }

    #[test]
    fn quotes_and_escapes_are_those_of_python() {
        for (string, expected) in [
            ("", "''"),
            ("it's", "\"it's\""),
            ("\"it's\"", "'\"it\\'s\"'"),
            ("a\\b\tc\nd\re\0f\x1b\x7f", "'a\\\\b\\tc\\nd\\re\\x00f\\x1b\\x7f'"),
        ] {
            assert_eq!(text(&Value::Str(string.into()), Text::Repr).unwrap(), expected);
            let bytes = Value::Bytes(string.as_bytes().into());
            assert_eq!(text(&bytes, Text::Str).unwrap(), format!("b{expected}"));
        }
    }

    #[test]
    fn ascii_escapes_by_the_size_of_the_code_point() {
        assert_eq!(
            text(&Value::Str("é€😀".into()), Text::Ascii).unwrap(),
            "'\\xe9\\u20ac\\U0001f600'"
        );
    }

    #[test]
    fn repr_beyond_ascii_is_left_to_python() {
        assert!(text(&Value::Str("é".into()), Text::Repr).is_err());
        assert!(text(&Value::List(vec![Value::Str("é".into())]), Text::Str).is_err());
        assert_eq!(text(&Value::Str("é".into()), Text::Str).unwrap(), "é");
    }

    #[test]
    fn containers_hold_the_repr_of_their_items() {
        let value = Value::Dict(vec![
            (
                Value::Str("a".into()),
                Value::List(vec![Value::None, Value::Float(1e16), Value::Bool(true)]),
            ),
            (Value::Int(1), Value::Tuple(vec![Value::Str("x".into())])),
            (
                Value::Tuple(vec![]),
                Value::Tuple(vec![Value::Int(1), Value::Int(2)]),
            ),
        ]);
        assert_eq!(
            text(&value, Text::Str).unwrap(),
            "{'a': [None, 1e+16, True], 1: ('x',), (): (1, 2)}"
        );
    }

    #[test]
    fn an_opaque_value_is_guessed_only_where_nobody_else_can() {
        let value = Value::Opaque("<m.C()>".into());
        assert!(text(&value, Text::Str).is_err());
        let mut out = String::new();
        push(&value, Text::Str, Doubt::Guess, &mut out).unwrap();
        assert_eq!(out, "<m.C()>");
    }
}
