//! Renders records for a server of 2013 that cannot take their formatter. Runs on a sender thread, without Python.
//!
//! In: a wire record and its formatter's specification as JSON. Out: the line, or `None` where it cannot be made.

use std::cell::RefCell;
use std::sync::Arc;

use logserv_client::Render;
use logserv_format::{Formatter, Specification, TimeCache};
use logserv_wire::record::Record;

thread_local! {
    /// The formatter of the record before: a session has few.
    static LAST: RefCell<Option<(String, Formatter, TimeCache)>> = const { RefCell::new(None) };
}

/// The function for [`SessionConfig::render`](logserv_client::SessionConfig).
pub(crate) fn function() -> Render {
    Arc::new(|record, json| LAST.with_borrow_mut(|last| render(last, record, json)))
}

fn render(last: &mut Option<(String, Formatter, TimeCache)>, record: &[u8], json: &str) -> Option<String> {
    let (record, _) = Record::decode(record).ok()?;
    if last.as_ref().is_none_or(|(known, ..)| known != json) {
        let formatter = Formatter::compile(&Specification::from_json(json).ok()?).ok()?;
        *last = Some((json.to_owned(), formatter, TimeCache::default()));
    }
    let (_, formatter, clock) = last.as_mut()?;
    let mut line = String::new();
    formatter.render(&record, clock, &mut line).ok()?;
    Some(line)
}
