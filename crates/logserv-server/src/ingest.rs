//! From a connection's bytes to batches of wire records, and acknowledgements back.
//!
//! In: any stream, Unix or TCP, and who is at its other end. Out: [`Batch`](crate::Batch)es submitted to files; on the
//! connection the answers that PROTOCOL.md gives. The first byte tells the protocol; `text.rs` speaks 1.0 and
//! `SocketHandler`, `frames.rs` 2.0 with `opening.rs` before it and `outbox.rs` beside it; `sessions.rs` remembers what
//! clients have handed over, `inbox.rs` holds bytes that are not whole yet, `memory.rs` who may hold how many, `passing.rs`
//! the descriptor that a Unix connection may bring.
//! Not here: accepting connections (`run.rs`), files, formatting, the bytes' meaning (`logserv-wire`).
//!
//! One task per connection, no thread, no lock held over a wait. A peer that is slow, silent or hostile keeps its own
//! task waiting and nobody else's; see `limits.rs` for what it may hold, and how long it may take.

mod draft;
mod formatters;
mod frames;
mod inbox;
mod memory;
mod opening;
mod outbox;
mod passing;
mod sessions;
mod telling;
#[cfg(test)]
mod tests;
mod text;

use std::io;
use std::sync::Arc;

use logserv_wire::handshake::ProtocolError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::context::{Context, Peer, Phase};
use crate::limits::LINGER;
use crate::pipeline::Refusal;
pub(crate) use formatters::compile_lenient;
use inbox::Inbox;
use passing::{Passing, PassingStream};
pub use sessions::Sessions;

/// How a conversation ended. What was to be answered has been answered.
#[derive(Debug)]
enum Ending {
    /// The peer has said its last.
    Left,
    /// The server drains.
    Drained,
    /// The peer broke its protocol.
    Broken(ProtocolError),
    /// What the peer asked for was refused.
    Refused(Refusal),
    /// The peer took longer than it may.
    TooSlow,
    /// The connection broke.
    Lost(io::Error),
    /// Another connection speaks for the session now.
    TakenOver,
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// How a conversation goes on after the peer's first words.
enum Spoken {
    /// It said `HELLO 2.0`: frames follow.
    Frames,
    /// It is over.
    Ended(Ending),
}

/// Speaks with one peer until it leaves, breaks its protocol, or the server drains. Returns when the connection is closed.
///
/// Blocks: never the thread; waits for the peer and for the file's queue. Drops: what cannot be read, counted.
/// Everything that the peer has sent whole before it closed is submitted.
pub async fn serve_connection<S>(stream: S, peer: Peer, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve(stream, None, peer, context).await;
}

/// [`serve_connection`] for a client that may pass the descriptor of its ring.
pub(crate) async fn serve_unix_connection(stream: UnixStream, peer: Peer, context: Arc<Context>) {
    let passing = Passing::default();
    let stream = PassingStream::new(stream, passing.clone());
    serve(stream, Some(passing), peer, context).await;
}

async fn serve<S>(stream: S, passing: Option<Passing>, peer: Peer, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut inbox = Inbox::new(reader, passing, &context.sessions.memory);
    let spoken = match context.admin.personal.stranger(&peer) {
        Some(refusal) => {
            context.counters.refusals.add(1);
            // Whether the peer hears it changes nothing.
            let _ = outbox::write(&mut writer, &error_of(&refusal).to_line()).await;
            Spoken::Ended(Ending::Refused(refusal))
        }
        None => text::converse(&mut inbox, &mut writer, &peer, &context).await,
    };
    let (is_frames, ending) = match spoken {
        Spoken::Frames => (
            true,
            frames::converse(&mut inbox, &mut writer, &peer, &context).await,
        ),
        Spoken::Ended(ending) => (false, ending),
    };
    context.sessions.telling.tell(&ending, &peer, &context);
    match ending {
        // A peer without acknowledgements would take what we drop here for delivered.
        Ending::Drained if !is_frames => {}
        Ending::Drained | Ending::Broken(_) | Ending::Refused(_) | Ending::TooSlow => {
            if writer.shutdown().await.is_ok() {
                let _ = timeout(LINGER, inbox.discard()).await;
            }
        }
        Ending::Left | Ending::Lost(_) | Ending::TakenOver => {}
    }
    let _ = writer.shutdown().await;
}

/// Comes back when the server drains.
async fn draining(phase: &watch::Receiver<Phase>) {
    // An error means that the server is gone altogether.
    let _ = phase.clone().wait_for(|phase| *phase == Phase::Draining).await;
}

/// The two parts of a refusal, as an error on the wire has them.
fn error_of(refusal: &Refusal) -> ProtocolError {
    ProtocolError::new(refusal.expected.clone(), refusal.received.clone())
}

/// What a peer is told that took longer than it may.
fn too_slow() -> ProtocolError {
    ProtocolError::new("the rest of what was begun, sooner", "nothing for too long")
}
