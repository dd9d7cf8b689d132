//! The state file: what one server declared, the next one finds; what makes no sense is begun anew.

mod place;

use std::os::unix::fs::{FileExt, PermissionsExt};

use logserv_ring::limits::{INTENT_BYTES_MAX, SETTINGS_BYTES_MAX, STATE_SESSIONS_MAX};
use logserv_ring::{Declared, Mark, RingId, RingName, Source, StateError, StateFile};
use place::Place;

const PLACE: &str = "64768:1234/app.log";

fn marks() -> Vec<Mark> {
    let name = RingName {
        key: 7,
        id: RingId([3; 16]),
    };
    vec![
        Mark {
            source: Source::Ring { uid: 1000, name },
            position: 4096,
            count: 12,
        },
        Mark {
            source: Source::Session([9; 16]),
            position: 77,
            count: 0,
        },
    ]
}

fn declaration(fill: u8, len: usize) -> Declared {
    Declared {
        device: 1,
        inode: 2,
        offset: 3,
        bytes: vec![fill; len],
        ends: (1..=len as u32).step_by(100).collect(),
        marks: marks(),
    }
}

fn declare(state: &mut StateFile, wanted: &Declared) -> Result<(), StateError> {
    state.declare(
        wanted.device,
        wanted.inode,
        wanted.offset,
        &wanted.bytes,
        &wanted.ends,
        &wanted.marks,
    )
}

#[test]
fn what_one_server_declares_the_next_one_finds() {
    let place = Place::new();
    let directory = place.directory();
    let mut state = StateFile::open(&directory, PLACE).unwrap();
    assert_eq!(
        (state.declared(), state.settings(), state.sessions()),
        (None, None, vec![])
    );
    let wanted = declaration(b'x', 1001);
    declare(&mut state, &wanted).unwrap();
    state.set_settings("{\"class\": 1}").unwrap();
    state.set_session([9; 16], 77, 1000);
    drop(state); // as a kill does
    let names = StateFile::all(&directory).unwrap();
    assert_eq!(names.len(), 1);
    let peeked = StateFile::peek(&directory, &names[0]).unwrap();
    assert_eq!(peeked, (PLACE.to_owned(), "{\"class\": 1}".to_owned(), true));

    let mut state = StateFile::open(&directory, PLACE).unwrap();
    assert_eq!(state.declared().unwrap(), wanted);
    assert_eq!(state.settings().unwrap(), "{\"class\": 1}");
    assert_eq!(state.session(&[9; 16]), Some(77));
    state.clear();
    assert_eq!(state.declared(), None);
    state.forget_session(&[9; 16]);
    drop(state);
    let state = StateFile::open(&directory, PLACE).unwrap();
    assert_eq!((state.declared(), state.session(&[9; 16])), (None, None));
    state.remove(&directory);
    assert!(StateFile::all(&directory).unwrap().is_empty());
    assert!(StateFile::peek(&directory, &names[0]).is_none());
}

#[test]
fn a_declaration_replaces_the_last_one_whatever_their_sizes() {
    let place = Place::new();
    let mut state = StateFile::open(&place.directory(), PLACE).unwrap();
    let mut dice = place::Dice(3);
    for round in 0..300_u32 {
        let wanted = declaration(round as u8, dice.roll(400_000) as usize);
        declare(&mut state, &wanted).unwrap();
        assert!(state.declared().unwrap() == wanted, "round {round}");
        if dice.roll(4) == 0 {
            state.clear();
        }
        if dice.roll(20) == 0 {
            drop(state);
            state = StateFile::open(&place.directory(), PLACE).unwrap();
        }
    }
}

