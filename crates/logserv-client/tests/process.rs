//! What happens to a session in the life of its process: fork, closed descriptors, signals, the end.

#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "descriptors are closed and looked at by hand"
)]

mod fake;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake::child::{ended_well, forked};
use fake::{Fake, config, eventually, record, socket_path};
use logserv_client::{Address, Level, Push, RingPlace, Session, SessionConfig, shutdown};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn children_forked_at_any_moment_have_sessions_of_their_own() {
    let fake = Fake::unix();
    // A busy machine may keep the false server from taking anything for more than a second.
    let session = Arc::new(Session::new(SessionConfig {
        block_timeout: 30 * SECOND,
        ..fake.config()
    }));
    let is_over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (session, is_over) = (Arc::clone(&session), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut n = 0;
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(
                        session.push_waiting(&record(&format!("p{thread} {n}"))),
                        Push::Stored
                    );
                    n += 1;
                    if n % 8 == 0 {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                }
                n
            })
        })
        .collect();
    let children = 60;
    for child in 0..children {
        let pid = forked(|| {
            for n in 0..20 {
                if session.push_waiting(&record(&format!("c{child} {n}"))) != Push::Stored {
                    return false;
                }
            }
            // A grandchild as well, now and then, before the child has sent anything.
            let grandchild = (child % 7 == 0).then(|| {
                wait_for_sender();
                forked(|| {
                    session.push(&record(&format!("g{child} 0"))) == Push::Stored
                        && closes_with_all_written(&session)
                })
            });
            let sums = session.statistics();
            closes_with_all_written(&session) && sums.emitted == 20 && grandchild.is_none_or(ended_well)
        });
        assert!(ended_well(pid), "child {child}");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut expected: HashMap<String, usize> = (0..children).map(|child| (format!("c{child}"), 20)).collect();
    expected.extend((0..children).step_by(7).map(|child| (format!("g{child}"), 1)));
    for (thread, handle) in threads.into_iter().enumerate() {
        expected.insert(format!("p{thread}"), handle.join().unwrap());
    }
    assert!(session.close(10 * SECOND));
    let mut seen: HashMap<String, usize> = HashMap::new();
    for message in fake.messages() {
        let (who, number) = message.split_once(' ').unwrap();
        let count = seen.entry(who.to_owned()).or_default();
        assert_eq!(
            number,
            count.to_string(),
            "{who}: nothing lost, doubled or out of order"
        );
        *count += 1;
    }
    assert_eq!(seen, expected);
    assert!(fake.seen.lock().unwrap().violations.is_empty());
}

/// A busy machine may keep the false server from answering for more than the moment after which a session takes it for away.
fn closes_with_all_written(session: &Session) -> bool {
    let end = Instant::now() + 10 * SECOND;
    while !session.flush(SECOND, Level::Written) {
        if Instant::now() > end {
            return false;
        }
    }
    session.close(10 * SECOND)
}

/// Waits until the sender has its name. A thread that is only beginning holds a lock of the standard library, for its
/// guard against stack overflows, which a program with a Rust `main` has, unlike Python: a child would inherit it held.
fn wait_for_sender() {
    let is_sender = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).is_ok_and(|name| name == "logserv-send\n")
    };
    eventually("the sender has begun", || {
        std::fs::read_dir("/proc/self/task").unwrap().any(is_sender)
    });
}

#[test]
fn a_child_closes_what_it_inherited_and_sends_none_of_it() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().withholds_acks = true;
    let session = Session::new(fake.config());
    let _ = session.push(&record("parent"));
    eventually("the server has it", || fake.messages() == ["parent"]);
    let client = client_descriptor(&fake);
    let is_open = || std::fs::metadata(format!("/proc/self/fd/{client}")).is_ok();
    let pid = forked(|| !is_open() && session.statistics().pending_records == 0);
    assert!(ended_well(pid));
    assert!(is_open(), "the parent's is untouched");
    let pid = forked(|| {
        drop(session);
        true
    });
    assert!(ended_well(pid), "a child may drop what it inherited");
}

