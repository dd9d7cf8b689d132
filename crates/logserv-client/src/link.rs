//! One connection: bytes out, bytes in, and why it ended. Blocks only where the name says so, and always with a limit.
//!
//! In: an address; bytes. Out: bytes; [`Lost`]. Not here: what the bytes mean; that is `frames.rs` and `pickles.rs`.

use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logserv_wire::handshake::ProtocolError;

use crate::config::{Address, Refusal};
use crate::limits::{RECEIVE_LEN, SILENCE_MAX};
use crate::shared::Shared;
use crate::sys::{Passed, Socket};
use crate::trouble::{self, Obstacle};

/// Why a connection, or the attempt to have one, ended.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The operating system says so.
    Io(io::Error),
    /// The server closed it.
    Ended,
    /// The descriptor has become another file's.
    Stolen,
    /// Not a byte has come for too long.
    Silent,
    /// The server said something that it should not have said.
    Confused(String),
    /// The server refuses us. `retry`: it may change its mind by itself.
    Refused { refusal: Refusal, retry: bool },
    /// The server knows another history of this session than we do.
    OtherSession,
    /// A server of 2013 that must not be sent FORMAT.
    RenderHere,
    /// Nobody holds the session any more, and its time is over.
    Abandoned,
    /// Nobody listens yet; a server is being started.
    Starting,
    /// The user's own server cannot be started, for this reason.
    NotStarted(String),
    /// The file is another server's of this user, at this socket.
    HeldAt(PathBuf),
}

impl Lost {
    /// What keeps us from the server now.
    pub(crate) fn obstacle(&self) -> Obstacle {
        match self {
            Lost::Io(error) => Obstacle::from_io(error),
            Lost::Refused {
                refusal,
                retry: false,
            } => Obstacle::Refused(refusal.clone()),
            Lost::Refused { refusal, retry: true } => Obstacle::Postponed(refusal.clone()),
            Lost::NotStarted(reason) => Obstacle::NotStarted(reason.clone()),
            _ => Obstacle::Unreachable(self.reason()),
        }
    }

    /// In words, for the user.
    fn reason(&self) -> String {
        match self {
            Lost::Io(error) => trouble::reason(error),
            Lost::Ended => "connection closed by the server".to_owned(),
            Lost::Stolen => "the descriptor of the connection was closed by this process".to_owned(),
            Lost::Silent => "no answer".to_owned(),
            Lost::Confused(why) => format!("unexpected answer: {why}"),
            Lost::Refused { refusal, .. } => {
                format!("expected {}, received {}", refusal.expected, refusal.received)
            }
            Lost::OtherSession => "the server has forgotten this session".to_owned(),
            Lost::RenderHere => "the server cannot take a formatter".to_owned(),
            Lost::Abandoned => "the session was given up".to_owned(),
            Lost::Starting => "it is being started".to_owned(),
            Lost::NotStarted(reason) => reason.clone(),
            Lost::HeldAt(socket) => format!("its file is held by the server at {}", socket.display()),
        }
    }

    /// Whether nobody listens at a Unix socket.
    pub(crate) fn is_absence(&self) -> bool {
        let absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        matches!(self, Lost::Io(error) if absent.contains(&error.kind()))
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Lost::Io(error)
    }
}

impl From<ProtocolError> for Lost {
    fn from(error: ProtocolError) -> Self {
        let ProtocolError { expected, received } = error;
        Lost::Refused {
            refusal: Refusal {
                expected,
                received,
                held_at: None,
            },
            retry: false,
        }
    }
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Link<'s> {
    shared: &'s Shared,
    socket: Socket,
    out: Vec<u8>,
    sent_len: usize,
    /// Goes with the next byte.
    passed: Option<Passed>,
    heard: Instant,
}

