//! The cases: each does its work for so many records and says how long that took, without what it set up.
//!
//! Deterministic but for the clock: the same instructions each time. All use the same record: four arguments, 85 characters of message.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use logserv_disk::{FileClass, FileSettings, LogFile, Mark, Roots, Rotation};
use logserv_format::{Formatter, Specification, TimeCache};
use logserv_ring::{Consumer, Directory, Producer};
use logserv_wire::pickle::{self, Conversion, Unpickler};
use logserv_wire::record::Record;

type Outcome = Result<Duration, Box<dyn Error>>;
type Case = fn(u64) -> Outcome;

/// All cases by name.
pub const CASES: &[(&str, Case)] = &[
    ("wire: encode", encode),
    ("wire: decode", decode),
    ("ring: push and read", ring),
    ("pickle: read to record", pickle_read),
    ("pickle: write", pickle_write),
    ("format: message alone", |count| format(r#"{}"#, count)),
    ("format: % with time", |count| format(PERCENT, count)),
    ("format: % with caller", |count| format(CALLER, count)),
    ("format: { with time", |count| format(BRACE, count)),
    ("format: $ with time", |count| format(DOLLAR, count)),
    ("format: JSON", |count| format(JSON, count)),
    ("format: % supported?", |count| supports(PERCENT, count)),
    ("sink: append, write", |count| sink(0, count)),
    ("sink: append, write, rotate", |count| sink(1 << 20, count)),
    ("server: ring to file", server),
];

const PERCENT: &str = r#"{"fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"}"#;
const CALLER: &str =
    r#"{"fmt": "%(asctime)s %(levelname)-7s %(name)s %(filename)s:%(lineno)d %(funcName)s: %(message)s"}"#;
const BRACE: &str = r#"{"fmt": "{asctime} {levelname:<7} {name}: {message}", "style": "{"}"#;
const DOLLAR: &str = r#"{"fmt": "$asctime $levelname $name: $message", "style": "$"}"#;
const JSON: &str = r#"{"json": {"fields": ["asctime", "levelname", "name", "message", "process"]}}"#;

/// What a `SocketHandler` of CPython 3.13 sends of such a record, without the length before it.
const PICKLE: &[u8] = include_bytes!("record.pickle");

/// Records of one batch: between a server's looks into a ring.
const BATCH: u64 = 1_000;
const RING_BYTES: usize = 1 << 20;
/// Copied out of a ring at once, as the server does.
const READ_BYTES: usize = 2 << 10;

const MESSAGE: &str = "p=3 t=0 n=123456 kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

fn record() -> Record<'static> {
    Record {
        level_no: 20,
        created: 1_700_000_000.123_456,
        msecs: 123.0,
        relative_created: 5_123.456,
        line_no: 57,
        thread: Some(140_123_456_789_000),
        process: Some(4_711),
        utc_offset_s: Some(3_600),
        name: Some("bench.shop.cart"),
        message: Some(MESSAGE),
        level_name: Some("INFO"),
        file_name: Some("cart.py"),
        func_name: Some("added"),
        ..Record::default()
    }
}

fn encoded() -> Vec<u8> {
    let mut bytes = Vec::new();
    record().encode(&mut bytes);
    bytes
}

fn timed(count: u64, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        work();
    }
    start.elapsed()
}

fn encode(count: u64) -> Outcome {
    let record = record();
    let mut bytes = Vec::with_capacity(1024);
    Ok(timed(count, || {
        bytes.clear();
        black_box(&record).encode(&mut bytes);
        black_box(&bytes);
    }))
}

fn decode(count: u64) -> Outcome {
    let bytes = encoded();
    Ok(timed(count, || {
        let _ = black_box(Record::decode(black_box(&bytes)));
    }))
}

/// A memory of this case's own: nobody else's server finds the ring.
struct Memory {
    directory: Directory,
    _base: tempfile::TempDir,
}

impl Memory {
    fn new() -> Result<Self, Box<dyn Error>> {
        let base = tempfile::tempdir_in("/dev/shm")?;
        Ok(Self {
            directory: Directory::ensure_at(base.path())?,
            _base: base,
        })
    }
}

fn ring(count: u64) -> Outcome {
    let memory = Memory::new()?;
    let mut producer = Producer::create(&memory.directory, 0, RING_BYTES)?;
    let mut consumer = Consumer::open(&memory.directory, producer.name())?;
    let publisher = consumer.publisher();
    let record = encoded();
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        for _ in 0..batch {
            black_box(producer.push(black_box(&record)));
            black_box(producer.consumer_sleeps());
        }
        left -= batch;
        while consumer.poll()? > 0 {
            entries.clear();
            bytes.clear();
            consumer.read(256 << 10, &mut entries, &mut bytes)?;
            publisher.publish(consumer.position(), 0)?;
        }
    }
    let took = start.elapsed();
    producer.remove(&memory.directory);
    Ok(took)
}

