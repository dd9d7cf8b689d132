//! A session whose records go through a ring: against a model of a server that takes it, refuses it, comes late, dies.

#![expect(clippy::unwrap_used, reason = "whatever is unexpected fails the test")]

mod fake;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake::{Fake, LATE, Speaks, config, content, eventually, record, record_of, rings_of, socket_path};
use logserv_client::{Address, DropReason, Level, Push, RingPlace, Session, WhenFull};
use logserv_wire::record::split_first;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn flush(session: &Session) {
    eventually("everything is written", || {
        session.flush(5 * SECOND, Level::Written)
    });
}

fn check_sums(session: &Session) {
    let it = session.statistics();
    assert_eq!(
        it.emitted + it.announced,
        it.written + it.dropped + it.pending_records,
        "{it:?}"
    );
}

/// A server that takes rings.
fn taking(fake: Fake) -> Fake {
    fake.script.lock().unwrap().takes_rings = true;
    fake
}

#[test]
fn records_lie_in_the_ring_while_no_server_is_there_and_arrive_in_order_once_it_comes() {
    let path = socket_path();
    let address = Address::Unix(path.clone());
    let session = Session::new(config(address.clone()));
    session.report_trouble(false);
    assert_eq!(rings_of(&address), [], "nothing is made before the first record");
    for number in numbers(1000) {
        assert_eq!(session.push(&record(&number)), Push::Stored);
    }
    let rings = rings_of(&address);
    assert_eq!(rings.len(), 1);
    assert_eq!(content(&rings[0]), numbers(1000));
    let statistics = session.statistics();
    assert_eq!((statistics.pending_records, statistics.written), (1000, 0));
    assert!(statistics.ring_bytes.unwrap() >= 1 << 20);
    let fake = taking(Fake::unix_at(&path, Speaks::Two));
    eventually("the records arrive", || fake.messages() == numbers(1000));
    flush(&session);
    assert_eq!(fake.seen.lock().unwrap().through_rings, 1000);
    let statistics = session.statistics();
    assert_eq!((statistics.pending_records, statistics.written), (0, 1000));
    assert!(session.close(5 * SECOND));
    assert_eq!(rings_of(&address), [], "a closed session leaves none");
    assert_eq!(session.push(&record("again")), Push::Stored);
    assert!(session.close(5 * SECOND));
    assert_eq!(fake.messages().len(), 1001);
    assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
    check_sums(&session);
}

#[test]
fn a_server_at_a_loopback_port_gets_a_ring_and_any_other_a_connection() {
    let fake = taking(Fake::tcp());
    let Address::Tcp { port, .. } = fake.address else {
        unreachable!()
    };
    for (host, gets_ring) in [("127.0.0.1", true), ("localhost", true), ("127.1", false)] {
        let session = Session::new(config(Address::Tcp {
            host: host.into(),
            port,
        }));
        let _ = session.push(&record(host));
        flush(&session);
        assert_eq!(session.statistics().ring_bytes.is_some(), gets_ring, "{host}");
    }
    assert_eq!(fake.messages(), ["127.0.0.1", "localhost", "127.1"]);
    let seen = fake.seen.lock().unwrap();
    assert_eq!((seen.through_rings, seen.attached), (2, 2));
    assert_eq!(seen.opens[2].get("ring"), None);
    assert_eq!(seen.violations, [""; 0]);
}

