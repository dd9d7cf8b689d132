//! When the journal is asked what the last writer declared: under the file's lock, whatever the handler's arguments.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::sync::{Arc, Mutex};

use logserv_disk::{Declared, Journal, Kernel, LogFile, Mark};
use place::{Hand, Place, settings};
use serde_json::json;

const FILE: &str = "logging.FileHandler";
const START: i64 = 1_767_225_600;

/// A journal that looks whether anybody else could be writing while it is asked.
#[derive(Debug)]
struct Watchful(Arc<Place>, Arc<Mutex<Vec<bool>>>);

impl Journal for Watchful {
    fn recovered(&mut self) -> Option<Declared> {
        let location = self.0.roots.locate("app.log").unwrap();
        let held = LogFile::open(location, settings(FILE, json!({}))).is_err();
        self.1.lock().unwrap().push(held);
        None
    }
    fn declare(&mut self, _: u64, _: u64, _: u64, _: &[u8], _: &[u32], _: &[Mark]) {}
    fn redeclare(&mut self, _: u64, _: u64, _: u64, _: &[u8], _: &[u32]) {}
    fn written(&mut self, _: &[Mark]) {}
}

#[test]
fn the_journal_is_asked_when_nobody_else_can_be_writing() {
    for arguments in [json!({}), json!({"delay": true}), json!({"mode": "w"})] {
        let (place, answers) = (Arc::new(Place::new()), Arc::default());
        place.write("app.log", "before\n");
        let journal = Watchful(Arc::clone(&place), Arc::clone(&answers));
        let location = place.roots.locate("app.log").unwrap();
        let clock = Hand::at(START).clock();
        let opened = LogFile::open_with(
            location,
            settings(FILE, arguments),
            Arc::new(Kernel),
            clock,
            Box::new(journal),
        );
        assert!(opened.is_ok());
        assert_eq!(*answers.lock().unwrap(), [true]);
    }
}
