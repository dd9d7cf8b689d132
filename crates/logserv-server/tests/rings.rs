//! Rings, as a server finds and reads them: of dead processes, of connected ones, of hostile ones.

mod scene;
mod world;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logserv_ring::{Directory, META_FORMATTER, Producer, StateFile};
use logserv_wire::frame::Frame;
use logserv_wire::record::Record;
use scene::eventually;
use serde_json::json;
use world::{Client, World, is_there, path_of, push};

#[test]
fn records_of_a_process_that_died_while_no_server_was_there_are_written_once_and_its_ring_removed() {
    let mut world = World::new();
    let mut producer = world.ring("app.log");
    let formatter = 1_u32.to_le_bytes();
    assert!(producer.append_meta(META_FORMATTER, &[&formatter, b"{\"fmt\": \"<%(message)s>\"}"]));
    for number in 0..1000 {
        push(&mut producer, &number.to_string(), 1e9 + f64::from(number), 1);
    }
    let name = producer.name().clone();
    drop(producer); // as its death does
    world.start();
    eventually("the ring is removed", || !is_there(&name));
    let expected: Vec<String> = (0..1000).map(|number| format!("<{number}>")).collect();
    assert_eq!(world.lines("app.log"), expected);
    world.stop();
    world.start();
    world.stop();
    assert_eq!(world.lines("app.log"), expected);
}

#[test]
fn records_of_a_process_that_dies_before_it_could_connect_are_found() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    push(&mut producer, "last words", 1e9, 0);
    let name = producer.name().clone();
    drop(producer);
    eventually("the ring is removed", || !is_there(&name));
    assert_eq!(world.lines("app.log"), ["last words"]);
}

#[test]
fn a_flush_covers_everything_in_the_ring_and_space_comes_back() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    let mut client = Client::attached(&world, &mut producer, "app.log");
    for round in 1..=50 {
        for number in 0..100 {
            push(&mut producer, &format!("{round} {number}"), 1e9, 0);
        }
        assert!(client.flush());
        assert_eq!(world.lines("app.log").len(), round * 100);
        assert_eq!(producer.pending_len(), 0);
        assert_eq!(producer.consumed_records(), round as u64 * 100);
    }
}

#[test]
fn a_flush_and_a_rollover_speak_of_what_came_while_the_reader_slept() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    let mut client = Client::attached(&world, &mut producer, "app.log");
    for number in 1..=3 {
        push(&mut producer, "by a flush", 1e9, 0);
        assert!(client.flush());
        assert_eq!(producer.consumed_records(), number);
        eventually("the reader sleeps", || producer.consumer_sleeps());
    }
    push(&mut producer, "by a rollover", 1e9, 0);
    client.send(&Frame::Rollover { token: 8 });
    client.receive(|frame| assert!(matches!(frame, Frame::Done { token: 8, .. })));
    assert_eq!(producer.consumed_records(), 4);
}

#[test]
fn a_sleeping_reader_is_woken_and_a_restarted_server_goes_on_where_the_other_ended() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    let mut client = Client::attached(&world, &mut producer, "app.log");
    push(&mut producer, "first", 1e9, 0);
    eventually("the reader sleeps", || producer.consumer_sleeps());
    push(&mut producer, "second", 1e9, 0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(world.lines("app.log"), ["first"], "nobody has said so");
    client.send(&Frame::Wake);
    eventually("it is written", || world.lines("app.log").len() == 2);
    world.stop();
    push(&mut producer, "third", 1e9, 0);
    world.start();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        world.lines("app.log").len(),
        2,
        "it lives: it is its client's to say"
    );
    let mut client = Client::attached(&world, &mut producer, "app.log");
    assert!(client.flush());
    assert_eq!(world.lines("app.log"), ["first", "second", "third"]);
}

#[test]
fn records_of_several_rings_are_written_by_time_and_a_lying_clock_moves_only_its_own() {
    let mut world = World::new();
    let mut rings: Vec<Producer> = (0..4).map(|_| world.ring("app.log")).collect();
    let mut liar = world.ring("app.log");
    for number in 0..400 {
        let ring = &mut rings[number % 4];
        push(ring, &format!("{number}"), 1e9 + number as f64, 0);
        if number % 100 == 50 {
            push(&mut liar, "liar", if number < 200 { 2e9 } else { 0.0 }, 0);
        }
    }
    world.start();
    let mut clients: Vec<Client> = rings
        .iter_mut()
        .chain([&mut liar])
        .map(|ring| Client::attached(&world, ring, "app.log"))
        .collect();
    // All of them are attached within the window of one another, or have been looked at together by this flush.
    assert!(clients[0].flush());
    let honest: Vec<usize> = world
        .lines("app.log")
        .iter()
        .filter_map(|line| line.parse().ok())
        .collect();
    assert_eq!(honest.len(), 400);
    assert_eq!(world.lines("app.log").len(), 404);
    for ring in 0..4 {
        let own: Vec<_> = honest.iter().filter(|number| *number % 4 == ring).collect();
        assert!(own.is_sorted(), "a ring's own order is kept");
    }
}

#[test]
fn a_ring_is_taken_from_him_only_who_can_write_to_it() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    push(&mut producer, "secret", 1e9, 0);
    let (mut client, welcome) = Client::open(&world, &producer, "app.log");
    assert!(welcome["ring"]["challenge"].is_string());
    assert!(!client.attach(), "the challenge does not stand in the ring");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(world.lines("app.log"), [] as [&str; 0]);
    // It goes on over the socket.
    let mut record = Vec::new();
    Record {
        message: Some("over the socket"),
        ..Record::default()
    }
    .encode(&mut record);
    client.send(&Frame::Batch {
        first_seq: 1,
        count: 1,
        records: &record,
    });
    client.receive(|frame| assert!(matches!(frame, Frame::Ack { seq: 1, .. }), "{frame:?}"));
    producer.remove(&Directory::ensure().unwrap());
}

