//! The ring of a session by itself: its sizes, its meta area, whose server it is for.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use logserv_ring::Consumer;
use logserv_wire::record::Record;

use super::*;
use crate::configuration::{Configuration, Configurations};
use crate::formatters::Formatters;

/// A directory of this test's own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("logserv-ring-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn common(place: &Place) -> Arc<Common> {
    let address = Address::Unix(place.0.join("s.sock"));
    let mut config = SessionConfig::new(address, "logging.FileHandler", Default::default());
    config.arguments.insert("filename".into(), "a.log".into());
    config.ring_place = RingPlace::Below(place.0.clone());
    Arc::new(Common {
        configurations: Configurations::new(&config),
        config,
        formatters: Formatters::new(true),
        tells_trouble: AtomicBool::new(false),
        was_welcomed: AtomicBool::new(false),
        renders: AtomicBool::new(false),
        may_have_refusal: AtomicBool::new(false),
    })
}

fn made(common: &Arc<Common>, len: usize) -> Ring {
    match make(common, len) {
        Made::Ring(ring) => *ring,
        other => panic!("{other:?}"),
    }
}

fn record(formatter: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record {
        formatter,
        message: Some("x"),
        ..Record::default()
    }
    .encode(&mut bytes);
    bytes
}

#[test]
fn where_memory_is_short_smaller_rings_are_tried_and_nothing_else_is() {
    let tried = RefCell::new(Vec::new());
    let attempt = |len: usize, enough: usize| {
        tried.borrow_mut().clear();
        let result = largest(len, |len| {
            tried.borrow_mut().push(len);
            if len <= enough {
                Ok(len)
            } else {
                Err(CreateError::NoSpace {
                    bytes: len as u64,
                    source: io::ErrorKind::StorageFull.into(),
                })
            }
        });
        (result.ok(), tried.borrow().clone())
    };
    let whole = (1 << 20) + 4096;
    assert_eq!(attempt(1 << 20, usize::MAX), (Some(whole), vec![whole]));
    assert_eq!(
        attempt(1 << 20, 1 << 19),
        (Some(whole / 4), vec![whole, whole / 4])
    );
    assert_eq!(attempt(1 << 20, 0), (None, vec![whole, whole / 4, whole / 16]));
    assert_eq!(
        attempt(100_000, 0),
        (None, vec![106_496, RING_LEN_MIN]),
        "none twice, none too small"
    );
    assert_eq!(attempt(1000, 0), (None, vec![8192]));
    let other = largest(1 << 20, |_| {
        tried.borrow_mut().push(0);
        Err::<(), _>(CreateError::Io {
            doing: "name",
            source: io::ErrorKind::PermissionDenied.into(),
        })
    });
    assert!(other.is_err() && tried.borrow().last_chunk() != Some(&[0, 0]));
}

#[test]
fn only_a_server_on_this_host_gets_a_ring() {
    let at = |host: &str| {
        let address = Address::Tcp {
            host: host.into(),
            port: 1,
        };
        is_possible(&SessionConfig::new(address, "c", Default::default()))
    };
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.8.9.1",
        "::1",
        "::ffff:127.0.0.1",
    ] {
        assert!(at(host), "{host}");
    }
    for host in [
        "example.org",
        "10.0.0.1",
        "::",
        "0.0.0.0",
        "localhost.localdomain",
        "",
    ] {
        assert!(!at(host), "{host}");
    }
}

#[test]
fn a_reader_finds_the_configuration_and_each_formatter_before_the_record_that_names_it() {
    let place = Place::new("meta");
    let common = common(&place);
    let mut ring = made(&common, 1 << 16);
    let formatter = common.formatters.number("{\"fmt\":\"x\"}").unwrap();
    let directory = Directory::ensure_at(&place.0).unwrap();
    let mut reader = Consumer::open(&directory, ring.name()).unwrap();
    let address = format!(
        "unix:{}",
        place.0.canonicalize().unwrap().join("s.sock").display()
    );
    assert_eq!(ring.name().key, key_of(&address));
    let open = reader.meta().unwrap();
    assert_eq!(open.len(), 1);
    let (kind, json) = &open[0];
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(
        (*kind, &json["arguments"]["filename"]),
        (META_OPEN, &"a.log".into())
    );
    assert_eq!(json["client"]["pid"], std::process::id());
    for absent in ["session", "ring", "first"] {
        assert_eq!(json.get(absent), None);
    }
    for _ in 0..2 {
        assert!(ring.push(&record(formatter)) && ring.push(&record(0)));
    }
    assert!(ring.push(&record(99)), "a number that nobody gave");
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    reader.read(1 << 16, &mut entries, &mut bytes).unwrap();
    let named: Vec<_> = entries
        .iter()
        .map(|it| formatter_of(&bytes[it.start..it.start + it.len]))
        .collect();
    assert_eq!(named, [formatter, 0, formatter, 0, 0]);
    let told = reader.meta().unwrap();
    assert_eq!(
        told,
        [(
            META_FORMATTER,
            [&formatter.to_le_bytes()[..], b"{\"fmt\":\"x\"}"].concat()
        )]
    );
    let name = ring.name().clone();
    ring.remove();
    assert_eq!(directory.rings().unwrap(), []);
    assert!(matches!(
        Consumer::open(&directory, &name),
        Err(logserv_ring::RingError::Gone)
    ));
}

#[test]
fn as_many_formatters_as_get_a_number_and_all_descriptions_fit_the_meta_area() {
    let place = Place::new("full");
    let common = common(&place);
    let mut ring = made(&common, 1 << 20);
    let mut descriptions = 1;
    while ring.describe() {
        descriptions += 1;
    }
    assert!(descriptions > 50, "{descriptions}");
    let mut formatters = 0;
    while let Some(number) = common.formatters.number(&format!("{formatters:0300}")) {
        formatters += 1;
        assert!(ring.tell(number), "formatter {number}");
    }
    assert!(formatters > 100, "{formatters}");
}

#[test]
fn a_description_that_fits_no_ring_costs_the_ring_and_leaves_nothing_behind() {
    let place = Place::new("long");
    let common = common(&place);
    let mut long = common.config.arguments.clone();
    long.insert("filename".into(), "x".repeat(RING_OPENS_LEN_MAX).into());
    let new = Configuration {
        handler_class: "c".into(),
        arguments: long,
        level: 0,
    };
    common.configurations.adopt(&new, 1.0);
    assert!(matches!(make(&common, 1 << 20), Made::Failed(_)));
    assert_eq!(Directory::ensure_at(&place.0).unwrap().rings().unwrap(), []);
}

#[test]
fn a_trap_in_the_directorys_place_costs_the_ring() {
    let place = Place::new("trap");
    let path = Directory::ensure_at(&place.0).unwrap().location().to_owned();
    std::fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/tmp", &path).unwrap();
    assert!(matches!(make(&common(&place), 1 << 20), Made::Failed(_)));
}
