//! Values and texts as JSON, byte for byte as `python/logserv/_json_values.py` writes them.
//!
//! In: a [`Value`] or a text. Out: JSON appended to a line, or that only Python knows it. Never the end of a line. Pure. The
//! recursion is bounded by the wire's limit on the depth of a value.
//! Not here: which fields a line has; that is `json.rs`.

use logserv_wire::value::Value;

use crate::float;
use crate::formatter::RenderError;
use crate::integer::Integer;
use crate::repr::{self, Doubt, Text};

/// How values are written into one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    /// Whether characters beyond ASCII are escaped.
    pub(super) ensure_ascii: bool,
    pub(super) doubt: Doubt,
}

const OPAQUE: RenderError = RenderError::Unsupported {
    what: "an object whose JSON only Python knows",
};
const ODD_KEY: RenderError = RenderError::Unsupported {
    what: "a key of a dict that JSON does not have",
};
const TOO_MANY_DIGITS: RenderError = RenderError::Unsupported {
    what: "an integer beyond Python's limit of digits",
};

impl Writer {
    /// Appends `value`.
    ///
    /// # Errors
    /// `Unsupported`; never where a guess is wanted.
    pub(super) fn push(self, value: &Value<'_>, out: &mut String) -> Result<(), RenderError> {
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Int(_) | Value::BigInt(_) => match Integer::of(value) {
                Some(integer) => integer.push_decimal(out),
                None if self.doubt == Doubt::Guess => out.push_str("null"),
                None => return Err(TOO_MANY_DIGITS),
            },
            Value::Float(number) if number.is_finite() => float::push_repr(*number, out),
            Value::Float(_) => out.push_str("null"), // JSON has no NaN
            Value::Str(text) => self.push_text(text, out),
            Value::Bytes(bytes) => push_base64(bytes, out),
            Value::List(items) | Value::Tuple(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.push(item, out)?;
                }
                out.push(']');
            }
            Value::Dict(pairs) => {
                out.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.push_key(key, out)?;
                    out.push_str(": ");
                    self.push(value, out)?;
                }
                out.push('}');
            }
            Value::Opaque(stand_in) if self.doubt == Doubt::Guess => self.push_text(stand_in, out),
            // Opaque, and kinds of a later wire.
            _ => return Err(OPAQUE),
        }
        Ok(())
    }

    fn push_key(self, key: &Value<'_>, out: &mut String) -> Result<(), RenderError> {
        match key {
            Value::Str(text) => self.push_text(text, out),
            Value::Float(number) if !number.is_finite() && self.doubt == Doubt::Refuse => {
                return Err(ODD_KEY);
            }
            Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => {
                out.push('"');
                self.push(key, out)?;
                out.push('"');
            }
            _ if self.doubt == Doubt::Refuse => return Err(ODD_KEY),
            _ => {
                let mut text = String::new();
                repr::push(key, Text::Str, Doubt::Guess, &mut text)?;
                self.push_text(&text, out);
            }
        }
        Ok(())
    }

    /// Appends a text in quotes.
    pub(super) fn push_text(self, text: &str, out: &mut String) {
        out.reserve(text.len() + 2);
        out.push('"');
        let mut plain_from = 0;
        for (at, character) in text.char_indices() {
            if self.is_plain(character) {
                continue;
            }
            out.push_str(text.get(plain_from..at).unwrap_or_default());
            plain_from = at + character.len_utf8();
            push_escape(character, out);
        }
        out.push_str(text.get(plain_from..).unwrap_or_default());
        out.push('"');
    }

    fn is_plain(self, character: char) -> bool {
        match character {
            '"' | '\\' | '\0'..='\x1f' => false,
            ' '..='~' => true,
            // What else Python's splitlines takes for the end of a line.
            '\u{85}' | '\u{2028}' | '\u{2029}' => false,
            _ => !self.ensure_ascii,
        }
    }

    /// Appends the lines of a text as a list of texts.
    pub(super) fn push_lines(self, text: &str, out: &mut String) {
        out.push('[');
        for (index, line) in lines(text).enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            self.push_text(line, out);
        }
        out.push(']');
    }
}

