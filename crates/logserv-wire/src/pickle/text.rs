//! The four ways in which a pickle writes text, as UTF-8.
//!
//! In: a node and the frame it lies in. Out: text that borrows from the frame where it can. What UTF-8 cannot hold is
//! escaped as Python's `backslashreplace` does: a lone surrogate as `\udc80`, a byte that is no text as `\x80`.
//! A Python 2 `str` may be text or bytes, nobody can tell; it is read as UTF-8, bytes that are none are escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::node::Node;

/// A text and how many bytes of it were left out for being over `max`.
pub(super) type Cut<'f> = (Cow<'f, str>, usize);

/// The text of `node`, at most `max` bytes; `None` where it is none.
#[inline]
pub(super) fn text_up_to<'f>(node: Node, frame: &'f [u8], max: usize) -> Option<Cut<'f>> {
    if let Node::Text(span) = node
        && span.len as usize <= max
        && let Ok(text) = std::str::from_utf8(span.of(frame))
    {
        return Some((Cow::Borrowed(text), 0));
    }
    unusual_text(node, frame, max)
}

fn unusual_text<'f>(node: Node, frame: &'f [u8], max: usize) -> Option<Cut<'f>> {
    match node {
        Node::Text(span) => Some(utf8(span.of(frame), true, max)),
        Node::OldText(span) => Some(utf8(span.of(frame), false, max)),
        Node::EscapedText(span) => {
            let (text, cut) = unescape_text(span.of(frame), max);
            Some((Cow::Owned(text), cut))
        }
        Node::QuotedText(span) => {
            let (bytes, cut) = unescape_bytes(span.of(frame), max);
            let (text, more) = utf8(&bytes, false, max);
            Some((Cow::Owned(text.into_owned()), cut + more))
        }
        _ => None,
    }
}

/// The whole text of `node`; `None` where it is none.
pub(super) fn text(node: Node, frame: &[u8]) -> Option<Cow<'_, str>> {
    text_up_to(node, frame, usize::MAX).map(|(text, _)| text)
}

/// Bytes of the frame that a text takes, 0 for other nodes: what decoding it costs.
pub(super) fn len_in_frame(node: Node) -> usize {
    match node {
        Node::Text(span) | Node::OldText(span) | Node::EscapedText(span) | Node::QuotedText(span) => {
            span.len as usize
        }
        _ => 0,
    }
}

/// The greatest length up to `max` that does not cut a character.
fn boundary(bytes: &[u8], max: usize) -> usize {
    let is_inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (max.saturating_sub(3)..=max)
        .rev()
        .find(|&at| !is_inside(at))
        .unwrap_or(max)
}

fn utf8(bytes: &[u8], may_have_surrogates: bool, max: usize) -> Cut<'_> {
    let kept = if bytes.len() > max {
        boundary(bytes, max)
    } else {
        bytes.len()
    };
    let (head, tail) = bytes.split_at_checked(kept).unwrap_or((bytes, &[]));
    match std::str::from_utf8(head) {
        Ok(text) => (Cow::Borrowed(text), tail.len()),
        Err(_) => {
            let (text, cut) = escape(head, may_have_surrogates, max);
            (Cow::Owned(text), cut + tail.len())
        }
    }
}

fn push_hex(byte: u8, out: &mut String) {
    for digit in [byte >> 4, byte & 0x0f] {
        out.push(char::from(if digit < 10 {
            b'0' + digit
        } else {
            b'a' - 10 + digit
        }));
    }
}

#[cold]
fn escape(bytes: &[u8], may_have_surrogates: bool, max: usize) -> (String, usize) {
    let mut out = String::with_capacity(bytes.len().min(max));
    let mut rest = bytes;
    loop {
        let (valid, bad) = match std::str::from_utf8(rest) {
            Ok(_) => (rest, &[][..]),
            Err(error) => rest.split_at_checked(error.valid_up_to()).unwrap_or((rest, &[])),
        };
        let room = max.saturating_sub(out.len());
        let kept = if valid.len() > room {
            boundary(valid, room)
        } else {
            valid.len()
        };
        out.push_str(
            valid
                .get(..kept)
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        );
        if bad.is_empty() || kept < valid.len() || max.saturating_sub(out.len()) < "\\udc80".len() {
            return (out, valid.len() - kept + bad.len());
        }
        rest = match bad {
            [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf, tail @ ..] if may_have_surrogates => {
                out.push_str("\\u");
                push_hex(0xd0 | high >> 2 & 0x0f, &mut out);
                push_hex(high << 6 | low & 0x3f, &mut out);
                tail
            }
            [byte, tail @ ..] => {
                out.push_str("\\x");
                push_hex(*byte, &mut out);
                tail
            }
            [] => &[],
        };
    }
}

