//! A session against models of 1.0 servers: one whose FORMAT works, and the one of 2013.

mod fake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fake::{Fake, Speaks, eventually, record, record_of, socket_path};
use logserv_client::{Level, Protocol, Push, Refusal, Session, SessionConfig};
use logserv_wire::record::{Record, RecordKind};

const SECOND: Duration = Duration::from_secs(1);
const OLD_WORDS: &str = "{\"fmt\":\"%(levelname)s %(message)s\",\"style\":\"%\",\"utc\":false}";
const NEW_WORDS: &str = "{\"fmt\":\"%(message)s\",\"utc\":true}";

fn flush(session: &Session) {
    eventually("everything is sent", || session.flush(5 * SECOND, Level::Written));
}

fn rendering(mut config: SessionConfig) -> SessionConfig {
    config.render = Some(Arc::new(|record, specification| {
        let (record, _) = Record::decode(record).ok()?;
        Some(format!(
            "rendered {} with {}",
            record.message?,
            specification.len()
        ))
    }));
    config
}

#[test]
fn records_arrive_and_the_conversation_is_that_of_2013() {
    for speaks in [Speaks::One, Speaks::Ancient] {
        for fake in [Fake::unix_at(&socket_path(), speaks), Fake::tcp_at(0, speaks)] {
            let mut config = fake.config();
            config.level = 20;
            let session = Session::new(config);
            for n in 0..3000 {
                assert_eq!(session.push(&record(&n.to_string())), Push::Stored);
            }
            flush(&session);
            let expected: Vec<_> = (0..3000).map(|n| n.to_string()).collect();
            eventually("the records arrive", || fake.messages() == expected);
            assert_eq!(session.statistics().protocol, Some(Protocol::One));
            assert!(!session.rollover(SECOND), "1.0 has no word for it");
            assert!(!session.flush(SECOND, Level::Synced), "nor for this");
            assert!(session.close(5 * SECOND));
            eventually("the server hears the good-bye", || {
                fake.seen.lock().unwrap().closes == 1
            });
            let seen = fake.seen.lock().unwrap();
            let identify = "IDENTIFY {\"--level\":20,\"filename\":\"a.log\"}";
            assert_eq!(seen.lines, ["HELLO 2.0", identify, "LOG", "QUIT"]);
            assert!(seen.violations.is_empty(), "{:?}", seen.violations);
        }
    }
}

#[test]
fn a_formatter_is_announced_where_it_works() {
    let fake = Fake::unix_at(&socket_path(), Speaks::One);
    let session = Session::new(rendering(fake.config()));
    let (old, new) = (
        session.formatter_id(OLD_WORDS).unwrap(),
        session.formatter_id(NEW_WORDS).unwrap(),
    );
    for (message, formatter) in [("a", old), ("b", old), ("c", new), ("d", 0), ("e", old)] {
        let _ = session.push(&record_of(message, formatter));
    }
    flush(&session);
    let expected = [
        "a",
        "b",
        &format!("rendered c with {}", NEW_WORDS.len()),
        "d",
        "e",
    ]
    .map(str::to_owned);
    eventually("the records arrive", || fake.messages() == expected);
    let seen = fake.seen.lock().unwrap();
    let format = "FORMAT {\"fmt\":\"%(levelname)s %(message)s\",\"style\":\"%\"}";
    assert_eq!(
        seen.lines[3..],
        [format, format, "FORMAT {}", format],
        "twice the first time, to see whether it works"
    );
    assert_eq!(seen.connections, 1);
}

#[test]
fn the_server_of_2013_gets_lines_rendered_here() {
    let fake = Fake::tcp_at(0, Speaks::Ancient);
    let session = Session::new(rendering(fake.config()));
    let old = session.formatter_id(OLD_WORDS).unwrap();
    let start = Instant::now();
    for n in 0..100 {
        let _ = session.push(&record_of(&n.to_string(), if n < 10 { 0 } else { old }));
    }
    flush(&session);
    assert!(start.elapsed() < 2 * SECOND);
    let line = |n: usize| {
        if n < 10 {
            n.to_string()
        } else {
            format!("rendered {n} with {}", OLD_WORDS.len())
        }
    };
    let expected: Vec<_> = (0..100).map(line).collect();
    eventually("the records arrive", || fake.messages() == expected);
    fake.cut();
    std::thread::sleep(Duration::from_millis(50));
    let _ = session.push(&record_of("later", old));
    flush(&session);
    eventually("the record arrives", || fake.messages().len() == 101);
    let seen = fake.seen.lock().unwrap();
    let formats = seen.lines.iter().filter(|line| line.contains("FORMAT")).count();
    assert_eq!(formats, 2, "tried on the first connection only: {:?}", seen.lines);
}

