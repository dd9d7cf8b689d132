//! The sender thread: connects when there is something to send, speaks the protocol that the server speaks, and begins
//! again with back-off when the connection ends. One per session, while it has work; blocked for all signals.
//!
//! In: the session's [`Shared`]. Out: bytes on a connection, lines on stderr.
//! Not here: what is sent when (`state.rs`), how it looks (`frames.rs`, `pickles.rs`).

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use logserv_wire::handshake::client::{Conversation, HELLO_LINE, Identity, Next};
use serde_json::Value;

use crate::backoff::Backoff;
use crate::config::Protocol;
use crate::launch::Launcher;
use crate::limits::{BARE_ERROR_QUIET, LAUNCH_LOOK, RETRY_WAITED_FOR};
use crate::link::{Link, Lost};
use crate::shared::Shared;
use crate::state::{Sender as Activity, State};
use crate::trouble::{Obstacle, Trouble};
use crate::{frames, pickles, sys};

/// Runs until the session is closed and everything is written, or it is abandoned.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut ended = Ended {
        shared,
        in_order: false,
    };
    let mut sender = Sender {
        shared,
        session: hexadecimal(session_id()),
        backoff: Backoff::new(u128::from_le_bytes(session_id()) as u64),
        launcher: Launcher::default(),
        host: None,
        trouble: Trouble::default(),
        renders_here: false,
        has_progressed: false,
    };
    // An earlier thread of this session has ended it.
    shared.lock().renumber();
    while sender.has_work() {
        match sender.connection() {
            Ok(()) => sender.begin_session(),
            Err(Lost::Abandoned) => return,
            Err(lost) => sender.recover(lost),
        }
    }
    ended.in_order = true;
}

/// Says that the thread has ended where it does not say so itself: given up, or by a panic. The next push then starts
/// another. After [`Sender::has_work`] has said it, the state may be the next thread's already.
struct Ended<'s> {
    shared: &'s Shared,
    in_order: bool,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if !self.in_order {
            self.shared.lock().end_sender(Instant::now());
        }
        self.shared.tell();
    }
}

/// The thread's own knowledge.
#[derive(Debug)]
pub(crate) struct Sender<'s> {
    pub(crate) shared: &'s Shared,
    /// The session's name: 32 hexadecimal digits.
    pub(crate) session: String,
    backoff: Backoff,
    pub(crate) launcher: Launcher,
    /// The socket of another server of this user, which holds the file.
    pub(crate) host: Option<PathBuf>,
    trouble: Trouble,
    /// The server is one of 2013: lines are rendered here.
    pub(crate) renders_here: bool,
    /// The present connection has got records to where they belong.
    has_progressed: bool,
}

