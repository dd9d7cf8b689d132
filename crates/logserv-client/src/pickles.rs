//! Speaks protocol 1.0 on a connection: pickled records, FORMAT where the formatter changes, no acknowledgements.
//!
//! In: the session's [`State`](crate::state::State). Out: bytes. A record counts as written once the kernel has all of it.
//! Each record goes under the formatter it names, announced to the server; where that cannot be (a server of 2013 takes no
//! records after a FORMAT, 1.0 has no words for the specification), the line is rendered here and sent as the message.
//! Not here: the lines of the conversation; those are `logserv_wire::handshake::client`.

use std::time::{Duration, Instant};

use logserv_wire::frame::Level;
use logserv_wire::handshake::client::{Conversation, Next, quit_message, record_prefix};
use logserv_wire::pickle;
use logserv_wire::record::{Record, RecordKind, split_first};
use serde_json::{Map, Value};

use crate::config::Protocol;
use crate::limits::PICKLES_LEN_TARGET;
use crate::link::{Link, Lost};
use crate::questions::Ask;
use crate::queue::Batch;
use crate::sender::Sender;
use crate::state::{Sender as Activity, Step};

/// The records sent on one connection.
struct Pickles<'c> {
    conversation: &'c mut Conversation,
    /// The formatter that the server has, 0: its default.
    formatter: u32,
    /// Where each record in the link's buffer ends, and its number.
    ends: Vec<(usize, u64)>,
}

/// Speaks until the session is closed (`Ok`) or the connection ends.
pub(crate) fn converse(
    sender: &mut Sender<'_>,
    link: &mut Link<'_>,
    mut conversation: Conversation,
) -> Result<(), Lost> {
    {
        let mut state = sender.shared.lock();
        state.leave_ring();
        state.connected(Protocol::One, Instant::now());
    }
    sender.is_welcome(Protocol::One);
    let mut pickles = Pickles {
        conversation: &mut conversation,
        formatter: 0,
        ends: Vec::new(),
    };
    loop {
        let shared = sender.shared;
        let mut state = shared.lock();
        let now = Instant::now();
        if state.abandon_at.is_some_and(|at| now >= at) {
            return Err(Lost::Abandoned);
        }
        match state.step(now) {
            Step::Send(batch) => {
                drop(state);
                link.check_ours()?;
                pickles.hear(link)?;
                pickles.send_batch(sender, link, &batch)?;
            }
            // All that was pushed before is with the kernel, and more this protocol cannot say.
            Step::Ask(token, ask) => {
                state
                    .questions
                    .answered(token, matches!(ask, Ask::Flush(level) if level <= Level::Written));
                drop(state);
                sender.has_progressed();
            }
            Step::Wake => {} // the queue has no reader
            Step::AwaitAnswer(pause) | Step::Doze(pause) => {
                sender.nap(state, Activity::Dozing, Some(pause));
            }
            Step::Sleep(pause) => sender.nap(state, Activity::Asleep, pause),
            Step::Finish => {
                drop(state);
                link.check_ours()?;
                link.out().extend_from_slice(&quit_message());
                let _ = link.send();
                return Ok(());
            }
        }
    }
}

/// How a record is to be sent.
enum Form {
    /// With its fields, under this formatter.
    Fields(u32),
    /// As a line rendered here, under the server's default formatter.
    Line(String),
}

