//! A ring in peace: what is pushed is read, in order, whole, by whoever comes later, in whatever pieces.

mod place;

use logserv_ring::{Consumer, CreateError, Directory, META_FORMATTER, META_OPEN, Producer, RingError};
use place::{Place, drain, read_some, record};

#[test]
fn what_is_pushed_is_read_in_order_and_a_released_place_is_used_again() {
    let place = Place::new();
    let mut producer = place.producer(8192);
    let mut consumer = place.consumer(&producer);
    let publisher = consumer.publisher();
    let (mut pushed, mut read, mut bytes_pushed) = (0_u64, 0_u64, 0);
    while bytes_pushed < 20 * 8192 {
        let wanted = record(pushed);
        if producer.push(&wanted) {
            pushed += 1;
            bytes_pushed += wanted.len();
            continue;
        }
        assert!(!producer.fits(wanted.len()));
        assert_eq!(producer.pending_records(), pushed - read);
        for found in read_some(&mut consumer, 3000).unwrap() {
            assert_eq!(found, record(read));
            read += 1;
        }
        publisher.publish(consumer.position(), read).unwrap();
        assert_eq!(producer.consumed_records(), read);
    }
    for found in drain(&mut consumer).unwrap() {
        assert_eq!(found, record(read));
        read += 1;
    }
    assert_eq!((read, producer.pushed_records()), (pushed, pushed));
    publisher.publish(consumer.position(), read).unwrap();
    assert_eq!((producer.pending_len(), producer.pending_records()), (0, 0));
    assert_eq!(publisher.consumed().unwrap(), read);
}

#[test]
fn the_longest_record_fills_the_ring_and_a_longer_one_never_fits() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    assert_eq!(producer.capacity(), 4096);
    assert!(!producer.fits(4089) && !producer.push(&[1; 4089]) && !producer.fits(usize::MAX));
    let mut consumer = place.consumer(&producer);
    for lap in 0..5_u8 {
        // An empty record first, so that the long one begins at another place each time.
        for wanted in [&[][..], &vec![lap; 4088]] {
            assert!(producer.push(wanted), "lap {lap}");
            assert!(wanted.is_empty() || !producer.fits(0));
            assert_eq!(producer.unread(), wanted);
            assert_eq!(read_some(&mut consumer, 0).unwrap(), [wanted]);
            consumer.publisher().publish(consumer.position(), 0).unwrap();
        }
    }
}

#[test]
fn a_second_consumer_begins_at_the_published_tail_and_counts_on() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    for number in 0..10 {
        assert!(producer.push(&record(number)));
    }
    let mut first = place.consumer(&producer);
    read_some(&mut first, 1).unwrap();
    first.publisher().publish(first.position(), 1).unwrap();
    let tail = first.position();
    read_some(&mut first, 1000).unwrap();
    first.publisher().publish(0, 0).unwrap(); // too late: a tail never moves back
    assert_eq!(first.tail(), tail);
    first.rewind();
    assert_eq!(
        drain(&mut first).unwrap(),
        (1..10).map(record).collect::<Vec<_>>()
    );
    drop(first);
    drop(producer); // as a crash does: the file stays
    let name = place.directory().rings().unwrap().pop().unwrap();
    let mut second = Consumer::open(&place.directory(), &name).unwrap();
    assert_eq!((second.tail(), second.position()), (tail, tail));
    assert_eq!(second.publisher().consumed().unwrap(), 1);
    assert_eq!(
        drain(&mut second).unwrap(),
        (1..10).map(record).collect::<Vec<_>>()
    );
    place.directory().remove(&name).unwrap();
    place.directory().remove(&name).unwrap();
    assert!(matches!(
        Consumer::open(&place.directory(), &name),
        Err(RingError::Gone)
    ));
}

#[test]
fn unread_records_are_handed_back_in_order_also_around_the_end() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    let mut consumer = place.consumer(&producer);
    let (mut first, mut next) = (0, 0);
    for _ in 0..50 {
        while producer.push(&record(next)) {
            next += 1;
        }
        let expected: Vec<u8> = (first..next).flat_map(record).collect();
        assert_eq!(producer.unread(), expected);
        first += read_some(&mut consumer, 2000).unwrap().len() as u64;
        consumer.publisher().publish(consumer.position(), first).unwrap();
    }
    producer.remove(&place.directory());
    assert!(place.directory().rings().unwrap().is_empty());
}