impl Sender<'_> {
    /// Waits until there is a reason to connect. `false`: the thread is to end. Blocks: while there is nothing to do.
    fn has_work(&mut self) -> bool {
        let mut state = self.shared.lock();
        loop {
            let now = Instant::now();
            if state.abandon_at.is_some_and(|at| now >= at) {
                break;
            }
            if state.is_closing && state.is_finished() {
                break;
            }
            if state.needs_server(now) {
                return true;
            }
            let due = state.announcement_due_in(now);
            state = self.shared.nap(state, Activity::Asleep, due).0;
        }
        // Under the lock: who pushes next finds no sender, and starts one, to which all that follows belongs.
        state.end_sender(Instant::now());
        false
    }

    /// One connection, from the first byte to the last.
    fn connection(&mut self) -> Result<(), Lost> {
        self.has_progressed = false;
        // What has changed before this moment is said by this connection.
        self.shared.lock().reopens = false;
        let mut link = self.reach()?;
        link.out().extend_from_slice(HELLO_LINE);
        self.shared.lock().reopens = false; // from here on we say the present configuration, in 1.0 at least
        let mut conversation = Conversation::new(self.identity(), false);
        match self.talk(&mut link, &mut conversation)? {
            Next::Frames(first) => frames::converse(self, &mut link, first),
            Next::Records => pickles::converse(self, &mut link, conversation),
            Next::RenderHere | Next::Wait | Next::Send(_) => Err(Lost::RenderHere),
        }
    }

    /// Sends what is in the link's buffer and follows the conversation in lines, up to where records can be sent.
    /// Blocks: for the connection's time-out at each reply.
    pub(crate) fn talk(&self, link: &mut Link<'_>, conversation: &mut Conversation) -> Result<Next, Lost> {
        let timeout = self.shared.common.config.connect_timeout;
        let mut until = Instant::now() + timeout;
        let mut has_part = false;
        loop {
            self.check_abandoned()?;
            link.send()?;
            // A bare ERROR of 2013 is whole when nothing more comes for a moment.
            let pause = if has_part {
                BARE_ERROR_QUIET
            } else {
                Duration::from_millis(250)
            };
            link.wait(pause.min(until.saturating_duration_since(Instant::now())))?;
            let mut bytes = Vec::new();
            let has_ended = link.receive(&mut bytes)?;
            let next = if bytes.is_empty() && (has_part || has_ended) {
                conversation.quiet()?
            } else if bytes.is_empty() {
                Next::Wait
            } else {
                has_part = true;
                conversation.received(&bytes)?
            };
            match next {
                Next::Wait if has_ended && bytes.is_empty() => return Err(Lost::Ended),
                Next::Wait if Instant::now() >= until => {
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                }
                Next::Wait => {}
                Next::Send(line) => {
                    has_part = false;
                    link.out().extend_from_slice(&line);
                    until = Instant::now() + timeout;
                }
                done => return Ok(done),
            }
        }
    }

    /// What we say of ourselves in 1.0. Only the first connection may truncate.
    fn identity(&self) -> Identity {
        let common = &self.shared.common;
        let configuration = common.configurations.current();
        let mut arguments = configuration.arguments.clone();
        if common.was_welcomed.load(Ordering::Relaxed)
            && let Some(Value::String(mode)) = arguments.get_mut("mode")
            && mode.starts_with('w')
        {
            *mode = "a".to_owned();
        }
        Identity {
            level: configuration.level,
            handler_class: configuration.handler_class.clone(),
            arguments,
        }
    }

    /// Chooses a new name for what is left of the session.
    fn begin_session(&mut self) {
        self.session = hexadecimal(session_id());
        let mut state = self.shared.lock();
        state.disconnected(Instant::now());
        state.renumber();
        drop(state);
        self.shared.tell();
    }

    /// A server has let us in.
    pub(crate) fn is_welcome(&mut self, protocol: Protocol) {
        let common = &self.shared.common;
        common.was_welcomed.store(true, Ordering::Relaxed); // ordered by nothing, here and below: lone flags
        common.renders.store(protocol == Protocol::Two, Ordering::Relaxed);
        self.shared.tell();
    }

    /// A server has taken records or answered a question.
    pub(crate) fn has_progressed(&mut self) {
        self.has_progressed = true;
        self.backoff.reset();
        self.launcher.reset();
        self.trouble.is_over();
        self.shared.tell();
    }

    /// A connection has ended, or never came to be: says so if it is time, and waits before the next attempt.
    fn recover(&mut self, lost: Lost) {
        let lost = self.or_elsewhere(lost);
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.disconnected(now);
        state.tells_anew = false;
        let is_passing = matches!(lost, Lost::Starting | Lost::HeldAt(_) | Lost::RenderHere);
        if !is_passing && !self.has_progressed {
            state.stop_starting(now);
        }
        let mut obstacle = lost.obstacle();
        if let Obstacle::Postponed(refusal) = &obstacle
            && self.trouble.has_lasted(now)
        {
            obstacle = Obstacle::Refused(refusal.clone()); // it was to pass, and has not
        }
        state.failures += u64::from(obstacle.is_lasting());
        state.obstacle = Some(obstacle.clone());
        let was_final = matches!(lost, Lost::Refused { retry: false, .. });
        let wait = match &lost {
            Lost::Refused { refusal, .. } if obstacle.is_lasting() => {
                let is_news = state.refused(refusal.clone());
                if is_news {
                    self.shared.tell_refusal();
                }
                let pending = state.carrier.pending_records();
                let config = &self.shared.common.config;
                self.trouble.failed(obstacle, now);
                let line = self.trouble.refused(config, refusal, is_news, pending, now);
                self.say(line);
                self.backoff.after_failure(was_final)
            }
            // The server is there; another connection finds it.
            Lost::RenderHere if !self.renders_here => Duration::ZERO,
            // It goes on there; where that leads nowhere, it is waited behind the next failure.
            Lost::HeldAt(_) => Duration::ZERO,
            _ if self.has_progressed => Duration::ZERO,
            Lost::Starting => {
                self.trouble.failed(obstacle, now);
                LAUNCH_LOOK
            }
            _ => {
                self.trouble.failed(obstacle, now);
                self.backoff.after_failure(false)
            }
        };
        drop(state);
        match &lost {
            Lost::HeldAt(socket) => self.go_to(socket.clone()),
            _ if was_final => self.come_home(),
            _ => {}
        }
        self.shared.tell();
        self.renders_here |= matches!(lost, Lost::RenderHere);
        if matches!(lost, Lost::OtherSession) {
            self.begin_session();
        }
        self.pause(wait, was_final);
    }

    /// Waits before the next attempt. Somebody who waits for the outcome shortens it, but for a refusal. Blocks: for
    /// `wait`.
    fn pause(&mut self, wait: Duration, was_refused: bool) {
        let start = Instant::now();
        let mut until = start + wait;
        loop {
            let now = Instant::now();
            let state = self.shared.lock();
            if state.waiters > 0 && !was_refused {
                until = until.min(start + RETRY_WAITED_FOR);
            }
            if now >= until || state.reopens || state.abandon_at.is_some_and(|at| now >= at) {
                return;
            }
            let pending = state.carrier.pending_records();
            let config = &self.shared.common.config;
            let line = self.trouble.unreachable(config, pending, now);
            self.say(line);
            let line = self
                .trouble
                .dropped(config, state.dropped(), || state.drop_reasons(), now);
            self.say(line);
            let due = self.trouble.due().unwrap_or(until);
            let next = until.min(due.max(now)).min(state.abandon_at.unwrap_or(until));
            let pause = next.saturating_duration_since(now);
            drop(self.shared.nap(state, Activity::Retrying, Some(pause)));
        }
    }

    /// Carries out a step that is a pause on an open connection; says what is to be said.
    pub(crate) fn nap(&mut self, state: MutexGuard<'_, State>, kind: Activity, pause: Option<Duration>) {
        let (config, now) = (&self.shared.common.config, Instant::now());
        let line = self
            .trouble
            .dropped(config, state.dropped(), || state.drop_reasons(), now);
        self.say(line);
        let (mut state, was_woken) = self.shared.nap(state, kind, pause);
        if was_woken && kind == Activity::Asleep {
            state.pace.woken(Instant::now());
        }
    }

    /// Ends a session that nobody holds any more, once its time is over.
    pub(crate) fn check_abandoned(&self) -> Result<(), Lost> {
        let abandon_at = self.shared.lock().abandon_at;
        if abandon_at.is_some_and(|at| Instant::now() >= at) {
            Err(Lost::Abandoned)
        } else {
            Ok(())
        }
    }

    fn say(&self, line: Option<String>) {
        // Relaxed: a lone flag.
        if let Some(line) = line
            && self.shared.common.tells_trouble.load(Ordering::Relaxed)
        {
            sys::write_stderr(&line);
        }
    }
}

/// A session's name must be no other session's, of whatever process and host.
fn session_id() -> [u8; 16] {
    sys::random().unwrap_or_else(|| {
        // Without the kernel's generator: time, process and an address differ well enough between our own processes.
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let place = Box::new(0_u8);
        let address = std::ptr::from_ref(place.as_ref()).addr() as u64;
        let low = u64::from(std::process::id()) << 32 ^ address;
        (u128::from(low) << 64 | since.as_nanos() & u128::from(u64::MAX)).to_le_bytes()
    })
}

fn hexadecimal(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_le_bytes(bytes))
}
