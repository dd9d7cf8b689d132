//! Speaks protocol 2.0 on a connection: Open and Welcome, formatters, batches, acknowledgements, questions; where the records
//! go through a ring, questions only.
//!
//! In: the session's [`State`](crate::state::State) and the server's frames. Out: our frames. PROTOCOL.md is normative.
//! Not here: when a batch is due (`state.rs`); what follows a lost connection (`sender.rs`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use logserv_wire::frame::{Frame, Level, decode_first};
use logserv_wire::limits::RECORD_LEN_MAX;
use logserv_wire::record::split_first;
use serde_json::Value;

use crate::attach::{self, Welcome};
use crate::config::{Protocol, Refusal};
use crate::cut;
use crate::formatters::{forget_formatter, formatter_of};
use crate::link::{Link, Lost};
use crate::questions::Ask;
use crate::queue::Batch;
use crate::sender::Sender;
use crate::state::{Sender as Activity, Step};

/// The conversation on one connection.
struct Conversation {
    inbox: Vec<u8>,
    has_ended: bool,
    welcome: Option<Welcome>,
    /// The answer to Attach.
    attached: Option<bool>,
    announced: HashSet<u32>,
}

/// Speaks until the session is closed (`Ok`) or the connection ends. `first`: what the server sent behind its HELLO.
pub(crate) fn converse(sender: &mut Sender<'_>, link: &mut Link<'_>, first: Vec<u8>) -> Result<(), Lost> {
    let mut talk = Conversation {
        inbox: first,
        has_ended: false,
        welcome: None,
        attached: None,
        announced: HashSet::new(),
    };
    if !talk.open(sender, link)? {
        return finish(link);
    }
    let mut written = sender.shared.lock().written();
    loop {
        if !link.is_sent() {
            link.check_silence(Instant::now())?;
            sender.check_abandoned()?;
            link.wait(Duration::from_millis(250))?;
            talk.hear(sender, link)?;
            talk.send(sender, link)?;
            continue;
        }
        let shared = sender.shared;
        let mut state = shared.lock();
        if state.is_attached() {
            let has_progressed = state.written() > std::mem::replace(&mut written, state.written());
            drop(state);
            if has_progressed {
                link.begin_silence(); // a ring's reader has no other way to say that it lives
                sender.has_progressed();
            }
            talk.catch_up(sender, link)?;
            state = shared.lock();
        }
        let now = Instant::now();
        if state.abandon_at.is_some_and(|at| now >= at) {
            return Err(Lost::Abandoned);
        }
        if !state.is_outstanding() {
            link.begin_silence();
        }
        match state.step(now) {
            Step::Send(batch) => {
                drop(state);
                talk.catch_up(sender, link)?;
                talk.put_batch(sender, link, &batch);
                talk.send(sender, link)?;
            }
            Step::Wake => {
                drop(state);
                Frame::Wake.encode(link.out());
                talk.send(sender, link)?;
            }
            Step::Ask(token, ask) => {
                drop(state);
                talk.catch_up(sender, link)?;
                let frame = match ask {
                    Ask::Flush(level) => Frame::Flush { token, level },
                    Ask::Rollover => Frame::Rollover { token },
                };
                frame.encode(link.out());
                talk.send(sender, link)?;
            }
            Step::AwaitAnswer(pause) => {
                drop(state);
                link.check_silence(now)?;
                link.wait(pause)?;
                talk.hear(sender, link)?;
            }
            Step::Doze(pause) => sender.nap(state, Activity::Dozing, Some(pause)),
            Step::Sleep(pause) => sender.nap(state, Activity::Asleep, pause),
            Step::Finish => {
                drop(state);
                return finish(link);
            }
        }
    }
}

fn finish(link: &mut Link<'_>) -> Result<(), Lost> {
    link.check_ours()?;
    Frame::Close.encode(link.out());
    // Nothing that was said here is open any more; whether the good-bye arrives is the server's gain only.
    let _ = link.send();
    Ok(())
}

impl Conversation {
    /// Opens the session, and settles which way its records go. `false`: through a ring that the next connection names.
    fn open(&mut self, sender: &mut Sender<'_>, link: &mut Link<'_>) -> Result<bool, Lost> {
        let (json, offered) = attach::open(sender);
        Frame::Open { json: &json }.encode(link.out());
        let welcome = self.wait_for(sender, link, |talk| talk.welcome.clone())?;
        sender.is_welcome(Protocol::Two);
        let name = offered.as_ref().filter(|_| welcome.is_to_pass);
        if let Some(name) = name
            && attach::exchange(sender, name)?
        {
            return Ok(false);
        }
        let proved = offered
            .as_ref()
            .is_some_and(|name| attach::prove(sender, name, welcome.challenge));
        let is_attached = proved && {
            if let Some(file) = name.and_then(|name| attach::file_of(sender, name)) {
                link.pass(file);
            }
            Frame::Attach.encode(link.out());
            self.wait_for(sender, link, |talk| talk.attached)?
        };
        attach::settle(sender, offered.as_ref(), is_attached, &welcome)?;
        Ok(true)
    }