/// Number of `len` hexadecimal digits at the start of `bytes`.
fn hex(bytes: &[u8], len: usize) -> Option<u32> {
    let digits = bytes
        .get(..len)
        .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The code and length of the escape at the start of `bytes`: `\uXXXX`, `\UXXXXXXXX`, or two of the former that make
/// one character, as a Python 2 of 16-bit characters writes them.
fn escape_at(bytes: &[u8]) -> Option<(u32, usize)> {
    match bytes {
        [b'\\', b'u', digits @ ..] => {
            let high = hex(digits, 4)?;
            let low = match digits.get(4..) {
                Some([b'\\', b'u', digits @ ..]) if (0xd800..0xdc00).contains(&high) => hex(digits, 4),
                _ => None,
            };
            match low {
                Some(low @ 0xdc00..0xe000) => Some((0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)),
                _ => Some((high, 6)),
            }
        }
        [b'\\', b'U', digits @ ..] => Some((hex(digits, 8)?, 10)),
        _ => None,
    }
}

/// Python's `raw-unicode-escape`: Latin-1 with escapes. Another backslash stands for itself and shields the one
/// behind it.
fn unescape_text(bytes: &[u8], max: usize) -> (String, usize) {
    let mut out = String::with_capacity(bytes.len().min(max));
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if out.len() + "\\udc80".len() > max {
            return (out, rest.len());
        }
        let mut taken = 1;
        match escape_at(rest) {
            Some((code, len)) => {
                taken = len;
                match char::from_u32(code) {
                    Some(character) => out.push(character),
                    // Writing to a String does not fail.
                    None => drop(write!(out, "\\u{code:04x}")),
                }
            }
            None => {
                out.push(char::from(*first));
                if let (b'\\', [next, ..]) = (first, tail) {
                    out.push(char::from(*next));
                    taken = 2;
                }
            }
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    (out, 0)
}

/// Python 2's `string-escape`: what stands in the quotes of a `str`'s `repr`.
fn unescape_bytes(bytes: &[u8], max: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(bytes.len().min(max));
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if out.len() >= max {
            return (out, rest.len());
        }
        let (byte, taken) = match (first, tail) {
            (b'\\', [b'x', digits @ ..]) => match hex(digits, 2) {
                Some(byte) => (byte as u8, 4),
                None => (b'\\', 1),
            },
            (b'\\', [b'0'..=b'7', ..]) => {
                let len = tail
                    .iter()
                    .take(3)
                    .take_while(|byte| matches!(byte, b'0'..=b'7'))
                    .count();
                let digits = tail.iter().take(len);
                // Three octal digits can exceed a byte; Python takes the lower eight bits.
                (
                    digits.fold(0_u16, |sum, digit| sum * 8 + u16::from(digit - b'0')) as u8,
                    1 + len,
                )
            }
            (b'\\', [next, ..]) => {
                let known = b"nrtabfv\\'\"".iter().position(|known| known == next);
                match known.and_then(|at| b"\n\r\t\x07\x08\x0c\x0b\\'\"".get(at)) {
                    Some(&byte) => (byte, 2),
                    None => (b'\\', 1),
                }
            }
            _ => (*first, 1),
        };
        out.push(byte);
        rest = rest.get(taken..).unwrap_or_default();
    }
    (out, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_and_foreign_bytes_are_escaped() {
        assert_eq!(utf8(b"a\xed\xb2\x80b\xff", true, usize::MAX).0, "a\\udc80b\\xff");
        assert_eq!(
            utf8(b"\xed\xa0\xbd\xed\xb8\x80", true, usize::MAX).0,
            "\\ud83d\\ude00"
        );
        assert_eq!(utf8(b"\xed\xb2\x80", false, usize::MAX).0, "\\xed\\xb2\\x80");
        assert_eq!(utf8(b"h\xe9", false, usize::MAX).0, "h\\xe9");
    }

    #[test]
    fn a_cut_never_divides_a_character_and_counts_what_is_gone() {
        assert_eq!(utf8("aé€".as_bytes(), true, 2), ("a".into(), 5));
        assert_eq!(utf8("aé€".as_bytes(), true, 3), ("aé".into(), 3));
        for max in 0..40 {
            let bytes = "ä\u{10ffff}x".repeat(3).into_bytes();
            let (text, cut) = utf8(&bytes, true, max);
            assert!(
                text.len() <= max && text.len() + cut == bytes.len(),
                "{max}: {text} {cut}"
            );
            let (text, _) = utf8(b"\xff\xfeabc\xed\xb2\x80", true, max);
            assert!(text.len() <= max, "{max}: {text}");
        }
    }

    #[test]
    fn protocol_0_texts_are_read_as_python_reads_them() {
        assert_eq!(unescape_text(b"a\\u20ac\\U0001f600\xe9", usize::MAX).0, "a€😀é");
        assert_eq!(
            unescape_text(b"\\udc80 \\u00 \\x", usize::MAX).0,
            "\\udc80 \\u00 \\x"
        );
        assert_eq!(unescape_text(b"\\\\u0041\\", usize::MAX).0, "\\\\u0041\\");
        assert_eq!(
            unescape_bytes(b"a\\n\\x41\\101\\'\\q\\", usize::MAX).0,
            b"a\nAA'\\q\\"
        );
    }
}