#[test]
fn too_much_is_refused_and_the_last_declaration_stays() {
    let place = Place::new();
    let mut state = StateFile::open(&place.directory(), PLACE).unwrap();
    let wanted = declaration(1, 10);
    declare(&mut state, &wanted).unwrap();
    let huge = declaration(2, INTENT_BYTES_MAX + 1);
    assert!(matches!(
        declare(&mut state, &huge),
        Err(StateError::TooLong { .. })
    ));
    assert_eq!(state.declared(), Some(wanted));
    state.set_settings("{}").unwrap();
    let settings = " ".repeat(SETTINGS_BYTES_MAX + 1);
    assert!(matches!(
        state.set_settings(&settings),
        Err(StateError::TooLong { .. })
    ));
    assert_eq!(state.settings().unwrap(), "{}");
    state.set_settings(&settings[1..]).unwrap();
    assert_eq!(state.settings().unwrap(), settings[1..]);
    assert!(matches!(
        StateFile::open(&place.directory(), &"x".repeat(9000)),
        Err(StateError::TooLong { .. })
    ));
}

#[test]
fn the_session_that_was_unused_for_longest_makes_room() {
    let place = Place::new();
    let mut state = StateFile::open(&place.directory(), PLACE).unwrap();
    let id = |number: usize| (number as u128).to_le_bytes();
    for number in 0..STATE_SESSIONS_MAX {
        state.set_session(id(number), number as u64, 1000 + number as u64);
    }
    state.set_session(id(0), 5, 99_999); // the first one is used again
    state.set_session(id(STATE_SESSIONS_MAX), 6, 100_000);
    drop(state);
    let state = StateFile::open(&place.directory(), PLACE).unwrap();
    assert_eq!(state.sessions().len(), STATE_SESSIONS_MAX);
    assert_eq!(state.session(&id(0)), Some(5));
    assert_eq!(state.session(&id(1)), None, "evicted");
    assert_eq!(state.session(&id(2)), Some(2));
    assert_eq!(state.session(&id(STATE_SESSIONS_MAX)), Some(6));
}

#[test]
fn another_boot_another_version_and_nonsense_are_begun_anew() {
    let place = Place::new();
    let directory = place.directory();
    // Place of the bytes that are spoilt: magic, version, boot id, place, declared slot, an intent's length.
    for at in [0, 8, 16, 4096, 80, 128 + 32] {
        let mut state = StateFile::open(&directory, PLACE).unwrap();
        declare(&mut state, &declaration(1, 10)).unwrap();
        drop(state);
        let path = directory.location().join(&StateFile::all(&directory).unwrap()[0]);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0x77; 8], at).unwrap();
        let state = StateFile::open(&directory, PLACE).unwrap();
        assert_eq!(state.declared(), None, "at {at}");
    }
    let path = directory.location().join(&StateFile::all(&directory).unwrap()[0]);
    for len in [0, 100, 208_000] {
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(len)
            .unwrap();
        assert!(StateFile::open(&directory, PLACE).unwrap().declared().is_none());
    }
}

#[test]
fn a_file_that_is_not_ours_to_use_is_refused_and_left_alone() {
    let place = Place::new();
    let directory = place.directory();
    StateFile::open(&directory, PLACE).unwrap();
    let path = directory.location().join(&StateFile::all(&directory).unwrap()[0]);
    let refused = |what: &str| match StateFile::open(&directory, PLACE) {
        Err(StateError::Refused { received, .. }) => assert!(received.contains(what), "{received}"),
        other => panic!("{other:?}"),
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("0644");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::hard_link(&path, place.base().join("other")).unwrap();
    refused("2 names");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(place.base().join("other"), &path).unwrap();
    refused("a symbolic link");
    assert!(path.is_symlink());
}

#[test]
fn a_place_with_the_same_name_but_another_text_is_not_taken_over() {
    let place = Place::new();
    let directory = place.directory();
    StateFile::open(&directory, PLACE)
        .unwrap()
        .set_settings("{}")
        .unwrap();
    assert_eq!(
        StateFile::open(&directory, "64768:1234/other.log")
            .unwrap()
            .settings(),
        None
    );
    assert_eq!(StateFile::all(&directory).unwrap().len(), 2);
    assert_eq!(
        StateFile::open(&directory, PLACE).unwrap().settings().unwrap(),
        "{}"
    );
}
