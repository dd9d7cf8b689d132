//! What a flush makes of a server's answers that do not settle it: against a model of one that says no, or yes too early.

#![expect(clippy::unwrap_used, reason = "whatever is unexpected fails the test")]

mod fake;

use std::thread::{ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use fake::{Fake, Script, eventually, record};
use logserv_client::{Level, Session};

const LONG: Duration = Duration::from_secs(60);

fn change(fake: &Fake, change: impl FnOnce(&mut Script)) {
    change(&mut fake.script.lock().unwrap());
}

fn flushes(fake: &Fake) -> usize {
    fake.seen.lock().unwrap().flushes
}

/// Waits until a flush has asked some times more; not too often.
fn ask_some_times(fake: &Fake, flush: &ScopedJoinHandle<'_, bool>) {
    let (before, since) = (flushes(fake), Instant::now());
    eventually("it asks again", || {
        flushes(fake) >= before + 3 || flush.is_finished()
    });
    assert!(!flush.is_finished(), "there was time left");
    let most = since.elapsed().as_millis() / 50 + 3;
    assert!(((flushes(fake) - before) as u128) <= most, "it asks without end");
}

#[test]
fn a_flush_goes_on_waiting_for_the_ring_when_the_server_says_no_or_has_not_read_it_yet() {
    for says_no in [true, false] {
        for level in [Level::Received, Level::Written, Level::Synced] {
            let fake = Fake::unix();
            change(&fake, |script| {
                script.takes_rings = true;
                script.holds_rings = true;
                script.says_no = says_no;
            });
            let session = Session::new(fake.config());
            let _ = session.push(&record("x"));
            scope(|scope| {
                let flush = scope.spawn(|| session.flush(LONG, level));
                ask_some_times(&fake, &flush);
                change(&fake, |script| script.says_no = false);
                ask_some_times(&fake, &flush); // the last no has come
                change(&fake, |script| script.holds_rings = false);
                assert!(flush.join().unwrap(), "{level:?}");
            });
            assert_eq!(fake.messages(), ["x"]);
            assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
        }
    }
}

#[test]
fn a_flush_over_a_connection_goes_on_waiting_when_the_server_says_no() {
    let fake = Fake::unix();
    change(&fake, |script| {
        script.withholds_acks = true;
        script.says_no = true;
    });
    let session = Session::new(fake.config());
    let _ = session.push(&record("x"));
    scope(|scope| {
        let flush = scope.spawn(|| session.flush(LONG, Level::Written));
        ask_some_times(&fake, &flush);
        change(&fake, |script| script.says_no = false);
        assert!(flush.join().unwrap());
    });
}

#[test]
fn a_flush_that_is_not_settled_ends_with_its_time() {
    let fake = Fake::unix();
    change(&fake, |script| {
        script.takes_rings = true;
        script.holds_rings = true;
        script.says_no = true;
    });
    let session = Session::new(fake.config());
    let _ = session.push(&record("x"));
    let start = Instant::now();
    assert!(!session.flush(Duration::from_millis(600), Level::Written));
    assert!(
        start.elapsed() >= Duration::from_millis(600),
        "{:?}",
        start.elapsed()
    );
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
}

#[test]
fn that_what_is_written_cannot_be_synced_is_the_last_word() {
    for takes_rings in [true, false] {
        let fake = Fake::unix();
        change(&fake, |script| {
            script.takes_rings = takes_rings;
            script.says_no = true;
        });
        let session = Session::new(fake.config());
        let _ = session.push(&record("x"));
        let start = Instant::now();
        assert!(!session.flush(LONG, Level::Synced));
        assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
        assert_eq!(flushes(&fake), 1);
    }
}
