//! The listening side of protocol 1.0 and of plain `SocketHandler`: which event do the received bytes hold next?
//!
//! In: the unread bytes of one connection, from the front, however they were cut. Out: one [`Event`] at a time that
//! borrows from them, with the number of bytes to drop; or a [`ProtocolError`], after which nothing more is read.
//! Not here: the replies' timing, the pickle's content, the handler's arguments, deadlines.

use serde_json::{Map, Value};

use super::{
    FORMAT, HANDLER_CLASS_DEFAULT, HANDLER_KEY, HELLO, IDENTIFY, LEVEL_KEY, LOG, ProtocolError, QUIT,
    TEXT_PREFIX, first_line, line_text,
};
use crate::limits::{LINE_LEN_MAX, PICKLE_LEN_MAX, PICKLE_SKIP_LEN_MAX};

/// Bytes of a record's length prefix, big-endian.
const PREFIX_LEN: usize = 4;

/// Answers a client that goes on in 1.0.
pub const HELLO_1_0_LINE: &[u8] = b"HELLO 1.0\n";
/// Answers a client that goes on in 2.0.
pub const HELLO_2_0_LINE: &[u8] = b"HELLO 2.0\n";
/// Answers everything else that was granted.
pub const OK_LINE: &[u8] = b"OK\n";

/// What the peer said.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The first byte is that of a `SocketHandler`'s length prefix: no handshake, records follow. Needs no answer.
    SocketHandler,
    /// `HELLO <version>`. Answer with [`HELLO_2_0_LINE`] if [`speaks_2_0`](Hello::speaks_2_0), and read frames from
    /// then on; else with [`HELLO_1_0_LINE`].
    Hello(Hello<'a>),
    /// `IDENTIFY {…}`. Answer with [`OK_LINE`] once the file is open.
    Identify(Identify),
    /// `LOG`. Answer with [`OK_LINE`].
    Log,
    /// One pickled record of at most [`PICKLE_LEN_MAX`] bytes. Never answered.
    Pickle(&'a [u8]),
    /// A record of so many bytes, too long to be decoded: its bytes are skipped without being held. Never answered.
    Skipped {
        /// The length announced.
        len: usize,
    },
    /// `FORMAT {…}`: an object with no other keys than `fmt`, `datefmt`, `style`. Answer with [`OK_LINE`] once it is
    /// compiled, or with an ERROR line; the connection goes on either way.
    Format {
        /// The JSON object.
        json: &'a str,
    },
    /// A whole text line between records that means nothing. Answer with its ERROR line; the connection goes on.
    Rejected(ProtocolError),
    /// `QUIT`. Nothing after it is read; close once everything before it is processed.
    Quit,
}

/// The version that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// As it came.
    pub version: &'a str,
}

impl Hello<'_> {
    /// Whether frames follow: the major version is 2 or later. Everything else goes on in 1.0, as in 2013.
    #[must_use]
    pub fn speaks_2_0(&self) -> bool {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse().is_ok_and(|major: u32| major >= 2)
    }
}

/// Which handler a 1.0 client wants on the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Identify {
    /// Records below it are filtered by the server.
    pub level: i32,
    /// The handler's class; `RotatingFileHandler` where the client names none.
    pub handler_class: String,
    /// Its arguments, spelled as in `logging.handlers`.
    pub arguments: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not a byte yet.
    Start,
    Hello,
    Identify,
    Log,
    /// Between two records.
    Records,
    /// Within a record that is not decoded.
    Skip {
        left: usize,
    },
    /// After `HELLO 2.0`, `QUIT` or an error: the bytes are not ours to read.
    Over,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Conversation {
    state: State,
}

impl Default for Conversation {
    fn default() -> Self {
        Self { state: State::Start }
    }
}

