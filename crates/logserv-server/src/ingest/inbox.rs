//! The receiving half of a connection: a buffer that grows with what arrives, and patience that has an end.
//!
//! In: bytes of the socket. Out: the unread ones, from the front. A reader looks at [`unread`](Inbox::unread), takes what
//! is whole with [`consume`](Inbox::consume), and asks for more with [`fill`](Inbox::fill).
//! Not here: what the bytes mean.

use std::future::{Future as _, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::memory::{Lease, Memory, Share, Size};
use super::passing::Passing;
use crate::limits::{
    BUFFER_FREE_LEN, BUFFER_LEN_MAX, BUFFER_LEN_START, BUFFER_NORMAL_LEN, HALF_SENT_GRACE,
    HALF_SENT_GRACE_CONTENDED, HALF_SENT_RATE, HALF_SENT_RATE_CONTENDED, HANDSHAKE_PATIENCE,
};

/// How often a wait for the rest of something looks whether others have come to need its memory.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a wait for bytes came to.
#[derive(Debug)]
pub(super) enum Filled {
    /// There are more unread bytes than before.
    More,
    /// The peer will send no more.
    End,
    /// The peer has taken longer than it may.
    TooSlow,
}

/// A connection's receive buffer, and its socket's reading half.
#[derive(Debug)]
pub(super) struct Inbox<R> {
    reader: R,
    /// `None`: no descriptor can come this way.
    passing: Option<Passing>,
    /// `bytes[start..]` are unread.
    bytes: Vec<u8>,
    start: usize,
    share: Share,
    /// The right to a capacity of `BUFFER_NORMAL_LEN`, and to one of `BUFFER_LEN_MAX`.
    normal: Option<Lease>,
    large: Option<Lease>,
    /// When a wait for the rest of what is unread began, and how many bytes have come since then.
    begun: Option<(Instant, usize)>,
    /// What is left of the time for the handshake; `None` once it is done.
    patience: Option<Duration>,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(super) fn new(reader: R, passing: Option<Passing>, memory: &Memory) -> Self {
        Self {
            reader,
            passing,
            bytes: Vec::new(),
            start: 0,
            share: memory.share(""),
            normal: None,
            large: None,
            begun: None,
            patience: Some(HANDSHAKE_PATIENCE),
        }
    }

    /// What has been received and not yet consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Drops `len` bytes from the front.
    pub(super) fn consume(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.begun = None;
        self.start = (self.start + len).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Whether a descriptor can come with the bytes.
    pub(super) fn can_bring_descriptor(&self) -> bool {
        self.passing.is_some()
    }

    /// Keeps the first descriptor that comes from now on, until it is taken.
    pub(super) fn expect_descriptor(&self) {
        if let Some(passing) = &self.passing {
            passing.expect();
        }
    }

    /// The descriptor that has come with the bytes received so far; no other one is kept.
    ///
    /// # Errors
    /// One has come, and no number was free for it.
    pub(super) fn take_descriptor(&self) -> io::Result<Option<OwnedFd>> {
        self.passing.as_ref().map_or(Ok(None), Passing::take)
    }

    /// The handshake is done: from now on the peer may be idle for ever, and what it sends is for the file of `share`.
    pub(super) fn open(&mut self, share: Option<Share>) {
        self.patience = None;
        if let Some(share) = share {
            self.share = share;
        }
    }

    /// Reads what the socket has ready, without waiting for anything. `None`: nothing is, or there is no room for it.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn fill_now(&mut self, wanted: usize) -> io::Result<Option<Filled>> {
        self.tidy(wanted);
        let Some(room) = self.room(wanted) else {
            return Ok(None);
        };
        let before = self.bytes.len();
        let mut reader = (&mut self.reader).take(room);
        let mut read = std::pin::pin!(reader.read_buf(&mut self.bytes));
        let ready = poll_fn(|context| {
            Poll::Ready(match read.as_mut().poll(context) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            })
        })
        .await;
        match ready {
            None => Ok(None),
            Some(result) => result.map(|_| Some(self.arrived(before))),
        }
    }

    /// Waits for bytes. `half_sent`: the peer has begun something, and owes the rest in a reasonable time.
    /// Cancelled while it waits: nothing is lost.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn fill(&mut self, wanted: usize, half_sent: bool) -> io::Result<Filled> {
        self.tidy(wanted);
        if self.unread().is_empty() {
            self.shrink();
        }
        self.make_room(wanted).await;
        let room = self.room(wanted).unwrap_or(1);
        let before = self.bytes.len();
        let started = Instant::now();
        if half_sent {
            self.begun.get_or_insert((started, 0));
        }
        loop {
            let deadline = self.deadline(started, half_sent);
            let look_again = Instant::now() + LOOK_AGAIN;
            let until = deadline.map_or(look_again, |deadline| deadline.min(look_again));
            let mut reader = (&mut self.reader).take(room);
            let read = reader.read_buf(&mut self.bytes);
            let result = if deadline.is_some() {
                timeout_at(until, read).await
            } else {
                Ok(read.await)
            };
            let waited = started.elapsed();
            match result {
                Ok(result) => {
                    result?;
                    self.patience = self.patience.map(|left| left.saturating_sub(waited));
                    return Ok(self.arrived(before));
                }
                Err(_) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Ok(Filled::TooSlow);
                }
                Err(_) => {}
            }
        }
    }

    /// Reads and drops whatever comes, until the peer closes. The caller sets the limit.
    pub(super) async fn discard(&mut self) {
        self.bytes.clear();
        self.start = 0;
        loop {
            self.bytes.clear();
            match self.reader.read_buf(&mut self.bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn arrived(&mut self, before: usize) -> Filled {
        let len = self.bytes.len() - before;
        if let Some((_, received)) = &mut self.begun {
            *received += len;
        }
        if len == 0 { Filled::End } else { Filled::More }
    }

    fn deadline(&self, started: Instant, half_sent: bool) -> Option<Instant> {
        let handshake = self.patience.map(|left| started + left);
        let half_sent = self.begun.filter(|_| half_sent).map(|(begun, received)| {
            let (grace, rate) = if self.normal.is_some() && self.share.is_contended() {
                (HALF_SENT_GRACE_CONTENDED, HALF_SENT_RATE_CONTENDED)
            } else {
                (HALF_SENT_GRACE, HALF_SENT_RATE)
            };
            begun + grace + Duration::from_secs((received / rate) as u64)
        });
        match (handshake, half_sent) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Moves what is unread to the front where that makes room, and gives back what others wait for.
    fn tidy(&mut self, wanted: usize) {
        if self.start > 0 && (self.bytes.len() == self.bytes.capacity() || self.start >= self.bytes.len() / 2)
        {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.unread().is_empty() && wanted <= BUFFER_FREE_LEN && self.share.is_contended() {
            self.shrink();
        }
    }

    /// How many bytes may be read now; `None`: the buffer has to grow first. Of something large, no more than itself is
    /// read: its buffer is then empty when it is consumed, and can be given back.
    fn room(&self, wanted: usize) -> Option<u64> {
        let room = self.bytes.capacity() - self.bytes.len();
        let room = if wanted > BUFFER_FREE_LEN {
            room.min(wanted.saturating_sub(self.unread().len()))
        } else {
            room
        };
        (room > 0).then_some(room as u64)
    }

    /// Sees to it that at least one more byte fits, and grows towards `wanted` as fast as bytes really come: a peer that
    /// announces much and sends little is given little.
    async fn make_room(&mut self, wanted: usize) {
        let held = self.bytes.capacity();
        if self.bytes.len() < held {
            return;
        }
        let target = match held {
            0 => BUFFER_LEN_START,
            1..BUFFER_FREE_LEN => BUFFER_FREE_LEN,
            // Times four: what is copied stays below half of what is received.
            _ => wanted
                .min(held.saturating_mul(4))
                .clamp(held + 1, BUFFER_LEN_MAX.max(held + 1)),
        };
        let waited_from = Instant::now();
        if target > BUFFER_FREE_LEN && self.normal.is_none() {
            self.normal = Some(self.share.lease(Size::Normal).await);
        }
        if target > BUFFER_NORMAL_LEN && self.large.is_none() {
            self.large = Some(self.share.lease(Size::Large).await);
        }
        if let Some((begun, _)) = &mut self.begun {
            *begun += waited_from.elapsed(); // it was not the peer that kept us waiting
        }
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    /// Gives back what was leased, once nothing is held.
    fn shrink(&mut self) {
        if self.normal.is_some() {
            self.bytes = Vec::new();
            self.start = 0;
            self.large = None;
            self.normal = None;
        }
    }
}