impl<'s> Link<'s> {
    /// Connects. Blocks: for the configured time-out, and for the resolution of a host's name.
    pub(crate) fn connect(shared: &'s Shared) -> Result<Self, Lost> {
        let config = &shared.common.config;
        let opened = |descriptor, identity| shared.descriptor.set(descriptor, identity);
        let connected = match &config.address {
            Address::Unix(path) => Socket::connect_unix(path, opened),
            Address::Personal(personal) => match personal.path() {
                Ok(path) => Socket::connect_unix(&path, opened),
                Err(reason) => return Err(Lost::NotStarted(reason)),
            },
            Address::Tcp { host, port } => {
                let until = Instant::now() + config.connect_timeout;
                let addresses: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
                let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
                for (tried, address) in addresses.iter().enumerate() {
                    let left = until.saturating_duration_since(Instant::now());
                    let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
                    result = Socket::connect_tcp(address, share, opened);
                    if result.is_ok() {
                        break;
                    }
                }
                result
            }
        };
        Self::over(shared, connected)
    }

    /// Connects to a Unix socket. Blocks: never.
    pub(crate) fn connect_unix(shared: &'s Shared, path: &Path) -> Result<Self, Lost> {
        let opened = |descriptor, identity| shared.descriptor.set(descriptor, identity);
        Self::over(shared, Socket::connect_unix(path, opened))
    }

    fn over(shared: &'s Shared, connected: io::Result<Socket>) -> Result<Self, Lost> {
        match connected {
            Ok(socket) => Ok(Self {
                shared,
                socket,
                out: Vec::new(),
                sent_len: 0,
                passed: None,
                heard: Instant::now(),
            }),
            Err(error) => {
                shared.descriptor.clear();
                Err(error.into())
            }
        }
    }

    /// Ends with [`Lost::Stolen`] where the descriptor has become another file's. Ask after each pause.
    pub(crate) fn check_ours(&self) -> Result<(), Lost> {
        if self.socket.is_ours() {
            Ok(())
        } else {
            Err(Lost::Stolen)
        }
    }

    /// The buffer of what is to be sent; append to it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Passes the file with the first byte of what is appended now. Call it when all has been sent.
    pub(crate) fn pass(&mut self, file: Passed) {
        self.passed = Some(file);
    }

    /// Whether all of it has been sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.out.is_empty()
    }

    /// How much of it has been sent.
    pub(crate) fn sent_len(&self) -> usize {
        self.sent_len
    }

    /// Sends what the kernel takes now.
    pub(crate) fn send(&mut self) -> Result<(), Lost> {
        while let Some(rest) = self.out.get(self.sent_len..)
            && !rest.is_empty()
        {
            let sent = match &self.passed {
                Some(file) => self.socket.send_with(rest, file)?,
                None => self.socket.send(rest)?,
            };
            if sent == 0 {
                return Ok(());
            }
            self.sent_len += sent;
            self.passed = None;
        }
        self.out.clear();
        self.sent_len = 0;
        Ok(())
    }

    /// Appends what has come to `inbox`. Returns whether the server has closed the connection behind it.
    pub(crate) fn receive(&mut self, inbox: &mut Vec<u8>) -> Result<bool, Lost> {
        let mut buffer = [0_u8; RECEIVE_LEN];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(None) => return Ok(false),
                Ok(Some(0)) => return Ok(true),
                Ok(Some(len)) => {
                    inbox.extend_from_slice(buffer.get(..len).unwrap_or_default());
                    self.heard = Instant::now();
                    if len < buffer.len() {
                        return Ok(false);
                    }
                }
                // What came before the reset is read first.
                Err(_) if !inbox.is_empty() => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for bytes, or for room where there is something to send. Blocks: for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), Lost> {
        self.socket.wait(!self.is_sent(), timeout)?;
        self.check_ours()
    }

    /// The server owes us nothing up to now; its silence counts from here.
    pub(crate) fn begin_silence(&mut self) {
        self.heard = Instant::now();
    }

    /// Ends with [`Lost::Silent`] where the server owes us bytes and has been silent for too long.
    pub(crate) fn check_silence(&self, now: Instant) -> Result<(), Lost> {
        let silence = now.saturating_duration_since(self.heard);
        if silence < SILENCE_MAX {
            Ok(())
        } else {
            Err(Lost::Silent)
        }
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        self.socket.close();
        self.shared.descriptor.clear();
    }
}
