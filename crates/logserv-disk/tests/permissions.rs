//! Mode, owner and group: as the handler asks, whatever the process's umask; kept when the file is rotated.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use logserv_disk::{FileSettings, LogFile, OpenErrorKind};
use place::{MARK, Place, settings};
use serde_json::{Value, json};

const FILE: &str = "logging.FileHandler";
const ROTATING: &str = "logging.handlers.RotatingFileHandler";

fn mode(place: &Place, name: &str) -> u32 {
    std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A group that is not the process's own, and that it may give files to.
const OTHER_GROUP: u32 = 54_321;

#[test]
fn a_new_file_has_0666_less_the_umask_of_the_handler_and_an_existing_one_is_left_alone() {
    for (umask, wanted) in [(0o077, 0o600), (0o027, 0o640), (0, 0o666), (0o777, 0)] {
        let place = Place::new();
        drop(place.open(FILE, json!({"umask": umask})));
        assert_eq!(mode(&place, "app.log"), wanted, "{umask:o}");
    }
    let place = Place::new();
    place.write("app.log", "before\n");
    std::fs::set_permissions(place.path("app.log"), std::fs::Permissions::from_mode(0o604)).unwrap();
    drop(place.open(FILE, json!({"umask": 0o077})));
    assert_eq!(mode(&place, "app.log"), 0o604);
}

#[test]
fn the_file_after_a_rotation_has_the_mode_and_group_of_the_one_before() {
    for class in [ROTATING, "logging.handlers.TimedRotatingFileHandler"] {
        let place = Place::new();
        let mut file = place.open(class, json!({"backupCount": 3, "umask": 0o077}));
        // By the administrator, while the file is open.
        std::fs::set_permissions(place.path("app.log"), std::fs::Permissions::from_mode(0o660)).unwrap();
        if is_root() {
            chown(place.path("app.log"), None, Some(OTHER_GROUP)).unwrap();
        }
        for _ in 0..2 {
            file.append("a line\n", 0.0, MARK).unwrap();
            assert!(file.rollover().unwrap());
        }
        for (name, _) in place.listing() {
            assert_eq!(mode(&place, &name), 0o660, "{name}");
            let group = std::fs::metadata(place.path(&name)).unwrap().gid();
            assert!(!is_root() || group == OTHER_GROUP, "{name} {group}");
        }
        assert_eq!(place.listing().len(), 3);
    }
}

#[test]
fn a_file_that_somebody_else_has_renamed_is_no_model_for_the_next() {
    let place = Place::new();
    let mut file = place.open(ROTATING, json!({"umask": 0o027}));
    std::fs::set_permissions(place.path("app.log"), std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::rename(place.path("app.log"), place.path("app.log-old")).unwrap();
    file.append("a line\n", 0.0, MARK).unwrap();
    file.commit().unwrap();
    assert_eq!(mode(&place, "app.log"), 0o640);
}

#[test]
fn file_mode_is_given_to_new_and_existing_files_whatever_the_umask() {
    for given in [json!("0660"), json!("0o660"), json!("660"), json!(0o660)] {
        let place = Place::new();
        place.write("app.log", "before\n");
        let arguments = json!({"file_mode": given, "umask": 0o077, "maxBytes": 10, "backupCount": 2});
        let mut file = place.open(ROTATING, arguments);
        assert_eq!(mode(&place, "app.log"), 0o660);
        file.append("another line\n", 0.0, MARK).unwrap();
        file.commit().unwrap();
        assert_eq!(mode(&place, "app.log"), 0o660);
        assert_eq!(mode(&place, "app.log.1"), 0o660);
    }
}

#[test]
fn file_group_is_given_and_kept() {
    if !is_root() {
        println!("NOT RUN: file_group_is_given_and_kept, only root may give a file to any group");
        return;
    }
    for (arguments, wanted) in [
        (json!({"file_mode": "0640"}), 0o640),
        (json!({"umask": 0o007}), 0o660),
    ] {
        let place = Place::new();
        let mut arguments = arguments;
        arguments["file_group"] = OTHER_GROUP.into();
        arguments["backupCount"] = 2.into();
        let mut file = place.open(ROTATING, arguments);
        file.append("a line\n", 0.0, MARK).unwrap();
        assert!(file.rollover().unwrap());
        for name in ["app.log", "app.log.1"] {
            assert_eq!(std::fs::metadata(place.path(name)).unwrap().gid(), OTHER_GROUP);
            assert_eq!(mode(&place, name), wanted, "{name}");
        }
    }
    let place = Place::new();
    drop(place.open(FILE, json!({"file_group": "root", "file_owner": "root"})));
}

#[test]
fn what_cannot_be_had_is_refused_and_creates_nothing() {
    let own = rustix::process::geteuid().as_raw();
    for (arguments, text) in [
        (
            json!({"file_owner": "nobody-of-this-name"}),
            "user of the server's host",
        ),
        (
            json!({"file_group": "nobody-of-this-name"}),
            "group of the server's host",
        ),
        (json!({"file_owner": own + 1}), "the server's own"),
    ] {
        let place = Place::new();
        let location = place.roots.locate("app.log").unwrap();
        let error = LogFile::open(location, settings(FILE, arguments)).unwrap_err();
        assert_eq!(error.kind, OpenErrorKind::Permissions);
        assert!(!error.may_heal() && error.to_string().contains(text), "{error}");
        assert_eq!(place.listing(), []);
    }
}

#[test]
fn wrong_values_are_refused_with_what_is_wanted() {
    for (name, value) in [
        ("file_mode", json!("0888")),
        ("file_mode", json!("rw-r-----")),
        ("file_mode", json!(0o1777)),
        ("file_mode", json!("0040")),
        ("file_mode", json!(true)),
        ("file_owner", json!("")),
        ("file_owner", json!(-1)),
        ("file_group", json!(4_294_967_295_u64)),
        ("file_group", json!("a:b")),
        ("umask", json!(0o1000)),
        ("umask", json!("022")),
    ] {
        let mut arguments = serde_json::Map::from_iter([("filename".to_owned(), json!("app.log"))]);
        arguments.insert(name.to_owned(), value.clone());
        let error = FileSettings::from_arguments(FILE, &arguments).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert_ne!(value, Value::Null);
    }
}
