//! The connecting side: offers 2.0, goes on in 1.0 where the server answers so, and finds out what its FORMAT is worth.
//!
//! In: the server's replies, cut anywhere, and word that it has gone [`quiet`](Conversation::quiet). Out: the [`Next`]
//! thing to do. Nothing is ever pipelined: a server of 2013 rejects two lines that arrive together.
//! Not here: sockets, time, pickles. The caller writes what it is told to send in one piece, with a time limit on every
//! reply, and sends records only after [`Next::Records`].

use serde_json::{Map, Value};

use super::{
    FORMAT, HANDLER_CLASS_DEFAULT, HANDLER_KEY, HELLO, IDENTIFY, LEVEL_KEY, LOG, ProtocolError, QUIT,
    RECEIVED, TEXT_PREFIX, first_line, line_text,
};
use crate::limits::LINE_LEN_MAX;

/// What the client opens with, whatever the server speaks.
pub const HELLO_LINE: &[u8] = b"HELLO 2.0\n";

/// What a 1.0 client says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its handler's level: the server filters.
    pub level: i32,
    /// Its handler's class on the server.
    pub handler_class: String,
    /// That class's arguments.
    pub arguments: Map<String, Value>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Wait for (more of) a reply.
    Wait,
    /// Send this in one write, then wait for its reply.
    Send(Vec<u8>),
    /// The server speaks 2.0: frames follow, both ways. These bytes of the server's frames are already here.
    Frames(Vec<u8>),
    /// Protocol 1.0 is open: records may be sent, or a formatter [announced](Conversation::announce).
    Records,
    /// FORMAT is not to be used with this server (it is the one of 2013, which takes no records after it, or it refuses
    /// the formatter). Reconnect, never announce again, and send rendered lines as the records' messages.
    RenderHere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Hello,
    Identify,
    Log,
    Records,
    /// The first FORMAT has been sent; kept so that it can be sent once more.
    Format {
        message: Vec<u8>,
    },
    /// The second one has: will the server answer OK again?
    Probe,
    Over,
}

/// One connection's conversation, from HELLO to the last FORMAT.
#[derive(Debug)]
pub struct Conversation {
    state: State,
    identity: Identity,
    /// Whether this server has been seen to take records after a FORMAT.
    format_works: bool,
    unread: Vec<u8>,
}

impl Conversation {
    /// A new conversation; [`HELLO_LINE`] has been, or will be, sent.
    ///
    /// `format_works`: an earlier connection to this server has found that FORMAT works, so that it is not tried twice.
    #[must_use]
    pub fn new(identity: Identity, format_works: bool) -> Self {
        Self {
            state: State::Hello,
            identity,
            format_works,
            unread: Vec::new(),
        }
    }

    /// Whether FORMAT has been found to work; true only once [`Next::Records`] has followed an announcement.
    #[must_use]
    pub fn format_works(&self) -> bool {
        self.format_works
    }

