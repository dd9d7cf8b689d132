//! A session against the model of a 2.0 server: nothing lost, nothing doubled, everything bounded.

#![expect(clippy::unwrap_used, reason = "whatever is unexpected fails the test")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake::{Fake, LATE, Speaks, config, eventually, record, record_of, socket_path};
use logserv_client::{Address, Level, Push, Refusal, RingPlace, Session, WhenFull};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// Patient: on a busy machine the model of a server may need more than the quarter of a second that `flush` gives it.
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

#[test]
fn records_arrive_in_order_over_unix_and_tcp() {
    for fake in [Fake::unix(), Fake::tcp()] {
        let session = Session::new(fake.config());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(
            fake.seen.lock().unwrap().connections,
            0,
            "nothing is connected before the first record"
        );
        for number in numbers(5000) {
            assert_eq!(session.push(&record(&number)), Push::Stored);
        }
        flush(&session);
        assert_eq!(fake.messages(), numbers(5000));
        let statistics = session.statistics();
        assert_eq!((statistics.written, statistics.pending_records), (5000, 0));
        assert!(session.close(5 * SECOND));
        eventually("the server hears the good-bye", || {
            fake.seen.lock().unwrap().closes == 1
        });
        assert!(fake.seen.lock().unwrap().violations.is_empty());
    }
}

#[test]
fn a_host_name_is_resolved() {
    let fake = Fake::tcp();
    let Address::Tcp { port, .. } = fake.address else {
        unreachable!()
    };
    let session = Session::new(config(Address::Tcp {
        host: "localhost".into(),
        port,
    }));
    let _ = session.push(&record("x"));
    flush(&session);
}

#[test]
fn a_connection_cut_at_every_byte_loses_and_doubles_nothing() {
    // 470 bytes go there and 90 come back; eight at a time, for most of it is waiting.
    let cuts = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for part in 0..8 {
            let cuts = &cuts;
            scope.spawn(move || {
                for limit in (0..600).filter(|limit| limit % 8 == part) {
                    cuts.fetch_add(cut_both_ways(limit), Ordering::Relaxed);
                }
            });
        }
    });
    let cuts = cuts.into_inner();
    assert!(cuts > 500, "the faults bit {cuts} times");
}

/// One conversation cut after `limit` bytes of the client's, the next one after `limit` bytes of the server's.
fn cut_both_ways(limit: usize) -> usize {
    let fake = Fake::unix();
    fake.script.lock().unwrap().cut_after_received.push_back(limit);
    fake.script
        .lock()
        .unwrap()
        .cut_after_sent
        .extend([usize::MAX, limit]);
    let session = Session::new(fake.config());
    let formatter = session.formatter_id("{\"fmt\":\"x\"}").unwrap();
    for number in numbers(4) {
        let _ = session.push(&record_of(&number, formatter));
    }
    assert!(session.close(30 * SECOND), "cut after {limit}");
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.messages(), numbers(4), "cut after {limit}");
    assert!(
        seen.violations.is_empty(),
        "cut after {limit}: {:?}",
        seen.violations
    );
    seen.cuts
}