#[test]
fn meta_entries_are_read_once_and_end_where_there_is_no_room() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    let mut consumer = place.consumer(&producer);
    assert_eq!(consumer.meta().unwrap(), []);
    assert!(producer.append_meta(META_OPEN, &[b"{", b"}"]));
    assert!(producer.append_meta(META_FORMATTER, &[&1_u32.to_le_bytes(), b"%(message)s"]));
    let expected = [
        (META_OPEN, b"{}".to_vec()),
        (META_FORMATTER, b"\x01\0\0\0%(message)s".to_vec()),
    ];
    assert_eq!(consumer.meta().unwrap(), expected);
    assert_eq!(consumer.meta().unwrap(), []);
    assert!(!producer.append_meta(META_OPEN, &[&[0; 61440]]));
    let rest = vec![b'x'; 61440 - 16 - 24 - 8];
    assert!(producer.append_meta(META_OPEN, &[&rest]));
    assert!(!producer.append_meta(META_OPEN, &[]));
    assert_eq!(consumer.meta().unwrap(), [(META_OPEN, rest)]);
    assert_eq!(
        place.consumer(&producer).meta().unwrap().len(),
        3,
        "all of them, for the next one"
    );
}

#[test]
fn only_the_challenge_that_was_copied_is_a_proof() {
    let place = Place::new();
    let mut producer = place.producer(4096);
    let consumer = place.consumer(&producer);
    assert!(!consumer.has_proof(&[7; 16]).unwrap());
    producer.prove([7; 16]);
    assert!(consumer.has_proof(&[7; 16]).unwrap());
    assert!(!consumer.has_proof(&[8; 16]).unwrap());
    assert_eq!(consumer.owner(), rustix::process::geteuid().as_raw());
    assert_eq!((consumer.name(), consumer.capacity()), (producer.name(), 4096));
}

#[test]
fn the_producer_sees_whether_the_consumer_sleeps() {
    let place = Place::new();
    let producer = place.producer(4096);
    let consumer = place.consumer(&producer);
    for yes in [false, true, false] {
        consumer.set_sleeping(yes).unwrap();
        assert_eq!(producer.consumer_sleeps(), yes);
    }
}

#[test]
fn a_capacity_is_rounded_up_and_kept_within_its_limits() {
    let place = Place::new();
    for (asked, given) in [
        (0, 4096),
        (1, 4096),
        (4097, 8192),
        (1 << 20, 1 << 20),
        (usize::MAX, 64 << 20),
    ] {
        match Producer::create(&place.directory(), 1, asked) {
            Ok(producer) => {
                assert_eq!(producer.capacity(), given);
                producer.remove(&place.directory());
            }
            Err(CreateError::NoSpace { .. }) if asked == usize::MAX => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn directories_of_other_users_and_other_names_are_told_apart() {
    let place = Place::new();
    let uid = place.directory().uid();
    for name in [
        "logserv-7",
        "logserv-007",
        "logserv-x",
        "logserv-4294967296",
        "other-8",
        "logserv-",
    ] {
        std::fs::create_dir(place.base().join(name)).unwrap();
    }
    let mut users = Directory::users_at(place.base()).unwrap();
    users.sort_unstable();
    let mut expected = vec![7, uid];
    expected.sort_unstable();
    assert_eq!(users, expected);
    assert!(Directory::open_at(place.base(), 8).unwrap().is_none());
    std::fs::write(place.directory().location().join("state-0000000000000000"), "").unwrap();
    assert_eq!(place.directory().rings().unwrap(), []);
}

#[test]
fn a_ring_whose_name_cannot_be_removed_is_left_empty() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let mut producer = place.producer(4096);
    let mut consumer = place.consumer(&producer);
    for number in 0..5 {
        assert!(producer.push(&record(number)));
    }
    assert_eq!(read_some(&mut consumer, 0).unwrap(), [record(0)]);
    consumer.publisher().publish(consumer.position(), 1).unwrap();
    drop(consumer);
    let unread = producer.unread();
    assert_eq!(unread, (1..5).flat_map(record).collect::<Vec<u8>>());
    let name = producer.name().clone();
    // As after a change of the user: the directory is another's now.
    producer.remove(&elsewhere.directory());
    let mut later = Consumer::open(&place.directory(), &name).unwrap();
    assert_eq!(drain(&mut later).unwrap(), [[0_u8; 0]; 0]);
    place.directory().remove(&name).unwrap();
}
