//! Speaks protocol 1.0, and with plain `SocketHandler`s; finds out first which protocol a peer speaks at all.
//!
//! In: the connection from its first byte. Out: the records it carries, submitted to its file; or word that frames follow.
//! A chunk of records becomes one batch, submitted as soon as the socket has nothing more ready.
//! Not here: the bytes (`logserv_wire::handshake`), frames.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use logserv_wire::handshake::ProtocolError;
use logserv_wire::handshake::server::{Conversation, Event, HELLO_1_0_LINE, Identify, OK_LINE};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use super::draft::Draft;
use super::inbox::{Filled, Inbox};
use super::{Ending, Spoken, draining, error_of, formatters, outbox, too_slow};
use crate::context::{Context, Peer};
use crate::counters::DropReason;
use crate::files::FileRef;
use crate::limits::{DRAIN_READ_MAX, DRAIN_SILENCE, LAST_ACK_PATIENCE, REOPEN_PAUSE};
use crate::pipeline::{Formatters, OpenRequest};

/// Speaks until the peer's last word, or until it turns out to speak in frames.
pub(super) async fn converse<R, W>(
    inbox: &mut Inbox<R>,
    writer: &mut W,
    peer: &Peer,
    context: &Context,
) -> Spoken
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut talk = Talk {
        writer,
        peer,
        context,
        draft: None,
        read_until: None,
    };
    let mut conversation = Conversation::default();
    loop {
        let (len, event) = match conversation.step(inbox.unread()) {
            Ok((len, Some(event))) => (len, event),
            Ok((len, None)) => {
                inbox.consume(len);
                match talk.more(inbox, &conversation).await {
                    Ok(()) => continue,
                    Err(ending) => return Spoken::Ended(talk.end(ending).await),
                }
            }
            Err(error) => return Spoken::Ended(talk.end(Ending::Broken(error)).await),
        };
        let is_open = matches!(event, Event::SocketHandler | Event::Log);
        match talk.react(event).await {
            Ok(Then::GoOn) => {
                inbox.consume(len);
                if is_open {
                    inbox.open(talk.draft.as_ref().map(Draft::share));
                }
            }
            Ok(Then::Frames) => {
                inbox.consume(len);
                return Spoken::Frames;
            }
            Err(ending) => return Spoken::Ended(talk.end(ending).await),
        }
    }
}

enum Then {
    GoOn,
    Frames,
}

struct Talk<'a, W> {
    writer: &'a mut W,
    peer: &'a Peer,
    context: &'a Context,
    /// `None` before the file is open, and for a `SocketHandler` for which none is set.
    draft: Option<Draft>,
    /// Set when the server drains: when to stop reading.
    read_until: Option<Instant>,
}

