//! A client that breaks every rule: it is told so, and harms nobody; nor does a server that does, or a full memory.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot be set up has failed"
)]

mod place;

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logserv_ring::{
    Consumer, CreateError, Directory, DirectoryError, META_OPEN, Mark, Producer, RingError, RingName, Source,
    StateError, StateFile,
};
use place::{Dice, Place, drain, read_some, record};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, memfd_create,
};

/// How long the scribblers scribble.
const SCRIBBLING: Duration = Duration::from_millis(800);
/// How long over one ring.
const ROUND: Duration = Duration::from_millis(10);
/// How much longer on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn path_of(place: &Place, producer: &Producer) -> PathBuf {
    place.directory().location().join(producer.name().to_string())
}

fn file_of(place: &Place, producer: &Producer) -> File {
    File::options()
        .read(true)
        .write(true)
        .open(path_of(place, producer))
        .unwrap()
}

/// A value that a confused or clever client might write.
fn value(dice: &mut Dice) -> [u8; 8] {
    let some = dice.roll(1 << 31) << 33 | dice.roll(1 << 31);
    let number = match dice.roll(6) {
        0 => 0,
        1 => u64::MAX,
        2 => dice.roll(9000),
        3 => dice.roll(2000) * 8,
        4 => u64::MAX - dice.roll(9000),
        _ => some,
    };
    number.to_le_bytes()
}

/// Scribbles over a ring until it is stopped. Returns how often.
fn scribble(file: &File, pristine: &[u8], dice: &mut Dice, stop: &AtomicBool) -> u64 {
    let mut scribbles = 0;
    while !stop.load(Ordering::Relaxed) {
        // The header often, the producer's line most, the areas now and then.
        let at = match dice.roll(8) {
            0 => dice.roll(512),
            1 => dice.roll(pristine.len() as u64 - 8),
            2 => 4096 + 8 * dice.roll(20),
            3 => 65536 + 8 * dice.roll(1024),
            _ => 128 + 8 * dice.roll(4),
        };
        let bytes = value(dice);
        file.write_all_at(&bytes, at).unwrap();
        if at == 136 && dice.roll(2) == 0 {
            let complement = !u64::from_le_bytes(bytes);
            file.write_all_at(&complement.to_le_bytes(), 128).unwrap();
        }
        scribbles += 1;
        // Healed now and then, so that a reader gets further than the door.
        if scribbles % 16 == 0 {
            file.write_all_at(&pristine[..512], 0).unwrap();
            std::thread::sleep(Duration::from_micros(dice.roll(100)));
        }
    }
    scribbles
}

/// Pushes into a ring, and asks everything else that a producer answers, until it is stopped.
fn push_on(producer: &mut Producer, stop: &AtomicBool) {
    let mut number = producer.pushed_records();
    while !stop.load(Ordering::Relaxed) {
        if producer.push(&record(number)) {
            number += 1;
        }
        assert!(producer.pending_len() <= producer.capacity());
        assert!(producer.unread().len() <= producer.capacity());
        assert!(producer.pending_records() <= producer.pushed_records());
        producer.append_meta(META_OPEN, &[b"{}"]);
    }
}

#[derive(Default, Debug)]
struct Found {
    scribbles: u64,
    corrupt: u64,
    refused: u64,
    records: u64,
}

