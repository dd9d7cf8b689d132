//! Processes that die, fork and run out of what they need, for real: this program starts itself in other roles.
#![expect(unsafe_code, reason = "a fork, argued below")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use logserv_ring::{
    Consumer, CreateError, Declared, Directory, Mark, Producer, RingError, RingName, Source, StateFile,
};
use place::{Dice, Place, read_some, record};

/// The variables that tell a child its role and where to play it.
const ROLE: &str = "LOGSERV_RING_ROLE";
const BASE: &str = "LOGSERV_RING_BASE";
/// The variable that tells a stranger which ring it was passed.
const NAME: &str = "LOGSERV_RING_NAME";

/// Kills of the test of kills.
const KILLS: u64 = 60;
/// Capacity of the rings that are killed: full and empty again many times.
const CAPACITY: usize = 64 << 10;
/// Records of the test of system calls: many times the capacity.
const CONFINED: u64 = 20_000;
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn role(place: &Place, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "a_role_in_another_test",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(BASE, place.base())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// The line that a child prints when it is ready, without its first word, `ready`.
fn ready(child: &mut Child) -> String {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the child is gone");
    }
    child.stdout = Some(out.into_inner());
    line.split("ready").nth(1).unwrap().trim().to_owned()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_role_in_another_test() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let directory = Directory::ensure_at(std::env::var(BASE).unwrap().as_ref()).unwrap();
    match role.as_str() {
        "producer" => produce(&directory),
        "holder" => hold(&directory, false),
        "forker" => hold(&directory, true),
        "limited" => be_limited(&directory),
        "confined" => be_confined(&directory),
        "server" => declare(&directory),
        "stranger" => be_a_stranger(),
        other => panic!("{other}"),
    }
}

/// Pushes until it is killed, and notes after each return how many were pushed.
fn produce(directory: &Directory) {
    let mut producer = Producer::create(directory, 1, CAPACITY).unwrap();
    let path = directory.location().join("returned");
    let returned = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .unwrap();
    println!("ready {}", producer.name());
    for number in 0_u64.. {
        let bytes = record(number);
        while !producer.push(&bytes) {
            std::thread::yield_now();
        }
        // It is in the page cache when the call returns, and survives the kill as the ring does.
        returned.write_all_at(&(number + 1).to_le_bytes(), 0).unwrap();
    }
}

/// Reads what there is, checks it, counts on from `*next`.
fn check(consumer: &mut Consumer, next: &mut u64) {
    while consumer.poll().unwrap() > 0 {
        for found in read_some(consumer, 10_000).unwrap() {
            assert_eq!(found, record(*next), "record {next}");
            *next += 1;
        }
        consumer.publisher().publish(consumer.position(), *next).unwrap();
    }
}

#[test]
fn a_producer_killed_at_any_moment_loses_nothing_that_returned_and_shows_nothing_half() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut total, mut only_committed) = (0, 0);
    for round in 0..KILLS {
        let place = Place::new();
        let directory = place.directory();
        let mut child = role(&place, "producer").spawn().unwrap();
        let name: RingName = ready(&mut child).parse().unwrap();
        let mut consumer = Consumer::open(&directory, &name).unwrap();
        let mut next = 0;
        let until = Instant::now() + Duration::from_micros(dice.roll(20_000));
        // In every third round nobody reads until all is over, as when the server is down.
        while Instant::now() < until {
            if round % 3 != 0 {
                check(&mut consumer, &mut next);
            }
        }
        kill(&mut child);
        assert!(consumer.producer_is_gone().unwrap());
        if round % 3 == 1 {
            drop(consumer); // the server dies, too, and another one goes on
            consumer = Consumer::open(&directory, &name).unwrap();
            assert_eq!(consumer.publisher().consumed().unwrap(), next);
        }
        check(&mut consumer, &mut next);
        let mut returned = [0; 8];
        let noted = std::fs::read(directory.location().join("returned")).unwrap_or_default();
        returned[..noted.len()].copy_from_slice(&noted);
        let returned = u64::from_le_bytes(returned);
        assert!(
            next == returned || next == returned + 1,
            "{next} read, {returned} returned"
        );
        total += next;
        only_committed += next - returned;
    }
    println!("{KILLS} kills, {total} records, {only_committed} committed by a call that did not return");
    assert!(total > 10 * KILLS, "the kills came in the middle");
}

/// A declaration whose every part follows from its number.
fn declaration(number: u64) -> Declared {
    let len = Dice(number).roll(150_000) as usize;
    Declared {
        device: number,
        inode: !number,
        offset: number * 3,
        bytes: vec![number as u8; len],
        ends: (0..len as u32)
            .step_by(97)
            .map(|end| end ^ number as u32)
            .collect(),
        marks: (0..number % 50)
            .map(|index| Mark {
                source: Source::Session([number as u8; 16]),
                position: number ^ index,
                count: index,
            })
            .collect(),
    }
}