#[test]
fn an_orphan_whose_file_is_refused_is_kept() {
    let mut world = World::new();
    let mut producer = world.ring("../outside.log");
    push(&mut producer, "kept", 1e9, 0);
    let name = producer.name().clone();
    drop(producer);
    world.start();
    std::thread::sleep(Duration::from_millis(700));
    assert!(is_there(&name));
    assert!(!world.directory.path().join("outside.log").exists());
    world.stop();
    Directory::ensure().unwrap().remove(&name).unwrap();
}

#[test]
fn an_orphan_whose_file_is_held_for_a_moment_is_written_well_within_ten_seconds() {
    let mut world = World::new();
    let mut producer = world.ring("app.log");
    push(&mut producer, "after all", 1e9, 0);
    let name = producer.name().clone();
    drop(producer);
    // As a server that was killed, and whose last thread the kernel has not yet ended.
    let logs = world.directory.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    let file = File::create(logs.join("app.log")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    world.start();
    std::thread::sleep(Duration::from_millis(600));
    assert!(is_there(&name) && world.lines("app.log").is_empty());
    drop(file);
    let released = Instant::now();
    eventually("it is written", || !is_there(&name));
    assert!(released.elapsed() < Duration::from_secs(5));
    assert_eq!(world.lines("app.log"), ["after all"]);
}

#[test]
fn a_refused_orphan_is_as_old_as_its_newest_record_whatever_the_age_of_its_file_and_is_dropped_after_a_day() {
    let mut world = World::new();
    let days_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    // Both rings were made three days ago, of which their files tell; one of their producers logged until today.
    let [young, old] = [now_s, now_s - 2.0 * 24.0 * 3600.0].map(|created| {
        let mut producer = world.ring("../outside.log");
        push(&mut producer, "the last", created, 0);
        let name = producer.name().clone();
        let file = File::open(path_of(&name)).unwrap();
        file.set_modified(days_ago).unwrap();
        name
    });
    world.start();
    eventually("the old one is dropped", || !is_there(&old));
    assert!(is_there(&young));
    world.stop();
    Directory::ensure().unwrap().remove(&young).unwrap();
}

#[test]
fn a_record_that_is_none_is_dropped_and_told_of_and_the_others_are_written() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    let mut client = Client::attached(&world, &mut producer, "app.log");
    push(&mut producer, "before", 1e9, 0);
    assert!(producer.push(b"no record at all"));
    push(&mut producer, "after", 1e9, 0);
    assert!(client.flush());
    eventually("the drop is told", || world.lines("app.log").len() == 3);
    let lines = world.lines("app.log");
    assert_eq!(&lines[..2], ["before", "after"]);
    assert!(lines[2].starts_with("dropped 1 records (malformed)"), "{lines:?}");
}

#[test]
fn a_living_process_that_nobody_speaks_for_is_read_within_seconds_also_asleep() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    let client = Client::attached(&world, &mut producer, "app.log");
    push(&mut producer, "first", 1e9, 0);
    eventually("the reader sleeps", || producer.consumer_sleeps());
    drop(client); // as where its descriptors were closed, and it cannot connect again
    push(&mut producer, "second", 1e9, 0);
    eventually("it is read all the same", || world.lines("app.log").len() == 2);
    assert_eq!(world.lines("app.log"), ["first", "second"]);
}

#[test]
fn a_client_whose_ring_breaks_is_told_and_finds_another_way() {
    let mut world = World::new();
    world.start();
    let mut producer = world.ring("app.log");
    let mut client = Client::attached(&world, &mut producer, "app.log");
    push(&mut producer, "whole", 1e9, 0);
    assert!(client.flush());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(path_of(producer.name()))
        .unwrap();
    // A head, with its complement, that lies beyond everything.
    let head = 1_u64 << 40;
    let line = [(!head).to_le_bytes(), head.to_le_bytes()].concat();
    file.write_all_at(&line, 128).unwrap();
    client.send(&Frame::Wake);
    client.receive(|frame| match frame {
        Frame::Error { json } => assert!(json.contains("\"retry\":true"), "{json}"),
        other => panic!("{other:?}"),
    });
    // What it opens next has no ring to offer, and takes its records over the socket.
    let (_, welcome) = Client::open(&world, &producer, "app.log");
    assert!(
        welcome["ring"]["challenge"].is_null() || welcome["ring"]["pass"] == true,
        "{welcome}"
    );
    assert_eq!(world.lines("app.log"), ["whole"]);
}

#[test]
fn the_unfinished_write_of_another_servers_file_is_left_to_it() {
    let mut world = World::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = Directory::ensure().unwrap();
    let place = format!("test {}", elsewhere.path().display());
    let mut state = StateFile::open(&directory, &place).unwrap();
    let settings = json!({
        "path": elsewhere.path().join("app.log"),
        "handler": "logging.FileHandler",
        "arguments": {"filename": "app.log"},
        "configured_at_s": 1.0,
    });
    state.set_settings(&settings.to_string()).unwrap();
    state.declare(1, 2, 0, b"line\n", &[5], &[]).unwrap();
    drop(state);
    world.start();
    std::thread::sleep(Duration::from_millis(500));
    world.stop();
    let state = StateFile::open(&directory, &place).unwrap();
    assert!(state.declared().is_some());
    state.remove(&directory);
    assert_eq!(world.lines("app.log"), [] as [&str; 0]);
    assert!(!world.directory.path().join("logs/app.log").exists());
    assert!(!elsewhere.path().join("app.log").exists());
}