#[test]
fn random_cuts_under_load_lose_and_double_nothing() {
    let fake = Arc::new(Fake::tcp());
    {
        let mut script = fake.script.lock().unwrap();
        let mut random = 88_172_645_463_325_252_u64;
        for _ in 0..60 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            script
                .cut_after_received
                .push_back(usize::try_from(random % 120_000).unwrap());
            script
                .cut_after_sent
                .push_back(usize::try_from(random / 7 % 3000).unwrap());
        }
    }
    let mut config = fake.config();
    // A cut before the first acknowledgement is a failure, and failures wait for longer and longer.
    config.block_timeout = 30 * SECOND;
    config.capacity_bytes = 40_000;
    let session = Arc::new(Session::new(config));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let session = Arc::clone(&session);
            std::thread::spawn(move || {
                for n in 0..5000 {
                    let record = record(&format!("{thread} {n}"));
                    assert_eq!(session.push_waiting(&record), Push::Stored);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(session.close(20 * SECOND));
    let seen = fake.seen.lock().unwrap();
    assert!(seen.cuts >= 10, "the faults bit {} times", seen.cuts);
    for thread in 0..4 {
        let own: Vec<_> = seen
            .messages()
            .into_iter()
            .filter(|it| it.starts_with(&format!("{thread} ")))
            .collect();
        let expected: Vec<_> = (0..5000).map(|n| format!("{thread} {n}")).collect();
        assert_eq!(own, expected);
    }
    assert_eq!(seen.opens[0]["first"], json!(true));
    assert_eq!(
        seen.opens.last().unwrap()["first"],
        json!(false),
        "a reconnect must not truncate"
    );
    check_sums(&session);
}

#[test]
fn a_server_that_comes_late_gets_everything() {
    let path = socket_path();
    let session = Session::new(config(Address::Unix(path.clone())));
    session.report_trouble(false);
    for number in numbers(100) {
        assert_eq!(session.push(&record(&number)), Push::Stored);
    }
    std::thread::sleep(Duration::from_millis(700));
    assert!(!session.statistics().connected);
    let fake = Fake::unix_at(&path, Speaks::Two);
    let start = Instant::now();
    eventually("the records arrive", || fake.messages() == numbers(100));
    assert!(
        start.elapsed() < 3 * SECOND,
        "within the longest wait between attempts"
    );
}

#[test]
fn a_server_that_has_forgotten_the_session_gets_what_is_left_under_a_new_name() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    let _ = session.push(&record("0"));
    flush(&session);
    fake.seen.lock().unwrap().sessions.clear();
    fake.cut();
    let _ = session.push(&record("1"));
    flush(&session);
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.messages(), ["0", "1"]);
    assert!(seen.violations.is_empty());
    assert_ne!(
        seen.opens.first().unwrap()["session"],
        seen.opens.last().unwrap()["session"]
    );
}

#[test]
fn a_refusal_is_reported_once_and_the_records_wait_for_the_next_attempt() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().refuse = Some(
        json!({"expected": "a file", "received": "../x", "retry": false, "held_at": "unix:/run/other.sock"}),
    );
    let session = Session::new(fake.config());
    session.report_trouble(false);
    assert_eq!(session.take_refusal(), None);
    let _ = session.push(&record("0"));
    eventually("the second attempt", || session.statistics().refusals >= 2);
    let refusal = Refusal {
        expected: "a file".into(),
        received: "../x".into(),
        held_at: Some("unix:/run/other.sock".into()),
    };
    assert_eq!(session.take_refusal(), Some(refusal));
    assert_eq!(session.take_refusal(), None, "the same refusal again is no news");
    assert!(!session.flush(SECOND, Level::Written));
    fake.script.lock().unwrap().refuse = None;
    eventually("the record arrives", || fake.messages() == ["0"]);
}

/// How long `flush` and then `close` take without a server.
fn waits_without_a_server(ring_place: Option<RingPlace>) -> (Duration, Duration) {
    let mut config = config(Address::Unix(socket_path()));
    config.ring_place = ring_place.unwrap_or(config.ring_place);
    let session = Session::new(config);
    session.report_trouble(false);
    assert!(session.flush(5 * SECOND, Level::Written), "nothing to do");
    let _ = session.push(&record("0"));
    let start = Instant::now();
    assert!(!session.flush(5 * SECOND, Level::Written));
    let flush = start.elapsed();
    let start = Instant::now();
    assert!(!session.close(5 * SECOND));
    (flush, start.elapsed())
}

#[test]
fn without_a_server_flush_takes_a_quarter_of_a_second_and_close_one_or_with_a_ring_a_look() {
    let is_quarter = |took| took >= SECOND / 5 && took < SECOND / 4 + LATE;
    let (flush, close) = waits_without_a_server(Some(RingPlace::Nowhere));
    assert!(is_quarter(flush), "{flush:?}");
    assert!(close >= SECOND * 9 / 10 && close < SECOND + LATE, "{close:?}");
    let (flush, close) = waits_without_a_server(None);
    assert!(is_quarter(flush), "{flush:?}");
    assert!(close < SECOND / 4 + LATE, "{close:?}");
}