impl<W: AsyncWrite + Unpin> Talk<'_, W> {
    async fn react(&mut self, event: Event<'_>) -> Result<Then, Ending> {
        match event {
            Event::Hello(hello) if hello.speaks_2_0() => return Ok(Then::Frames),
            Event::Hello(_) => {
                self.context.admin.personal.touch();
                self.answer(HELLO_1_0_LINE).await?;
            }
            Event::SocketHandler => {
                self.context.admin.personal.touch();
                self.open_socket_handler_file().await;
            }
            Event::Identify(identify) => {
                self.identify(identify).await?;
                self.answer(OK_LINE).await?;
            }
            Event::Log => self.answer(OK_LINE).await?,
            Event::Pickle(pickle) => match &mut self.draft {
                Some(draft) => match draft.take(pickle).await {
                    Ok(converted) if converted.cut_bytes > 0 || converted.elided_attributes > 0 => {
                        self.context.counters.cut.add(1);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!("{}: {error}", self.peer),
                },
                None => self.context.counters.discard(DropReason::NoFile, 1),
            },
            Event::Skipped { .. } => match &self.draft {
                Some(draft) => draft.discard(DropReason::TooLong),
                None => self.context.counters.discard(DropReason::NoFile, 1),
            },
            Event::Format { json } => match formatters::compile_strict(json) {
                Ok(formatter) => {
                    if let Some(draft) = &mut self.draft {
                        draft.set_formatter(formatter).await;
                    }
                    self.answer(OK_LINE).await?;
                }
                Err(error) => self.answer(&error.to_line()).await?,
            },
            Event::Rejected(error) => self.answer(&error.to_line()).await?,
            Event::Quit => return Err(self.leave().await),
            // The state machine is of this house: an event that is not known here is answered as what it is.
            _ => {
                return Err(Ending::Broken(ProtocolError::new(
                    "what this server knows",
                    "something newer",
                )));
            }
        }
        Ok(Then::GoOn)
    }

    async fn identify(&mut self, identify: Identify) -> Result<(), Ending> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request = OpenRequest {
            handler_class: identify.handler_class,
            arguments: identify.arguments,
            configured_at_s: now.as_secs_f64(),
            first: false,
            peer: self.peer.to_string(),
        };
        let file = self.context.files.open(request).await.map_err(Ending::Refused)?;
        self.draft = Some(self.draft(file, Arc::default(), identify.level));
        Ok(())
    }

    fn draft(&self, file: FileRef, formatters: Arc<Formatters>, level_min: i32) -> Draft {
        let share = self.context.sessions.memory.share(file.path());
        Draft::new(file, formatters, level_min, share)
    }

    /// Opens the file that the operator has named; waits while it cannot be opened, which holds the peer back.
    async fn open_socket_handler_file(&mut self) {
        let files = &self.context.files;
        let reason = loop {
            match files.socket_handler_file().await {
                Ok(Some(file)) => {
                    self.draft = Some(self.draft(file, files.socket_handler_formatters(), i32::MIN));
                    return;
                }
                Ok(None) => break "--socket-handler-file is not set".to_owned(),
                Err(refusal) if !refusal.retry => break refusal.to_string(),
                Err(_) => {
                    tokio::select! {
                        () = sleep(REOPEN_PAUSE) => {}
                        () = draining(&self.context.phase) => break "the server leaves".to_owned(),
                    }
                }
            }
        };
        // Relaxed: whoever is first says it.
        if !self.context.sessions.told_no_file.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{}: records of a SocketHandler are counted and not written: {reason}",
                self.peer
            );
        }
    }

    /// Waits for more bytes. What has been taken so far is submitted before it waits.
    async fn more<R: AsyncRead + Unpin>(
        &mut self,
        inbox: &mut Inbox<R>,
        conversation: &Conversation,
    ) -> Result<(), Ending> {
        let wanted = conversation.wanted(inbox.unread());
        if self.draft.as_ref().is_some_and(|draft| !draft.is_empty()) {
            if let Some(filled) = inbox.fill_now(wanted).await? {
                return over(filled);
            }
            self.submit().await;
        }
        let half_sent = conversation.is_half_sent(inbox.unread());
        if self.read_until.is_none() {
            tokio::select! {
                biased;
                filled = inbox.fill(wanted, half_sent) => return over(filled?),
                () = draining(&self.context.phase) => self.read_until = Some(Instant::now() + DRAIN_READ_MAX),
            }
        }
        let left = self.read_until.map_or(DRAIN_SILENCE, |until| {
            until.saturating_duration_since(Instant::now())
        });
        match timeout(left.min(DRAIN_SILENCE), inbox.fill(wanted, half_sent)).await {
            Ok(filled) => over(filled?),
            Err(_) => Err(Ending::Drained),
        }
    }

    async fn answer(&mut self, line: &[u8]) -> Result<(), Ending> {
        outbox::write(self.writer, line).await?;
        Ok(())
    }

    async fn submit(&mut self) {
        if let Some(draft) = &mut self.draft {
            draft.submit().await;
        }
    }

    /// What QUIT asks for: the end of the connection says that everything before it is in the file.
    async fn leave(&mut self) -> Ending {
        let Some(draft) = &mut self.draft else {
            return Ending::Left;
        };
        draft.submit().await;
        match timeout(LAST_ACK_PATIENCE, draft.written()).await {
            Ok(()) => Ending::Left,
            Err(_) => Ending::Broken(ProtocolError::new(
                "a file that can be written",
                format!("none within {} s", LAST_ACK_PATIENCE.as_secs()),
            )),
        }
    }

    /// Submits what came before the end, and says why it is one.
    async fn end(&mut self, ending: Ending) -> Ending {
        self.submit().await;
        let error = match &ending {
            Ending::Broken(error) => error.clone(),
            Ending::Refused(refusal) => error_of(refusal),
            Ending::TooSlow => too_slow(),
            _ => return ending,
        };
        // Whether the peer hears it changes nothing.
        let _ = self.answer(&error.to_line()).await;
        ending
    }
}

fn over(filled: Filled) -> Result<(), Ending> {
    match filled {
        Filled::More => Ok(()),
        Filled::End => Err(Ending::Left),
        Filled::TooSlow => Err(Ending::TooSlow),
    }
}
