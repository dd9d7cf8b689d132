//! A ring in the life of its process: kill, fork, closed descriptors, the end, want of memory and of threads.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::undocumented_unsafe_blocks,
    reason = "a process is mistreated by hand; whatever is unexpected fails the test"
)]

mod fake;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake::child::{cloned, ended_well, forked, kill, shared_numbers};
use fake::{Fake, config, content, record, ring_base, rings_of, socket_path};
use logserv_client::{Address, Level, Push, RingPlace, Session, shutdown};

const SECOND: Duration = Duration::from_secs(1);

fn numbers(count: u64) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// A server that takes rings.
fn taking() -> Fake {
    let fake = Fake::unix();
    fake.script.lock().unwrap().takes_rings = true;
    fake
}

/// What this process writes to stderr from now on.
fn stderr_in(path: &Path) {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::create(path).unwrap();
    unsafe { libc::dup2(file.as_raw_fd(), 2) };
}

#[test]
fn a_killed_process_leaves_every_record_whose_call_had_returned_in_its_ring() {
    let _ = ring_base();
    let mut total = 0;
    for round in 0..40_u64 {
        let address = Address::Unix(socket_path());
        let [attempted, returned, ..] = shared_numbers();
        let pid = forked(|| {
            let session = Session::new(config(address.clone()));
            session.report_trouble(false);
            loop {
                let n = attempted.fetch_add(1, Ordering::SeqCst);
                if session.push(&record(&n.to_string())) != Push::Stored {
                    std::thread::sleep(SECOND); // full
                }
                returned.fetch_add(1, Ordering::SeqCst);
            }
        });
        while returned.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_micros(round * round * 7 % 3000));
        assert!(kill(pid));
        let (attempted, returned) = (attempted.load(Ordering::SeqCst), returned.load(Ordering::SeqCst));
        let kept = content(&rings_of(&address)[0]);
        let count = kept.len() as u64;
        assert!(
            returned <= count && count <= attempted,
            "{returned} {count} {attempted}"
        );
        assert_eq!(kept, numbers(count));
        total += count;
    }
    assert!(total > 1000, "{total} records were under way");
}

#[test]
fn children_forked_at_any_moment_have_rings_of_their_own_and_touch_nobody_elses() {
    let fake = taking();
    let session = Arc::new(Session::new(fake.config()));
    let is_over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (session, is_over) = (Arc::clone(&session), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut n = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let record = record(&format!("p{thread} {n}"));
                    assert_eq!(session.push_waiting(&record), Push::Stored);
                    n += 1;
                    std::thread::sleep(Duration::from_micros(100));
                }
                n
            })
        })
        .collect();
    for child in 0..30 {
        let pid = forked(|| {
            let is_fresh = session.statistics().pending_records == 0;
            let all =
                (0..20).all(|n| session.push_waiting(&record(&format!("c{child} {n}"))) == Push::Stored);
            let has_ring = session.statistics().ring_bytes.is_some();
            is_fresh && all && has_ring && session.close(10 * SECOND)
        });
        assert!(ended_well(pid), "child {child}");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut expected: Vec<_> = (0..30).map(|child| (format!("c{child}"), 20)).collect();
    for (thread, handle) in threads.into_iter().enumerate() {
        expected.push((format!("p{thread}"), handle.join().unwrap()));
    }
    assert!(session.close(10 * SECOND));
    let messages = fake.messages();
    for (who, count) in &expected {
        let own: Vec<_> = messages
            .iter()
            .filter_map(|it| it.strip_prefix(who.as_str())?.strip_prefix(' '))
            .collect();
        assert_eq!(own, numbers(*count), "{who}");
    }
    assert_eq!(
        messages.len() as u64,
        expected.iter().map(|(_, count)| count).sum::<u64>()
    );
    let seen = fake.seen.lock().unwrap();
    assert_eq!(
        (seen.through_rings, &seen.violations[..]),
        (messages.len(), &[][..])
    );
    assert_eq!(rings_of(&fake.address), []);
}

#[test]
fn a_child_made_by_the_bare_system_call_has_a_ring_of_its_own() {
    let fake = taking();
    let pid = forked(|| {
        let session = Session::new(fake.config());
        let _ = session.push(&record("parent"));
        let is_written = session.flush(5 * SECOND, Level::Written);
        std::thread::sleep(SECOND + SECOND / 2); // the sender sleeps, and holds nothing
        let pid = cloned(|| {
            let is_fresh = session.statistics().emitted == 0;
            is_fresh && session.push(&record("child")) == Push::Stored && session.close(5 * SECOND)
        });
        let is_well = ended_well(pid);
        let _ = session.push(&record("parent again"));
        is_written && is_well && session.close(5 * SECOND)
    });
    assert!(ended_well(pid));
    assert_eq!(fake.messages(), ["parent", "child", "parent again"]);
    assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
}

