//! Protocol 1.0, the one of 2013: text lines, then pickled records; and the plain `SocketHandler`, which has no lines.
//!
//! In: bytes as they came from the peer, cut anywhere. Out: what the peer said ([`server::Event`]) or what to do next
//! ([`client::Next`]), or a [`ProtocolError`]; and the lines to say in return. `server.rs` is the side that listens, `client.rs` the side
//! that connects; PROTOCOL.md, section "1.0", is the normative text.
//! Not here: sockets, deadlines, what is done about a record; and frames, which follow a `HELLO 2.0`.

pub mod client;
pub mod server;

use std::fmt;

use crate::limits::{ERROR_PART_LEN_MAX, LINE_LEN_MAX};

/// The word with which every conversation begins.
const HELLO: &str = "HELLO ";
/// Introduces the handler's arguments.
const IDENTIFY: &str = "IDENTIFY ";
/// Introduces a formatter, behind four zero bytes.
const FORMAT: &str = "FORMAT ";
/// Says good-bye, behind four zero bytes.
const QUIT: &str = "QUIT";
/// Says that records follow.
const LOG: &str = "LOG";
/// Introduces the text of an error.
const ERROR: &str = "ERROR ";
/// A record of no length: a text line follows.
const TEXT_PREFIX: [u8; 4] = [0; 4];
/// Key of the announced level in IDENTIFY.
const LEVEL_KEY: &str = "--level";
/// Key of the handler's class in IDENTIFY.
const HANDLER_KEY: &str = "--handler";

/// The handler class of IDENTIFY where none is named: the only one that 2013 knew.
pub const HANDLER_CLASS_DEFAULT: &str = "logging.handlers.RotatingFileHandler";

/// One side did not say what the other expected; both in words, as the one line of an ERROR reply has them.
///
/// The texts are held as they came; [`Display`](fmt::Display) and [`to_line`](Self::to_line) escape and bound them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolError {
    /// What was expected.
    pub expected: String,
    /// What came.
    pub received: String,
}

impl std::error::Error for ProtocolError {}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, received) = (escape(&self.expected), escape(&self.received));
        write!(f, "EXPECTED {expected}, received {received}")
    }
}

impl ProtocolError {
    /// From two texts.
    pub fn new(expected: impl Into<String>, received: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            received: received.into(),
        }
    }

    /// From bytes of unknown encoding: what is not UTF-8 becomes `\xNN`, and no more is kept than is shown.
    #[must_use]
    pub fn from_bytes(expected: &str, received: &[u8]) -> Self {
        let kept = received.get(..ERROR_PART_LEN_MAX + 1).unwrap_or(received);
        let mut text = String::with_capacity(kept.len());
        for chunk in kept.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        Self::new(expected, text)
    }

    /// The reply: `ERROR EXPECTED <this>, received <that>\n`, one line shorter than [`LINE_LEN_MAX`].
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        format!("{ERROR}{self}\n").into_bytes()
    }

    /// Reads a reply's text, with or without its newline; `None` where it does not begin with `ERROR `.
    ///
    /// A text without `EXPECTED …, received …` is kept whole as what was received.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let text = line.strip_prefix(ERROR)?.trim_end_matches(['\r', '\n']);
        let parts = text
            .strip_prefix("EXPECTED ")
            .and_then(|rest| rest.split_once(RECEIVED));
        Some(match parts {
            Some((expected, received)) => Self::new(expected, received),
            None => Self::new("a reply that this client knows", text),
        })
    }
}

/// What parts the two halves of an ERROR reply.
const RECEIVED: &str = ", received ";

// Two escaped parts of this length, every character of which may become six, fit a line.
const _: () = assert!(2 * 6 * ERROR_PART_LEN_MAX + 256 < LINE_LEN_MAX);

/// Makes foreign text fit for one line of a terminal: control and direction characters become escapes, and what is
/// longer than [`ERROR_PART_LEN_MAX`] bytes is cut and says so.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(ERROR_PART_LEN_MAX) + 16);
    for (at, character) in text.char_indices() {
        if at + character.len_utf8() > ERROR_PART_LEN_MAX {
            out.push_str("…[cut]");
            break;
        }
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
            // Line and paragraph separators, and the marks that turn the direction of a text.
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => out.push(other),
        }
    }
    out
}

/// Reads the line at the start of `bytes`: its text without the newline, and its length with it.
///
/// `None`: no newline yet. The error comes as soon as [`LINE_LEN_MAX`] bytes hold no newline.
fn first_line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let head = bytes.get(..LINE_LEN_MAX).unwrap_or(bytes);
    match head.iter().position(|byte| *byte == b'\n') {
        Some(at) => Ok(Some((head.get(..at).unwrap_or_default(), at + 1))),
        None if head.len() < LINE_LEN_MAX => Ok(None),
        None => Err(ProtocolError::new(
            format!("a line of at most {LINE_LEN_MAX} bytes"),
            "a longer one",
        )),
    }
}

fn line_text(line: &[u8]) -> Result<&str, ProtocolError> {
    std::str::from_utf8(line).map_err(|_| ProtocolError::from_bytes("a UTF-8 string", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reply_is_one_bounded_line_whatever_came() {
        let nasty = "\0\n\u{1b}[2J\u{202e}".repeat(100_000);
        let line = ProtocolError::new(nasty.clone(), nasty).to_line();
        assert!(line.len() < LINE_LEN_MAX);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        assert!(line.iter().all(|byte| *byte >= 0x20 || *byte == b'\n'));
    }

    #[test]
    fn an_error_reply_comes_back_in_its_two_parts() {
        let error = ProtocolError::new("'LOG'", "GET / HTTP/1.1");
        let line = String::from_utf8(error.to_line()).unwrap();
        assert_eq!(line, "ERROR EXPECTED 'LOG', received GET / HTTP/1.1\n");
        assert_eq!(ProtocolError::from_line(&line), Some(error));
        assert_eq!(ProtocolError::from_line("OK\n"), None);
        assert_eq!(
            ProtocolError::from_line("ERROR who knows").unwrap().received,
            "who knows"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_as_escapes() {
        assert_eq!(
            ProtocolError::from_bytes("x", b"a\xffb\n").to_string(),
            "EXPECTED x, received a\\xffb\\n"
        );
    }
}