#[test]
fn a_server_that_was_killed_under_load_gets_the_same_ring_when_it_is_back() {
    let path = socket_path();
    let mut fake = taking(Fake::unix_at(&path, Speaks::Two));
    let mut config = fake.config();
    config.capacity_bytes = 100_000;
    config.block_timeout = 10 * SECOND;
    let session = Session::new(config);
    session.report_trouble(false);
    let is_over = AtomicBool::new(false);
    let mut messages = Vec::new();
    let mut rings = Vec::new();
    let mut killed = Vec::new(); // their end would remove the next one's socket
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (session, is_over) = (&session, &is_over);
                scope.spawn(move || {
                    let mut n = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let record = record(&format!("{thread} {n}"));
                        assert_eq!(session.push_waiting(&record), Push::Stored);
                        n += 1;
                        if n % 50 == 0 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                    n
                })
            })
            .collect();
        for round in 0..8 {
            std::thread::sleep(Duration::from_millis(100));
            fake.kill();
            messages.extend(fake.messages());
            rings.push(fake.seen.lock().unwrap().opens[0]["ring"]["name"].clone());
            check_sums(&session);
            std::thread::sleep(Duration::from_millis(20 * round));
            killed.push(std::mem::replace(
                &mut fake,
                taking(Fake::unix_at(&path, Speaks::Two)),
            ));
            eventually("it is attached", || fake.seen.lock().unwrap().attached == 1);
        }
        is_over.store(true, Ordering::Relaxed);
        let counts: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(session.close(10 * SECOND));
        messages.extend(fake.messages());
        for (thread, count) in counts.into_iter().enumerate() {
            let own: Vec<_> = messages
                .iter()
                .filter_map(|it| it.strip_prefix(&format!("{thread} ")))
                .collect();
            assert_eq!(own, numbers(count), "thread {thread}");
        }
    });
    rings.dedup();
    assert_eq!(rings.len(), 1);
    assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
    check_sums(&session);
}

/// One session that meets a server cut after `limit` bytes, there and back, and then the same server whole, which
/// takes its ring (`takes`), or challenges it and takes it not (`denies`), or has never heard of rings.
fn cut_both_ways(limit: usize, takes: bool, denies: bool) -> usize {
    let fake = Fake::unix();
    {
        let mut script = fake.script.lock().unwrap();
        (script.takes_rings, script.denies_rings) = (takes, denies);
        script.cut_after_received.push_back(limit);
        script.cut_after_sent.extend([usize::MAX, limit]);
    }
    let session = Session::new(fake.config());
    let formatter = session.formatter_id("{\"fmt\":\"x\"}").unwrap();
    for number in numbers(3) {
        let _ = session.push(&record_of(&number, formatter));
    }
    // Also in the middle of the handshake.
    for number in numbers(6).drain(3..) {
        std::thread::sleep(Duration::from_micros(limit as u64 % 7 * 50));
        let _ = session.push(&record_of(&number, formatter));
    }
    assert!(session.flush(5 * SECOND, Level::Written) || session.close(5 * SECOND));
    assert!(session.close(5 * SECOND), "cut after {limit}");
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.messages(), numbers(6), "cut after {limit}");
    assert_eq!(seen.violations, [""; 0], "cut after {limit}");
    assert_eq!(seen.through_rings, if takes { 6 } else { 0 });
    assert_eq!(rings_of(&fake.address), []);
    check_sums(&session);
    seen.cuts
}

#[test]
fn a_handshake_cut_at_every_byte_loses_and_doubles_nothing_whether_the_ring_is_taken_or_not() {
    let cuts = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for part in 0..8 {
            let cuts = &cuts;
            scope.spawn(move || {
                // 450 bytes go there before the first batch, and 150 come back.
                for limit in (0..560).filter(|limit| limit % 8 == part) {
                    let (takes, denies) = [(true, false), (false, true), (false, false)][limit / 8 % 3];
                    cuts.fetch_add(cut_both_ways(limit, takes, denies), Ordering::Relaxed);
                }
            });
        }
    });
    let cuts = cuts.into_inner();
    assert!(cuts > 400, "the faults bit {cuts} times");
}

#[test]
fn what_one_server_left_unread_goes_to_the_next_one_over_the_connection_if_that_knows_no_rings() {
    for speaks in [Speaks::Two, Speaks::One] {
        let path = socket_path();
        let fake = taking(Fake::unix_at(&path, Speaks::Two));
        let session = Session::new(fake.config());
        session.report_trouble(false);
        for number in numbers(100) {
            let _ = session.push(&record(&number));
        }
        flush(&session);
        fake.script.lock().unwrap().holds_rings = true;
        for number in numbers(250).drain(100..) {
            let _ = session.push(&record(&number));
        }
        fake.kill();
        let mut messages = fake.messages();
        assert_eq!(messages.len(), 100);
        let next = Fake::unix_at(&path, speaks);
        let _ = session.push(&record("250"));
        flush(&session);
        assert_eq!(rings_of(&next.address), [], "it was removed");
        let _ = session.push(&record("251"));
        assert!(session.close(5 * SECOND));
        eventually("all are there", || next.messages().len() == 152);
        messages.extend(next.messages());
        assert_eq!(messages, numbers(252));
        assert_eq!(
            session.statistics().ring_bytes,
            None,
            "for the life of the process"
        );
        check_sums(&session);
        assert_eq!(next.seen.lock().unwrap().violations, [""; 0]);
    }
}

