//! The questions of callers to the server: flushes and rollovers, each asked behind the records that it is about.
//!
//! In: questions, answers, lost connections. Out: which to ask next. Pure. At most one for each waiting thread.

use logserv_wire::frame::Level;

/// A question to the server that a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Is everything sent before as safe as this?
    Flush(Level),
    /// Rotate the file.
    Rollover,
}

#[derive(Debug)]
struct Question {
    token: u64,
    ask: Ask,
    /// To be asked behind the record of this number.
    after_seq: u64,
    is_sent: bool,
    answer: Option<bool>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    all: Vec<Question>,
    last_token: u64,
}

impl Questions {
    /// Notes a question, to be asked behind the record number `after_seq`. Returns its token.
    pub(crate) fn put(&mut self, ask: Ask, after_seq: u64) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        self.all.push(Question {
            token,
            ask,
            after_seq,
            is_sent: false,
            answer: None,
        });
        token
    }

    /// The next question to be asked when the records up to `seq` have been sent; it counts as sent from here.
    pub(crate) fn next_due(&mut self, seq: u64) -> Option<(u64, Ask)> {
        let is_due = |it: &&mut Question| it.is_open() && !it.is_sent && it.after_seq <= seq;
        let question = self.all.iter_mut().find(is_due)?;
        question.is_sent = true;
        Some((question.token, question.ask))
    }

    /// The answer, if it is there.
    pub(crate) fn answer(&self, token: u64) -> Option<bool> {
        self.all.iter().find(|it| it.token == token)?.answer
    }

    /// The server has answered.
    pub(crate) fn answered(&mut self, token: u64, ok: bool) {
        if let Some(question) = self.all.iter_mut().find(|it| it.token == token) {
            question.answer = Some(ok);
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn forget(&mut self, token: u64) {
        self.all.retain(|it| it.token != token);
    }

    /// The connection is gone. Flushes will be asked again; a rollover may have happened, and must not happen twice.
    pub(crate) fn disconnected(&mut self) {
        for question in self.all.iter_mut().filter(|it| it.is_sent && it.is_open()) {
            match question.ask {
                Ask::Flush(_) => question.is_sent = false,
                Ask::Rollover => question.answer = Some(false),
            }
        }
    }

    /// A new session numbers its records from `shift + 1` of the old one.
    pub(crate) fn renumber(&mut self, shift: u64) {
        for question in &mut self.all {
            question.after_seq = question.after_seq.saturating_sub(shift);
        }
    }

    /// Whether any is without an answer.
    pub(crate) fn has_open(&self) -> bool {
        self.all.iter().any(Question::is_open)
    }

    /// Whether any is still to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.all.iter().any(|it| it.is_open() && !it.is_sent)
    }

    /// Whether the server owes an answer.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.all.iter().any(|it| it.is_open() && it.is_sent)
    }
}

impl Question {
    fn is_open(&self) -> bool {
        self.answer.is_none()
    }
}