/// Opens a ring and reads it, as often as there is time for.
fn read_on(directory: &Directory, name: &RingName, found: &mut Found) {
    let until = Instant::now() + ROUND;
    while Instant::now() < until {
        let mut consumer = match Consumer::open(directory, name) {
            Ok(consumer) => consumer,
            Err(RingError::Refused { .. } | RingError::Corrupt { .. } | RingError::OtherBoot) => {
                found.refused += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        for _ in 0..20 {
            let (mut entries, mut bytes) = (Vec::new(), Vec::new());
            let result = consumer
                .read(1000, &mut entries, &mut bytes)
                .and_then(|()| consumer.meta())
                .and_then(|meta| Ok((meta, consumer.poll()?, consumer.has_proof(&[0; 16])?)));
            assert!(bytes.len() as u64 <= consumer.capacity());
            assert!(entries.iter().all(|entry| entry.start + entry.len <= bytes.len()));
            found.records += entries.len() as u64;
            match result {
                Ok((meta, news, _)) => assert!(meta.len() <= 61440 / 8 && news <= consumer.capacity()),
                Err(RingError::Corrupt { .. }) => {
                    found.corrupt += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            let publisher = consumer.publisher();
            publisher.publish(consumer.position(), found.records).unwrap();
        }
    }
}

#[test]
fn scribbling_over_a_ring_while_it_is_read_is_found_and_harms_nobody() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let place = Place::new();
    let directory = place.directory();
    let mut found = Found::default();
    let until = Instant::now() + SCRIBBLING;
    let bitten = |found: &Found| {
        found.scribbles > 1000 && found.corrupt > 10 && found.refused > 10 && found.records > 10
    };
    // Longer on a machine on which the fault has not bitten yet; the assertion at the end says so if it never does.
    while Instant::now() < until || (!bitten(&found) && Instant::now() < until + PATIENCE) {
        let mut producer = place.producer(8192);
        let (file, name) = (file_of(&place, &producer), producer.name().clone());
        let pristine = std::fs::read(path_of(&place, &producer)).unwrap();
        while producer.push(&record(producer.pushed_records())) {}
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let scribbler = scope.spawn(|| scribble(&file, &pristine, &mut dice, &stop));
            scope.spawn(|| push_on(&mut producer, &stop));
            read_on(&directory, &name, &mut found);
            stop.store(true, Ordering::Relaxed);
            found.scribbles += scribbler.join().unwrap();
        });
        producer.remove(&directory);
    }
    println!("{found:?}");
    assert!(bitten(&found), "the fault has bitten");
}

#[test]
fn a_wrong_record_stops_the_reading_and_everything_before_it_counts() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    for number in 0..10 {
        assert!(producer.push(&record(number)));
    }
    let fifth: usize = (0..5)
        .map(|number| 8 + record(number).len().next_multiple_of(8))
        .sum();
    for spoilt in [[0; 8], [0xff; 8], [1, 0, 0, 0, 0, 0, 0, 0]] {
        file_of(&place, &producer)
            .write_all_at(&spoilt, (65536 + fifth) as u64)
            .unwrap();
        let mut consumer = place.consumer(&producer);
        assert_eq!(
            read_some(&mut consumer, 4096).unwrap(),
            (0..5).map(record).collect::<Vec<_>>()
        );
        for _ in 0..3 {
            match read_some(&mut consumer, 4096) {
                Err(RingError::Corrupt { position, .. }) => assert_eq!(position, fifth as u64),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_head_that_goes_back_or_too_far_or_between_records_is_corrupt() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    let file = file_of(&place, &producer);
    assert!(producer.push(&[1; 92]) && producer.push(&[1; 92]));
    for head in [0, 96, 201, 4096 + 8, u64::MAX - 7] {
        let mut consumer = place.consumer(&producer);
        assert_eq!(consumer.poll().unwrap(), 208);
        for (at, word) in [(128, !head), (136, head)] {
            file.write_all_at(&u64::to_le_bytes(word), at).unwrap();
        }
        assert!(
            matches!(consumer.poll(), Err(RingError::Corrupt { .. })),
            "{head}"
        );
        for (at, word) in [(128, !208), (136, 208)] {
            file.write_all_at(&u64::to_le_bytes(word), at).unwrap();
        }
    }
    // A check that never agrees is a producer that died between its two stores: its head counts.
    file.write_all_at(&[7; 8], 128).unwrap();
    assert_eq!(drain(&mut place.consumer(&producer)).unwrap().len(), 2);
}

#[test]
fn a_file_that_is_cut_short_under_its_reader_is_corrupt_and_no_signal() {
    let place = Place::new();
    let lens = [0, 130, 65536, 65536 + 50];
    // Where it lies, what is cut off within a page reads as if its owner had written zeros.
    let watched = lens.map(|len| (len, true)).into_iter().take(3);
    for (len, is_watched) in lens.map(|len| (len, false)).into_iter().chain(watched) {
        let mut producer = place.producer(4096);
        assert!(producer.push(&record(0)) && producer.push(&[1; 300]));
        let mut consumer = place.consumer(&producer);
        if is_watched {
            consumer.watch();
        }
        let file = file_of(&place, &producer);
        // Nobody may touch the mapping of what is cut off.
        drop(producer);
        file.set_len(len).unwrap();
        let result = read_some(&mut consumer, 1000);
        assert!(
            matches!(result, Err(RingError::Corrupt { .. })),
            "{len}: {result:?}"
        );
        consumer.publisher().publish(8, 1).unwrap();
        place.directory().remove(consumer.name()).unwrap();
    }
}

#[test]
fn what_is_no_ring_is_refused_without_waiting() {
    let place = Place::new();
    let producer = place.producer(4096);
    let (name, path) = (producer.name().clone(), path_of(&place, &producer));
    let good = std::fs::read(&path).unwrap();
    let refused = |what: &str| match Consumer::open(&place.directory(), &name) {
        Err(RingError::Refused { expected, received }) => {
            assert!(
                format!("{expected}, {received}").contains(what),
                "{what}: {expected}, {received}"
            );
        }
        other => panic!("{what}: {other:?}"),
    };
    std::fs::remove_file(&path).unwrap();

    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    refused("a FIFO");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused("a directory");
    std::fs::remove_dir(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    refused("a socket");
    std::fs::remove_file(&path).unwrap();
    let other = place.base().join("other");
    symlink(&other, &path).unwrap();
    refused("a symbolic link");
    std::fs::remove_file(&path).unwrap();

    let write = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    write(&good);
    Consumer::open(&place.directory(), &name).unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    refused("2 names");
    std::fs::remove_file(&other).unwrap();
    for mode in [0o644, 0o660, 0o700, 0o4600] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        refused(&format!("{mode:04o}"));
    }
    for len in [0, 65536, good.len() - 1, good.len() + 4096] {
        let mut bytes = good.clone();
        bytes.resize(len, 0);
        write(&bytes);
        refused("bytes");
    }
    write(&good);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    refused("1099511627776 bytes");
    // Where, and what the error says.
    for (at, what) in [
        (0, "version 1"),
        (8, "version 1"),
        (16, "areas"),
        (24, "areas"),
        (32, "the id"),
    ] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        write(&bytes);
        refused(what);
    }
    let spoilt = |at: usize, word: [u8; 8]| {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&word);
        write(&bytes);
        Consumer::open(&place.directory(), &name)
    };
    assert!(matches!(spoilt(48, [9; 8]), Err(RingError::OtherBoot)));
    assert!(matches!(spoilt(256, [8; 8]), Err(RingError::Corrupt { .. })));
    assert!(matches!(spoilt(264, [8; 8]), Err(RingError::Corrupt { .. })));

    write(&good);
    if rustix::process::geteuid().is_root() {
        chown(&path, Some(65534), None).unwrap();
        refused("uid 65534");
    } else {
        println!("NOT RUN: what_is_no_ring_is_refused_without_waiting for another owner, reason: needs root");
    }
}

#[test]
fn a_passed_descriptor_is_checked_like_a_found_file() {
    let place = Place::new();
    let (mut producer, sealed) = Producer::create_sealed(0xfeed, 4096).unwrap();
    assert!(producer.push(&record(0)));
    let name = producer.name().clone();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let named = place.producer(4096);
    let wrong: [OwnedFd; 5] = [
        pipe.into(),
        File::open("/dev/zero").unwrap().into(),
        File::open(place.base()).unwrap().into(),
        File::open("/proc/self/exe").unwrap().into(),
        file_of(&place, &named).into(),
    ];
    for (fd, name) in wrong.into_iter().zip([&name, &name, &name, &name, named.name()]) {
        assert!(matches!(
            Consumer::from_fd(fd, name),
            Err(RingError::Refused { .. })
        ));
    }
    let passed = sealed.try_clone().unwrap();
    drop(sealed); // our own could not be told from a living producer's
    let mut consumer = Consumer::from_fd(passed, &name).unwrap();
    assert_eq!(consumer.owner(), rustix::process::geteuid().as_raw());
    assert_eq!(drain(&mut consumer).unwrap(), [record(0)]);
    assert!(!consumer.producer_is_gone().unwrap());
    drop(producer);
    assert!(consumer.producer_is_gone().unwrap());
}

#[test]
fn whoever_holds_a_passed_ring_cannot_end_its_producer() {
    let (mut producer, sealed) = Producer::create_sealed(0xfeed, 8192).unwrap();
    let file = File::from(sealed);
    let len = file.metadata().unwrap().len();
    for bad in [0, 4096, len - 1, len + 1, 2 * len] {
        let refused = file.set_len(bad).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{bad}");
    }
    let whole = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    assert!(fcntl_get_seals(&file).unwrap().contains(whole));
    assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err());
    // Holes are filled again with zeros: what he could as well have written.
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, 0, len).unwrap();
    for number in 0..1000 {
        producer.push(&record(number));
    }
    assert!(producer.pending_len() <= producer.capacity());
    let _ = producer.unread();
}

