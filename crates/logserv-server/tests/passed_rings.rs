//! Rings that the server cannot open by their names, as in a container: their clients pass descriptors, or something else.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on shall fail"
)]

mod scene;
mod world;

use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use logserv_ring::{Consumer, Directory, Mark, Producer, Source, StateFile};
use logserv_wire::frame::Frame;
use logserv_wire::record::Record;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use scene::eventually;
use world::{Client, World, push};

/// Opens a session with a ring that the server asks to be passed, and writes the challenge into it.
fn asked(world: &World, producer: &mut Producer) -> Client {
    let (client, welcome) = Client::open(world, producer, "app.log");
    assert_eq!(welcome["ring"]["pass"], true, "{welcome}");
    let challenge = welcome["ring"]["challenge"].as_str().expect("a challenge");
    producer.prove(u128::from_str_radix(challenge, 16).unwrap().to_be_bytes());
    client
}

/// Sends Attach with these descriptors; returns what is answered.
fn attach_with(client: &mut Client, descriptors: &[BorrowedFd<'_>]) -> bool {
    let mut bytes = Vec::new();
    Frame::Attach.encode(&mut bytes);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = sendmsg(
        &client.stream,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::empty(),
    );
    assert_eq!(sent.unwrap(), bytes.len());
    client.receive(|frame| match frame {
        Frame::Attached { ok } => ok,
        other => panic!("{other:?}"),
    })
}

fn passed(world: &World, (producer, file): &mut (Producer, OwnedFd)) -> Client {
    let mut client = asked(world, producer);
    assert!(attach_with(&mut client, &[file.as_fd()]));
    client
}

fn path_of(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// The same bytes in another file that could be sealed.
fn copy_of(file: &OwnedFd) -> File {
    let copy = File::from(memfd_create("copy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
    copy.write_all_at(&fs::read(path_of(file)).unwrap(), 0).unwrap();
    copy.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    copy
}

fn descriptors_of_this_process() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_passed_ring_is_read_like_any_other_and_outlives_the_connection_and_the_server() {
    let mut world = World::new();
    world.start();
    let mut ring = world.sealed_ring("app.log");
    push(&mut ring.0, "first", 1e9, 0);
    let mut client = passed(&world, &mut ring);
    assert!(client.flush());
    assert_eq!(world.lines("app.log"), ["first"]);
    drop(client);
    push(&mut ring.0, "second", 1e9, 0);
    eventually("it is written without a connection", || {
        world.lines("app.log").len() == 2
    });
    let mut client = passed(&world, &mut ring);
    push(&mut ring.0, "third", 1e9, 0);
    assert!(client.flush());
    world.stop();
    push(&mut ring.0, "fourth", 1e9, 0);
    world.start();
    let mut client = passed(&world, &mut ring);
    assert!(client.flush());
    assert_eq!(world.lines("app.log"), ["first", "second", "third", "fourth"]);
    assert_eq!(ring.0.pending_len(), 0);
}

#[test]
fn a_client_that_dies_with_a_passed_ring_loses_nothing_and_the_server_lets_the_ring_go() {
    let mut world = World::new();
    world.start();
    let mut ring = world.sealed_ring("app.log");
    let mut client = passed(&world, &mut ring);
    assert!(client.flush());
    let path = format!("/memfd:{} (deleted)", ring.0.name());
    for number in 0..100 {
        push(&mut ring.0, &number.to_string(), 1e9, 0);
    }
    drop((client, ring)); // as its death does
    let is_open = || {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .any(|entry| fs::read_link(entry.unwrap().path()).is_ok_and(|target| target == Path::new(&path)))
    };
    eventually("the ring is let go of", || !is_open());
    assert_eq!(world.lines("app.log").len(), 100);
}

#[test]
fn a_ring_that_is_still_read_is_joined_without_being_passed_again() {
    let mut world = World::new();
    world.start();
    let mut ring = world.sealed_ring("app.log");
    drop(passed(&world, &mut ring));
    push(&mut ring.0, "once", 1e9, 0);
    let mut client = asked(&world, &mut ring.0);
    assert!(client.attach());
    assert!(client.flush());
    assert_eq!(world.lines("app.log"), ["once"]);
    // He who has not the ring does not join it.
    let (mut thief, _) = Client::open(&world, &ring.0, "app.log");
    assert!(!thief.attach());
}

#[test]
fn whatever_else_is_passed_is_refused_and_the_connection_goes_on_and_nothing_leaks() {
    let mut world = World::new();
    world.start();
    let mut ring = world.sealed_ring("app.log");
    let (_other, other) = world.sealed_ring("app.log");
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let named = world.ring_in(&Directory::ensure_at(memory.path()).unwrap(), "app.log");
    let named = memory.path().join(format!(
        "logserv-{}/{}",
        rustix::process::geteuid().as_raw(),
        named.name()
    ));
    let (pipe, _end) = std::io::pipe().unwrap();
    let on_disk = world.directory.path().join("copy");
    fs::copy(path_of(&ring.1), &on_disk).unwrap();
    let (unsealed, foreign) = (copy_of(&ring.1), copy_of(&ring.1));
    fcntl_add_seals(&foreign, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let mut bad: Vec<(&str, OwnedFd)> = vec![
        ("a pipe", pipe.into()),
        ("a directory", File::open("/dev/shm").unwrap().into()),
        ("/dev/zero", File::open("/dev/zero").unwrap().into()),
        (
            "a socket",
            std::os::unix::net::UnixStream::pair().unwrap().0.into(),
        ),
        ("another ring", other),
        ("a ring that has a name", open(&named).into()),
        ("a ring that is not sealed", unsealed.try_clone().unwrap().into()),
        ("a copy on a disk", File::open(&on_disk).unwrap().into()),
        (
            "an empty file in memory",
            tempfile::tempfile_in("/dev/shm").unwrap().into(),
        ),
    ];
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(&foreign, Some(61_003), None).unwrap();
        bad.push(("a file of another user", foreign.try_clone().unwrap().into()));
    } else {
        println!("NOT RUN: a file of another user, only root can make one");
    }
    let one_more = ring.1.try_clone().unwrap();
    let many = vec![one_more.as_fd(); 253];
    let before = descriptors_of_this_process();
    for round in 0..3 {
        for (what, descriptor) in &bad {
            let mut client = asked(&world, &mut ring.0);
            // The proof stands in the copies, too: it is not for want of it that they are refused.
            let bytes = fs::read(path_of(&ring.1)).unwrap();
            for copy in [&open(&on_disk), &open(&named), &unsealed, &foreign] {
                copy.write_all_at(&bytes, 0).unwrap();
            }
            assert!(!attach_with(&mut client, &[descriptor.as_fd()]), "{what}");
            let mut record = Vec::new();
            Record {
                message: Some(&format!("{round} after {what}")),
                ..Record::default()
            }
            .encode(&mut record);
            client.send(&Frame::Batch {
                first_seq: 1,
                count: 1,
                records: &record,
            });
            client.receive(|frame| assert!(matches!(frame, Frame::Ack { .. }), "{frame:?}"));
        }
        let mut client = asked(&world, &mut ring.0);
        assert!(!client.attach(), "nothing at all");
        // Descriptors with frames that ask for none are not kept either.
        let (mut client, _) = Client::open(&world, &ring.0, "app.log");
        assert!(!attach_with(&mut client, &many), "no proof, and 252 too many");
    }
    eventually("every descriptor is closed again", || {
        descriptors_of_this_process() <= before + 2 // a connection that is just being closed has two ends here
    });
    let mut client = asked(&world, &mut ring.0);
    assert!(attach_with(&mut client, &many), "the first one is the ring");
    push(&mut ring.0, "through the ring", 1e9, 0);
    assert!(client.flush());
    assert_eq!(
        world.lines("app.log").last().map(String::as_str),
        Some("through the ring")
    );
}

/// Where the records of a ring end, one behind the other.
fn ends_of((producer, file): &(Producer, OwnedFd)) -> Vec<u64> {
    let mut consumer = Consumer::from_fd(file.try_clone().unwrap(), producer.name()).unwrap();
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    consumer.read(1 << 20, &mut entries, &mut bytes).unwrap();
    entries.iter().map(|entry| entry.end).collect()
}

fn state_of(log: &Path) -> StateFile {
    let directory = fs::metadata(log.parent().unwrap()).unwrap();
    let born = directory
        .created()
        .unwrap()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let place = format!(
        "{}:{} {}.{:09}/{:?}",
        directory.dev(),
        directory.ino(),
        born.as_secs(),
        born.subsec_nanos(),
        log.file_name().unwrap()
    );
    StateFile::open(&Directory::ensure().unwrap(), &place).unwrap()
}

#[test]
fn a_write_that_died_with_its_server_is_finished_and_its_records_are_not_read_again() {
    let mut world = World::new();
    world.start();
    let mut ring = world.sealed_ring("app.log");
    push(&mut ring.0, "0", 1e9, 0);
    let mut client = passed(&world, &mut ring);
    assert!(client.flush());
    world.stop();
    for number in 1..=5 {
        push(&mut ring.0, &number.to_string(), 1e9, 0);
    }
    // As a server leaves it that was killed within a write of records 1 to 3.
    let log = world.directory.path().join("logs/app.log");
    let metadata = fs::metadata(&log).unwrap();
    let mut state = state_of(&log);
    let settings = serde_json::json!({
        "path": log.canonicalize().unwrap(),
        "handler": "logging.FileHandler",
        "arguments": {"filename": "app.log"},
        "configured_at_s": 1.0,
    });
    state.set_settings(&settings.to_string()).unwrap();
    let mark = Mark {
        source: Source::Ring {
            uid: rustix::process::geteuid().as_raw(),
            name: ring.0.name().clone(),
        },
        position: ends_of(&ring)[2],
        count: 4,
    };
    state
        .declare(
            metadata.dev(),
            metadata.ino(),
            2,
            b"1\n2\n3\n",
            &[2, 4, 6],
            &[mark],
        )
        .unwrap();
    drop(state);
    fs::write(&log, "0\n1\n2").unwrap();
    world.start();
    eventually("the write is finished", || world.lines("app.log").len() == 4);
    assert_eq!(world.lines("app.log"), ["0", "1", "2", "3"]);
    // Killed again before the client is back, it is still known.
    world.stop();
    world.start();
    // A client that cannot pass it takes back what lies behind.
    let (_, welcome) = Client::open(&world, &ring.0, "app.log");
    let position = welcome["ring"]["position"].as_u64().expect("a position");
    let unread = ring.0.unread().len();
    ring.0.released(position);
    assert_eq!(ring.0.unread().len() * 5, unread * 2, "of 5 records 2");
    let mut client = passed(&world, &mut ring);
    assert!(client.flush());
    assert_eq!(world.lines("app.log"), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(ring.0.consumed_records(), 6);
    assert_eq!(ring.0.pending_len(), 0);
    std::thread::sleep(Duration::from_millis(10));
    drop(client);
    world.stop();
    assert_eq!(
        state_of(&log).sessions(),
        [],
        "what stands in the ring is not kept twice"
    );
    state_of(&log).remove(&Directory::ensure().unwrap());
}
