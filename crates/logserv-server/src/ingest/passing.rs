//! A Unix connection through which a client may pass the descriptor of its ring.
//!
//! In: the stream; word that a descriptor is expected. Out: the same bytes, and one descriptor at most. While none is
//! expected the stream is read without asking for any: the kernel closes what comes, it never becomes ours.
//! Not here: what the descriptor is (`rings/passed.rs`).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

/// What a connection and its stream share.
#[derive(Debug, Clone, Default)]
pub(super) struct Passing(Arc<Place>);

#[derive(Debug, Default)]
struct Place {
    is_expected: AtomicBool,
    /// One came, and there was no number free for it.
    is_cut: AtomicBool,
    received: Mutex<Option<OwnedFd>>,
}

impl Passing {
    /// From now on the first descriptor that comes is kept.
    pub(super) fn expect(&self) {
        // Relaxed, here and below: set and read by the connection's own task.
        self.0.is_expected.store(true, Ordering::Relaxed);
    }

    /// The descriptor that has come, if any; no other one is kept.
    ///
    /// # Errors
    /// One has come, and we could not have it: all descriptors are used up.
    pub(super) fn take(&self) -> io::Result<Option<OwnedFd>> {
        self.0.is_expected.store(false, Ordering::Relaxed);
        match self.place().take() {
            None if self.0.is_cut.load(Ordering::Relaxed) => Err(rustix::io::Errno::MFILE.into()),
            received => Ok(received),
        }
    }

    fn is_expected(&self) -> bool {
        self.0.is_expected.load(Ordering::Relaxed)
    }

    fn place(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.0.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives bytes, and keeps the first descriptor. Room is asked for one; the kernel may round that up, and closes the
    /// others before they are ours. Blocks: never.
    fn receive(&self, stream: &UnixStream, into: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(stream, &mut [IoSliceMut::new(into)], &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    // One too many is closed here.
                    self.place().get_or_insert(descriptor);
                }
            }
        }
        let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
        self.0.is_cut.fetch_or(is_cut, Ordering::Relaxed);
        Ok(received.bytes)
    }
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct PassingStream {
    stream: UnixStream,
    passing: Passing,
}

impl PassingStream {
    pub(super) fn new(stream: UnixStream, passing: Passing) -> Self {
        Self { stream, passing }
    }
}

impl AsyncRead for PassingStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.passing.is_expected() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        loop {
            ready!(this.stream.poll_read_ready(cx))?;
            let into = buffer.initialize_unfilled();
            let received = this
                .stream
                .try_io(Interest::READABLE, || this.passing.receive(&this.stream, into));
            match received {
                Ok(len) => {
                    buffer.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for PassingStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
