//! How a session of the user's own server comes to a connection: finds the socket, starts a server where nobody listens, and
//! goes to another server of the same user while that one holds the file.
//!
//! In: the session's address, what the last server said. Out: a [`Link`], or why there is none yet. The session's ring goes
//! along: its name tells which server finds it when its process is dead. Not here: what is said on the connection.

use std::path::{Path, PathBuf};

use crate::config::Address;
use crate::launch::Started;
use crate::link::{Link, Lost};
use crate::sender::Sender;

impl<'s> Sender<'s> {
    /// A connection to the session's server. Blocks: for the configured time-out, for the resolution of a host's name, and
    /// for the start of a server.
    pub(crate) fn reach(&mut self) -> Result<Link<'s>, Lost> {
        let shared = self.shared;
        let Address::Personal(personal) = &shared.common.config.address else {
            return Link::connect(shared);
        };
        if let Some(host) = self.host.clone() {
            return self.connect_to(&host).inspect_err(|_| self.host = None);
        }
        let socket = personal.path().map_err(Lost::NotStarted)?;
        match self.connect_to(&socket) {
            Err(lost) if lost.is_absence() => self.start(&socket, lost),
            other => other,
        }
    }

    /// What has ended a connection, told as the way to the server that holds the file, where that is what it said.
    pub(crate) fn or_elsewhere(&self, lost: Lost) -> Lost {
        let socket = match (&self.shared.common.config.address, &lost) {
            (Address::Personal(_), Lost::Refused { refusal, .. }) => {
                refusal.held_at.as_deref().and_then(|at| at.strip_prefix("unix:"))
            }
            _ => None,
        };
        let socket = socket.map(PathBuf::from).filter(|socket| socket.is_absolute());
        socket.map_or(lost, Lost::HeldAt)
    }

    /// The file is held by the server at this socket.
    pub(crate) fn go_to(&mut self, host: PathBuf) {
        self.host = Some(host);
    }

    /// A server has not let us in: the next attempt begins where all do.
    pub(crate) fn come_home(&mut self) {
        self.host = None;
    }

    fn connect_to(&self, socket: &Path) -> Result<Link<'s>, Lost> {
        self.shared.lock().carrier.move_ring(socket);
        Link::connect_unix(self.shared, socket)
    }

    fn start(&mut self, socket: &Path, lost: Lost) -> Result<Link<'s>, Lost> {
        let shared = self.shared;
        let Some(launch) = &shared.common.config.launch else {
            return Err(lost);
        };
        if self.launcher.is_due() {
            shared.lock().is_starting = true;
        }
        match self.launcher.start(launch, socket) {
            // Its directory may be new: where the ring belongs is told by the path without links.
            Started::Accepts => self
                .connect_to(socket)
                .map_err(|lost| if lost.is_absence() { Lost::Starting } else { lost }),
            Started::Later => Err(Lost::Starting),
            Started::Failed(reason) => Err(Lost::NotStarted(reason)),
        }
    }
}