/// Declares until it is killed, and notes after each return what was declared last.
fn declare(directory: &Directory) {
    let mut state = StateFile::open(directory, "place").unwrap();
    let path = directory.location().join("returned");
    let returned = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .unwrap();
    println!("ready");
    for number in 1_u64.. {
        let wanted = declaration(number);
        let (bytes, ends, marks) = (&wanted.bytes, &wanted.ends, &wanted.marks);
        state.set_session(*b"0123456789abcdef", number, number);
        state.set_settings(&number.to_string().repeat(100)).unwrap();
        state
            .declare(wanted.device, wanted.inode, wanted.offset, bytes, ends, marks)
            .unwrap();
        returned.write_all_at(&number.to_le_bytes(), 0).unwrap();
    }
}

#[test]
fn a_server_killed_at_any_moment_leaves_a_whole_declaration_the_last_or_the_next() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let mut total = 0;
    for _ in 0..KILLS / 2 {
        let place = Place::new();
        let directory = place.directory();
        let mut child = role(&place, "server").spawn().unwrap();
        ready(&mut child);
        std::thread::sleep(Duration::from_micros(dice.roll(15_000)));
        kill(&mut child);
        let noted = std::fs::read(directory.location().join("returned")).unwrap();
        let returned = noted.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let state = StateFile::open(&directory, "place").unwrap();
        let found = state.declared();
        let number = found.as_ref().map_or(0, |found| found.device);
        assert!(
            number == returned || number == returned + 1,
            "{number}, {returned} returned"
        );
        assert!(
            found.is_none_or(|found| found == declaration(number)),
            "{number} is whole"
        );
        let session = state.session(b"0123456789abcdef").unwrap_or(0);
        let settings = state.settings().unwrap_or_default();
        assert!((number..=number + 1).contains(&session), "{session}, {number}");
        let expected = [number, session].map(|number| number.to_string().repeat(100));
        assert!(number == 0 || expected.contains(&settings), "{settings}");
        total += number;
    }
    println!("{} kills, {total} declarations", KILLS / 2);
    assert!(total > KILLS, "the kills came in the middle");
}

/// Does what a busy client does in a thread that may only read, write and end: any other system call ends it.
fn be_confined(directory: &Directory) {
    let records: Vec<_> = (0..CONFINED).map(record).collect();
    let mut producer = Producer::create(directory, 1, CAPACITY).unwrap();
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        std::process::exit(1);
    });
    // SAFETY: no pointers; the thread is this role's own.
    let confined = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
    let mut full = 0_u32;
    for record in &records {
        while !producer.fits(record.len()) || !producer.push(record) {
            full += 1;
            std::hint::spin_loop();
        }
        full += u32::from(producer.consumer_sleeps()) + u32::from(producer.pending_records() > CONFINED);
    }
    let proven = confined == 0 && full > 0 && producer.append_meta(1, &[b"{}"]);
    let line: &[u8] = if proven { b"ready\n" } else { b"failed\n" };
    // SAFETY: pointer and length describe `line`.
    unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
    loop {
        std::hint::spin_loop(); // until it is killed: ending takes more system calls than it may make
    }
}

#[test]
fn pushing_makes_no_system_call_whether_the_ring_is_full_or_wraps() {
    let place = Place::new();
    let mut child = role(&place, "confined").spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let name = loop {
        assert!(Instant::now() < until);
        if let Some(name) = place.directory().rings().unwrap().pop() {
            break name;
        }
    };
    let mut consumer = Consumer::open(&place.directory(), &name).unwrap();
    std::thread::sleep(Duration::from_millis(20)); // it becomes full
    let mut next = 0;
    while next < CONFINED {
        assert!(Instant::now() < until, "{next} read, then the thread was ended");
        check(&mut consumer, &mut next);
    }
    ready(&mut child);
    kill(&mut child);
}

/// Makes a ring, perhaps forks, waits for the end of its input.
fn hold(directory: &Directory, fork: bool) {
    let mut producer = Producer::create(directory, 1, CAPACITY).unwrap();
    assert!(producer.push(b"parent"));
    if fork {
        // SAFETY: the child does nothing but what a test may: it checks its inherited ring and waits for its end.
        match unsafe { libc::fork() } {
            0 => {
                assert!(!producer.push(b"child") && !producer.fits(1) && !producer.append_meta(1, &[b"x"]));
                assert!(!producer.consumer_sleeps());
                producer.prove([1; 16]);
                assert_eq!((producer.unread(), producer.pending_records()), (vec![], 1));
                drop(producer); // unmaps nothing of the child's
                let own = Producer::create(directory, 1, CAPACITY).unwrap();
                let name = own.name().clone();
                drop(own);
                println!("ready {name}");
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                    // SAFETY: no pointers. The child of a killed parent is somebody else's.
                    if unsafe { libc::getppid() } == 1 {
                        std::process::exit(0);
                    }
                }
            }
            pid => assert!(pid > 0),
        }
    } else {
        println!("ready {}", producer.name());
    }
    let mut all = Vec::new();
    std::io::stdin().read_to_end(&mut all).unwrap();
}