#[test]
fn a_passed_file_with_other_seals_is_refused() {
    let (producer, sealed) = Producer::create_sealed(0xfeed, 4096).unwrap();
    let mut bytes = Vec::new();
    File::from(sealed).read_to_end(&mut bytes).unwrap();
    let both = SealFlags::SHRINK | SealFlags::GROW;
    for (seals, is_taken) in [
        (SealFlags::empty(), false),
        (SealFlags::SHRINK, false),
        (SealFlags::GROW, false),
        (both | SealFlags::WRITE, false),
        (both | SealFlags::FUTURE_WRITE, false),
        (both, true),
        (both | SealFlags::SEAL, true),
    ] {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut copy = File::from(memfd_create("copy", flags).unwrap());
        copy.write_all(&bytes).unwrap();
        copy.set_permissions(Permissions::from_mode(0o600)).unwrap();
        fcntl_add_seals(&copy, seals).unwrap();
        match Consumer::from_fd(copy.into(), producer.name()) {
            Ok(_) => assert!(is_taken, "{seals:?}"),
            Err(RingError::Refused { .. }) => assert!(!is_taken, "{seals:?}"),
            Err(other) => panic!("{seals:?}: {other}"),
        }
    }
}

#[test]
fn a_directory_that_somebody_else_prepared_is_refused_by_name() {
    let refused = |base: &Place, what: &str| match Directory::ensure_at(base.base()) {
        Err(DirectoryError::Refused {
            path,
            expected,
            received,
        }) => {
            assert!(path.starts_with(base.base()));
            assert!(
                format!("{expected}, {received}").contains(what),
                "{what}: {expected}, {received}"
            );
        }
        other => panic!("{what}: {other:?}"),
    };
    let uid = rustix::process::geteuid().as_raw();
    let place = Place::new();
    let path = place.base().join(format!("logserv-{uid}"));
    symlink(place.base(), &path).unwrap();
    refused(&place, "a symbolic link");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    refused(&place, "a regular file");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    for mode in [0o755, 0o710, 0o770, 0o1700, 0o500] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        refused(&place, &format!("{mode:04o}"));
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    Directory::ensure_at(place.base()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    if rustix::process::geteuid().is_root() {
        chown(&path, Some(65534), None).unwrap();
        refused(&place, "owner 65534");
    } else {
        println!("NOT RUN: a_directory_that_somebody_else_prepared_is_refused_by_name, reason: needs root");
    }
}

/// A mounted file system of memory, unmounted at the end.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_memory_is_an_error_and_never_a_signal() {
    let place = Place::new();
    let small = place.base().join("small");
    std::fs::create_dir(&small).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&small);
    if !mount.output().is_ok_and(|output| output.status.success()) {
        println!(
            "NOT RUN: a_full_memory_is_an_error_and_never_a_signal, reason: mounting a tmpfs needs root"
        );
        return;
    }
    let small = Small(small);
    let directory = Directory::ensure_at(&small.0).unwrap();
    match Producer::create(&directory, 1, 4 << 20) {
        Err(CreateError::NoSpace { bytes, .. }) => assert_eq!(bytes, 65536 + (4 << 20)),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        std::fs::read_dir(directory.location()).unwrap().count(),
        0,
        "nothing is left"
    );
    let mut producer = Producer::create(&directory, 1, 256 << 10).unwrap();
    let mut state = StateFile::open(&directory, "place").unwrap();
    let mark = Mark {
        source: Source::Session([1; 16]),
        position: 1,
        count: 0,
    };
    state
        .declare(1, 2, 3, b"line\n", &[5], std::slice::from_ref(&mark))
        .unwrap();
    let filled = std::fs::write(small.0.join("fill"), vec![1; 2 << 20]);
    assert_eq!(filled.unwrap_err().raw_os_error(), Some(28), "the memory is full");

    assert!(matches!(
        Producer::create(&directory, 1, 4096),
        Err(CreateError::NoSpace { .. })
    ));
    assert!(matches!(
        StateFile::open(&directory, "other"),
        Err(StateError::NoSpace { .. })
    ));
    let mut consumer = Consumer::open(&directory, producer.name()).unwrap();
    let mut number = 0;
    for lap in 0..3 {
        let first = number;
        while producer.push(&record(number)) {
            number += 1;
        }
        assert!(number > first + 1000, "lap {lap}");
        assert_eq!(
            drain(&mut consumer).unwrap(),
            (first..number).map(record).collect::<Vec<_>>()
        );
        consumer.publisher().publish(consumer.position(), number).unwrap();
    }
    let long = vec![b'x'; 300_000];
    assert!(matches!(
        state.declare(1, 2, 3, &long, &[], &[]),
        Err(StateError::NoSpace { .. })
    ));
    let declared = state.declared().unwrap();
    assert_eq!(
        (declared.bytes.as_slice(), declared.marks),
        (&b"line\n"[..], vec![mark])
    );
    for number in 0..5000_u128 {
        state.set_session(number.to_le_bytes(), 1, 1);
    }
    std::fs::remove_file(small.0.join("fill")).unwrap();
    state.declare(1, 2, 3, &long, &[], &[]).unwrap();
    assert_eq!(state.declared().unwrap().bytes, long);
}