#[test]
fn a_process_whose_descriptors_were_all_closed_goes_on_with_its_ring_and_connects_again() {
    let fake = taking();
    let pid = forked(|| {
        let session = Session::new(fake.config());
        for n in 0..300 {
            let _ = session.push(&record(&n.to_string()));
            if n == 100 {
                while session.statistics().written < 50 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                (3..1024).for_each(|descriptor| unsafe {
                    libc::close(descriptor);
                });
            }
        }
        session.close(10 * SECOND)
    });
    assert!(ended_well(pid));
    assert_eq!(fake.messages(), numbers(300));
    let seen = fake.seen.lock().unwrap();
    assert!(seen.connections >= 2);
    assert_eq!(seen.opens[0]["ring"], seen.opens[1]["ring"]);
    assert_eq!(seen.violations, [""; 0]);
}

#[test]
fn the_end_of_a_process_keeps_what_no_server_takes_and_says_so_without_waiting() {
    let stderr = PathBuf::from(format!("{}.stderr", socket_path().display()));
    let address = Address::Unix(socket_path());
    let pid = forked(|| {
        stderr_in(&stderr);
        let session = Session::new(config(address.clone()));
        for n in 0..12 {
            let _ = session.push(&record(&n.to_string()));
        }
        let start = Instant::now();
        let kept = shutdown(SECOND, 5 * SECOND);
        let _ = session.flush(5 * SECOND, Level::Written);
        let _ = session.push(&record("12"));
        kept == 12 && shutdown(SECOND, 5 * SECOND) == 13 && start.elapsed() < SECOND
    });
    assert!(ended_well(pid));
    assert_eq!(content(&rings_of(&address)[0]), numbers(13));
    let Address::Unix(path) = &address else {
        unreachable!()
    };
    let path = path.display();
    let said = std::fs::read_to_string(&stderr).unwrap();
    assert_eq!(
        said,
        format!(
            "logserv: 12 records unsent to {path} at exit and kept for it; start it with: logserv serve --unix {path}\n"
        ),
        "once"
    );
    std::fs::remove_file(stderr).unwrap();
}

#[test]
fn the_end_of_a_process_waits_for_a_server_that_reads_and_leaves_no_ring() {
    let fake = taking();
    for round in 1..=5 {
        // Also of one that has not yet connected.
        let pid = forked(|| {
            let session = Session::new(fake.config());
            for n in 0..1000 {
                let _ = session.push(&record(&n.to_string()));
            }
            shutdown(SECOND, 5 * SECOND) == 0
        });
        assert!(ended_well(pid));
        assert_eq!(fake.messages().len(), 1000 * round);
        assert_eq!(rings_of(&fake.address), []);
    }
}

#[test]
fn an_idle_session_with_a_ring_uses_no_processor_time() {
    let fake = taking();
    let pid = forked(|| {
        let session = Session::new(fake.config());
        let _ = session.push(&record("0"));
        let is_written = session.flush(5 * SECOND, Level::Written);
        std::thread::sleep(SECOND + SECOND / 2);
        let switches = || -> u64 {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status"));
            let all = tasks.map(|task| status(task.unwrap()).unwrap());
            let sender = all.filter(|it| it.starts_with("Name:\tlogserv-send"));
            let counts = sender.filter_map(|it| {
                let line = it
                    .lines()
                    .find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
                line?.trim().parse::<u64>().ok()
            });
            counts.sum()
        };
        let before = switches();
        std::thread::sleep(SECOND);
        is_written && before > 0 && switches() == before
    });
    assert!(ended_well(pid));
}

/// Records of a busy stream: few enough for one to get through between two looks of the sender, also where every step is
/// counted for coverage.
const BUSY: u64 = 200;

/// Pushes into a busy stream on a thread that the kernel ends at its first system call, which it makes if it `cheats`.
fn survives_without_system_calls(fake: &Fake, cheats: bool) -> bool {
    let pid = forked(|| {
        let session = Session::new(fake.config());
        let start = Instant::now();
        let mut n = 0;
        // Until the sender dozes and the reader is up.
        while start.elapsed() < SECOND / 5 || session.statistics().written < 10 {
            assert!(start.elapsed() < 5 * SECOND);
            let _ = session.push(&record("before"));
            std::thread::sleep(Duration::from_millis(1));
        }
        let [done, ..] = shared_numbers();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let record = record("busy");
                // By counting: the clock may be a system call.
                let pause = || (0..200).for_each(|_| std::hint::spin_loop());
                assert_eq!(
                    unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) },
                    0
                );
                if cheats {
                    unsafe { libc::getppid() };
                }
                while n < BUSY && session.push(&record) == Push::Stored {
                    n += 1;
                    pause();
                }
                done.store(n, Ordering::SeqCst);
                loop {
                    pause(); // it cannot even end
                }
            });
            let start = Instant::now();
            while done.load(Ordering::SeqCst) == 0 && start.elapsed() < SECOND {
                std::thread::sleep(Duration::from_millis(1));
            }
            let code = i32::from(done.load(Ordering::SeqCst) != BUSY);
            unsafe { libc::_exit(code) }
        })
    });
    ended_well(pid)
}