#[test]
fn a_full_ring_blocks_once_then_drops_and_the_file_tells_how_many() {
    let fake = taking(Fake::unix());
    fake.script.lock().unwrap().holds_rings = true;
    let mut config = fake.config();
    config.capacity_bytes = 20_000;
    config.block_timeout = Duration::from_millis(300);
    let session = Session::new(config);
    session.report_trouble(false);
    let formatter = session.formatter_id("{\"fmt\":\"%(message)s\"}").unwrap();
    let record = |n: usize| record_of(&format!("record {n}"), formatter);
    let mut stored = 0;
    while session.push(&record(stored)) == Push::Stored {
        stored += 1;
    }
    assert!(stored > 100);
    let statistics = session.statistics();
    assert!(statistics.pending_bytes <= 20_000, "{statistics:?}");
    let start = Instant::now();
    assert!(!session.wait_for_space(100));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(290) && took < SECOND * 3 / 10 + LATE,
        "{took:?}"
    );
    let start = Instant::now();
    for n in 0..500 {
        assert_eq!(
            session.push_waiting(&record(n)),
            Push::Dropped(DropReason::QueueFull)
        );
    }
    assert!(start.elapsed() < LATE, "later calls drop at once");
    check_sums(&session);
    fake.script.lock().unwrap().holds_rings = false;
    eventually("the drops are told", || fake.messages().len() == stored + 1);
    let messages = fake.messages();
    let told = messages.last().unwrap();
    assert!(
        told.starts_with("dropped 500 records (queue full) between 20"),
        "{told}"
    );
    assert_eq!(
        session.push_waiting(&record(1)),
        Push::Stored,
        "there is space again"
    );
    flush(&session);
    assert_eq!(session.statistics().dropped, 500);
    check_sums(&session);
    assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
}

#[test]
fn calls_that_wait_for_space_go_on_as_the_ring_is_read() {
    let fake = taking(Fake::unix());
    let mut config = fake.config();
    config.capacity_bytes = 3000;
    let session = Session::new(config);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let session = &session;
            scope.spawn(move || {
                for n in 0..300 {
                    let record = record(&format!("{thread} {n}"));
                    assert_eq!(session.push_waiting(&record), Push::Stored);
                }
            });
        }
    });
    flush(&session);
    assert_eq!(fake.messages().len(), 2400);
    check_sums(&session);
}

#[test]
fn with_drop_newest_no_call_waits_for_a_ring() {
    let mut config = config(Address::Unix(socket_path()));
    config.capacity_bytes = 1000;
    config.when_full = WhenFull::DropNewest;
    let session = Session::new(config);
    session.report_trouble(false);
    let start = Instant::now();
    let results: Vec<_> = (0..100).map(|_| session.push_waiting(&record("x"))).collect();
    assert!(start.elapsed() < LATE);
    assert!(results.iter().filter(|it| **it != Push::Stored).count() > 80);
    check_sums(&session);
}

