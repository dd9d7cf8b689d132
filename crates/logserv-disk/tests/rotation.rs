//! Rotation: names and order as the standard library's, no line split, nothing overwritten, nothing deleted too early.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logserv_disk::{Fs, Kernel, LogFile};
use place::{Faulty, Hand, MARK, Place, no_journal, settings};
use rustix::io::Errno;
use serde_json::{Value, json};

const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logging.handlers.TimedRotatingFileHandler";

fn write(file: &mut LogFile, text: &str) {
    file.append(&format!("{text}\n"), 0.0, MARK).unwrap();
    file.commit().unwrap();
}

fn names(place: &Place) -> Vec<String> {
    place.listing().into_iter().map(|(name, _)| name).collect()
}

fn files(place: &Place) -> Vec<(String, String)> {
    place.listing()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn a_line_that_would_reach_the_limit_goes_into_a_new_file() {
    let place = Place::new();
    let mut file = place.open(ROTATING, json!({"maxBytes": 10, "backupCount": 2}));
    // 4 + 5 bytes stay below the limit of 10; 4 + 6 reach it.
    for text in [
        "aaa",
        "bbbb",
        "ccc",
        "ddddd",
        "a line that is longer than any file may be",
        "e",
    ] {
        write(&mut file, text);
    }
    let wanted = [
        ("app.log", "e\n"),
        ("app.log.1", "a line that is longer than any file may be\n"),
        ("app.log.2", "ddddd\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

#[test]
fn a_batch_is_cut_at_the_same_lines_as_single_writes() {
    let lines: Vec<String> = (0..500_usize)
        .map(|n| format!("{n}{}\n", "x".repeat(n * 7919 % 90)))
        .collect();
    let run = |batch: usize| {
        let place = Place::new();
        let mut file = place.open(ROTATING, json!({"maxBytes": 1000, "backupCount": 100}));
        for (n, line) in lines.iter().enumerate() {
            file.append(line, 0.0, MARK).unwrap();
            if n % batch == 0 {
                file.commit().unwrap();
            }
        }
        drop(file);
        files(&place)
    };
    let single = run(1);
    assert!(
        single.len() > 20
            && single
                .iter()
                .all(|(_, text)| text.len() < 1000 && text.ends_with('\n'))
    );
    assert_eq!(single, run(7));
    assert_eq!(single, run(1000));
}

#[test]
fn rotation_needs_a_limit_and_a_count() {
    for arguments in [
        json!({"maxBytes": 10}),
        json!({"backupCount": 3}),
        json!({"maxBytes": 0, "backupCount": 3}),
    ] {
        let place = Place::new();
        let mut file = place.open(ROTATING, arguments);
        for _ in 0..5 {
            write(&mut file, "a line of some length");
        }
        assert_eq!(names(&place), ["app.log"]);
    }
}

#[test]
fn a_rollover_on_request_rotates_even_an_empty_file() {
    let place = Place::new();
    let mut file = place.open(ROTATING, json!({"maxBytes": 1000, "backupCount": 2}));
    file.append("one\n", 0.0, MARK).unwrap();
    assert!(file.rollover().unwrap());
    assert!(file.rollover().unwrap());
    assert_eq!(
        files(&place),
        pairs(&[("app.log", ""), ("app.log.1", ""), ("app.log.2", "one\n")])
    );
    drop(file);
    let mut file = place.open("logging.FileHandler", json!({}));
    assert!(!file.rollover().unwrap());
    assert_eq!(names(&place).len(), 3);
}

#[test]
fn what_is_not_ours_is_stepped_over_and_never_touched() {
    let place = Place::new();
    std::fs::create_dir(place.path("app.log.2")).unwrap();
    std::fs::write(place.outside().join("target"), "precious\n").unwrap();
    symlink(place.outside().join("target"), place.path("app.log.3")).unwrap();
    for (name, text) in [
        ("app.log", "0\n"),
        ("app.log.1", "1\n"),
        ("app.log.4", "4\n"),
        ("app.log.01", "no number\n"),
    ] {
        place.write(name, text);
    }
    place.write("app.log.6", "beyond the count\n");
    let mut file = place.open(ROTATING, json!({"maxBytes": 4, "backupCount": 5}));
    write(&mut file, "new");
    let wanted = [
        ("app.log", "new\n"),
        ("app.log.01", "no number\n"),
        ("app.log.1", "0\n"),
        ("app.log.2/", ""),
        (
            "app.log.3",
            "FileType { is_file: false, is_dir: false, is_symlink: true, .. }",
        ),
        ("app.log.4", "1\n"),
        ("app.log.5", "4\n"),
        ("app.log.6", "beyond the count\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
    write(&mut file, "newer");
    assert_eq!(place.read("app.log.5"), "1\n", "the oldest of ours has left");
    assert_eq!(
        std::fs::read_to_string(place.outside().join("target")).unwrap(),
        "precious\n"
    );
}

#[test]
fn another_owners_file_is_not_in_the_chain() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: another_owners_file_is_not_in_the_chain, reason: needs root");
        return;
    }
    let place = Place::new();
    place.write("app.log", "0\n");
    place.write("app.log.1", "theirs\n");
    std::os::unix::fs::chown(place.path("app.log.1"), Some(65534), None).unwrap();
    let mut file = place.open(ROTATING, json!({"maxBytes": 4, "backupCount": 2}));
    write(&mut file, "new");
    write(&mut file, "newer");
    assert_eq!(
        files(&place),
        pairs(&[
            ("app.log", "newer\n"),
            ("app.log.1", "theirs\n"),
            ("app.log.2", "new\n")
        ])
    );
}

#[test]
fn without_a_free_number_the_active_file_grows_and_says_so() {
    let place = Place::new();
    std::fs::create_dir(place.path("app.log.1")).unwrap();
    let hand = Hand::at(0);
    let mut file = rotating(&place, &hand, json!({"maxBytes": 4, "backupCount": 1}));
    for text in ["one", "two", "three"] {
        write(&mut file, text);
    }
    assert_eq!(place.read("app.log"), "one\ntwo\nthree\n");
    let status = file.status();
    assert_eq!(status.rotations_failed, 1, "tried again only after a second");
    assert!(
        status
            .last_error
            .unwrap()
            .contains("taken by something that is not ours")
    );
    std::fs::remove_dir(place.path("app.log.1")).unwrap();
    hand.advance(1);
    write(&mut file, "four");
    assert_eq!(
        files(&place),
        pairs(&[("app.log", "four\n"), ("app.log.1", "one\ntwo\nthree\n")])
    );
}

fn rotating(place: &Place, hand: &Hand, arguments: Value) -> LogFile {
    let location = place.roots.locate("app.log").unwrap();
    LogFile::open_with(
        location,
        settings(ROTATING, arguments),
        Arc::new(Kernel),
        hand.clock(),
        no_journal(),
    )
    .unwrap()
}

#[test]
fn a_file_that_is_being_written_is_in_nobodys_chain() {
    let place = Place::new();
    let mut numbered = LogFile::open(
        place.roots.locate("app.log.1").unwrap(),
        settings("logging.FileHandler", json!({})),
    )
    .unwrap();
    write(&mut numbered, "mine");
    let mut file = place.open(ROTATING, json!({"maxBytes": 4, "backupCount": 3}));
    for text in ["one", "two", "three"] {
        write(&mut file, text);
    }
    write(&mut numbered, "still mine");
    let wanted = [
        ("app.log", "three\n"),
        ("app.log.1", "mine\nstill mine\n"),
        ("app.log.2", "two\n"),
        ("app.log.3", "one\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

#[test]
fn a_high_count_costs_no_more_than_the_directory() {
    let place = Place::new();
    let mut file = place.open(ROTATING, json!({"maxBytes": 4, "backupCount": 4_000_000_000_u32}));
    for n in 0..20 {
        write(&mut file, &format!("{n:03}"));
    }
    assert_eq!(
        (names(&place).len(), place.read("app.log.19")),
        (20, "000\n".into())
    );
}

/// Every system call fails once, then every two and every five in a row: whatever happens, no line is lost, doubled, torn or out of
/// order, and no file is deleted before its time.
#[test]
fn a_failing_call_costs_no_line_and_no_rotated_file() {
    for (count, errno, half) in [
        (1, Errno::IO, true),
        (1, Errno::NOSPC, false),
        (2, Errno::PERM, true),
        (5, Errno::IO, true),
    ] {
        for (kind, backup_count) in [("plenty", 50), ("full chain", 2)] {
            let mut calls = 0;
            loop {
                let (bitten, text, files) = run_with_faults(calls, count, errno, half, backup_count);
                let context =
                    format!("{kind}, {count} calls from {calls} failing with {errno:?}: {bitten:?}");
                let wanted: Vec<String> = (0..LINES).map(|n| format!("line {n:02}\n")).collect();
                if backup_count == 50 {
                    assert_eq!(text, wanted.concat(), "{context}");
                } else {
                    assert!(wanted.concat().ends_with(&text), "{context}: {text}");
                    // Two full files of three lines and the active one; one less in the middle of an interrupted shift.
                    assert!(
                        (2..=3).contains(&files) && text.len() >= 8 * (2 * 3 + 1),
                        "{context}: {files} {text}"
                    );
                }
                if bitten.is_empty() {
                    break;
                }
                calls += 1;
            }
            assert!(calls > 60, "the faults did not bite: {calls}");
        }
    }
}

const LINES: usize = 16;

fn run_with_faults(
    first: u64,
    count: u64,
    errno: Errno,
    half: bool,
    backup_count: u32,
) -> (Vec<&'static str>, String, usize) {
    let place = Place::in_memory();
    let hand = Hand::at(0);
    let faulty = Faulty::new(first, count, errno, half);
    let open = || {
        let rotating = settings(ROTATING, json!({"maxBytes": 28, "backupCount": backup_count}));
        LogFile::open_with(
            place.roots.locate("app.log").unwrap(),
            rotating,
            faulty.clone(),
            hand.clock(),
            no_journal(),
        )
    };
    let mut file = (0..10).find_map(|_| open().ok()).unwrap();
    for n in 0..LINES {
        let taken = (0..20).any(|_| {
            hand.advance(2);
            file.append(&format!("line {n:02}\n"), 0.0, MARK).is_ok()
        });
        assert!(taken, "never recovered");
        if n % 3 == 1 {
            let _ = file.commit();
        }
    }
    assert!((0..10).any(|_| file.commit().is_ok()), "never recovered");
    drop(file);
    let (files, text) = chain(&place);
    (faulty.bitten.lock().unwrap().clone(), text, files)
}

// 2026-01-01 00:00:00 UTC.
const NEW_YEAR: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

fn timed(place: &Place, hand: &Hand, arguments: Value) -> LogFile {
    let location = place.roots.locate("app.log").unwrap();
    LogFile::open_with(
        location,
        settings(TIMED, arguments),
        Arc::new(Kernel),
        hand.clock(),
        no_journal(),
    )
    .unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact")]
fn write_at(file: &mut LogFile, text: &str, seconds: i64) {
    file.append(&format!("{text}\n"), seconds as f64 + 0.5, MARK)
        .unwrap();
}

#[test]
fn timed_rotation_goes_by_the_records_time_but_never_ahead_of_the_clock() {
    let place = Place::new();
    let hand = Hand::at(NEW_YEAR + 100);
    let mut file = timed(&place, &hand, json!({"when": "midnight", "utc": true}));
    write_at(&mut file, "first", NEW_YEAR + 100);
    write_at(&mut file, "from a clock that is days ahead", NEW_YEAR + 9 * DAY);
    // A backlog of two days arrives at once.
    hand.set(NEW_YEAR + 2 * DAY + 50);
    write_at(&mut file, "second day", NEW_YEAR + DAY + 7);
    write_at(&mut file, "late", NEW_YEAR + 200);
    write_at(&mut file, "third day", NEW_YEAR + 2 * DAY + 7);
    drop(file);
    let wanted = [
        ("app.log", "third day\n"),
        ("app.log.2026-01-01", "first\nfrom a clock that is days ahead\n"),
        ("app.log.2026-01-02", "second day\nlate\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

#[test]
fn a_taken_date_name_gets_a_number_which_counts_for_retention() {
    let place = Place::new();
    let hand = Hand::at(NEW_YEAR + 100);
    place.write("app.log.2026-01-01", "somebody's\n");
    std::fs::create_dir(place.path("app.log.2026-01-01.1")).unwrap();
    let mut file = timed(
        &place,
        &hand,
        json!({"when": "midnight", "utc": true, "backupCount": 2}),
    );
    write_at(&mut file, "one", NEW_YEAR + 100);
    hand.set(NEW_YEAR + DAY);
    write_at(&mut file, "two", NEW_YEAR + DAY);
    file.commit().unwrap();
    let wanted = [
        ("app.log", "two\n"),
        ("app.log.2026-01-01", "somebody's\n"),
        ("app.log.2026-01-01.1/", ""),
        ("app.log.2026-01-01.2", "one\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
    hand.set(NEW_YEAR + 2 * DAY);
    write_at(&mut file, "three", NEW_YEAR + 2 * DAY);
    file.commit().unwrap();
    let wanted = [
        ("app.log", "three\n"),
        ("app.log.2026-01-01.1/", ""),
        ("app.log.2026-01-01.2", "one\n"),
        ("app.log.2026-01-02", "two\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

#[test]
fn strange_record_times_rotate_nothing() {
    let place = Place::new();
    let hand = Hand::at(NEW_YEAR);
    let mut file = timed(&place, &hand, json!({"when": "S", "utc": true}));
    for created in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        2.0_f64.powi(31),
        1e18,
        -1e300,
    ] {
        file.append("line\n", created, MARK).unwrap();
    }
    file.commit().unwrap();
    assert_eq!(names(&place), ["app.log"]);
}

#[test]
fn a_step_of_the_clock_rotates_at_most_once_and_never_for_years() {
    let place = Place::new();
    let hand = Hand::at(NEW_YEAR);
    let mut file = timed(&place, &hand, json!({"when": "H", "utc": true}));
    for (step, rotated) in [
        (10 * 365 * DAY, 1),
        (3600, 2),
        (-20 * 365 * DAY, 2),
        (3600, 3),
        (-3600, 3),
        (1, 3),
    ] {
        hand.advance(step);
        for _ in 0..5 {
            write_at(&mut file, "line", i64::MAX / 2);
            file.commit().unwrap();
        }
        assert_eq!(names(&place).len() - 1, rotated, "{step}");
    }
}

#[test]
fn the_next_rotation_is_reckoned_from_the_files_last_change() {
    let place = Place::new();
    place.write("app.log", "yesterday's\n");
    let yesterday =
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(NEW_YEAR - 60).unwrap());
    std::fs::File::options()
        .append(true)
        .open(place.path("app.log"))
        .unwrap()
        .set_modified(yesterday)
        .unwrap();
    let hand = Hand::at(NEW_YEAR + 60);
    let mut file = timed(&place, &hand, json!({"when": "midnight", "utc": true}));
    write_at(&mut file, "today's", NEW_YEAR + 60);
    file.commit().unwrap();
    assert_eq!(
        files(&place),
        pairs(&[("app.log", "today's\n"), ("app.log.2025-12-31", "yesterday's\n")])
    );
}

#[test]
fn new_settings_act_on_the_open_file() {
    let place = Place::new();
    let mut file = place.open(ROTATING, json!({"maxBytes": 10, "backupCount": 1}));
    write(&mut file, "one");
    file.append("two\n", 0.0, MARK).unwrap();
    file.reconfigure(settings(
        ROTATING,
        json!({"maxBytes": 100, "backupCount": 1, "encoding": "utf-16-le"}),
    ));
    write(&mut file, "x");
    assert_eq!(files(&place), pairs(&[("app.log", "one\ntwo\nx\0\n\0")]));
}

#[test]
fn a_name_without_room_for_a_suffix_is_refused_at_once() {
    let place = Place::new();
    let open = |class: &str, len: usize| {
        LogFile::open(
            place.roots.locate(&"n".repeat(len)).unwrap(),
            settings(class, json!({})),
        )
    };
    assert!(open(ROTATING, 250).is_err() && open(TIMED, 240).is_err());
    assert!(place.listing().is_empty());
    assert!(
        open(ROTATING, 240).is_ok() && open(TIMED, 228).is_ok() && open("logging.FileHandler", 255).is_ok()
    );
}

/// Refuses to rename the active file, as the kernel does for one that may only grow.
#[derive(Debug, Default)]
struct Unmovable(AtomicBool);

impl Fs for Unmovable {
    fn rename(&self, directory: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        if from == "app.log" && self.0.load(Ordering::Relaxed) {
            return Err(Errno::PERM);
        }
        Kernel.rename(directory, from, to)
    }
}

#[test]
fn a_rename_that_keeps_failing_costs_one_rotated_file_and_no_line() {
    let place = Place::new();
    let hand = Hand::at(0);
    let fs = Arc::new(Unmovable::default());
    let rotating = settings(ROTATING, json!({"maxBytes": 4, "backupCount": 4}));
    let location = place.roots.locate("app.log").unwrap();
    let mut file = LogFile::open_with(location, rotating, fs.clone(), hand.clock(), no_journal()).unwrap();
    for text in ["1", "2", "3", "4", "5"] {
        write(&mut file, &format!("{text}{text}"));
    }
    fs.0.store(true, Ordering::Relaxed);
    for text in ["a", "b", "c", "d", "e", "f"] {
        hand.advance(2);
        write(&mut file, text);
    }
    assert_eq!(file.status().rotations_failed, 6);
    fs.0.store(false, Ordering::Relaxed);
    hand.advance(2);
    write(&mut file, "g");
    let wanted = [
        ("app.log", "g\n"),
        ("app.log.1", "55\na\nb\nc\nd\ne\nf\n"),
        ("app.log.2", "44\n"),
        ("app.log.3", "33\n"),
        ("app.log.4", "22\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

/// The server dies before each system call in turn: what was acknowledged is there once, in order, and its successor goes on.
#[test]
fn a_death_before_any_call_loses_nothing_that_was_acknowledged() {
    for half in [false, true] {
        let mut calls = 0;
        loop {
            let place = Place::in_memory();
            let hand = Hand::at(0);
            let faulty = Faulty::new(calls, u64::MAX / 2, Errno::IO, false);
            let faulty = if half { faulty.tearing_one() } else { faulty };
            let rotating = || settings(ROTATING, json!({"maxBytes": 28, "backupCount": 50}));
            let locate = || place.roots.locate("app.log").unwrap();
            let mut acknowledged = 0;
            if let Ok(mut file) =
                LogFile::open_with(locate(), rotating(), faulty.clone(), hand.clock(), no_journal())
            {
                for n in 0..LINES {
                    hand.advance(2);
                    if file
                        .append(&format!("line {n:02}\n"), 0.0, MARK)
                        .and_then(|()| file.commit())
                        .is_err()
                    {
                        break;
                    }
                    acknowledged = n + 1;
                }
            }
            let mut file = LogFile::open(locate(), rotating()).unwrap();
            for n in acknowledged..LINES {
                write(&mut file, &format!("line {n:02}"));
            }
            drop(file);
            let wanted: Vec<String> = (0..LINES).map(|n| format!("line {n:02}")).collect();
            let (whole, torn): (Vec<String>, Vec<String>) = chain(&place)
                .1
                .lines()
                .map(str::to_owned)
                .partition(|line| line.len() == 7);
            assert_eq!(
                whole,
                wanted,
                "died before call {calls}, {half}, {torn:?}, {:?}",
                faulty.bitten.lock().unwrap()
            );
            assert!(
                torn.len() <= usize::from(half),
                "died before call {calls}: {torn:?}"
            );
            if faulty.bitten.lock().unwrap().is_empty() {
                break;
            }
            calls += 1;
        }
        assert!(calls > 60, "the faults did not bite: {calls}");
    }
}

/// The number of files, and their text from the oldest to the newest.
fn chain(place: &Place) -> (usize, String) {
    let mut files: Vec<(u32, String)> = place
        .listing()
        .into_iter()
        .map(|(name, text)| {
            (
                name.strip_prefix("app.log.")
                    .map_or(0, |number| number.parse().unwrap()),
                text,
            )
        })
        .collect();
    files.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    (files.len(), files.iter().map(|(_, text)| text.as_str()).collect())
}
