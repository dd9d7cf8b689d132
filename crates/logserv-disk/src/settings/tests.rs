//! What a client may say, and what it is told when it says something else.

use serde_json::{Value, json};

use std::time::Duration;

use super::{FileClass, FileSettings, OpenMode, Rotation, SyncPolicy};
use crate::{Encoding, TimeOfDay, When};

fn read(class: &str, arguments: Value) -> Result<FileSettings, String> {
    let Value::Object(map) = arguments else {
        panic!("not an object")
    };
    FileSettings::from_arguments(class, &map).map_err(|error| error.to_string())
}

const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logserv.handlers.TimedRotatingFileHandler";

#[test]
fn the_defaults_are_the_librarys() {
    let settings = read(
        "logging.FileHandler",
        json!({"filename": "a.log", "mode": null, "encoding": null}),
    )
    .unwrap();
    assert_eq!(settings, FileSettings::new(FileClass::File, "a.log"));
    let settings = read(ROTATING, json!({"filename": "a.log"})).unwrap();
    assert_eq!(
        settings.rotation,
        Rotation::Size {
            max_bytes: 0,
            backup_count: 0
        }
    );
    let Rotation::Timed(timed) = read(TIMED, json!({"filename": "a.log"})).unwrap().rotation else {
        panic!()
    };
    assert_eq!(
        (timed.when, timed.interval, timed.backup_count, timed.utc),
        (When::Hours, 1, 0, false)
    );
}

#[test]
fn every_argument_is_read() {
    let settings = read(
        TIMED,
        json!({"filename": "a", "when": "w6", "interval": 2, "backupCount": 7, "encoding": "Latin-1", "delay": true,
               "utc": true, "atTime": "23:59:58.000001", "errors": "replace", "terminator": "\r\n"}),
    )
    .unwrap();
    let Rotation::Timed(timed) = settings.rotation else {
        panic!()
    };
    assert_eq!(
        (timed.when, timed.interval, timed.backup_count, timed.utc),
        (When::Weekday(6), 2, 7, true)
    );
    assert_eq!(
        timed.at_time,
        Some(TimeOfDay {
            hour: 23,
            minute: 59,
            second: 58
        })
    );
    assert_eq!(settings.encoding, Encoding::parse("iso8859-1").unwrap());
    assert_eq!((settings.delay, settings.terminator.as_str()), (true, "\r\n"));
}

#[test]
fn size_rotation_makes_truncation_appending() {
    let mode = |arguments| read(ROTATING, arguments).unwrap().mode;
    assert_eq!(mode(json!({"filename": "a", "mode": "w"})), OpenMode::Truncate);
    assert_eq!(
        mode(json!({"filename": "a", "mode": "w", "maxBytes": 1})),
        OpenMode::Append
    );
}

#[test]
fn numbers_are_taken_as_python_would_compare_them() {
    let rotation = |arguments| read(ROTATING, arguments).unwrap().rotation;
    let size = |max_bytes, backup_count| Rotation::Size {
        max_bytes,
        backup_count,
    };
    assert_eq!(
        rotation(json!({"filename": "a", "maxBytes": 1e6, "backupCount": 3})),
        size(1_000_000, 3)
    );
    assert_eq!(
        rotation(json!({"filename": "a", "maxBytes": -1, "backupCount": -5})),
        size(0, 0)
    );
}

#[test]
fn every_class_takes_a_sync_policy() {
    let sync = |mut arguments: Value| {
        arguments["filename"] = "a".into();
        ["logging.FileHandler", ROTATING, TIMED, "WatchedFileHandler"]
            .map(|class| read(class, arguments.clone()).unwrap().sync)
    };
    for (arguments, wanted) in [
        (json!({}), SyncPolicy::Never),
        (json!({"sync": null, "sync_level": "ERROR"}), SyncPolicy::Never),
        (json!({"sync": "never"}), SyncPolicy::Never),
        (
            json!({"sync": "interval"}),
            SyncPolicy::Interval(Duration::from_secs(1)),
        ),
        (
            json!({"sync": "interval", "sync_interval_s": 0.25}),
            SyncPolicy::Interval(Duration::from_millis(250)),
        ),
        (
            json!({"sync": "interval", "sync_interval_s": 60}),
            SyncPolicy::Interval(Duration::from_secs(60)),
        ),
        (json!({"sync": "level"}), SyncPolicy::Level(40)),
        (
            json!({"sync": "level", "sync_level": "WARN"}),
            SyncPolicy::Level(30),
        ),
        (json!({"sync": "level", "sync_level": 35}), SyncPolicy::Level(35)),
        (json!({"sync": "always"}), SyncPolicy::Always),
    ] {
        assert_eq!(sync(arguments.clone()), [wanted; 4], "{arguments}");
    }
    let due = |policy: SyncPolicy| [10, 40, 50].map(|level_no| policy.is_due_after(level_no));
    assert_eq!(due(SyncPolicy::Never), [false; 3]);
    assert_eq!(due(SyncPolicy::Interval(Duration::from_secs(1))), [false; 3]);
    assert_eq!(due(SyncPolicy::Level(40)), [false, true, true]);
    assert_eq!(due(SyncPolicy::Always), [true; 3]);
}