#[test]
fn a_mute_server_does_not_hold_flush_up() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().is_mute = true;
    let session = Session::new(fake.config());
    let _ = session.push(&record("0"));
    let start = Instant::now();
    assert!(!session.flush(5 * SECOND, Level::Written));
    assert!(start.elapsed() < SECOND / 4 + LATE);
    fake.script.lock().unwrap().is_mute = false;
    eventually("the record arrives", || fake.messages() == ["0"]);
}

#[test]
fn a_full_queue_blocks_once_then_drops_and_the_file_tells_how_many() {
    let path = socket_path();
    let mut config = config(Address::Unix(path.clone()));
    config.capacity_bytes = 10_000;
    config.block_timeout = Duration::from_millis(300);
    let session = Session::new(config);
    session.report_trouble(false);
    let formatter = session.formatter_id("{\"fmt\":\"%(message)s\"}").unwrap();
    let mut stored = 0;
    let record = |n: usize| record_of(&format!("record {n}"), formatter);
    while session.push(&record(stored)) == Push::Stored {
        stored += 1;
    }
    let start = Instant::now();
    assert!(!session.wait_for_space(100));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(290) && took < SECOND * 3 / 10 + LATE,
        "{took:?}"
    );
    let start = Instant::now();
    for n in 0..500 {
        assert!(matches!(session.push_waiting(&record(n)), Push::Dropped(_)));
    }
    assert!(start.elapsed() < LATE, "later calls drop at once");
    check_sums(&session);
    let fake = Fake::unix_at(&path, Speaks::Two);
    eventually("the drops are told", || fake.messages().len() == stored + 1);
    let messages = fake.messages();
    let told = messages.last().unwrap();
    assert!(
        told.starts_with("dropped 500 records (queue full) between 20"),
        "{told}"
    );
    assert_eq!(session.push(&record(1)), Push::Stored, "there is space again");
    flush(&session);
    assert_eq!(session.statistics().dropped, 500);
    check_sums(&session);
    assert!(fake.seen.lock().unwrap().violations.is_empty());
}

