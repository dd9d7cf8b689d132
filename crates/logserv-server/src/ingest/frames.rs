//! Speaks protocol 2.0 after the HELLO: one session, from its Open to its last acknowledgement.
//!
//! In: frames. Out: its batches submitted in their order, each record once; acknowledgements as they are written.
//! Two halves run side by side in the connection's task: this one reads and submits, `outbox.rs` sends. A take-over by a
//! newer connection cancels both; that is sound because a batch is either submitted and accepted, or neither.
//! Not here: how a session is remembered (`sessions.rs`), the frames' bytes (`logserv_wire::frame`).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use logserv_wire::bytes::Reader;
use logserv_wire::frame::{self, Frame};
use logserv_wire::handshake::server::HELLO_2_0_LINE;
use logserv_wire::handshake::{ProtocolError, escape};
use logserv_wire::limits::FRAME_LEN_MAX;
use logserv_wire::record;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::inbox::{Filled, Inbox};
use super::opening::{self, Opened};
use super::outbox::{self, ANSWERS_MAX, Answer};
use super::{Ending, draining, error_of, formatters, too_slow};
use crate::context::{Context, Peer, Phase};
use crate::limits::{
    FLUSH_PATIENCE, FORMATTERS_LEN_MAX, FORMATTERS_MAX, JSON_FRAME_LEN_MAX, LAST_ACK_PATIENCE, WRITE_PATIENCE,
};
use crate::pipeline::{Batch, Formatters, Refusal};
use crate::rings::RingHandle;

/// Bytes of a frame's length prefix.
const PREFIX_LEN: usize = 4;
/// The type byte of the one frame that may be long.
const BATCH_TYPE: u8 = 3;

/// Speaks until the session's connection is over.
pub(super) async fn converse<R, W>(
    inbox: &mut Inbox<R>,
    writer: &mut W,
    peer: &Peer,
    context: &Context,
) -> Ending
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if let Err(error) = outbox::write(writer, HELLO_2_0_LINE).await {
        return error.into();
    }
    let opened = match opening::open(inbox, writer, peer, context).await {
        Ok(opened) => opened,
        Err(ending) => return ending,
    };
    let (answers, questions) = mpsc::channel(ANSWERS_MAX);
    let sending = outbox::send(
        writer,
        Arc::clone(opened.claim.progress()),
        opened.welcomed_seq,
        questions,
    );
    let mut sending = std::pin::pin!(sending);
    let mut session = Session {
        opened,
        ring: None,
        context,
        answers,
        formatters: Arc::default(),
        formatters_len: 0,
    };
    let taken_over = session.opened.claim.taken_over();
    let mut taken_over = std::pin::pin!(taken_over);
    let (ending, closed) = tokio::select! {
        biased;
        () = &mut taken_over => return Ending::TakenOver,
        sent = &mut sending => return lost(sent),
        (ending, closed) = session.read(inbox) => (ending, closed),
    };
    if let Ending::Lost(_) = ending {
        return ending;
    }
    let patience = match ending {
        Ending::Left | Ending::Drained => LAST_ACK_PATIENCE,
        _ => WRITE_PATIENCE,
    };
    tokio::select! {
        biased;
        () = &mut taken_over => return Ending::TakenOver,
        _ = timeout(patience, async { tokio::join!(session.say_last(&ending), &mut sending) }) => {}
    }
    if closed && session.opened.claim.accepted_seq() <= session.opened.claim.progress().written() {
        session
            .opened
            .file
            .forget_session(&session.opened.claim.id_bytes());
        session.opened.claim.forget();
    }
    ending
}

fn lost(sent: std::io::Result<()>) -> Ending {
    match sent {
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ending::TooSlow,
        Err(error) => Ending::Lost(error),
        Ok(()) => Ending::Left,
    }
}

/// The reading half of a connection with an open session.
struct Session<'a> {
    opened: Opened,
    /// The ring that its records come through.
    ring: Option<RingHandle>,
    context: &'a Context,
    answers: mpsc::Sender<Answer>,
    formatters: Arc<Formatters>,
    formatters_len: usize,
}

