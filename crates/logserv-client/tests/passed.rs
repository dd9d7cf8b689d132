//! Servers that find no ring by its name: what is passed to them, and what they cannot do with it.

#![expect(clippy::unwrap_used, reason = "whatever is unexpected fails the test")]
#![expect(
    unsafe_code,
    reason = "an application that closes descriptors which are not its own"
)]

mod fake;

use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use fake::child::{ended_well, forked};
use fake::{Fake, Speaks, eventually, record, rings_of, socket_path};
use logserv_client::{Level, Push, Session};

const SECOND: Duration = Duration::from_secs(1);

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn push(session: &Session, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(session.push(&record(&number.to_string())), Push::Stored);
    }
}

fn flush(session: &Session) {
    eventually("everything is written", || {
        session.flush(5 * SECOND, Level::Written)
    });
}

fn stranger(path: &Path) -> Fake {
    let fake = Fake::unix_at(path, Speaks::Two);
    let mut script = fake.script.lock().unwrap();
    (script.takes_rings, script.is_stranger) = (true, true);
    drop(script);
    fake
}

/// Descriptors of this process that are sealed rings for this server.
fn sealed_rings(fake: &Fake) -> Vec<i32> {
    let logserv_client::Address::Unix(path) = &fake.address else {
        unreachable!()
    };
    let key = logserv_ring::key_of(&logserv_ring::unix_address(path));
    let start = format!("/memfd:{key:016x}-");
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = entries.filter_map(|entry| {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_ring = target.to_str()?.starts_with(&start);
        is_ring.then(|| entry.file_name().to_str().unwrap().parse().unwrap())
    });
    numbers.collect()
}

fn check(fake: &Fake, session: &Session, count: usize) {
    let it = session.statistics();
    assert_eq!((it.written, it.pending_records, it.dropped), (count as u64, 0, 0));
    assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
}

#[test]
fn a_ring_is_exchanged_for_a_sealed_one_and_passed_to_every_server_that_asks() {
    let path = socket_path();
    let fake = stranger(&path);
    let session = Session::new(fake.config());
    push(&session, 0..500);
    flush(&session);
    assert_eq!(fake.messages(), numbers(500));
    assert_eq!(rings_of(&fake.address), [], "the file is removed");
    {
        let seen = fake.seen.lock().unwrap();
        assert_eq!((seen.passed, seen.attached, seen.through_rings), (1, 1, 500));
        assert_ne!(seen.opens[0]["ring"]["name"], seen.opens[1]["ring"]["name"]);
        assert_eq!(seen.opens[1]["first"], false);
    }
    // The reader's is the same file: neither of its descriptors can cut it.
    for number in sealed_rings(&fake) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{number}"))
            .unwrap();
        let refused = file.set_len(0).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    }
    drop(fake);
    push(&session, 500..600);
    let fake = stranger(&path);
    flush(&session);
    assert_eq!(fake.messages(), numbers(600)[500..]);
    assert_eq!(fake.seen.lock().unwrap().passed, 1);
    check(&fake, &session, 600);
    assert_eq!(sealed_rings(&fake).len(), 2, "ours, and the reader's");
    let pid = forked(|| sealed_rings(&fake).len() == 1); // the reader's is none of the session's
    assert!(ended_well(pid));
    assert!(session.close(5 * SECOND));
    drop((session, fake));
}

#[test]
fn an_application_that_took_the_descriptor_away_goes_on_through_the_queue() {
    let path = socket_path();
    let fake = stranger(&path);
    let session = Session::new(fake.config());
    push(&session, 0..10);
    flush(&session);
    fake.kill();
    let ours = sealed_rings(&fake);
    drop(fake);
    let null = std::fs::File::open("/dev/null").unwrap();
    for number in &ours {
        // SAFETY: no memory is touched; the number is nobody's but the session's.
        assert!(unsafe { libc::dup2(null.as_raw_fd(), *number) } >= 0);
    }
    assert_eq!(ours.len(), 1);
    push(&session, 10..20);
    let fake = stranger(&path);
    flush(&session);
    assert_eq!(fake.messages(), numbers(20)[10..]);
    let seen = fake.seen.lock().unwrap();
    assert_eq!((seen.passed, seen.attached, seen.through_rings), (0, 0, 0));
    drop(seen);
    check(&fake, &session, 20);
    assert!(session.close(5 * SECOND));
    let target = std::fs::read_link(format!("/proc/self/fd/{}", ours[0])).unwrap();
    assert_eq!(target, Path::new("/dev/null"), "what is not ours is not closed");
}

#[test]
fn a_file_that_another_server_may_read_is_neither_passed_nor_exchanged() {
    let path = socket_path();
    let fake = Fake::unix_at(&path, Speaks::Two);
    fake.script.lock().unwrap().takes_rings = true;
    let session = Session::new(fake.config());
    push(&session, 0..10);
    flush(&session);
    fake.script.lock().unwrap().holds_rings = true;
    push(&session, 10..20);
    drop(fake);
    let fake = stranger(&path);
    flush(&session);
    assert_eq!(fake.messages(), numbers(20)[10..]);
    let seen = fake.seen.lock().unwrap();
    assert_eq!((seen.passed, seen.through_rings), (0, 0));
    drop(seen);
    assert_eq!(rings_of(&fake.address), []);
    check(&fake, &session, 20);
}

#[test]
fn a_file_that_another_server_has_read_to_its_end_is_exchanged() {
    let path = socket_path();
    let fake = Fake::unix_at(&path, Speaks::Two);
    fake.script.lock().unwrap().takes_rings = true;
    let session = Session::new(fake.config());
    push(&session, 0..10);
    flush(&session);
    fake.script.lock().unwrap().is_stranger = true;
    fake.cut();
    // Nobody has to come back before there is something to send.
    eventually("the ring is exchanged", || {
        let _ = session.flush(SECOND, Level::Synced);
        rings_of(&fake.address).is_empty()
    });
    push(&session, 10..20);
    flush(&session);
    assert_eq!(fake.messages(), numbers(20));
    let seen = fake.seen.lock().unwrap();
    assert_eq!((seen.passed, seen.through_rings), (1, 20));
    drop(seen);
    check(&fake, &session, 20);
}
