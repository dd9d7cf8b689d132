//! What a call that asks the server something makes of the answers.
//!
//! In: a question, the server's answer to it, the records written. Out: the [`Verdict`]. Pure.
//! Not here: who waits, and how long (`shared.rs`); which question is sent when (`questions.rs`).

use std::time::Instant;

use logserv_wire::frame::Level;

use super::State;
use crate::questions::Ask;

/// A question that a call has asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) token: u64,
    pub(crate) at: Instant,
    ask: Ask,
    /// How many records are written when all are that there were at the call. Those pushed later are not its concern.
    target: u64,
}

/// Whether to go on waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Final(bool),
    /// There is no answer.
    Open,
    /// There is one, which does not settle it: worth another question.
    NotYet,
}

impl State {
    /// Notes a question, to be asked behind everything pushed so far.
    pub(crate) fn ask(&mut self, ask: Ask, now: Instant) -> Asked {
        self.carrier.queue().seal();
        Asked {
            token: self.questions.put(ask, self.carrier.last()),
            at: now,
            ask,
            target: self.written_or_pending(),
        }
    }

    /// Asks the same once more.
    pub(crate) fn ask_again(&mut self, asked: &mut Asked, now: Instant) {
        self.questions.forget(asked.token);
        let target = asked.target;
        *asked = Asked {
            target,
            ..self.ask(asked.ask, now)
        };
    }

    /// What is known of a question.
    ///
    /// The server says no to a flush that takes it longer than its own patience, and to all while it leaves: others may come
    /// before us, and another server after it. What it says of a ring that it has not read, yes or no, is of an earlier state
    /// or none: the ring itself tells. That what is written is not synced is the disk's answer, and no other follows.
    pub(crate) fn verdict(&self, asked: &Asked) -> Verdict {
        let answer = self.questions.answer(asked.token);
        let Ask::Flush(level) = asked.ask else {
            return answer.map_or(Verdict::Open, Verdict::Final);
        };
        let is_written = self.written() >= asked.target;
        let speaks_of_it = is_written || self.carrier.ring().is_none();
        match answer {
            _ if is_written && level <= Level::Written => Verdict::Final(true),
            None => Verdict::Open,
            Some(true) if speaks_of_it => Verdict::Final(true),
            Some(false) if speaks_of_it && level > Level::Written => Verdict::Final(false),
            Some(_) => Verdict::NotYet,
        }
    }
}