    /// Takes in what the server has sent. Call it with nothing once for each [`Next`] that may follow without bytes.
    ///
    /// # Errors
    /// The server's ERROR, or a reply that it should not have given: close the connection.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Next, ProtocolError> {
        self.unread.extend_from_slice(bytes);
        let Some(reply) = self.take_reply(false)? else {
            return Ok(Next::Wait);
        };
        self.react(reply)
    }

    /// The server has sent nothing for a moment (100 ms is plenty), or has closed the connection: what is here is all.
    /// Needed because a server of 2013 ends its ERROR replies with no newline.
    ///
    /// # Errors
    /// As [`received`](Self::received).
    pub fn quiet(&mut self) -> Result<Next, ProtocolError> {
        let Some(reply) = self.take_reply(true)? else {
            return Ok(Next::Wait);
        };
        self.react(reply)
    }

    /// Announces a formatter, as JSON with the keys `fmt`, `datefmt`, `style`: the bytes to send in one write, before
    /// waiting for a reply. `None`: too long for a line, or this is not the time; render the lines here.
    #[must_use]
    pub fn announce(&mut self, json: &str) -> Option<Vec<u8>> {
        let message = format_message(json)?;
        if self.state != State::Records {
            return None;
        }
        self.state = State::Format {
            message: message.clone(),
        };
        Some(message)
    }

    fn react(&mut self, reply: Reply) -> Result<Next, ProtocolError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let was_probe = state == State::Probe;
        match (state, reply) {
            (State::Format { .. } | State::Probe, Reply::Error(_)) => Ok(Next::RenderHere),
            (_, Reply::Error(error)) => Err(error),
            (State::Hello, Reply::Line(line)) => self.greeted(&line),
            (State::Identify, Reply::Line(line)) if line == "OK" => {
                self.state = State::Log;
                Ok(Next::Send(format!("{LOG}\n").into_bytes()))
            }
            (State::Log | State::Probe, Reply::Line(line)) if line == "OK" => {
                self.format_works |= was_probe;
                self.state = State::Records;
                Ok(Next::Records)
            }
            (State::Format { message }, Reply::Line(line)) if line == "OK" => {
                if self.format_works {
                    self.state = State::Records;
                    return Ok(Next::Records);
                }
                self.state = State::Probe;
                Ok(Next::Send(message))
            }
            (_, Reply::Line(line)) => Err(ProtocolError::new("'OK'", line)),
        }
    }

    fn greeted(&mut self, line: &str) -> Result<Next, ProtocolError> {
        let version = line.strip_prefix(HELLO).unwrap_or_default();
        match version.split('.').next() {
            Some("2") => Ok(Next::Frames(std::mem::take(&mut self.unread))),
            Some("1") => {
                self.state = State::Identify;
                identify_line(&self.identity).map(Next::Send)
            }
            _ => Err(ProtocolError::new("'HELLO 2.0' or 'HELLO 1.0'", line)),
        }
    }

    /// Takes one whole reply off the front. `at_end`: what is here is all that comes.
    fn take_reply(&mut self, at_end: bool) -> Result<Option<Reply>, ProtocolError> {
        if self.unread.starts_with(super::ERROR.as_bytes()) {
            let text = String::from_utf8_lossy(&self.unread);
            // 2013's expected part may hold a newline, and its reply ends without one.
            let is_whole = text.contains(RECEIVED) && text.ends_with('\n');
            if is_whole || at_end || self.unread.len() >= LINE_LEN_MAX {
                let error = ProtocolError::from_line(&text);
                self.unread.clear();
                return Ok(error.map(Reply::Error));
            }
            return Ok(None);
        }
        let Some((line, len)) = first_line(&self.unread)? else {
            return Ok(None);
        };
        let reply = Reply::Line(line_text(line)?.to_owned());
        self.unread.drain(..len);
        Ok(Some(reply))
    }
}

enum Reply {
    Line(String),
    Error(ProtocolError),
}

fn identify_line(identity: &Identity) -> Result<Vec<u8>, ProtocolError> {
    let mut object = Map::new();
    object.insert(LEVEL_KEY.into(), identity.level.into());
    // A server of 2013 has only this class, and takes the key for an argument of it.
    if identity.handler_class != HANDLER_CLASS_DEFAULT {
        object.insert(HANDLER_KEY.into(), identity.handler_class.clone().into());
    }
    object.extend(identity.arguments.clone());
    let line = format!("{IDENTIFY}{}\n", Value::Object(object));
    if line.len() > LINE_LEN_MAX {
        let expected = format!("handler arguments that fit a line of {LINE_LEN_MAX} bytes");
        return Err(ProtocolError::new(expected, format!("{} bytes", line.len())));
    }
    Ok(line.into_bytes())
}

/// The FORMAT message: four zero bytes and a line. `None` if the line is too long.
#[must_use]
pub fn format_message(json: &str) -> Option<Vec<u8>> {
    let line_len = FORMAT.len() + json.len() + 1;
    (line_len <= LINE_LEN_MAX && !json.contains('\n'))
        .then(|| [&TEXT_PREFIX, FORMAT.as_bytes(), json.as_bytes(), b"\n"].concat())
}

/// The QUIT message: four zero bytes and a line. It is not answered.
#[must_use]
pub fn quit_message() -> Vec<u8> {
    [&TEXT_PREFIX, QUIT.as_bytes(), b"\n"].concat()
}