impl Conversation {
    /// Reads the next event from `bytes`, all that has been received and not yet consumed.
    ///
    /// Returns the number of bytes at the front that are done with, and the event; `None` in its place when more
    /// bytes are needed. The result does not depend on how the stream was cut.
    ///
    /// # Errors
    /// A [`ProtocolError`] to answer with, before the connection is closed: where the next record begins is unknown.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let outcome = match self.state {
            State::Start => self.sniff(bytes),
            State::Hello | State::Identify | State::Log => self.handshake_line(bytes),
            State::Records => self.record(bytes),
            State::Skip { left } => {
                let taken = left.min(bytes.len());
                self.state = if taken == left {
                    State::Records
                } else {
                    State::Skip { left: left - taken }
                };
                if taken == 0 || self.state != State::Records {
                    return Ok((taken, None));
                }
                let (consumed, event) = self.step(bytes.get(taken..).unwrap_or_default())?;
                return Ok((taken + consumed, event));
            }
            State::Over => Ok((0, None)),
        };
        if outcome.is_err() {
            self.state = State::Over;
        }
        outcome
    }

    /// How many unread bytes, at least, make the next event whole; the caller's buffer must be able to hold so many.
    #[must_use]
    pub fn wanted(&self, bytes: &[u8]) -> usize {
        match self.state {
            State::Records => match bytes.first_chunk() {
                Some(&TEXT_PREFIX) => PREFIX_LEN + LINE_LEN_MAX,
                Some(prefix) => PREFIX_LEN + (u32::from_be_bytes(*prefix) as usize).min(PICKLE_LEN_MAX),
                None => PREFIX_LEN,
            },
            State::Start | State::Skip { .. } | State::Over => 1,
            State::Hello | State::Identify | State::Log => LINE_LEN_MAX,
        }
    }

    /// Whether the peer has begun something and not finished it, `unread` being what is left after [`step`](Self::step).
    #[must_use]
    pub fn is_half_sent(&self, unread: &[u8]) -> bool {
        !unread.is_empty() || matches!(self.state, State::Skip { .. })
    }

    /// Whether the handshake is behind us and records may come at any time, or never.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Records | State::Skip { .. } | State::Over)
    }

    fn sniff<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        match bytes.first() {
            None => Ok((0, None)),
            Some(b'H') => {
                self.state = State::Hello;
                self.handshake_line(bytes)
            }
            // A record of exactly `PICKLE_SKIP_LEN_MAX` begins with a 1.
            Some(0 | 1) => {
                self.state = State::Records;
                Ok((0, Some(Event::SocketHandler)))
            }
            // Only the one byte is named, so that the answer does not depend on how many came with it.
            Some(other) => {
                let received = format!("a first byte of 0x{other:02x}");
                Err(ProtocolError::new(
                    "'HELLO <version>' or the length of a SocketHandler's record",
                    received,
                ))
            }
        }
    }

    fn handshake_line<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let Some((line, len)) = first_line(bytes)? else {
            return Ok((0, None));
        };
        let text = line_text(line)?;
        let event = match self.state {
            State::Hello => {
                let Some(version) = text.strip_prefix(HELLO) else {
                    return Err(ProtocolError::new("'HELLO <version>'", text));
                };
                let hello = Hello { version };
                self.state = if hello.speaks_2_0() {
                    State::Over
                } else {
                    State::Identify
                };
                Event::Hello(hello)
            }
            State::Identify => {
                let Some(json) = text.strip_prefix(IDENTIFY) else {
                    return Err(ProtocolError::new("'IDENTIFY {…}'", text));
                };
                let identify = parse_identify(json)?;
                self.state = State::Log;
                Event::Identify(identify)
            }
            _ => {
                if text != LOG {
                    return Err(ProtocolError::new("'LOG'", text));
                }
                self.state = State::Records;
                Event::Log
            }
        };
        Ok((len, Some(event)))
    }

    fn record<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
            return Ok((0, None));
        };
        if *prefix == TEXT_PREFIX {
            return self.text_message(rest);
        }
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > PICKLE_SKIP_LEN_MAX {
            let expected = format!("a record of at most {PICKLE_SKIP_LEN_MAX} bytes");
            return Err(ProtocolError::new(expected, format!("a length of {len} bytes")));
        }
        if len > PICKLE_LEN_MAX {
            self.state = State::Skip { left: len };
            return Ok((PREFIX_LEN, Some(Event::Skipped { len })));
        }
        Ok(match rest.get(..len) {
            Some(pickle) => (PREFIX_LEN + len, Some(Event::Pickle(pickle))),
            None => (0, None),
        })
    }

    fn text_message<'a>(&mut self, rest: &'a [u8]) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let Some((line, len)) = first_line(rest)? else {
            return Ok((0, None));
        };
        let event = match line_text(line).and_then(parse_message) {
            Ok(Event::Quit) => {
                self.state = State::Over;
                Event::Quit
            }
            Ok(event) => event,
            Err(error) => Event::Rejected(error),
        };
        Ok((PREFIX_LEN + len, Some(event)))
    }
}

fn parse_message(text: &str) -> Result<Event<'_>, ProtocolError> {
    if text == QUIT {
        return Ok(Event::Quit);
    }
    let Some(json) = text.strip_prefix(FORMAT) else {
        return Err(ProtocolError::new("'FORMAT {…}' or 'QUIT'", text));
    };
    let keys = parse_object(json)?;
    match keys
        .keys()
        .find(|key| !matches!(key.as_str(), "fmt" | "datefmt" | "style"))
    {
        Some(unknown) => Err(ProtocolError::new("the keys fmt, datefmt, style", unknown)),
        None => Ok(Event::Format { json }),
    }
}

fn parse_object(json: &str) -> Result<Map<String, Value>, ProtocolError> {
    serde_json::from_str(json).map_err(|_| ProtocolError::new("a JSON object", json))
}