#[test]
fn a_producer_lives_until_it_is_killed_and_the_reader_learns_it_at_once() {
    let place = Place::new();
    let mut child = role(&place, "holder").spawn().unwrap();
    let name: RingName = ready(&mut child).parse().unwrap();
    let mut consumer = Consumer::open(&place.directory(), &name).unwrap();
    consumer.watch(); // which is no producer's mapping
    let publisher = consumer.publisher();
    for _ in 0..100 {
        assert!(!consumer.producer_is_gone().unwrap());
    }
    kill(&mut child);
    assert!(consumer.producer_is_gone().unwrap());
    assert_eq!(read_some(&mut consumer, 100).unwrap(), [b"parent"]);
    publisher.publish(consumer.position(), 1).unwrap();
    assert!(consumer.producer_is_gone().unwrap(), "and stays gone");
}

#[test]
fn a_forked_child_holds_nothing_and_writes_nothing_of_its_parents() {
    let place = Place::new();
    let directory = place.directory();
    let mut child = role(&place, "forker").spawn().unwrap();
    let of_the_child: RingName = ready(&mut child).parse().unwrap();
    let rings = directory.rings().unwrap();
    let of_the_parent = rings.iter().find(|name| **name != of_the_child).unwrap();
    let mut consumer = Consumer::open(&directory, of_the_parent).unwrap();
    assert!(!consumer.producer_is_gone().unwrap());
    kill(&mut child);
    assert!(consumer.producer_is_gone().unwrap(), "although its child lives");
    assert_eq!(read_some(&mut consumer, 100).unwrap(), [b"parent"]);
    assert_eq!(consumer.meta().unwrap(), []);
    assert!(!consumer.has_proof(&[1; 16]).unwrap());
    let other = Consumer::open(&directory, &of_the_child).unwrap();
    assert!(other.producer_is_gone().unwrap(), "dropped");
}

/// In a process of its own, because the limit and the signal are the process's.
fn be_limited(directory: &Directory) {
    rustix::process::setrlimit(
        rustix::process::Resource::Fsize,
        rustix::process::Rlimit {
            current: Some(100_000),
            maximum: None,
        },
    )
    .unwrap();
    assert!(matches!(
        Producer::create(directory, 1, 64 << 10),
        Err(CreateError::NoSpace { .. })
    ));
    let mut producer = Producer::create(directory, 1, 8192).unwrap();
    assert!(producer.push(b"x"));
    println!("ready");
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    let place = Place::new();
    let mut child = role(&place, "limited").spawn().unwrap();
    ready(&mut child);
    assert!(child.wait().unwrap().success());
}

/// A user who was passed somebody else's ring as its standard input.
fn be_a_stranger() {
    let name = std::env::var(NAME).unwrap();
    let passed: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut consumer = Consumer::from_fd(passed, &name.parse().unwrap()).unwrap();
    assert_eq!(read_some(&mut consumer, 100).unwrap(), [b"mine"]);
    assert!(matches!(
        consumer.producer_is_gone(),
        Err(RingError::NoLease { .. })
    ));
    println!("ready");
}

#[test]
fn a_stranger_with_a_passed_ring_reads_it_and_knows_that_it_cannot_tell_a_death() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: a_stranger_with_a_passed_ring, reason: needs root");
        return;
    }
    use std::os::unix::process::CommandExt;
    let (mut producer, passed) = Producer::create_sealed(0xfeed, 4096).unwrap();
    assert!(producer.push(b"mine"));
    let own = Place::new();
    std::os::unix::fs::chown(own.base(), Some(65534), None).unwrap();
    let mut command = role(&own, "stranger");
    command
        .uid(65534)
        .stdin(passed)
        .env(NAME, producer.name().to_string());
    match command.spawn() {
        Ok(mut child) => {
            ready(&mut child);
            assert!(child.wait().unwrap().success());
        }
        Err(error) => println!("NOT RUN: a_stranger_with_a_passed_ring, reason: {error}"),
    }
}

#[test]
fn somebody_who_opens_the_ring_at_the_wrong_moment_does_not_kill_the_reader() {
    let place = Place::new();
    let producer = place.producer(4096);
    let consumer = place.consumer(&producer);
    let path = place.directory().location().join(producer.name().to_string());
    drop(producer);
    let until = Instant::now() + PATIENCE;
    let opener = std::thread::spawn(move || {
        let mut struck = 0;
        while struck < 20 && Instant::now() < until {
            // The kernel says this to an opener that breaks a lease, and sends its holder a signal.
            let opened = File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path);
            struck += u32::from(opened.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        }
        struck
    });
    let (mut gone, mut alive) = (0, 0);
    while !opener.is_finished() {
        if consumer.producer_is_gone().unwrap() {
            gone += 1
        } else {
            alive += 1
        }
    }
    assert_eq!(opener.join().unwrap(), 20, "the fault has struck");
    println!("{gone} times gone, {alive} times open elsewhere, 20 leases broken");
    assert!(consumer.producer_is_gone().unwrap());
}
