//! The operator's side of a command: connects to a running server's Unix socket and asks.
//!
//! Blocking, with time limits; no runtime needed. The server's side is `admin.rs`.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use logserv_wire::frame::{self, Frame};
use logserv_wire::limits::FRAME_LEN_MAX;
use rustix::event::{PollFd, PollFlags};
use rustix::process::PidfdFlags;

use crate::limits::{ASK_TIMEOUT, RETRY_MIN};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens.
    #[error("no server on {}: {cause}; start one with: logserv serve --unix {}", .path.display(), .path.display())]
    NoServer {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The server refused.
    #[error("the server refused: expected {expected}, received {received}")]
    Refused {
        /// In its words.
        expected: String,
        /// In its words.
        received: String,
    },
    /// The connection broke, or the answer took too long.
    #[error("no answer from {}: {cause}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The status of the server on `path`, as JSON.
///
/// # Errors
/// No server, no answer within 5 s, or its refusal.
pub fn status(path: &Path) -> Result<serde_json::Value, AskError> {
    Conversation::start(path)?.command("status")
}

/// Asks the server on `path` to drain and leave, and waits until it is gone, at most until `deadline`.
///
/// # Errors
/// As [`status`]. `Ok(false)`: it is still there.
pub fn stop(path: &Path, deadline: Instant) -> Result<bool, AskError> {
    leave(path, "stop", deadline)
}

/// As [`stop`], for a server that takes the sockets over.
///
/// # Errors
/// As [`stop`].
pub fn replace(path: &Path, deadline: Instant) -> Result<bool, AskError> {
    leave(path, "replace", deadline)
}

fn leave(path: &Path, command: &str, deadline: Instant) -> Result<bool, AskError> {
    let mut conversation = Conversation::start(path)?;
    // Before the command: afterwards its number might be another's.
    let server = conversation.process();
    conversation.command(command)?;
    drop(conversation);
    while Instant::now() < deadline {
        let is_gone = match &server {
            Some(pidfd) => {
                let mut descriptors = [PollFd::new(pidfd, PollFlags::IN)];
                let pause = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 50_000_000,
                };
                rustix::event::poll(&mut descriptors, Some(&pause)).is_ok_and(|ready| ready > 0)
            }
            None => {
                std::thread::sleep(RETRY_MIN);
                UnixStream::connect(path).is_err()
            }
        };
        if is_gone {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Conversation<'p> {
    stream: UnixStream,
    path: &'p Path,
}

impl<'p> Conversation<'p> {
    fn start(path: &'p Path) -> Result<Self, AskError> {
        let stream = UnixStream::connect(path).map_err(|cause| AskError::NoServer {
            path: path.to_owned(),
            cause,
        })?;
        let limited = stream
            .set_read_timeout(Some(ASK_TIMEOUT))
            .and_then(|()| stream.set_write_timeout(Some(ASK_TIMEOUT)));
        let conversation = Self { stream, path };
        limited.map_err(|cause| conversation.broken(cause))?;
        Ok(conversation)
    }

    /// The server's process, held so that its number cannot become another's.
    fn process(&self) -> Option<OwnedFd> {
        let peer = rustix::net::sockopt::socket_peercred(&self.stream).ok()?;
        rustix::process::pidfd_open(peer.pid, PidfdFlags::empty()).ok()
    }

    fn command(&mut self, command: &str) -> Result<serde_json::Value, AskError> {
        self.exchange(command).map_err(|cause| self.broken(cause))?
    }

    fn exchange(&mut self, command: &str) -> io::Result<Result<serde_json::Value, AskError>> {
        self.stream.write_all(b"HELLO 2.0\n")?;
        let mut received = Vec::new();
        while !received.contains(&b'\n') {
            self.receive(&mut received)?;
        }
        let line_len = received
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or_default()
            + 1;
        let hello: Vec<u8> = received.drain(..line_len).collect();
        if hello != b"HELLO 2.0\n" {
            let text = String::from_utf8_lossy(&hello).trim_end().to_owned();
            return Err(invalid(format!("expected HELLO 2.0, received {text:?}")));
        }
        let mut question = Vec::new();
        let json = serde_json::json!({ "command": command }).to_string();
        Frame::Admin { json: &json }.encode(&mut question);
        self.stream.write_all(&question)?;
        loop {
            if let Some((frame, len)) = frame::decode_first(&received).map_err(invalid)? {
                match frame {
                    Some(Frame::Report { json }) => return Ok(Ok(serde_json::from_str(json)?)),
                    Some(Frame::Error { json }) => return Ok(Err(refusal(json))),
                    _ => {}
                }
                received.drain(..len);
            } else {
                self.receive(&mut received)?;
            }
        }
    }

    fn receive(&mut self, received: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let len = self.stream.read(&mut buffer)?;
        received.extend_from_slice(buffer.get(..len).unwrap_or_default());
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.len() > FRAME_LEN_MAX + 4 {
            return Err(invalid("an answer without end"));
        }
        Ok(())
    }

    fn broken(&self, cause: io::Error) -> AskError {
        AskError::Io {
            path: self.path.to_owned(),
            cause,
        }
    }
}

fn refusal(json: &str) -> AskError {
    let json: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| {
        json.get(key)
            .and_then(|value| value.as_str())
            .unwrap_or("?")
            .to_owned()
    };
    AskError::Refused {
        expected: text("expected"),
        received: text("received"),
    }
}

fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}