#[test]
fn a_descriptor_that_became_another_file_is_neither_written_nor_read_nor_closed() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    let _ = session.push(&record("before"));
    eventually("it is written", || session.statistics().written == 1);
    // As code that makes a daemon does it: whatever is open is closed, and the number is soon another file's.
    let client = client_descriptor(&fake);
    let path = std::env::temp_dir().join(format!("innocent-{}", std::process::id()));
    std::fs::write(&path, b"innocent").unwrap();
    let innocent = File::open(&path).unwrap();
    let writable = File::options().append(true).open(&path).unwrap();
    assert!(unsafe { libc::dup2(writable.as_raw_fd(), client) } == client);
    let inode = innocent.metadata().unwrap().ino();
    for n in 0..100 {
        let _ = session.push(&record(&n.to_string()));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(session.close(5 * SECOND));
    assert_eq!(fake.messages().len(), 101);
    let mut content = String::new();
    (&innocent).read_to_string(&mut content).unwrap();
    assert_eq!(content, "innocent");
    assert_eq!(
        std::fs::metadata(format!("/proc/self/fd/{client}"))
            .unwrap()
            .ino(),
        inode,
        "still open"
    );
    unsafe { libc::close(client) };
    std::fs::remove_file(path).unwrap();
}

/// The descriptor of this process that is connected to the model of a server, found by its peer's name.
fn client_descriptor(fake: &Fake) -> i32 {
    let Address::Unix(path) = &fake.address else {
        unreachable!()
    };
    let path = path.to_string_lossy();
    for descriptor in 3..1024 {
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        if unsafe { libc::getpeername(descriptor, (&raw mut address).cast(), &raw mut len) } != 0 {
            continue;
        }
        let name: String = address
            .sun_path
            .iter()
            .take_while(|it| **it != 0)
            .map(|it| char::from(it.cast_unsigned()))
            .collect();
        if name == path {
            return descriptor;
        }
    }
    unreachable!("no connection to {path}")
}

#[test]
fn an_idle_session_uses_no_processor_time() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    let _ = session.push(&record("0"));
    eventually("it is written", || session.statistics().written == 1);
    std::thread::sleep(Duration::from_millis(300));
    let switches = || {
        let mut count = 0;
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap().path();
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
            if name.trim() == "logserv-send" && status.contains("SigBlk:\tfffffffe") {
                count += status
                    .lines()
                    .find_map(|line| {
                        line.strip_prefix("voluntary_ctxt_switches:")?
                            .trim()
                            .parse::<u64>()
                            .ok()
                    })
                    .unwrap();
            }
        }
        count
    };
    // In a process of its own, for other tests have senders too.
    let pid = forked(|| {
        let _ = session.push(&record("1"));
        std::thread::sleep(Duration::from_millis(600));
        let before = switches();
        std::thread::sleep(Duration::from_millis(600));
        before > 0 && switches() == before
    });
    assert!(ended_well(pid));
}

#[test]
fn the_end_of_a_process_waits_one_second_for_all_sessions_together() {
    let pid = forked(|| {
        let sessions: Vec<_> = (0..5)
            .map(|_| {
                let mut config = config(Address::Unix(socket_path()));
                config.ring_place = RingPlace::Nowhere;
                Session::new(config)
            })
            .collect();
        for session in &sessions {
            session.report_trouble(false);
            let _ = session.push(&record("0"));
        }
        let start = Instant::now();
        let unsent = shutdown(SECOND, 5 * SECOND);
        let took = start.elapsed();
        // What logging.shutdown does afterwards costs nothing.
        for session in &sessions {
            let _ = session.flush(5 * SECOND, Level::Written);
            let _ = session.close(5 * SECOND);
        }
        let all = start.elapsed();
        unsent == 5 && took >= SECOND - SECOND / 10 && all < 2 * SECOND
    });
    assert!(ended_well(pid));
}

#[test]
fn the_end_of_a_process_sends_what_is_left() {
    let fake = Fake::unix();
    let session_config = fake.config();
    let pid = forked(move || {
        let session = Session::new(session_config);
        for n in 0..1000 {
            let _ = session.push(&record(&n.to_string()));
        }
        shutdown(SECOND, 5 * SECOND) == 0
    });
    assert!(ended_well(pid));
    assert_eq!(fake.messages().len(), 1000);
}