#[test]
fn without_a_renderer_the_server_of_2013_gets_bare_messages() {
    let fake = Fake::unix_at(&socket_path(), Speaks::Ancient);
    let session = Session::new(fake.config());
    let _ = session.push(&record_of("bare", session.formatter_id(OLD_WORDS).unwrap()));
    eventually("the record arrives", || fake.messages() == ["bare"]);
}

#[test]
fn a_line_goes_under_the_default_formatter_with_its_traceback_once() {
    let fake = Fake::unix_at(&socket_path(), Speaks::One);
    let session = Session::new(fake.config());
    let old = session.formatter_id(OLD_WORDS).unwrap();
    let _ = session.push(&record_of("fields", old));
    let mut line = Vec::new();
    Record {
        kind: RecordKind::Line,
        formatter: old,
        message: Some("whole line\nTraceback"),
        exc_text: Some("Traceback"),
        ..Record::default()
    }
    .encode(&mut line);
    let _ = session.push(&line);
    eventually("the records arrive", || fake.messages().len() == 2);
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.lines.last().unwrap(), "FORMAT {}");
    let record = Record::decode(&seen.records[1]).unwrap().0;
    assert_eq!(
        (record.message, record.exc_text),
        (Some("whole line\nTraceback"), None)
    );
}

#[test]
fn a_refusal_without_a_newline_is_understood() {
    let fake = Fake::tcp_at(0, Speaks::Ancient);
    let error =
        "ERROR EXPECTED valid parameters for `RotatingFileHandler`, received no such argument: 'colour'";
    fake.script.lock().unwrap().refuse = Some(error.into());
    let session = Session::new(fake.config());
    session.report_trouble(false);
    let _ = session.push(&record("0"));
    eventually("the refusal", || session.statistics().refusals > 0);
    let refusal = Refusal {
        expected: "valid parameters for `RotatingFileHandler`".into(),
        received: "no such argument: 'colour'".into(),
        held_at: None,
    };
    assert_eq!(session.take_refusal(), Some(refusal));
    fake.script.lock().unwrap().refuse = None;
    eventually("the record arrives", || fake.messages() == ["0"]);
}

#[test]
fn a_server_that_learns_2_0_gets_what_is_left() {
    let path = socket_path();
    let fake = Fake::unix_at(&path, Speaks::One);
    let session = Session::new(fake.config());
    session.report_trouble(false);
    let _ = session.push(&record("0"));
    flush(&session);
    eventually("the record arrives", || fake.messages() == ["0"]);
    drop(fake);
    std::thread::sleep(Duration::from_millis(50));
    let fake = Fake::unix_at(&path, Speaks::Two);
    let _ = session.push(&record("1"));
    flush(&session);
    assert_eq!(fake.messages(), ["1"]);
    assert_eq!(session.statistics().protocol, Some(Protocol::Two));
    let seen = fake.seen.lock().unwrap();
    assert!(seen.violations.is_empty());
    assert!(seen.opens.iter().all(|open| open["first"] == false));
}

#[test]
fn mode_w_truncates_once_also_in_1_0() {
    let fake = Fake::unix_at(&socket_path(), Speaks::One);
    let mut config = fake.config();
    config.arguments.insert("mode".into(), "w".into());
    let session = Session::new(config);
    for n in 0..2 {
        let _ = session.push(&record(&n.to_string()));
        assert!(session.close(5 * SECOND));
    }
    let seen = fake.seen.lock().unwrap();
    let identify: Vec<_> = seen
        .lines
        .iter()
        .filter(|line| line.starts_with("IDENTIFY"))
        .collect();
    assert!(
        identify[0].contains("\"mode\":\"w\"") && identify[1].contains("\"mode\":\"a\""),
        "{identify:?}"
    );
}

#[test]
fn a_server_that_stops_reading_costs_no_more_than_the_limits() {
    let fake = Fake::unix_at(&socket_path(), Speaks::One);
    let mut config = fake.config();
    config.block_timeout = Duration::from_millis(200);
    let session = Session::new(config);
    session.report_trouble(false);
    let _ = session.push(&record("first"));
    eventually("the record arrives", || fake.messages().len() == 1);
    fake.script.lock().unwrap().is_stuck = true;
    let long = "x".repeat(10_000);
    let start = Instant::now();
    let dropped = (0..1000)
        .filter(|_| session.push_waiting(&record(&long)) != Push::Stored)
        .count();
    assert!(dropped > 0 && start.elapsed() < 3 * SECOND);
    fake.script.lock().unwrap().is_stuck = false;
    assert!(session.close(10 * SECOND));
    eventually("the rest arrives", || {
        let long = fake.messages().iter().filter(|it| it.len() == 10_000).count();
        long == 1000 - dropped
    });
    let it = session.statistics();
    assert_eq!(it.emitted + it.announced, it.written + it.dropped, "{it:?}");
}