#[test]
fn drops_under_lasting_overload_are_told_once_a_second_and_add_up() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().withholds_acks = true;
    let mut config = fake.config();
    config.capacity_bytes = 5000;
    config.when_full = WhenFull::DropNewest;
    let session = Session::new(config);
    session.report_trouble(false);
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < Duration::from_millis(2500) {
        let _ = session.push(&record(&number.to_string()));
        number += 1;
        if number % 2000 == 0 {
            // A gulp of acknowledgements now and then, as the server welcomes us again.
            fake.cut();
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    fake.script.lock().unwrap().withholds_acks = false;
    fake.cut();
    assert!(session.close(10 * SECOND));
    let statistics = session.statistics();
    check_sums(&session);
    let messages = fake.messages();
    let told = messages.iter().filter_map(|it| {
        it.strip_prefix("dropped ")?
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()
    });
    assert_eq!(told.sum::<u64>(), statistics.dropped);
    assert!(
        statistics.announced >= 2 && statistics.announced <= 5,
        "{statistics:?}"
    );
    assert_eq!(messages.len() as u64, statistics.written);
    assert_eq!(statistics.emitted, number);
}

#[test]
fn with_drop_newest_no_call_waits_and_drops_can_go_untold() {
    let mut config = config(Address::Unix(socket_path()));
    config.capacity_bytes = 1000;
    config.when_full = WhenFull::DropNewest;
    config.announce_drops = false;
    let Address::Unix(path) = config.address.clone() else {
        unreachable!()
    };
    let session = Session::new(config);
    session.report_trouble(false);
    let start = Instant::now();
    let results: Vec<_> = (0..100)
        .map(|n| session.push_waiting(&record(&n.to_string())))
        .collect();
    assert!(start.elapsed() < LATE);
    let dropped = results.iter().filter(|it| **it != Push::Stored).count();
    assert!(dropped > 80);
    let fake = Fake::unix_at(&path, Speaks::Two);
    assert!({
        eventually("the rest arrives", || fake.messages().len() == 100 - dropped);
        session.close(SECOND)
    });
    assert_eq!(fake.messages().len(), 100 - dropped);
}

#[test]
fn a_waiting_call_goes_on_as_soon_as_there_is_space() {
    let fake = Fake::unix();
    let mut config = fake.config();
    config.capacity_bytes = 2000;
    let session = Arc::new(Session::new(config));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let session = Arc::clone(&session);
            std::thread::spawn(move || {
                for n in 0..500 {
                    assert_eq!(
                        session.push_waiting(&record(&format!("{thread} {n}"))),
                        Push::Stored
                    );
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    flush(&session);
    assert_eq!(fake.messages().len(), 4000);
}

#[test]
fn a_record_that_is_none_is_dropped_and_counted() {
    let session = Session::new(config(Address::Unix(socket_path())));
    session.report_trouble(false);
    let mut two = record("a");
    two.extend_from_slice(&record("b"));
    for bad in [&b""[..], &[0; 63], &record("a")[..70], &two, &vec![0; 5 << 20]] {
        assert!(matches!(session.push(bad), Push::Dropped(_)));
    }
    assert_eq!(session.statistics().dropped, 5);
    check_sums(&session);
}

#[test]
fn a_record_longer_than_the_server_takes_is_cut() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().record_max_bytes = Some(5000);
    let session = Session::new(fake.config());
    let _ = session.push(&record("short"));
    let _ = session.push(&record(&"x".repeat(20_000)));
    let _ = session.push(&record("also short"));
    flush(&session);
    let messages = fake.messages();
    assert_eq!(
        (messages[0].as_str(), messages[2].as_str()),
        ("short", "also short")
    );
    assert!(
        messages[1].len() < 5000 && messages[1].contains("…[cut: "),
        "{}",
        messages[1].len()
    );
}

#[test]
fn a_rollover_comes_behind_the_records_before_it() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    for number in numbers(10) {
        let _ = session.push(&record(&number));
    }
    flush(&session);
    assert!(session.rollover(SECOND));
    let _ = session.push(&record("after"));
    assert!(session.rollover(SECOND));
    assert_eq!(fake.seen.lock().unwrap().rollovers, [10, 11]);
}

#[test]
fn a_closed_session_opens_again_with_the_next_record() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    assert!(session.close(SECOND), "never opened");
    for round in 0..3 {
        let _ = session.push(&record(&round.to_string()));
        assert!(session.close(5 * SECOND));
        assert!(session.close(SECOND), "closing is idempotent");
    }
    assert_eq!(fake.messages(), ["0", "1", "2"]);
    eventually("the server hears the good-byes", || {
        fake.seen.lock().unwrap().closes == 3
    });
    let seen = fake.seen.lock().unwrap();
    assert_eq!(
        seen.sessions.len(),
        3,
        "a closed session's name is not used again"
    );
}

#[test]
fn a_dropped_session_still_sends_what_it_has() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    let _ = session.push(&record("0"));
    drop(session);
    eventually("the record arrives", || fake.messages() == ["0"]);
    eventually("the thread ends", || fake.seen.lock().unwrap().closes == 1);
}

#[test]
fn formatters_keep_their_numbers_and_their_limit() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    for n in 0..logserv_client::limits::FORMATTERS_MAX {
        let id = session.formatter_id(&format!("{{\"fmt\":\"{n}\"}}")).unwrap();
        assert_eq!(id as usize, n + 1);
    }
    assert_eq!(session.formatter_id("{\"fmt\":\"5\"}"), Some(6));
    assert_eq!(session.formatter_id("{\"fmt\":\"one too many\"}"), None);
    let _ = session.push(&record_of("x", 7));
    let _ = session.push(&record_of("of a formatter that nobody knows", 5000));
    flush(&session);
    let seen = fake.seen.lock().unwrap();
    assert_eq!(
        seen.formatters,
        [(7, "{\"fmt\":\"6\"}".to_owned())],
        "only those that records name are announced"
    );
    assert!(seen.violations.is_empty());
    assert_eq!(seen.records.len(), 2);
}