impl Pickles<'_> {
    /// While records flow the server says nothing but ERROR.
    fn hear(&mut self, link: &mut Link<'_>) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        let has_ended = link.receive(&mut bytes)?;
        if !bytes.is_empty() {
            self.conversation.received(&bytes)?;
            self.conversation.quiet()?;
            return Err(Lost::Confused(
                String::from_utf8_lossy(&bytes).chars().take(80).collect(),
            ));
        }
        if has_ended { Err(Lost::Ended) } else { Ok(()) }
    }

    fn send_batch(
        &mut self,
        sender: &mut Sender<'_>,
        link: &mut Link<'_>,
        batch: &Batch,
    ) -> Result<(), Lost> {
        let mut rest = batch.records();
        let mut seq = batch.first_seq;
        while let Ok((bytes, behind)) = split_first(rest) {
            rest = behind;
            self.put_record(sender, link, bytes)?;
            self.ends.push((link.out().len(), seq));
            seq += 1;
            if link.out().len() >= PICKLES_LEN_TARGET {
                self.send(sender, link)?;
            }
        }
        self.send(sender, link)
    }

    /// Puts a record into the link's buffer, behind the formatter it needs.
    fn put_record(&mut self, sender: &mut Sender<'_>, link: &mut Link<'_>, bytes: &[u8]) -> Result<(), Lost> {
        // Whatever the record's maker did wrong: an empty record in its place keeps the count.
        let mut record = Record::decode(bytes).map_or_else(|_| Record::default(), |(record, _)| record);
        let form = form_of(sender, &record, bytes);
        let wanted = match &form {
            Form::Fields(formatter) => *formatter,
            Form::Line(line) => {
                record.kind = RecordKind::Line;
                record.message = Some(line);
                0
            }
        };
        if wanted != self.formatter {
            self.change_formatter(sender, link, wanted)?;
        }
        let mut pickled = Vec::with_capacity(2 * bytes.len());
        pickle::write(&record, &mut pickled);
        if let Some(prefix) = record_prefix(pickled.len()) {
            link.out().extend_from_slice(&prefix);
            link.out().extend_from_slice(&pickled);
        }
        Ok(())
    }

    /// Announces the formatter, behind everything sent before, and waits for the server's reply.
    fn change_formatter(
        &mut self,
        sender: &mut Sender<'_>,
        link: &mut Link<'_>,
        wanted: u32,
    ) -> Result<(), Lost> {
        self.send(sender, link)?;
        let json = format_json(sender, wanted).ok_or(Lost::RenderHere)?;
        let message = self.conversation.announce(&json).ok_or(Lost::RenderHere)?;
        link.out().extend_from_slice(&message);
        match sender.talk(link, self.conversation)? {
            Next::Records => {
                self.formatter = wanted;
                Ok(())
            }
            _ => Err(Lost::RenderHere),
        }
    }

    /// Sends what is in the link's buffer; counts each record whose last byte the kernel has.
    fn send(&mut self, sender: &mut Sender<'_>, link: &mut Link<'_>) -> Result<(), Lost> {
        link.begin_silence();
        let mut before = 0;
        loop {
            let result = link.send();
            let sent_len = if link.is_sent() {
                usize::MAX
            } else {
                link.sent_len()
            };
            let done = self.ends.partition_point(|(end, _)| *end <= sent_len);
            if let Some((_, seq)) = self.ends.drain(..done).next_back() {
                let written = sender.shared.lock().written_up_to(seq);
                written.map_err(|_| Lost::OtherSession)?;
                sender.has_progressed();
            }
            if result.is_err() {
                // What the server last said is the better reason.
                self.hear(link)?;
            }
            result?;
            if link.is_sent() {
                return Ok(());
            }
            if sent_len > before {
                before = sent_len;
                link.begin_silence();
            }
            link.check_silence(Instant::now())?;
            sender.check_abandoned()?;
            self.hear(link)?;
            link.wait(Duration::from_millis(250))?;
        }
    }
}

fn form_of(sender: &Sender<'_>, record: &Record<'_>, bytes: &[u8]) -> Form {
    if record.kind == RecordKind::Line || record.formatter == 0 {
        return Form::Fields(0);
    }
    if !sender.renders_here && format_json(sender, record.formatter).is_some() {
        return Form::Fields(record.formatter);
    }
    let common = &sender.shared.common;
    let specification = common.formatters.get(record.formatter);
    let render = common.config.render.as_ref();
    // Without a renderer, or where it cannot, the bare message is what is left.
    specification
        .and_then(|specification| render.and_then(|render| render(bytes, specification)))
        .map_or(Form::Fields(0), Form::Line)
}

/// The formatter in the words of 1.0; `None` if it has none for it.
fn format_json(sender: &Sender<'_>, formatter: u32) -> Option<String> {
    if formatter == 0 {
        return Some("{}".to_owned());
    }
    old_words(sender.shared.common.formatters.get(formatter)?)
}

/// A specification cut down to `fmt`, `datefmt` and `style`, if all the rest is as Python has it by default.
fn old_words(specification: &str) -> Option<String> {
    let Ok(Value::Object(specification)) = serde_json::from_str(specification) else {
        return None;
    };
    let mut words = Map::new();
    for (key, value) in specification {
        let is_default = match (key.as_str(), &value) {
            ("fmt" | "datefmt" | "style", _) => {
                if !value.is_null() {
                    words.insert(key, value);
                }
                continue;
            }
            ("defaults", Value::Object(defaults)) => defaults.is_empty(),
            ("defaults", Value::Array(defaults)) => defaults.is_empty(),
            ("defaults", other) => other.is_null(),
            ("default_time_format", other) => other == "%Y-%m-%d %H:%M:%S",
            ("default_msec_format", other) => other == "%s,%03d",
            ("utc", other) => other == false,
            _ => false,
        };
        if !is_default {
            return None;
        }
    }
    Some(Value::Object(words).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_1_0_can_say_is_said_in_it() {
        let full = "{\"fmt\":\"%(message)s\",\"datefmt\":null,\"style\":\"%\",\"defaults\":null,\
                    \"default_time_format\":\"%Y-%m-%d %H:%M:%S\",\"default_msec_format\":\"%s,%03d\",\"utc\":false}";
        assert_eq!(
            old_words(full).unwrap(),
            "{\"fmt\":\"%(message)s\",\"style\":\"%\"}"
        );
        for beyond in [
            "{\"fmt\":\"x\",\"utc\":true}",
            "{\"fmt\":\"x\",\"defaults\":{\"a\":1}}",
            "{\"default_msec_format\":null}",
            "{\"default_time_format\":\"%H\"}",
            "{\"something\":1}",
            "[]",
        ] {
            assert_eq!(old_words(beyond), None, "{beyond}");
        }
    }
}