fn parse_identify(json: &str) -> Result<Identify, ProtocolError> {
    let mut arguments = parse_object(json)?;
    let Some(level) = arguments.shift_remove(LEVEL_KEY) else {
        return Err(ProtocolError::new("a '--level' key", "none"));
    };
    let handler_class = match arguments.shift_remove(HANDLER_KEY) {
        None => HANDLER_CLASS_DEFAULT.to_owned(),
        Some(Value::String(class)) => class,
        Some(other) => {
            return Err(ProtocolError::new(
                "the name of a handler class in '--handler'",
                other.to_string(),
            ));
        }
    };
    Ok(Identify {
        level: parse_level(&level)?,
        handler_class,
        arguments,
    })
}

/// A level as `setLevel` takes it: an integer, or one of the names that `logging` itself defines.
fn parse_level(level: &Value) -> Result<i32, ProtocolError> {
    let known = match level {
        Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        Value::String(name) => match name.as_str() {
            "CRITICAL" | "FATAL" => Some(50),
            "ERROR" => Some(40),
            "WARNING" | "WARN" => Some(30),
            "INFO" => Some(20),
            "DEBUG" => Some(10),
            "NOTSET" => Some(0),
            _ => None,
        },
        _ => None,
    };
    known.ok_or_else(|| ProtocolError::new("a number or the name of a level in '--level'", level.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identify(json: &str) -> Result<Identify, ProtocolError> {
        parse_identify(json)
    }

    #[test]
    fn a_level_is_a_number_or_a_name_of_logging() {
        assert_eq!(identify(r#"{"--level": "WARN"}"#).unwrap().level, 30);
        assert_eq!(identify(r#"{"--level": -5}"#).unwrap().level, -5);
        for wrong in ["1.5", "true", "null", "99999999999", "\"LOUD\"", "[10]"] {
            let error = identify(&format!("{{\"--level\": {wrong}}}")).unwrap_err();
            assert!(error.expected.contains("--level"), "{wrong}: {error}");
        }
        assert_eq!(identify("{}").unwrap_err().expected, "a '--level' key");
    }

    #[test]
    fn the_handler_class_is_named_by_its_own_key_and_the_rest_are_its_arguments() {
        let plain = identify(r#"{"--level": 10, "filename": "a.log", "maxBytes": 7}"#).unwrap();
        assert_eq!(plain.handler_class, HANDLER_CLASS_DEFAULT);
        assert_eq!(
            plain.arguments.keys().collect::<Vec<_>>(),
            ["filename", "maxBytes"]
        );
        let named = identify(r#"{"--handler": "logging.FileHandler", "--level": 10}"#).unwrap();
        assert_eq!(named.handler_class, "logging.FileHandler");
        assert!(named.arguments.is_empty());
        assert!(identify(r#"{"--handler": 3, "--level": 10}"#).is_err());
    }

    #[test]
    fn only_a_major_version_of_two_or_more_leaves_1_0() {
        for (version, expected) in [
            ("1.0", false),
            ("2.0", true),
            ("3.7", true),
            ("2", true),
            ("two", false),
            ("", false),
        ] {
            assert_eq!(Hello { version }.speaks_2_0(), expected, "{version}");
        }
    }

    #[test]
    fn a_first_record_may_be_as_long_as_any() {
        let mut conversation = Conversation::default();
        let len = PICKLE_SKIP_LEN_MAX;
        let prefix = u32::try_from(len).unwrap().to_be_bytes();
        assert_eq!(conversation.step(&prefix), Ok((0, Some(Event::SocketHandler))));
        assert_eq!(conversation.step(&prefix), Ok((4, Some(Event::Skipped { len }))));
        let mut conversation = Conversation::default();
        let longer = u32::try_from(len + 1).unwrap().to_be_bytes();
        assert_eq!(conversation.step(&longer), Ok((0, Some(Event::SocketHandler))));
        assert!(conversation.step(&longer).is_err());
    }

    #[test]
    fn a_skipped_record_is_consumed_without_being_held() {
        let mut conversation = Conversation::default();
        let len = PICKLE_LEN_MAX + 1;
        let prefix = u32::try_from(len).unwrap().to_be_bytes();
        assert_eq!(conversation.step(&prefix), Ok((0, Some(Event::SocketHandler))));
        assert_eq!(conversation.step(&prefix), Ok((4, Some(Event::Skipped { len }))));
        let chunk = vec![b'x'; 1 << 20];
        let mut left = len;
        while left > chunk.len() {
            assert_eq!(conversation.step(&chunk), Ok((chunk.len(), None)));
            assert!(conversation.is_half_sent(&[]));
            left -= chunk.len();
        }
        let mut last = vec![b'x'; left];
        last.extend_from_slice(b"\0\0\0\x01N");
        assert_eq!(
            conversation.step(&last),
            Ok((last.len(), Some(Event::Pickle(b"N"))))
        );
    }
}