#[test]
fn acknowledgements_of_level_one_free_nothing() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().withholds_acks = true;
    let session = Session::new(fake.config());
    let _ = session.push(&record("0"));
    eventually("the server has it", || fake.messages().len() == 1);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(session.statistics().pending_records, 1);
    fake.cut();
    fake.script.lock().unwrap().withholds_acks = false;
    eventually("the resume acknowledges it", || {
        session.statistics().pending_records == 0
    });
    assert_eq!(fake.messages(), ["0"]);
}

#[test]
fn a_stuck_server_costs_a_call_no_more_than_its_limit() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().is_stuck = true;
    let mut config = fake.config();
    config.block_timeout = Duration::from_millis(200);
    let session = Session::new(config);
    session.report_trouble(false);
    let long = "x".repeat(10_000);
    let mut longest = Duration::ZERO;
    for _ in 0..2000 {
        let start = Instant::now();
        let _ = session.push_waiting(&record(&long));
        longest = longest.max(start.elapsed());
    }
    assert!(
        longest >= SECOND / 5 && longest < SECOND / 5 + LATE,
        "{longest:?}"
    );
    assert!(session.statistics().pending_bytes <= 1 << 20);
    fake.script.lock().unwrap().is_stuck = false;
    assert!(session.close(10 * SECOND));
    check_sums(&session);
}

#[test]
fn a_newer_configuration_opens_the_file_anew_between_two_records() {
    let fake = Fake::unix();
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
            session.reconfigure("older", &arguments, 0, 1e8);
            session.reconfigure(&class, &arguments, 30, 1e9 + 1.0); // a level is the client's matter in 2.0
        }
    }
    flush(&session);
    assert_eq!(fake.messages(), numbers(200));
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.opens.len(), 2);
    assert_eq!(seen.opens[0]["arguments"].get("maxBytes"), None);
    assert_eq!(seen.opens[1]["arguments"]["maxBytes"], 77);
    assert_eq!(
        (&seen.opens[0]["first"], &seen.opens[1]["first"]),
        (&json!(true), &json!(true))
    );
    assert_eq!((seen.closes, seen.violations.len()), (1, 0));
    drop(seen);
    check_sums(&session);
}

#[test]
fn a_newer_configuration_ends_a_refusal() {
    let fake = Fake::unix();
    fake.script.lock().unwrap().refuse = Some(json!({"expected": "a", "received": "b", "retry": false}));
    let config = fake.config();
    let (class, arguments) = (config.handler_class.clone(), config.arguments.clone());
    let session = Session::new(config);
    let _ = session.push(&record("x"));
    eventually("a refusal", || session.statistics().refusals == 1);
    fake.script.lock().unwrap().refuse = None;
    session.reconfigure("other", &arguments, 0, 1e9);
    session.reconfigure(&class, &arguments, 0, 1e9);
    let start = Instant::now();
    flush(&session);
    assert!(start.elapsed() < SECOND / 2, "{:?}", start.elapsed());
}

#[test]
fn records_pushed_while_the_session_is_being_closed_arrive_once_and_in_order() {
    let fake = Fake::unix();
    let session = Session::new(fake.config());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let closings = std::thread::scope(|scope| {
        let closing = scope.spawn(|| {
            let mut closings = 0;
            while !is_over.load(Ordering::Relaxed) {
                session.close(5 * SECOND);
                closings += 1;
            }
            closings
        });
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let session = &session;
                scope.spawn(move || {
                    for n in 0..3000 {
                        let _ = session.push_waiting(&record(&format!("{thread} {n}")));
                        if n % 3 == 0 {
                            std::thread::sleep(Duration::from_micros(20));
                        }
                    }
                })
            })
            .collect();
        for thread in pushing {
            thread.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        closing.join().unwrap()
    });
    assert!(closings > 10, "the session was closed {closings} times only");
    flush(&session);
    let messages = fake.messages();
    for thread in 0..2 {
        let own: Vec<_> = messages
            .iter()
            .filter_map(|it| it.strip_prefix(&format!("{thread} ")))
            .collect();
        assert_eq!(own, numbers(3000));
    }
    check_sums(&session);
}