#[test]
fn what_does_not_fit_is_named() {
    let table = [
        ("logging.StreamHandler", json!({}), "\"logging.StreamHandler\""),
        (
            "logging.RotatingFileHandler",
            json!({"filename": "a"}),
            "expected the handler class",
        ),
        (
            ROTATING,
            json!({}),
            "expected the argument filename of RotatingFileHandler, received none",
        ),
        (
            ROTATING,
            json!({"filename": 3}),
            "expected a string for filename of RotatingFileHandler, received 3",
        ),
        (
            ROTATING,
            json!({"filename": "a", "maxbytes": 1}),
            "received \"maxbytes\" (did you mean maxBytes?)",
        ),
        (
            ROTATING,
            json!({"filename": "a", "maxBytes": "1"}),
            "expected a whole number for maxBytes",
        ),
        (
            ROTATING,
            json!({"filename": "a", "maxBytes": 1.5}),
            "received 1.5",
        ),
        (
            ROTATING,
            json!({"filename": "a", "backupCount": 1e300}),
            "received 1e+300",
        ),
        (
            ROTATING,
            json!({"filename": "a", "backupCount": true}),
            "received true",
        ),
        (
            ROTATING,
            json!({"filename": "a", "mode": "x"}),
            "expected \"a\" or \"w\" for mode",
        ),
        (
            ROTATING,
            json!({"filename": "a", "encoding": "rot13"}),
            "expected the name of a codec",
        ),
        (
            ROTATING,
            json!({"filename": "a", "errors": "panic"}),
            "for errors of RotatingFileHandler, received \"panic\"",
        ),
        (
            ROTATING,
            json!({"filename": "a", "delay": "yes"}),
            "expected true or false for delay",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync": "sometimes"}),
            "expected \"never\", \"interval\", \"level\" or \"always\" for sync of RotatingFileHandler, received \"sometimes\"",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync": true}),
            "expected a string for sync",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync_interval_s": 0}),
            "expected a number of seconds above 0 for sync_interval_s of RotatingFileHandler, received 0",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync_interval_s": -1.5}),
            "received -1.5",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync_interval_s": 1e300}),
            "received 1e+300",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync_interval_s": 1e-300}),
            "received 1e-300",
        ),
        (
            ROTATING,
            json!({"filename": "a", "sync_interval_s": "1"}),
            "received \"1\"",
        ),
        (
            TIMED,
            json!({"filename": "a", "sync_level": "error"}),
            "expected a level's number, or a name such as \"ERROR\" for sync_level of TimedRotatingFileHandler, \
             received \"error\"",
        ),
        (
            TIMED,
            json!({"filename": "a", "sync_level": 40.5}),
            "received 40.5",
        ),
        (
            TIMED,
            json!({"filename": "a", "sync_level": true}),
            "received true",
        ),
        (
            TIMED,
            json!({"filename": "a", "sync_level": 1_u64 << 40}),
            "for sync_level",
        ),
        (
            TIMED,
            json!({"filename": "a", "syncLevel": 10}),
            "received \"syncLevel\" (did you mean sync_level?)",
        ),
        (
            "logging.FileHandler",
            json!({"filename": "a", "maxBytes": 1}),
            "arguments of FileHandler: filename, mode",
        ),
        (TIMED, json!({"filename": "a", "mode": "w"}), "received \"mode\""),
        (
            TIMED,
            json!({"filename": "a", "when": "W7"}),
            "expected \"S\", \"M\", \"H\"",
        ),
        (TIMED, json!({"filename": "a", "when": "W"}), "received \"W\""),
        (
            TIMED,
            json!({"filename": "a", "interval": 0}),
            "expected a whole number from 1 for interval",
        ),
        (TIMED, json!({"filename": "a", "atTime": "24:00:00"}), "HH:MM:SS"),
        (
            TIMED,
            json!({"filename": "a", "atTime": "1:00:00"}),
            "received \"1:00:00\"",
        ),
        (
            TIMED,
            json!({"filename": "a", "atTime": "01:00:00+02:00"}),
            "HH:MM:SS",
        ),
    ];
    for (class, arguments, part) in table {
        let error = read(class, arguments.clone()).expect_err(&format!("{class} {arguments}"));
        assert!(error.contains(part), "{class} {arguments}: {error}");
    }
}