impl Session<'_> {
    /// Takes in frames until there are no more; whether the peer has said Close.
    async fn read<R: AsyncRead + Unpin>(&mut self, inbox: &mut Inbox<R>) -> (Ending, bool) {
        loop {
            let len = tokio::select! {
                biased;
                len = whole_frame(inbox, self.context) => match len {
                    Ok(len) => len,
                    Err(ending) => return (ending, false),
                },
                // Its client must learn that nobody reads it: the next connection finds another way.
                () = ring_end(self.ring.as_ref()) => {
                    let refusal = Refusal::passing("a ring that can be read", "one that broke, or whose file's writer has left");
                    return (Ending::Refused(refusal), false);
                }
            };
            let frame = match frame::decode_first(inbox.unread()) {
                Ok(Some((Some(Frame::Close), _))) => return (Ending::Left, true),
                Ok(Some((frame, _))) => frame,
                Ok(None) => return (Ending::Broken(broken("a frame that ends early")), false),
                Err(error) => return (Ending::Broken(broken(error)), false),
            };
            if let Some(frame) = frame
                && let Err(ending) = self.take(frame, inbox).await
            {
                return (ending, false);
            }
            inbox.consume(len);
        }
    }

    async fn take<R: AsyncRead + Unpin>(&mut self, frame: Frame<'_>, inbox: &Inbox<R>) -> Result<(), Ending> {
        match frame {
            Frame::Batch {
                first_seq,
                count,
                records,
            } => match self.ring {
                None => self.batch(first_seq, count, records).await,
                Some(_) => Err(Ending::Broken(ProtocolError::new(
                    "records in the ring that was attached",
                    "a Batch frame",
                ))),
            },
            Frame::Attach => self.attach(inbox.take_descriptor()).await,
            Frame::Wake => {
                self.wake_ring();
                Ok(())
            }
            Frame::Formatter { id, json } => self.formatter(id, json),
            Frame::Flush { token, level } => {
                self.wake_ring();
                let flushed = timeout(FLUSH_PATIENCE, self.opened.file.flush(level)).await;
                self.done(token, flushed.unwrap_or(false)).await
            }
            Frame::Rollover { token } => {
                self.wake_ring();
                let rolled = timeout(FLUSH_PATIENCE, self.opened.file.rollover()).await;
                self.done(token, rolled.unwrap_or(false)).await
            }
            _ => Err(Ending::Broken(ProtocolError::new(
                "a Batch, Formatter, Attach, Wake, Flush, Rollover or Close frame",
                "another frame",
            ))),
        }
    }

    /// Whoever asks speaks of everything in the ring, also of what came while its reader slept.
    fn wake_ring(&self) {
        if let Some(ring) = &self.ring {
            ring.wake();
        }
    }

    /// Submits the records that are new.
    async fn batch(&mut self, first_seq: u64, count: u32, records: &[u8]) -> Result<(), Ending> {
        let claim = &self.opened.claim;
        let known = claim.known_count(first_seq, count).map_err(Ending::Broken)?;
        let new = after_known(records, count, known).map_err(Ending::Broken)?;
        self.context.counters.duplicates.add(known.into());
        if known == count {
            return self.answer(Answer::AckAgain).await;
        }
        let batch = Batch {
            records: new.to_vec(),
            count: count - known,
            first_seq: first_seq + u64::from(known),
            formatters: Arc::clone(&self.formatters),
            level_min: i32::MIN,
            session: Some(claim.id_bytes()),
            progress: Arc::clone(claim.progress()),
        };
        if !self.opened.file.submit(batch).await {
            // Not accepted, so that it is new wherever its client sends it again.
            return Err(if *self.context.phase.borrow() == Phase::Draining {
                Ending::Drained
            } else {
                Ending::Refused(Refusal::passing("a writer of the file", "its end"))
            });
        }
        // Nothing is awaited between the two: the batch is submitted and accepted, or, cancelled before, neither.
        claim.accept(first_seq + u64::from(count) - 1);
        Ok(())
    }

    /// Takes the ring that was offered, if the client has proved that it is its own.
    async fn attach(&mut self, passed: io::Result<Option<OwnedFd>>) -> Result<(), Ending> {
        let Some(offer) = self.opened.offer.take() else {
            return Err(Ending::Broken(ProtocolError::new(
                "Attach after a Welcome with a ring, once",
                "Attach",
            )));
        };
        // A refusal would have the client move to the socket for good.
        let passed = passed
            .map_err(|error| Ending::Refused(Refusal::passing("a free descriptor", error.to_string())))?;
        let rings = &self.context.rings;
        self.ring = rings.attach_proved(offer, passed, &self.opened.file).await;
        let mut bytes = Vec::new();
        Frame::Attached {
            ok: self.ring.is_some(),
        }
        .encode(&mut bytes);
        self.answer(Answer::Frame(bytes)).await
    }

    fn formatter(&mut self, id: u32, json: &str) -> Result<(), Ending> {
        if id == 0 {
            return Err(Ending::Broken(ProtocolError::new(
                "a formatter's id of 1 or more",
                "0",
            )));
        }
        let formatter = formatters::compile_lenient(json).map_err(Ending::Broken)?;
        self.formatters_len += json.len();
        let formatters = self.formatters.with(id, formatter);
        if formatters.len() > FORMATTERS_MAX || self.formatters_len > FORMATTERS_LEN_MAX {
            let expected =
                format!("at most {FORMATTERS_MAX} formatters of {FORMATTERS_LEN_MAX} bytes on a connection");
            // A new connection begins with none.
            return Err(Ending::Refused(Refusal::passing(expected, "one more")));
        }
        self.formatters = Arc::new(formatters);
        Ok(())
    }

    async fn done(&self, token: u64, ok: bool) -> Result<(), Ending> {
        let mut bytes = Vec::new();
        Frame::Done { token, ok }.encode(&mut bytes);
        self.answer(Answer::Frame(bytes)).await
    }

    async fn answer(&self, answer: Answer) -> Result<(), Ending> {
        // An error means that the sending half has ended; that ends the connection by itself.
        self.answers.send(answer).await.map_err(|_| Ending::Left)
    }

    /// Has the sending half say how it ends, and then end.
    async fn say_last(&self, ending: &Ending) {
        let answer = match farewell(ending) {
            Some(frame) => Answer::Farewell(frame),
            None => Answer::Last {
                seq: self.opened.claim.accepted_seq(),
            },
        };
        let _ = self.answer(answer).await;
    }
}

