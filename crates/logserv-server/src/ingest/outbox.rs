//! The sending half of a 2.0 connection: acknowledgements as records get written, and answers in their order.
//!
//! In: the session's [`Progress`], and [`Answer`]s of the reading half. Out: frames on the socket.
//! A peer that does not read costs one small buffer: only the newest acknowledgement matters, and there are at most
//! [`ANSWERS_MAX`] answers. Nothing here makes the reading half, or anybody else, wait for the peer.
//! Not here: what is answered; that is `frames.rs`.

use std::io;
use std::sync::Arc;

use logserv_wire::frame::{Frame, Level};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits::WRITE_PATIENCE;
use crate::progress::Progress;

/// Answers that may wait to be sent; the reading half waits before it reads more questions.
pub(super) const ANSWERS_MAX: usize = 16;

/// Something to send, other than the acknowledgement of progress.
#[derive(Debug)]
pub(super) enum Answer {
    /// An encoded frame.
    Frame(Vec<u8>),
    /// What is written, once more: the peer has sent again what was.
    AckAgain,
    /// An encoded Error frame, behind which nothing is sent.
    Farewell(Vec<u8>),
    /// Everything up to here is to be acknowledged, then nothing more is sent.
    Last {
        /// The last sequence number.
        seq: u64,
    },
}

/// Sends until the [`Answer::Last`] or [`Answer::Farewell`] is sent, or the other end of `answers` is gone.
///
/// # Errors
/// The socket's; `TimedOut` where the peer has read nothing for [`WRITE_PATIENCE`].
pub(super) async fn send<W: AsyncWrite + Unpin>(
    writer: &mut W,
    progress: Arc<Progress>,
    mut acked_seq: u64,
    mut answers: mpsc::Receiver<Answer>,
) -> io::Result<()> {
    let (mut last, mut next) = (None, None);
    let mut bytes = Vec::new();
    loop {
        while let Some(answer) = next.take().or_else(|| answers.try_recv().ok()) {
            match answer {
                Answer::Frame(frame) => {
                    ack_newest(&progress, &mut acked_seq, &mut bytes);
                    bytes.extend_from_slice(&frame);
                }
                Answer::Farewell(frame) => {
                    ack_newest(&progress, &mut acked_seq, &mut bytes);
                    bytes.extend_from_slice(&frame);
                    return write(writer, &bytes).await;
                }
                Answer::AckAgain => acked_seq = 0,
                Answer::Last { seq } => last = Some(seq),
            }
        }
        ack_newest(&progress, &mut acked_seq, &mut bytes);
        if !bytes.is_empty() {
            write(writer, &bytes).await?;
            bytes.clear();
        } else if last.is_some_and(|seq| seq <= acked_seq) {
            return Ok(());
        } else {
            tokio::select! {
                _ = progress.changed(acked_seq) => {}
                answer = answers.recv(), if last.is_none() => match answer {
                    Some(answer) => next = Some(answer),
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Appends the acknowledgement of what is written, if that is more than was acknowledged.
fn ack_newest(progress: &Progress, acked_seq: &mut u64, bytes: &mut Vec<u8>) {
    let written = progress.written();
    if written > *acked_seq {
        *acked_seq = written;
        Frame::Ack {
            seq: written,
            level: if progress.synced() >= written {
                Level::Synced
            } else {
                Level::Written
            },
        }
        .encode(bytes);
    }
}

/// Writes all of `bytes`.
///
/// # Errors
/// The socket's; `TimedOut` where the peer does not read.
pub(super) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    let all = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    timeout(WRITE_PATIENCE, all)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