#[test]
fn a_reader_that_sleeps_is_woken_by_the_next_record_and_one_that_does_not_is_left_alone() {
    let fake = taking(Fake::unix());
    let session = Session::new(fake.config());
    let _ = session.push(&record("0"));
    flush(&session);
    let mut longest = Duration::ZERO;
    for n in 1..10 {
        std::thread::sleep(Duration::from_millis(if n == 5 { 1400 } else { 120 }));
        let start = Instant::now();
        let _ = session.push(&record(&n.to_string()));
        while fake.messages().len() <= n {
            assert!(start.elapsed() < 5 * SECOND, "record {n}");
            std::thread::sleep(Duration::from_micros(200));
        }
        longest = longest.max(start.elapsed());
    }
    assert!(longest < SECOND / 4 + LATE, "{longest:?}");
    let before = fake.seen.lock().unwrap().wakes;
    assert!((9..=20).contains(&before), "woken {before} times");
    let start = Instant::now();
    let mut count = 10;
    while start.elapsed() < SECOND {
        let _ = session.push_waiting(&record("x"));
        count += 1;
        std::thread::sleep(Duration::from_micros(300));
    }
    flush(&session);
    assert_eq!(fake.messages().len(), count);
    let wakes = fake.seen.lock().unwrap().wakes - before;
    // Now and then it was not busy: where this thread had to wait for a processor.
    assert!(wakes <= 5 + count / 10, "a busy reader was woken {wakes} times");
}

#[test]
fn flush_waits_for_the_rings_reader_and_a_rollover_comes_behind_its_records() {
    let fake = taking(Fake::unix());
    let session = Session::new(fake.config());
    for round in 1..=20 {
        for number in numbers(50) {
            let _ = session.push(&record(&number));
        }
        if round % 2 == 0 {
            flush(&session);
        } else {
            eventually("the file rolls", || session.rollover(5 * SECOND));
        }
        assert_eq!(fake.messages().len(), round * 50);
        let statistics = session.statistics();
        assert_eq!(statistics.pending_records, 0);
        assert!(session.flush(Duration::ZERO, Level::Written), "at once");
    }
    let seen = fake.seen.lock().unwrap();
    let expected: Vec<_> = (0..10).map(|n| 50 + 100 * n).collect();
    assert_eq!(seen.rollovers, expected);
}

#[test]
fn a_newer_configuration_is_written_down_and_opens_the_file_anew_with_the_same_ring() {
    let fake = taking(Fake::unix());
    let config = fake.config();
    let (class, mut arguments) = (config.handler_class.clone(), config.arguments.clone());
    let session = Session::new(config);
    for number in numbers(200) {
        let _ = session.push(&record(&number));
        if number == "50" {
            flush(&session);
        }
        if number == "100" {
            arguments.insert("maxBytes".into(), json!(77));
            session.reconfigure(&class, &arguments, 0, 1e9);
        }
    }
    flush(&session);
    eventually("the second connection, and the end of the first", || {
        let seen = fake.seen.lock().unwrap();
        (seen.opens.len(), seen.closes) == (2, 1)
    });
    assert_eq!(fake.messages(), numbers(200));
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.opens[1]["arguments"]["maxBytes"], 77);
    assert_eq!(seen.opens[0]["ring"], seen.opens[1]["ring"]);
    let described: Vec<_> = seen
        .described
        .iter()
        .map(|it| it["arguments"]["maxBytes"].as_u64())
        .collect();
    assert_eq!(described, [None, Some(77)]);
    assert_eq!((seen.closes, &seen.violations[..]), (1, &[][..]));
}

#[test]
fn a_ring_that_can_say_no_more_is_changed_for_another_one_and_loses_nothing() {
    let fake = taking(Fake::unix());
    let config = fake.config();
    let (class, mut arguments) = (config.handler_class.clone(), config.arguments.clone());
    let session = Session::new(config);
    for n in 0..300 {
        arguments.insert("maxBytes".into(), json!(n % 5));
        session.reconfigure(&class, &arguments, 0, 1e9 + f64::from(n));
        let _ = session.push(&record(&n.to_string()));
        flush(&session);
    }
    assert!(session.close(5 * SECOND));
    assert_eq!(fake.messages(), numbers(300));
    let seen = fake.seen.lock().unwrap();
    let names: std::collections::HashSet<_> = seen
        .opens
        .iter()
        .map(|it| it["ring"]["name"].to_string())
        .collect();
    assert!((3..10).contains(&names.len()), "{}", names.len());
    assert_eq!(seen.violations, [""; 0]);
    check_sums(&session);
}

