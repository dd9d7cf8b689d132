//! Files that another server writes under a name of our chain: they are nobody's rotated files until it lets go of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::path::Path;
use std::time::{Duration, SystemTime};

use logserv_disk::{LogFile, Roots};
use place::{MARK, Place, compress, settings};
use serde_json::{Value, json};

const FILE: &str = "logging.FileHandler";
const ROTATING: &str = "logging.handlers.RotatingFileHandler";
const TIMED: &str = "logging.handlers.TimedRotatingFileHandler";

fn write(file: &mut LogFile, text: &str) {
    file.append(&format!("{text}\n"), 0.0, MARK).unwrap();
    file.commit().unwrap();
}

/// A file of another server of the same user: nothing but the file's lock says so.
fn elsewhere(place: &Place, name: &str) -> LogFile {
    let roots = Roots::new(&[place.root()]).unwrap();
    LogFile::open(roots.locate(name).unwrap(), settings(FILE, json!({}))).unwrap()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn make_old(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(1000))
        .unwrap();
}

#[test]
fn a_number_that_another_server_writes_is_stepped_over_until_it_lets_go() {
    let place = Place::new();
    let mut other = elsewhere(&place, "app.log.1");
    write(&mut other, "theirs");
    let mut file = place.open(ROTATING, json!({"maxBytes": 4, "backupCount": 2}));
    for text in ["one", "two", "three"] {
        write(&mut file, text);
    }
    write(&mut other, "still theirs");
    let wanted = [
        ("app.log", "three\n"),
        ("app.log.1", "theirs\nstill theirs\n"),
        ("app.log.2", "two\n"),
    ];
    assert_eq!(place.listing(), pairs(&wanted));

    drop(other);
    write(&mut file, "four");
    let wanted = [
        ("app.log", "four\n"),
        ("app.log.1", "three\n"),
        ("app.log.2", "theirs\nstill theirs\n"),
    ];
    assert_eq!(place.listing(), pairs(&wanted));
}

#[test]
fn what_another_server_writes_is_not_deleted_and_does_not_count() {
    let limits: [(Value, [&str; 3]); 3] = [
        (
            json!({"retain_age_s": 500}),
            ["app.log", "app.log.2001-01-01", ""],
        ),
        (
            // What is held is 7 bytes.
            json!({"retain_bytes": 8}),
            ["app.log", "app.log.2001-01-01", "app.log.2001-01-03"],
        ),
        (
            json!({"backupCount": 1}),
            ["app.log", "app.log.2001-01-01", "app.log.2001-01-03"],
        ),
    ];
    for (mut arguments, wanted) in limits {
        let place = Place::new();
        let mut other = elsewhere(&place, "app.log.2001-01-01");
        write(&mut other, "theirs");
        place.write("app.log.2001-01-02", "two\n");
        place.write("app.log.2001-01-03", "three\n");
        for day in 1..=3 {
            make_old(&place.path(&format!("app.log.2001-01-0{day}")));
        }
        arguments["when"] = json!("midnight");
        let mut file = place.open(TIMED, arguments.clone());
        if arguments.get("backupCount").is_some() {
            // This one acts at a rotation, and there is nothing to rotate.
            std::fs::remove_file(place.path("app.log")).unwrap();
            file.rollover().unwrap();
        }
        let names: Vec<String> = place.listing().into_iter().map(|(name, _)| name).collect();
        let wanted: Vec<&str> = wanted.into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(names, wanted, "{arguments}");
        drop(other);
        file.retain();
        let is_left = place.path("app.log.2001-01-01").exists();
        let stays_for_good = arguments.get("backupCount").is_some();
        assert_eq!(is_left, stays_for_good, "{arguments}");
    }
}

#[test]
fn what_another_server_writes_is_not_compressed() {
    let place = Place::new();
    let mut other = elsewhere(&place, "app.log.1");
    write(&mut other, "theirs");
    let mut file = place.open(
        ROTATING,
        json!({"maxBytes": 4, "backupCount": 3, "compress": "gzip"}),
    );
    write(&mut file, "one");
    write(&mut file, "two");
    compress(&mut file);
    let names: Vec<String> = place.listing().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["app.log", "app.log.1", "app.log.2.gz"]);
    assert_eq!(place.read("app.log.1"), "theirs\n");
}