/// Waits for the end of the ring; for ever where there is none.
async fn ring_end(ring: Option<&RingHandle>) {
    match ring {
        Some(ring) => ring.ended().await,
        None => std::future::pending().await,
    }
}

/// The records behind the first `known` ones.
///
/// # Errors
/// The bytes do not hold exactly `count` records.
fn after_known(records: &[u8], count: u32, known: u32) -> Result<&[u8], ProtocolError> {
    let (mut rest, mut new) = (records, records);
    for number in 0..count {
        if number == known {
            new = rest;
        }
        rest = record::split_first(rest).map_err(broken)?.1;
    }
    if known == count {
        new = rest;
    }
    if rest.is_empty() {
        Ok(new)
    } else {
        let received = format!("{} bytes more", rest.len());
        Err(ProtocolError::new(
            format!("a batch of {count} records"),
            received,
        ))
    }
}

/// Waits until a whole frame is unread, and returns its length with the prefix.
///
/// # Errors
/// The end: of the stream, of patience, of the server's life, or of understanding.
pub(super) async fn whole_frame<R: AsyncRead + Unpin>(
    inbox: &mut Inbox<R>,
    context: &Context,
) -> Result<usize, Ending> {
    loop {
        let unread = inbox.unread();
        let wanted = frame_len(unread).map_err(Ending::Broken)?;
        if unread.len() >= wanted && unread.len() > PREFIX_LEN {
            return Ok(wanted);
        }
        let half_sent = !unread.is_empty();
        tokio::select! {
            biased;
            // What has been received whole is processed; the rest its client will send again elsewhere.
            () = draining(&context.phase) => return Err(Ending::Drained),
            filled = inbox.fill(wanted, half_sent) => match filled? {
                Filled::More => {}
                Filled::End => return Err(Ending::Left),
                Filled::TooSlow => return Err(Ending::TooSlow),
            }
        }
    }
}

/// How long the frame at the front is, with its prefix, as far as its first bytes tell.
fn frame_len(unread: &[u8]) -> Result<usize, ProtocolError> {
    let Ok(len) = Reader::new(unread, "frame").len_u32() else {
        return Ok(PREFIX_LEN + 1);
    };
    let limit = match unread.get(PREFIX_LEN) {
        None | Some(&BATCH_TYPE | 128..) => FRAME_LEN_MAX,
        Some(_) => JSON_FRAME_LEN_MAX,
    };
    if len == 0 || len > limit {
        let expected = format!("a frame of 1 to {limit} bytes");
        return Err(ProtocolError::new(expected, format!("a length of {len} bytes")));
    }
    Ok(PREFIX_LEN + len)
}

/// What is wrong with a frame's bytes, as an error on the wire.
pub(super) fn broken(what: impl fmt::Display) -> ProtocolError {
    ProtocolError::new("a frame of protocol 2.0", what.to_string())
}

/// The Error frame that ends a connection so; `None` where it ends without one.
pub(super) fn farewell(ending: &Ending) -> Option<Vec<u8>> {
    let (error, retry, held_at) = match ending {
        Ending::Broken(error) => (error.clone(), false, None),
        Ending::Refused(refusal) => (error_of(refusal), refusal.retry, refusal.held_at.as_ref()),
        Ending::TooSlow => (too_slow(), true, None),
        Ending::Left | Ending::Drained | Ending::Lost(_) | Ending::TakenOver => return None,
    };
    let (expected, received) = (escape(&error.expected), escape(&error.received));
    let mut json = json!({"expected": expected, "received": received, "retry": retry});
    if let (Some(json), Some(held_at)) = (json.as_object_mut(), held_at) {
        json.insert("held_at".into(), held_at.as_str().into());
    }
    let json = json.to_string();
    let mut bytes = Vec::new();
    Frame::Error { json: &json }.encode(&mut bytes);
    Some(bytes)
}