    /// Waits for an answer of the handshake. Blocks: for the connection's time-out.
    fn wait_for<T>(
        &mut self,
        sender: &mut Sender<'_>,
        link: &mut Link<'_>,
        answer: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, Lost> {
        let until = Instant::now() + sender.shared.common.config.connect_timeout;
        loop {
            self.send(sender, link)?;
            self.hear(sender, link)?;
            if let Some(answer) = answer(self) {
                return Ok(answer);
            }
            let now = Instant::now();
            if now >= until {
                return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            }
            sender.check_abandoned()?;
            link.wait((until - now).min(Duration::from_millis(250)))?;
        }
    }

    /// After a pause and before sending: whether the connection is still ours, and there.
    fn catch_up(&mut self, sender: &mut Sender<'_>, link: &mut Link<'_>) -> Result<(), Lost> {
        link.check_ours()?;
        self.hear(sender, link)
    }

    /// Sends; where that fails, what the server last said is the better reason.
    fn send(&mut self, sender: &mut Sender<'_>, link: &mut Link<'_>) -> Result<(), Lost> {
        link.send().or_else(|lost| self.hear(sender, link).and(Err(lost)))
    }

    /// Takes in all that has come.
    fn hear(&mut self, sender: &mut Sender<'_>, link: &mut Link<'_>) -> Result<(), Lost> {
        self.has_ended |= link.receive(&mut self.inbox)?;
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        while let Some((frame, len)) =
            decode_first(rest).map_err(|error| Lost::Confused(error.to_string()))?
        {
            if let Some(frame) = frame {
                self.take(sender, frame)?;
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        self.inbox = rest.to_vec();
        if self.has_ended { Err(Lost::Ended) } else { Ok(()) }
    }

    fn take(&mut self, sender: &mut Sender<'_>, frame: Frame<'_>) -> Result<(), Lost> {
        match frame {
            Frame::Welcome { json } if self.welcome.is_none() => {
                self.welcome = Some(attach::read_welcome(json)?);
                Ok(())
            }
            Frame::Attached { ok } if self.attached.is_none() => {
                self.attached = Some(ok);
                Ok(())
            }
            Frame::Ack { seq, level } => {
                if level >= Level::Written {
                    let result = sender.shared.lock().written_up_to(seq);
                    if result.map_err(|_| Lost::OtherSession)? {
                        sender.has_progressed();
                    }
                }
                Ok(())
            }
            Frame::Done { token, ok } => {
                sender.shared.lock().questions.answered(token, ok);
                sender.has_progressed();
                Ok(())
            }
            Frame::Error { json } => Err(read_error(json)),
            other => {
                let name = format!("{other:?}");
                let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
                Err(Lost::Confused(format!("frame {name}")))
            }
        }
    }

    /// The longest record that the server takes.
    fn record_len_max(&self) -> usize {
        self.welcome
            .as_ref()
            .map_or(RECORD_LEN_MAX, |welcome| welcome.record_len_max)
    }

    /// Puts a batch into the link's buffer, behind the formatters that it names for the first time.
    fn put_batch(&mut self, sender: &Sender<'_>, link: &mut Link<'_>, batch: &Batch) {
        let record_len_max = self.record_len_max();
        let formatters = &sender.shared.common.formatters;
        let mut records = Cow::Borrowed(batch.records());
        let mut rest = batch.records();
        let mut needs_change = false;
        while let Ok((record, behind)) = split_first(rest) {
            rest = behind;
            needs_change |= record.len() > record_len_max;
            let id = formatter_of(record);
            if id != 0 && !self.announced.contains(&id) {
                match formatters.get(id) {
                    Some(json) => {
                        Frame::Formatter { id, json }.encode(link.out());
                        self.announced.insert(id);
                    }
                    None => needs_change = true,
                }
            }
        }
        if needs_change {
            records = Cow::Owned(self.changed(batch.records()));
        }
        let frame = Frame::Batch {
            first_seq: batch.first_seq,
            count: batch.count,
            records: &records,
        };
        frame.encode(link.out());
    }

    /// The records as this server can take them: cut to its limit, and without formatters that nobody has registered.
    fn changed(&self, records: &[u8]) -> Vec<u8> {
        let record_len_max = self.record_len_max();
        let mut out = Vec::with_capacity(records.len());
        let mut rest = records;
        while let Ok((record, behind)) = split_first(rest) {
            rest = behind;
            let start = out.len();
            if record.len() > record_len_max {
                cut::cut(record, record_len_max, &mut out);
            } else {
                out.extend_from_slice(record);
            }
            let id = formatter_of(record);
            if id != 0
                && !self.announced.contains(&id)
                && let Some(record) = out.get_mut(start..)
            {
                forget_formatter(record);
            }
        }
        out
    }
}

fn read_error(json: &str) -> Lost {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("nothing said")
            .to_owned()
    };
    let retry = value.get("retry").and_then(Value::as_bool).unwrap_or(false);
    Lost::Refused {
        refusal: Refusal {
            expected: text("expected"),
            received: text("received"),
            held_at: value.get("held_at").and_then(Value::as_str).map(str::to_owned),
        },
        retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_words_still_is_one() {
        assert!(matches!(
            read_error("not JSON"),
            Lost::Refused { retry: false, .. }
        ));
        let Lost::Refused { refusal, retry } =
            read_error("{\"expected\":\"a\",\"received\":\"b\",\"retry\":true}")
        else {
            panic!("no refusal");
        };
        assert_eq!(
            (refusal.expected.as_str(), refusal.received.as_str(), retry),
            ("a", "b", true)
        );
    }
}