fn pickle_read(count: u64) -> Outcome {
    let mut unpickler = Unpickler::new();
    let conversion = Conversion::default();
    let mut out = Vec::with_capacity(4096);
    unpickler.to_record(PICKLE, &conversion, &mut out)?;
    Ok(timed(count, || {
        out.clear();
        let _ = black_box(unpickler.to_record(black_box(PICKLE), &conversion, &mut out));
    }))
}

fn pickle_write(count: u64) -> Outcome {
    let record = record();
    let mut out = Vec::with_capacity(4096);
    Ok(timed(count, || {
        out.clear();
        pickle::write(black_box(&record), &mut out);
        black_box(&out);
    }))
}

fn compiled(specification: &str) -> Result<Formatter, Box<dyn Error>> {
    Ok(Formatter::compile(&Specification::from_json(specification)?)?)
}

fn format(specification: &str, count: u64) -> Outcome {
    let formatter = compiled(specification)?;
    let mut record = record();
    let mut clock = TimeCache::new();
    let mut line = String::with_capacity(1024);
    formatter.render(&record, &mut clock, &mut line)?;
    let mut number = 0_u32;
    Ok(timed(count, || {
        // Records of the same second mostly, as from a busy process: 100,000 in each.
        number += 1;
        record.created = 1_700_000_000.0 + f64::from(number) * 1e-5;
        record.msecs = f64::from(number / 100 % 1_000);
        line.clear();
        let _ = black_box(formatter.render(black_box(&record), &mut clock, &mut line));
    }))
}

fn supports(specification: &str, count: u64) -> Outcome {
    let formatter = compiled(specification)?;
    let record = record();
    Ok(timed(count, || {
        black_box(formatter.supports(black_box(&record)).is_yes());
    }))
}

/// A file in a directory of its own, below the system's temporary directory.
fn log_file(max_bytes: u64) -> Result<(LogFile, tempfile::TempDir), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let filename = directory.path().join("bench.log").display().to_string();
    let mut settings = FileSettings::new(FileClass::Rotating, &filename);
    settings.rotation = Rotation::Size {
        max_bytes,
        backup_count: 2,
    };
    // Not a root's file: valgrind does not know the system call by which those are opened, openat2.
    let location = Roots::unrestricted().locate(&filename)?;
    Ok((LogFile::open(location, settings)?, directory))
}

fn sink(max_bytes: u64, count: u64) -> Outcome {
    let (mut file, _directory) = log_file(max_bytes)?;
    let line = format!("2023-11-14 22:13:20,123 INFO bench.shop.cart: {MESSAGE}\n");
    let start = Instant::now();
    for number in 0..count {
        file.append(black_box(&line), 1_700_000_000.0, Mark::default())?;
        if number % BATCH == BATCH - 1 {
            file.commit()?;
        }
    }
    file.commit()?;
    Ok(start.elapsed())
}

/// All that a writer does with a record of a ring, but for the declaration of its writes.
fn server(count: u64) -> Outcome {
    let memory = Memory::new()?;
    let mut producer = Producer::create(&memory.directory, 0, RING_BYTES)?;
    let mut consumer = Consumer::open(&memory.directory, producer.name())?;
    consumer.watch();
    let publisher = consumer.publisher();
    let (mut file, _directory) = log_file(0)?;
    let formatter = compiled(PERCENT)?;
    let mut clock = TimeCache::new();
    let record = encoded();
    let (mut entries, mut bytes, mut line) = (Vec::new(), Vec::new(), String::new());
    let mut took = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        for _ in 0..batch {
            black_box(producer.push(&record));
        }
        left -= batch;
        let start = Instant::now();
        while consumer.poll()? > 0 {
            entries.clear();
            bytes.clear();
            consumer.read(READ_BYTES, &mut entries, &mut bytes)?;
            for entry in &entries {
                let found = bytes
                    .get(entry.start..entry.start + entry.len)
                    .unwrap_or_default();
                let mut record = Record::default();
                record.decode_into(found)?;
                line.clear();
                formatter.render(&record, &mut clock, &mut line)?;
                line.push('\n');
                file.append(&line, record.created, Mark::default())?;
            }
        }
        file.commit()?;
        publisher.publish(consumer.position(), 0)?;
        took += start.elapsed();
    }
    producer.remove(&memory.directory);
    Ok(took)
}