/// A record's length prefix; `None` for an empty pickle or one beyond 4 GiB, which cannot be sent.
#[must_use]
pub fn record_prefix(pickle_len: usize) -> Option<[u8; 4]> {
    u32::try_from(pickle_len)
        .ok()
        .filter(|len| *len > 0)
        .map(u32::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let arguments = serde_json::from_str(r#"{"filename": "a.log"}"#).unwrap();
        Identity {
            level: 10,
            handler_class: HANDLER_CLASS_DEFAULT.into(),
            arguments,
        }
    }

    /// At `Records` with a server that speaks 1.0.
    fn opened() -> Conversation {
        let mut conversation = Conversation::new(identity(), false);
        let identify = Next::Send(b"IDENTIFY {\"--level\":10,\"filename\":\"a.log\"}\n".to_vec());
        assert_eq!(conversation.received(b"HELLO 1.0\n"), Ok(identify));
        assert_eq!(conversation.received(b"OK\n"), Ok(Next::Send(b"LOG\n".to_vec())));
        assert_eq!(conversation.received(b"OK\n"), Ok(Next::Records));
        conversation
    }

    #[test]
    fn a_server_of_2_0_is_spoken_to_in_frames() {
        let mut conversation = Conversation::new(identity(), false);
        assert_eq!(conversation.received(b"HELLO "), Ok(Next::Wait));
        assert_eq!(
            conversation.received(b"2.0\nabc"),
            Ok(Next::Frames(b"abc".to_vec()))
        );
    }

    #[test]
    fn a_server_that_answers_the_second_format_is_trusted_from_then_on() {
        let mut conversation = opened();
        let message = conversation.announce("{\"fmt\":\"x\"}").unwrap();
        assert_eq!(message, b"\0\0\0\0FORMAT {\"fmt\":\"x\"}\n");
        assert_eq!(conversation.received(b"OK\n"), Ok(Next::Send(message.clone())));
        assert!(!conversation.format_works());
        assert_eq!(conversation.received(b"OK\n"), Ok(Next::Records));
        assert!(conversation.format_works());
        assert_eq!(conversation.announce("{\"fmt\":\"x\"}"), Some(message));
        assert_eq!(conversation.received(b"OK\n"), Ok(Next::Records));
    }

    #[test]
    fn the_server_of_2013_is_told_by_its_second_answer_although_that_has_no_newline() {
        let mut conversation = opened();
        let _ = conversation.announce("{}").unwrap();
        assert!(matches!(conversation.received(b"OK\n"), Ok(Next::Send(_))));
        let reply = b"ERROR EXPECTED One of 'FORMAT' or 'QUIT', received \0\0\0\0FORMAT {}";
        assert_eq!(conversation.received(reply), Ok(Next::Wait));
        assert_eq!(conversation.quiet(), Ok(Next::RenderHere));
    }

    #[test]
    fn an_error_of_2013_with_a_newline_in_its_middle_is_read_whole() {
        let mut conversation = Conversation::new(identity(), false);
        assert_eq!(conversation.received(b"ERROR EXPECTED 'LOG\n"), Ok(Next::Wait));
        assert_eq!(conversation.received(b"', received x"), Ok(Next::Wait));
        assert_eq!(conversation.quiet(), Err(ProtocolError::new("'LOG\n'", "x")));
    }

    #[test]
    fn the_class_is_named_only_where_2013_would_not_have_guessed_it() {
        let class = "logging.handlers.WatchedFileHandler".to_owned();
        let line = identify_line(&Identity {
            handler_class: class,
            ..identity()
        })
        .unwrap();
        assert!(
            String::from_utf8(line)
                .unwrap()
                .contains("\"--handler\":\"logging.handlers.WatchedFileHandler\"")
        );
    }

    #[test]
    fn what_does_not_fit_a_line_is_not_sent() {
        assert!(format_message(&"x".repeat(LINE_LEN_MAX)).is_none());
        assert!(format_message(&"x".repeat(LINE_LEN_MAX - FORMAT.len() - 1)).is_some());
        let mut long = identity();
        long.arguments
            .insert("filename".into(), "x".repeat(LINE_LEN_MAX).into());
        let mut conversation = Conversation::new(long, false);
        assert!(conversation.received(b"HELLO 1.0\n").is_err());
    }
}