#[test]
fn a_record_longer_than_the_ring_is_cut_and_counted() {
    let fake = taking(Fake::unix());
    let mut config = fake.config();
    config.capacity_bytes = 10_000;
    let session = Session::new(config);
    let whole = record(&"x".repeat(30_000));
    assert_eq!(session.push_waiting(&whole), Push::Stored);
    assert_eq!(session.push_waiting(&record("y")), Push::Stored);
    flush(&session);
    let messages = fake.messages();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].len() > 15_000 && messages[0].ends_with(" bytes]"));
    let seen = fake.seen.lock().unwrap();
    assert!(split_first(&seen.records[0]).unwrap().1.is_empty());
    assert_eq!(session.statistics().cut, 1);
}

#[test]
fn a_session_that_nobody_holds_any_more_leaves_its_ring_only_with_something_in_it() {
    let fake = taking(Fake::unix());
    let session = Session::new(fake.config());
    let _ = session.push(&record("x"));
    drop(session);
    eventually("it is written and removed", || {
        fake.messages() == ["x"] && rings_of(&fake.address).is_empty()
    });
    let address = Address::Unix(socket_path());
    let session = Session::new(config(address.clone()));
    session.report_trouble(false);
    let _ = session.push(&record("y"));
    drop(session);
    std::thread::sleep(SECOND + SECOND / 2);
    assert_eq!(content(&rings_of(&address)[0]), ["y"]);
}

#[test]
fn a_mute_server_and_one_that_refuses_leave_the_records_in_the_ring() {
    for is_mute in [true, false] {
        let fake = taking(Fake::unix());
        {
            let mut script = fake.script.lock().unwrap();
            script.is_mute = is_mute;
            script.refuse = Some(json!({"expected": "a", "received": "b", "retry": false}));
        }
        let session = Session::new(fake.config());
        session.report_trouble(false);
        let _ = session.push(&record("x"));
        let start = Instant::now();
        assert!(!session.close(5 * SECOND));
        assert!(start.elapsed() < SECOND + SECOND / 2, "{:?}", start.elapsed());
        assert_eq!(content(&rings_of(&fake.address)[0]), ["x"]);
        let mut script = fake.script.lock().unwrap();
        (script.is_mute, script.refuse) = (false, None);
        drop(script);
        eventually("the record arrives", || fake.messages() == ["x"]);
    }
}

#[test]
fn where_no_ring_can_be_made_the_records_go_over_the_connection() {
    let fake = taking(Fake::unix());
    let mut config = fake.config();
    config.ring_place = RingPlace::Below("/nowhere/at/all".into());
    let session = Session::new(config);
    session.report_trouble(false);
    let _ = session.push(&record("x"));
    flush(&session);
    assert_eq!(fake.messages(), ["x"]);
    assert_eq!(fake.seen.lock().unwrap().through_rings, 0);
}

#[test]
fn a_newer_handler_that_wants_more_gets_a_larger_ring_before_and_after_a_server_has_read_the_first() {
    let path = socket_path();
    let address = Address::Unix(path.clone());
    let mut small = config(address.clone());
    small.capacity_bytes = 4096;
    let session = Session::new(small);
    session.report_trouble(false);
    assert_eq!(session.push(&record("0")), Push::Stored);
    session.adopt_limits(1 << 16, true);
    assert!(session.statistics().ring_bytes.unwrap() >= 1 << 16);
    assert_eq!(rings_of(&address).len(), 1, "the first is gone");
    let fake = taking(Fake::unix_at(&path, Speaks::Two));
    assert_eq!(session.push(&record("1")), Push::Stored);
    eventually("the records arrive", || fake.messages() == numbers(2));
    flush(&session);
    session.adopt_limits(1 << 20, true);
    assert_eq!(session.push(&record("2")), Push::Stored);
    eventually("the records arrive", || fake.messages() == numbers(3));
    flush(&session);
    assert!(session.statistics().ring_bytes.unwrap() >= 1 << 20);
    assert!(session.close(5 * SECOND));
    assert_eq!(fake.seen.lock().unwrap().violations, [""; 0]);
    check_sums(&session);
}