#[test]
fn a_push_into_a_busy_stream_makes_no_system_call() {
    let fake = taking();
    // Now and then the sender, which looks up twenty times a second, holds the mutex at the very moment.
    assert!((0..20).any(|_| survives_without_system_calls(&fake, false)));
    assert!(!survives_without_system_calls(&fake, true), "the trap bites");
    assert!(fake.seen.lock().unwrap().through_rings as u64 > BUSY);
}

#[test]
fn short_memory_makes_smaller_rings_and_then_none_and_loses_nothing() {
    let fake = taking();
    let small = PathBuf::from(format!("{}.shm", socket_path().display()));
    std::fs::create_dir(&small).unwrap();
    let stderr = PathBuf::from(format!("{}.stderr", socket_path().display()));
    if unsafe { libc::geteuid() } != 0 {
        println!("NOT RUN: short_memory_makes_smaller_rings_and_then_none, mounting a tmpfs needs root");
        return;
    }
    // No answer before the rings were counted.
    fake.script.lock().unwrap().is_mute = true;
    let pid = forked(|| {
        stderr_in(&stderr);
        let target = std::ffi::CString::new(small.to_str().unwrap()).unwrap();
        let is_mounted = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    std::ptr::null(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    target.as_ptr(),
                    c"tmpfs".as_ptr(),
                    0,
                    c"size=512k".as_ptr().cast(),
                ) == 0
        };
        let sessions: Vec<_> = (0..4)
            .map(|_| {
                let mut config = fake.config();
                config.ring_place = RingPlace::Below(small.clone());
                Session::new(config)
            })
            .collect();
        for (n, session) in sessions.iter().enumerate() {
            let _ = session.push(&record(&n.to_string()));
        }
        let sizes: Vec<_> = sessions
            .iter()
            .map(|session| session.statistics().ring_bytes)
            .collect();
        let whole = (1_u64 << 20) + 4096;
        is_mounted
            && sizes
                == [
                    Some((whole / 4).next_multiple_of(4096)),
                    Some((whole / 16).next_multiple_of(4096)),
                    None,
                    None,
                ]
            && shutdown(5 * SECOND, 5 * SECOND) == 0
    });
    std::thread::sleep(SECOND / 2);
    fake.script.lock().unwrap().is_mute = false;
    assert!(ended_well(pid));
    let mut messages = fake.messages();
    messages.sort();
    assert_eq!(messages, numbers(4));
    let said = std::fs::read_to_string(&stderr).unwrap();
    assert_eq!(said.matches("no shared memory").count(), 1, "{said}");
    std::fs::remove_file(stderr).unwrap();
    std::fs::remove_dir(small).unwrap();
}

#[test]
fn a_process_that_may_have_no_thread_keeps_its_records_in_the_ring() {
    use std::os::unix::fs::PermissionsExt;
    const NOBODY: u32 = 65_534;
    let base = ring_base().join("everybody");
    std::fs::create_dir(&base).unwrap();
    std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let address = Address::Unix(socket_path());
    let pid = forked(|| {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // Root may have as many threads as it likes.
        let is_limited = unsafe {
            libc::setrlimit(libc::RLIMIT_NPROC, &raw const none) == 0
                && (libc::geteuid() != 0 || libc::setuid(NOBODY) == 0)
        };
        let mut config = config(address.clone());
        config.ring_place = RingPlace::Below(base.clone());
        let session = Session::new(config);
        session.report_trouble(false);
        let all = (0..50).all(|n| session.push(&record(&n.to_string())) == Push::Stored);
        let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
        let start = Instant::now();
        let kept = shutdown(SECOND, 5 * SECOND);
        let directory = logserv_ring::Directory::ensure_at(&base).unwrap();
        let name = &directory.rings().unwrap()[0];
        let mut reader = logserv_ring::Consumer::open(&directory, name).unwrap();
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        reader.read(1 << 20, &mut entries, &mut bytes).unwrap();
        is_limited && all && threads == 1 && kept == 50 && entries.len() == 50 && start.elapsed() < SECOND
    });
    assert!(ended_well(pid));
}