fn push_escape(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str("\\u");
                let digit = |shift: u32| char::from_digit(u32::from(*unit) >> shift & 15, 16);
                out.extend([12, 8, 4, 0].into_iter().filter_map(digit));
            }
        }
    }
}

/// What `str.splitlines` takes for the end of a line.
fn ends_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Whether a text is more than one line.
pub(super) fn has_line_end(text: &str) -> bool {
    text.contains(ends_line)
}

/// `str.splitlines()`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(ends_line);
        let Some((line, behind)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return Some(std::mem::take(&mut rest));
        };
        let mut behind_end = behind.chars();
        if behind_end.next() == Some('\r') && behind_end.as_str().starts_with('\n') {
            behind_end.next();
        }
        rest = behind_end.as_str();
        Some(line)
    })
}

/// `base64.urlsafe_b64encode`, in quotes.
fn push_base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    out.push('"');
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).map_or(0, |byte| u32::from(*byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET
                .get((bits >> shift & 63) as usize)
                .copied()
                .unwrap_or(b'=');
            out.push(if place <= chunk.len() { digit.into() } else { '=' });
        }
    }
    out.push('"');
}

/// `bool(value)`.
pub(super) fn is_truthy(value: &Value<'_>) -> bool {
    match value {
        Value::None => false,
        Value::Bool(value) => *value,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) | Value::Tuple(items) => !items.is_empty(),
        Value::Dict(pairs) => !pairs.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Writer = Writer {
        ensure_ascii: true,
        doubt: Doubt::Refuse,
    };

    #[test]
    fn texts_are_escaped_as_python_escapes_them() {
        let text = "a\"\\\n\r\t\x08\x0c\0\x1f\x7f é\u{85}\u{2028}😀";
        for (ensure_ascii, expected) in [
            (
                true,
                r#""a\"\\\n\r\t\b\f\u0000\u001f\u007f \u00e9\u0085\u2028\ud83d\ude00""#,
            ),
            (
                false,
                "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\x7f é\\u0085\\u2028😀\"",
            ),
        ] {
            let mut out = String::new();
            Writer {
                ensure_ascii,
                ..ASCII
            }
            .push_text(text, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        for (text, expected) in [
            ("", vec![]),
            ("\n", vec![""]),
            ("a\r\nb\rc\n\nd", vec!["a", "b", "c", "", "d"]),
            (
                "a\x0bb\x0cc\x1cd\x1de\x1ef\u{85}g\u{2028}h\u{2029}",
                vec!["a", "b", "c", "d", "e", "f", "g", "h"],
            ),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, expected) in [
            (&b""[..], "\"\""),
            (b"a", "\"YQ==\""),
            (b"ab", "\"YWI=\""),
            (b"abc", "\"YWJj\""),
            (b"\xfb\xff\xfe", "\"-__-\""),
        ] {
            let mut out = String::new();
            push_base64(bytes, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn what_json_does_not_have_is_null_or_left_to_python() {
        let mut out = String::new();
        ASCII
            .push(
                &Value::List(vec![Value::Float(f64::NAN), Value::Float(1e16)]),
                &mut out,
            )
            .unwrap();
        assert_eq!(out, "[null, 1e+16]");
        let key = Value::Tuple(vec![Value::Int(1)]);
        for value in [
            Value::Opaque("<x>".into()),
            Value::Dict(vec![(key, Value::None)]),
            Value::Dict(vec![(Value::Float(f64::NAN), Value::None)]),
        ] {
            assert!(ASCII.push(&value, &mut String::new()).is_err());
            let guess = Writer {
                doubt: Doubt::Guess,
                ..ASCII
            };
            assert!(guess.push(&value, &mut String::new()).is_ok());
        }
    }
}
