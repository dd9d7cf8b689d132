//! `msg % args`: the text of a message and its arguments, for who makes a record without Python.
//!
//! In: the message and JSON-like arguments. Out: the text that Python would make, or that only Python can tell, above all
//! where it raises. Pure. The conversions are those of a `%` format (`percent_render.rs`).

use logserv_wire::value::Value;

use crate::percent::parse_conversion;
use crate::percent_render::{self, push_digits};
use crate::repr::Doubt;

/// An argument whose text is certain.
#[derive(Debug, Clone)]
pub enum Argument<'a> {
    /// A `str`.
    Str(&'a str),
    /// An `int`.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `bool`.
    Bool(bool),
    /// `None`.
    None,
}

/// Appends the text to `out`. `argument` gives those there are, `None` behind the last and for any whose text only Python
/// knows. Returns whether it is certain to be Python's; if not, `out` has an unusable rest behind it.
#[inline]
pub fn push_message<'a>(
    message: &str,
    mut argument: impl FnMut(usize) -> Option<Argument<'a>>,
    count: usize,
    out: &mut String,
) -> bool {
    let mut next = 0;
    let mut rest = message;
    // Messages are short: a search that is fast with long texts is slower here.
    while let Some(at) = rest.bytes().position(|byte| byte == b'%')
        && let (Some(literal), Some(behind)) = (rest.get(..at), rest.get(at + 1..))
    {
        out.push_str(literal);
        let letter = behind.as_bytes().first().copied();
        if letter == Some(b'%') {
            out.push('%');
            rest = behind.get(1..).unwrap_or_default();
            continue;
        }
        let Some(value) = argument(next) else {
            return false;
        };
        next += 1;
        rest = match (letter, value) {
            // Nearly all, without reading a conversion.
            (Some(b's'), Argument::Str(text)) => {
                out.push_str(text);
                behind.get(1..).unwrap_or_default()
            }
            (Some(b's' | b'd'), Argument::Int(number)) => {
                if number < 0 {
                    out.push('-');
                }
                push_digits(number.unsigned_abs(), out);
                behind.get(1..).unwrap_or_default()
            }
            (_, value) => match push_other(behind, value, out) {
                Some(rest) => rest,
                None => return false,
            },
        };
    }
    out.push_str(rest);
    next == count
}

/// Any other conversion; returns what stands behind it.
fn push_other<'f>(text: &'f str, value: Argument<'_>, out: &mut String) -> Option<&'f str> {
    let (key, conversion, rest) = parse_conversion(text).ok()?;
    if key.is_some() {
        return None; // wants a mapping
    }
    let value = match value {
        Argument::Str(text) => Value::Str(text.into()),
        Argument::Int(number) => Value::Int(number),
        Argument::Float(number) => Value::Float(number),
        Argument::Bool(truth) => Value::Bool(truth),
        Argument::None => Value::None,
    };
    percent_render::push(&value, &conversion, Doubt::Refuse, out).ok()?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::Argument::{Bool, Float, Int, Str};
    use super::*;

    fn text(message: &str, arguments: &[Argument<'static>]) -> Option<String> {
        let mut out = String::new();
        push_message(message, |n| arguments.get(n).cloned(), arguments.len(), &mut out).then_some(out)
    }

    #[test]
    fn usual_conversions_are_done() {
        let all = [
            Str("häß"),
            Int(-42),
            Int(7),
            Str("zoe"),
            Float(12.5),
            Bool(true),
            Argument::None,
        ];
        assert_eq!(
            text("%s|%d|%3i|%r|%.2f|%d|%s%%", &all).unwrap(),
            "häß|-42|  7|'zoe'|12.50|1|None%"
        );
        assert_eq!(text("%s", &[Int(i64::MIN)]).unwrap(), "-9223372036854775808");
        assert_eq!(text("%s", &[Float(0.1)]).unwrap(), "0.1");
        assert_eq!(text("no arguments", &[]).unwrap(), "no arguments");
    }

    #[test]
    fn what_python_refuses_or_alone_knows_is_refused() {
        let one = [Str("x")];
        for message in [
            "%d", "%", "%s %s", "none", "%(x)s", "%*d", "%q", "%5%", "%r é %s", "%c%c",
        ] {
            assert_eq!(text(message, &one), None, "{message}");
        }
        assert_eq!(text("%r", &[Str("é")]), None);
    }
}
