//! From a line's text to a file's bytes: Python's codec names and error handlers.
//!
//! In: a codec's name as a handler's `encoding` has it; text. Out: the bytes that Python's `open(…, encoding=…)` would
//! write, except that text which the codec lacks is never lost: `strict` writes it as `backslashreplace` does.
//! A byte-order mark is separate, for the caller to put at the start of an empty file only.

use std::fmt::Write;

mod names;
mod tables;

/// A codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(Codec);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Utf8 {
        mark: bool,
    },
    Utf16 {
        big: bool,
        mark: bool,
    },
    Utf32 {
        big: bool,
        mark: bool,
    },
    Ascii,
    Latin1,
    /// An index into `tables::SINGLE_BYTE`.
    SingleByte(usize),
}

/// What becomes of a character that the codec lacks: Python's `errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// `strict`, and every other name of Python's but the three below: `\xe9`, `\u20ac`, `\U0001f600`.
    BackslashReplace,
    /// `ignore`: nothing.
    Ignore,
    /// `replace`: `?`.
    Replace,
    /// `xmlcharrefreplace`: `&#8364;`.
    XmlCharRefReplace,
}

impl ErrorPolicy {
    /// Reads one of Python's names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            // No line has a lone surrogate in it any more, so that the two surrogate handlers are `strict`.
            "strict" | "backslashreplace" | "namereplace" | "surrogateescape" | "surrogatepass" => {
                Some(Self::BackslashReplace)
            }
            "ignore" => Some(Self::Ignore),
            "replace" => Some(Self::Replace),
            "xmlcharrefreplace" => Some(Self::XmlCharRefReplace),
            _ => None,
        }
    }

    fn replacement(self, character: char, out: &mut String) {
        let code = u32::from(character);
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Ignore => Ok(()),
            Self::Replace => write!(out, "?"),
            Self::XmlCharRefReplace => write!(out, "&#{code};"),
            Self::BackslashReplace => match code {
                0..=0xff => write!(out, "\\x{code:02x}"),
                0x100..=0xffff => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            },
        };
    }
}

impl Encoding {
    /// UTF-8 without a mark: the default.
    pub const UTF_8: Self = Self(Codec::Utf8 { mark: false });

    /// Finds a codec by any of Python's names for it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        names::find(name).map(Self)
    }

    /// The byte-order mark that an empty file begins with; empty for most codecs.
    #[must_use]
    pub fn mark(self) -> &'static [u8] {
        match self.0 {
            Codec::Utf8 { mark: true } => b"\xef\xbb\xbf",
            Codec::Utf16 {
                big: false,
                mark: true,
            } => b"\xff\xfe",
            Codec::Utf16 {
                big: true,
                mark: true,
            } => b"\xfe\xff",
            Codec::Utf32 {
                big: false,
                mark: true,
            } => b"\xff\xfe\0\0",
            Codec::Utf32 {
                big: true,
                mark: true,
            } => b"\0\0\xfe\xff",
            _ => b"",
        }
    }

    /// Bytes of which every character takes a multiple.
    #[must_use]
    pub fn unit(self) -> u64 {
        match self.0 {
            Codec::Utf16 { .. } => 2,
            Codec::Utf32 { .. } => 4,
            _ => 1,
        }
    }

    /// Appends the bytes of `text`. Drops: only what `errors` is told to.
    #[inline]
    pub fn encode(self, text: &str, errors: ErrorPolicy, out: &mut Vec<u8>) {
        if let Codec::Utf8 { .. } = self.0 {
            out.extend_from_slice(text.as_bytes());
        } else {
            self.encode_other(text, errors, out);
        }
    }

    fn encode_other(self, text: &str, errors: ErrorPolicy, out: &mut Vec<u8>) {
        match self.0 {
            Codec::Utf16 { big: false, .. } => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Codec::Utf16 { big: true, .. } => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Codec::Utf32 { big: false, .. } => {
                out.extend(text.chars().flat_map(|c| u32::from(c).to_le_bytes()))
            }
            Codec::Utf32 { big: true, .. } => {
                out.extend(text.chars().flat_map(|c| u32::from(c).to_be_bytes()))
            }
            // All of these stand on top of ASCII.
            _ if text.is_ascii() => out.extend_from_slice(text.as_bytes()),
            _ => self.encode_bytewise(text, errors, out),
        }
    }

    fn encode_bytewise(self, text: &str, errors: ErrorPolicy, out: &mut Vec<u8>) {
        let mut replacement = String::new();
        for character in text.chars() {
            if let Some(byte) = self.byte(character) {
                out.push(byte);
                continue;
            }
            replacement.clear();
            errors.replacement(character, &mut replacement);
            out.extend(replacement.chars().filter_map(|character| self.byte(character)));
        }
    }

    fn byte(self, character: char) -> Option<u8> {
        match self.0 {
            Codec::Ascii => u8::try_from(character).ok().filter(u8::is_ascii),
            Codec::Latin1 => u8::try_from(character).ok(),
            Codec::SingleByte(index) => tables::SINGLE_BYTE.get(index)?.byte(character),
            _ => None,
        }
    }
}
