//! Compressed rotated files: names as logrotate's, part of the chain like any other, compressed beside the writing, and never
//! in the way of what is not ours.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use logserv_disk::{CompressJob, Kernel, LogFile};
use place::{Faulty, Hand, MARK, Place, compress, contents, no_journal, settings};
use rustix::io::Errno;
use serde_json::{Value, json};

const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logging.handlers.TimedRotatingFileHandler";
const MIDNIGHT: i64 = 1_767_225_600;
const DAY_S: i64 = 86_400;
const TEMPORARY: &str = ".app.log.logserv-tmp";

fn write(file: &mut LogFile, text: &str) {
    file.append(&format!("{text}\n"), 0.0, MARK).unwrap();
    file.commit().unwrap();
}

fn write_at(file: &mut LogFile, hand: &Hand, now: i64, text: &str) {
    hand.set(now);
    #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact")]
    file.append(&format!("{text}\n"), now as f64, MARK).unwrap();
    file.commit().unwrap();
}

/// Names, and what is in the files, compressed or not.
fn files(place: &Place) -> Vec<(String, String)> {
    let names = place.listing().into_iter().map(|(name, _)| name);
    let read = |name: String| {
        let bytes = std::fs::read(place.path(&name)).unwrap_or_default();
        let text = contents(&name, &bytes).unwrap_or_else(|| b"(not whole)".to_vec());
        (name, String::from_utf8(text).unwrap())
    };
    names.map(read).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn open_at(place: &Place, hand: &Hand, class: &str, arguments: Value) -> LogFile {
    let location = place.roots.locate("app.log").unwrap();
    let settings = settings(class, arguments);
    LogFile::open_with(location, settings, Arc::new(Kernel), hand.clock(), no_journal()).unwrap()
}

#[test]
fn compressed_files_shift_along_and_the_oldest_is_deleted() {
    for (compression, suffix) in [("gzip", "gz"), ("zstd", "zst")] {
        let place = Place::new();
        let arguments = json!({"maxBytes": 4, "backupCount": 2, "compress": compression});
        let mut file = place.open(ROTATING, arguments);
        for text in ["one", "two", "three", "four"] {
            write(&mut file, text);
            compress(&mut file);
        }
        let (first, second) = (format!("app.log.1.{suffix}"), format!("app.log.2.{suffix}"));
        let wanted = [("app.log", "four\n"), (&first, "three\n"), (&second, "two\n")];
        assert_eq!(files(&place), pairs(&wanted));
        assert_eq!(file.status().compressed, 3);
    }
}

#[test]
fn a_shift_in_the_middle_of_a_compression_changes_nothing_but_the_number() {
    // How many rotations happen after the beginning, and after the first of the two steps.
    for (before, between) in [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (3, 0), (5, 0)] {
        let place = Place::new();
        let mut file = place.open(
            ROTATING,
            json!({"maxBytes": 4, "backupCount": 4, "compress": "gzip"}),
        );
        write(&mut file, "first");
        write(&mut file, "0");
        let outcome = file.begin_compression().map(CompressJob::run).unwrap();
        for number in 1..=before {
            write(&mut file, &format!("{number}xx"));
        }
        file.finish_compression(outcome);
        let outcome = file.begin_compression().map(CompressJob::run);
        for number in 1..=between {
            write(&mut file, &format!("{number}yy"));
        }
        if let Some(outcome) = outcome {
            file.finish_compression(outcome);
        }
        compress(&mut file);
        drop(file);
        let files = files(&place);
        let rotations = 1 + before + between;
        assert_eq!(files.len(), 1 + rotations.min(4), "{before} {between}: {files:?}");
        let first = format!("app.log.{rotations}.gz");
        let kept = files.iter().find(|(name, _)| *name == first);
        assert_eq!(
            kept.map(|(_, text)| text.as_str()),
            (rotations <= 4).then_some("first\n"),
            "{before} {between}: {files:?}"
        );
        assert!(
            files.iter().skip(1).all(|(name, _)| name.ends_with(".gz")),
            "{files:?}"
        );
    }
}

#[test]
fn a_chain_of_all_forms_goes_on_whichever_is_chosen() {
    let place = Place::new();
    let chosen = [None, Some("gzip"), Some("zstd"), None, Some("gzip"), None];
    for (number, compression) in chosen.iter().enumerate() {
        let arguments = json!({"maxBytes": 4, "backupCount": 4, "compress": compression});
        let mut file = place.open(ROTATING, arguments);
        // Whatever is plain when compression is turned on is compressed, too.
        compress(&mut file);
        write(&mut file, &format!("line {number}"));
        compress(&mut file);
    }
    let wanted = [
        ("app.log", "line 5\n"),
        ("app.log.1", "line 4\n"),
        ("app.log.2.gz", "line 3\n"),
        ("app.log.3.gz", "line 2\n"),
        ("app.log.4.zst", "line 1\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

#[test]
fn a_number_in_two_forms_is_nobodys_and_stepped_over() {
    let place = Place::new();
    for (name, text) in [
        ("app.log", "0\n"),
        ("app.log.1", "1\n"),
        ("app.log.2", "2\n"),
        ("app.log.2.zst", "another 2"),
    ] {
        place.write(name, text);
    }
    let mut file = place.open(
        ROTATING,
        json!({"maxBytes": 3, "backupCount": 3, "retain_bytes": 1, "retain_age_s": 1e8}),
    );
    write(&mut file, "new");
    write(&mut file, "newer");
    drop(file);
    let wanted = [
        ("app.log", "newer\n"),
        ("app.log.1", "new\n"),
        ("app.log.2", "2\n"),
        ("app.log.2.zst", "another 2"),
    ];
    assert_eq!(
        place.listing(),
        pairs(&wanted),
        "one byte is the most that may stay beside the newest"
    );
}

#[test]
fn dated_files_are_compressed_and_count_with_their_numbers() {
    let (place, hand) = (Place::new(), Hand::at(MIDNIGHT));
    let arguments =
        json!({"when": "midnight", "utc": true, "backupCount": 3, "maxBytes": 8, "compress": "gzip"});
    let mut file = open_at(&place, &hand, TIMED, arguments);
    for (day, text) in [
        (0, "1 one"),
        (0, "1 two"),
        (0, "1 three"),
        (1, "2 one"),
        (1, "2 two"),
    ] {
        write_at(&mut file, &hand, MIDNIGHT + day * DAY_S + 60, text);
        compress(&mut file);
    }
    let wanted = [
        ("app.log", "2 two\n"),
        ("app.log.2026-01-01.1.gz", "1 two\n"),
        ("app.log.2026-01-01.2.gz", "1 three\n"),
        ("app.log.2026-01-02.gz", "2 one\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
    for (name, _) in files(&place).iter().skip(1) {
        assert!(name.ends_with(".gz"));
    }
}

#[test]
fn a_full_file_of_a_day_gets_the_next_number_even_when_lower_ones_are_gone() {
    let (place, hand) = (Place::new(), Hand::at(MIDNIGHT));
    place.write("app.log.2026-01-01.7x", "not ours\n");
    let arguments = json!({"when": "midnight", "utc": true, "backupCount": 2, "maxBytes": 3});
    let mut file = open_at(&place, &hand, TIMED, arguments);
    for number in 0..5 {
        write_at(&mut file, &hand, MIDNIGHT + number, &format!("{number}0"));
    }
    // The day ends: its last file is the highest number, and the next day begins without one.
    write_at(&mut file, &hand, MIDNIGHT + DAY_S, "next");
    write_at(&mut file, &hand, MIDNIGHT + DAY_S + 1, "again");
    let wanted = [
        ("app.log", "again\n"),
        ("app.log.2026-01-01.4", "40\n"),
        ("app.log.2026-01-01.7x", "not ours\n"),
        ("app.log.2026-01-02", "next\n"),
    ];
    assert_eq!(files(&place), pairs(&wanted));
}

#[test]
fn mode_group_and_time_are_those_of_the_original() {
    let place = Place::new();
    let mut file = place.open(
        ROTATING,
        json!({"backupCount": 2, "compress": "zstd", "umask": 0o077}),
    );
    write(&mut file, "a line");
    std::fs::set_permissions(place.path("app.log"), std::fs::Permissions::from_mode(0o664)).unwrap();
    let other = rustix::process::geteuid().is_root().then_some(54_321);
    std::os::unix::fs::chown(place.path("app.log"), None, other).unwrap();
    file.rollover().unwrap();
    let before = std::fs::metadata(place.path("app.log.1")).unwrap();
    compress(&mut file);
    let after = std::fs::metadata(place.path("app.log.1.zst")).unwrap();
    assert_eq!(
        (before.mode(), before.gid(), before.mtime()),
        (after.mode(), after.gid(), after.mtime())
    );
    assert_eq!(after.mode() & 0o777, 0o664);
    assert_eq!(after.nlink(), 1);
}

#[test]
fn what_cannot_be_compressed_stays_and_is_tried_again_later() {
    let (place, hand) = (Place::new(), Hand::at(MIDNIGHT));
    let arguments = json!({"maxBytes": 4, "backupCount": 9, "compress": "gzip"});
    let mut file = open_at(&place, &hand, ROTATING, arguments);
    write(&mut file, "one");
    write(&mut file, "two");
    let job = file.begin_compression().unwrap();
    // Somebody still writes to it.
    std::fs::write(place.path("app.log.1"), "one and more\n").unwrap();
    file.finish_compression(job.run());
    compress(&mut file);
    assert_eq!(
        files(&place),
        pairs(&[("app.log", "two\n"), ("app.log.1", "one and more\n")])
    );
    assert_eq!(file.status().compressions_failed, 1);
    hand.advance(61);
    compress(&mut file);
    assert_eq!(
        files(&place),
        pairs(&[("app.log", "two\n"), ("app.log.1.gz", "one and more\n")])
    );
}

#[test]
fn a_taken_name_is_not_overwritten() {
    let (place, hand) = (Place::new(), Hand::at(MIDNIGHT));
    let arguments = json!({"when": "midnight", "utc": true, "compress": "gzip"});
    let mut file = open_at(&place, &hand, TIMED, arguments);
    write_at(&mut file, &hand, MIDNIGHT, "one");
    file.rollover().unwrap();
    std::fs::create_dir(place.path("app.log.2026-01-01.gz")).unwrap();
    compress(&mut file);
    assert_eq!(
        place.listing(),
        pairs(&[
            ("app.log", ""),
            ("app.log.2026-01-01", "one\n"),
            ("app.log.2026-01-01.gz/", "")
        ])
    );
    assert_eq!(file.status().compressions_failed, 1);
}

#[test]
fn what_a_dead_server_has_left_is_cleared_away_at_the_next_opening() {
    let arguments = || json!({"maxBytes": 9, "backupCount": 9});
    // In the middle of compressing.
    let place = Place::new();
    place.write(TEMPORARY, "half");
    place.write("app.log.1", "one\n");
    drop(place.open(ROTATING, arguments()));
    assert_eq!(files(&place), pairs(&[("app.log", ""), ("app.log.1", "one\n")]));

    // Published, and the original still there.
    std::fs::write(place.path(TEMPORARY), "whole").unwrap();
    std::fs::hard_link(place.path(TEMPORARY), place.path("app.log.1.gz")).unwrap();
    let time = std::fs::metadata(place.path("app.log.1"))
        .unwrap()
        .modified()
        .unwrap();
    let compressed = std::fs::File::options()
        .write(true)
        .open(place.path(TEMPORARY))
        .unwrap();
    compressed.set_modified(time).unwrap();
    drop(place.open(ROTATING, arguments()));
    assert_eq!(
        place.listing(),
        pairs(&[("app.log", ""), ("app.log.1.gz", "whole")])
    );

    // Not ours: a directory of that name.
    std::fs::create_dir(place.path(TEMPORARY)).unwrap();
    drop(place.open(ROTATING, arguments()));
    assert!(place.path(TEMPORARY).is_dir());
}

#[test]
fn a_file_that_is_closed_in_the_middle_leaves_nothing_behind() {
    for steps in 0..3 {
        let place = Place::new();
        let mut file = place.open(
            ROTATING,
            json!({"maxBytes": 4, "backupCount": 9, "compress": "gzip"}),
        );
        write(&mut file, "one");
        write(&mut file, "two");
        let mut job = file.begin_compression();
        for _ in 0..steps {
            if let Some(job) = job.take() {
                file.finish_compression(job.run());
            }
            job = file.begin_compression();
        }
        drop(file);
        let whole = if steps == 0 { "app.log.1" } else { "app.log.1.gz" };
        assert_eq!(
            files(&place),
            pairs(&[("app.log", "two\n"), (whole, "one\n")]),
            "{steps}"
        );
    }
}

#[test]
fn the_oldest_go_by_age_and_bytes_and_nothing_else_does() {
    let (place, hand) = (Place::new(), Hand::at(0));
    let now = std::time::SystemTime::now();
    let real_s = i64::try_from(now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    hand.set(real_s);
    let mut age_s = 0;
    for (name, len) in [
        ("app.log.1.gz", 10),
        ("app.log.2", 20),
        ("app.log.3.zst", 40),
        ("app.log.9", 5),
    ] {
        age_s += 100;
        place.write(name, &"x".repeat(len));
        let file = std::fs::File::options()
            .write(true)
            .open(place.path(name))
            .unwrap();
        file.set_modified(now - std::time::Duration::from_secs(age_s))
            .unwrap();
    }
    let names =
        |place: &Place| -> Vec<String> { place.listing().into_iter().map(|(name, _)| name).collect() };
    let open = |arguments: Value| drop(open_at(&place, &hand, ROTATING, arguments));
    open(json!({"backupCount": 5, "retain_age_s": 350, "retain_bytes": 70}));
    assert_eq!(
        names(&place),
        [
            "app.log",
            "app.log.1.gz",
            "app.log.2",
            "app.log.3.zst",
            "app.log.9"
        ]
    );
    open(json!({"backupCount": 5, "retain_bytes": 69}));
    assert_eq!(
        names(&place),
        ["app.log", "app.log.1.gz", "app.log.2", "app.log.9"]
    );
    open(json!({"backupCount": 5, "retain_age_s": 150.5}));
    assert_eq!(names(&place), ["app.log", "app.log.1.gz", "app.log.9"]);

    // While the file is open and nothing rotates it.
    let mut file = open_at(
        &place,
        &hand,
        ROTATING,
        json!({"backupCount": 5, "retain_age_s": 150}),
    );
    hand.advance(60);
    file.retain();
    assert_eq!(names(&place), ["app.log", "app.log.9"]);
}

#[test]
fn what_was_just_rotated_counts_as_bytes_when_it_is_compressed_and_not_before() {
    let place = Place::new();
    // A plain file takes 4000 bytes, ten times as much as may be kept, and a compressed one some 50.
    let arguments = || json!({"maxBytes": 4000, "backupCount": 9, "compress": "gzip", "retain_bytes": 400});
    let texts: Vec<String> = (0..6).map(|number| format!("{number}").repeat(3999)).collect();
    let line = |number: usize| format!("{}\n", texts[number]);
    let mut file = place.open(ROTATING, arguments());
    for text in texts.iter().take(4) {
        write(&mut file, text);
    }
    // Nothing has been compressed yet: a backlog.
    let wanted = [line(3), line(2), line(1), line(0)];
    let found = |place: &Place| -> Vec<String> { files(place).into_iter().map(|(_, text)| text).collect() };
    assert_eq!(found(&place), wanted);
    file.retain();
    drop(file);
    let mut file = place.open(ROTATING, arguments());
    assert_eq!(found(&place), wanted, "nor at another opening");
    for text in texts.iter().skip(4) {
        write(&mut file, text);
        compress(&mut file);
    }
    let wanted: Vec<String> = (0..6).rev().map(line).collect();
    assert_eq!(found(&place), wanted);
    assert!(
        files(&place)
            .iter()
            .skip(1)
            .all(|(name, _)| name.ends_with(".gz"))
    );

    // Once they are compressed the limit holds.
    let bytes = |name: &str| std::fs::metadata(place.path(name)).unwrap().len();
    let most = bytes("app.log.1.gz") + bytes("app.log.2.gz");
    drop(file);
    drop(place.open(
        ROTATING,
        json!({"maxBytes": 4000, "backupCount": 9, "compress": "gzip", "retain_bytes": most}),
    ));
    assert_eq!(found(&place), [line(5), line(4), line(3)]);
}

#[test]
fn what_cannot_be_compressed_counts_as_it_is() {
    let (place, hand) = (Place::new(), Hand::at(MIDNIGHT));
    let arguments = json!({"maxBytes": 4, "backupCount": 9, "compress": "gzip", "retain_bytes": 1});
    let mut file = open_at(&place, &hand, ROTATING, arguments);
    for text in ["one", "two", "three"] {
        write(&mut file, text);
    }
    // Nothing can be made under this name.
    std::fs::create_dir(place.path(TEMPORARY)).unwrap();
    compress(&mut file);
    assert_eq!(file.status().compressions_failed, 2);
    let wanted = [
        (".app.log.logserv-tmp/", ""),
        ("app.log", "three\n"),
        ("app.log.1", "two\n"),
    ];
    assert_eq!(place.listing(), pairs(&wanted), "the newest stays, and is plain");
}

#[test]
fn an_error_at_any_call_leaves_each_line_once() {
    let mut failed = 0;
    for first in 0..400 {
        for count in [1, 2, 1000] {
            let place = Place::in_memory();
            let faulty = Faulty::new(first, count, Errno::IO, false);
            let location = place.roots.locate("app.log").unwrap();
            let settings = settings(
                ROTATING,
                json!({"maxBytes": 4, "backupCount": 9, "compress": "gzip"}),
            );
            let hand = Hand::at(MIDNIGHT);
            let clock = hand.clock();
            let Ok(mut file) = LogFile::open_with(location, settings, faulty.clone(), clock, no_journal())
            else {
                continue;
            };
            let mut taken = Vec::new();
            for number in 0..4 {
                let line = format!("line {number}\n");
                if file.append(&line, 0.0, MARK).is_ok() {
                    taken.push(line);
                }
                let _ = file.commit();
                compress(&mut file);
                hand.advance(100);
            }
            failed += file.status().compressions_failed;
            drop(file);
            // The next opening, on a disk that has healed, finds the chain in order.
            let arguments = json!({"maxBytes": 4, "backupCount": 9, "compress": "gzip"});
            let mut file = place.open(ROTATING, arguments);
            compress(&mut file);
            drop(file);
            let found: String = files(&place).into_iter().map(|(_, text)| text).collect();
            for line in &taken {
                let is_written = found.matches(line.as_str()).count();
                let may_be_lost = count == 1000;
                assert!(
                    is_written == 1 || (is_written == 0 && may_be_lost),
                    "{first} {count} {:?}: {line:?} is there {is_written} times: {:?}",
                    faulty.bitten,
                    files(&place)
                );
            }
        }
    }
    assert!(failed > 20, "{failed}");
}
