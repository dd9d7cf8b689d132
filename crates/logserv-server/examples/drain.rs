//! What a record costs the server from the ring to the file, beside `write(2)` of the same bytes:
//!
//! `cargo run --release -p logserv-server --example drain [-- DIRECTORY [ROUNDS [MEBIBYTES]]]`
//!
//! A server in this process, with a real socket, real rings of the default size and a real file below DIRECTORY, gets records
//! from one thread as fast as it takes them. Their cost is the processor time of the file's writer thread; what the others do,
//! who look for rings of dead processes, depends on what else happens on the machine. In each round the same bytes are then
//! written by `write(2)` from memory, 1 MiB at a time, into another new file. Processor time, and not the clock, so that neither
//! other programs nor the disk's own pace count. Out: medians over the rounds, and their ratio.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that cannot go on shall fail"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logserv_ring::{Directory, META_FORMATTER, META_OPEN, Producer, key_of, unix_address};
use logserv_server::{Config, Control, Listeners, Server};
use logserv_wire::frame::{Frame, Level, decode_first};
use logserv_wire::record::Record;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const FORMAT: &str = "%(asctime)s %(levelname)s %(process)d %(name)s:%(lineno)d %(message)s";
/// Bytes of a ring, as clients make them.
const RING_LEN: usize = 1 << 20;
/// Bytes of one `write(2)` of the ready bytes: the largest that is worth it.
const WRITE_LEN: usize = 1 << 20;
/// Where `created` stands in a record.
const CREATED_AT: std::ops::Range<usize> = 16..24;
/// Seconds from one record to the next.
const STEP_S: f64 = 10e-6;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds = arguments.next().map_or(7, |text| text.parse().unwrap());
    let len: usize = arguments.next().map_or(64, |text| text.parse().unwrap());
    let place = tempfile::tempdir_in(directory).unwrap();
    let server = Running::start(place.path());
    println!("message rings  line |   drain+format+write     | write(2), ready |  drain / write(2)");
    println!("bytes          B    | s/1M rec.  M rec/s  MB/s |            MB/s | median (least..most)");
    for message_len in [10, 60, 400] {
        for rings in [1, 4, 16] {
            let mut all: Vec<Round> = (0..rounds)
                .map(|_| round(&server, place.path(), message_len, rings, len << 20))
                .collect();
            report(message_len, rings, &mut all);
        }
    }
}

/// What one round has taken.
struct Round {
    records: f64,
    bytes: f64,
    drain_s: f64,
    write_s: f64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.write_s / self.drain_s
    }
}

fn report(message_len: usize, rings: usize, rounds: &mut [Round]) {
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (first, seconds) = (&rounds[0], median(&|round| round.drain_s));
    let (line, per_million) = (first.bytes / first.records, seconds / first.records * 1e6);
    let (rate, drained) = (first.records / seconds / 1e6, first.bytes / seconds / 1e6);
    let (written, ratio) = (
        first.bytes / median(&|round| round.write_s) / 1e6,
        median(&Round::ratio),
    );
    rounds.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    let (least, most) = (rounds[0].ratio(), rounds[rounds.len() - 1].ratio());
    println!(
        "{message_len:7} {rings:5} {line:5.0} | {per_million:9.4} {rate:8.2} {drained:6.0} | {written:15.0} | \
         {ratio:.2} ({least:.2}..{most:.2})"
    );
}

fn round(server: &Running, place: &Path, message_len: usize, rings: usize, len: usize) -> Round {
    let name = "drained.log";
    let mut producers: Vec<Producer> = (0..rings).map(|_| server.ring(name)).collect();
    let mut clients: Vec<Client> = producers
        .iter_mut()
        .map(|producer| Client::attached(server, producer, name))
        .collect();
    let mut bytes = Vec::new();
    Record {
        formatter: 1,
        level_no: 20,
        msecs: 250.0,
        line_no: 142,
        process: Some(12345),
        utc_offset_s: Some(0),
        name: Some("app.db.session"),
        level_name: Some("INFO"),
        message: Some(&"m".repeat(message_len)),
        ..Record::default()
    }
    .encode(&mut bytes);
    let records = len / (message_len + 60);
    let before = writer_s();
    let mut created = 1_700_000_000.0_f64;
    for number in 0..records {
        bytes[CREATED_AT].copy_from_slice(&created.to_le_bytes());
        created += STEP_S;
        let ring = number % rings;
        if !producers[ring].push(&bytes) {
            while !producers[ring].push(&bytes) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        if number == 0 {
            clients.iter_mut().for_each(|client| client.send(&Frame::Wake));
        }
    }
    clients.iter_mut().for_each(|client| assert!(client.flush()));
    let drain_s = writer_s() - before;
    drop((clients, producers));
    let file = place.join("logs").join(name);
    let written = fs::read(&file).unwrap();
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), records);
    assert!(written.starts_with(b"2023-11-14 22:13:20,250 INFO 12345 app.db.session:142 mmm"));
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(0)
        .unwrap(); // or the writer would pay for it, when it closes it
    server.forget(&file);
    let copy = place.join("copy");
    let mut out = File::create(&copy).unwrap();
    let start = own_s();
    for part in written.chunks(WRITE_LEN) {
        out.write_all(part).unwrap();
    }
    let write_s = own_s() - start;
    fs::remove_file(copy).unwrap();
    Round {
        records: records as f64,
        bytes: written.len() as f64,
        drain_s,
        write_s,
    }
}

/// Processor time of this thread.
fn own_s() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Processor time of the writer's thread, which waits for records at this moment.
fn writer_s() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let writers = tasks.filter(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with("logserv-writer")
    });
    let ns = writers.map(|task| {
        let times = fs::read_to_string(task.path().join("schedstat")).unwrap();
        times.split(' ').next().unwrap().parse::<f64>().unwrap()
    });
    ns.sum::<f64>() * 1e-9
}

/// A server, for as long as this process lives.
struct Running {
    socket: PathBuf,
}

impl Running {
    fn start(place: &Path) -> Self {
        let socket = place.join("s.sock");
        let mut config = Config::default();
        config.listen.unix = vec![socket.clone()];
        let root = place.join("logs");
        fs::create_dir(&root).unwrap();
        config.sink.roots = vec![root];
        let listeners = Listeners::bind(&config.listen, false).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let control = Control::default();
            runtime.block_on(async {
                let server = Server::start(&config, listeners, &control).await.unwrap();
                server.serve().await;
            });
        });
        Self { socket }
    }

    fn ring(&self, filename: &str) -> Producer {
        let key = key_of(&unix_address(&self.socket));
        let mut producer = Producer::create(&Directory::ensure().unwrap(), key, RING_LEN).unwrap();
        let open = open_json(filename).to_string();
        assert!(producer.append_meta(META_OPEN, &[open.as_bytes()]));
        let formatter = json!({"fmt": FORMAT}).to_string();
        assert!(producer.append_meta(META_FORMATTER, &[&1_u32.to_le_bytes(), formatter.as_bytes()]));
        producer
    }

    /// Has the next round begin with a file of its own, and with none of this one's rings.
    fn forget(&self, file: &Path) {
        fs::remove_file(file).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        let key = format!("{:016x}", key_of(&unix_address(&self.socket)));
        let directory = Directory::path_of(rustix::process::geteuid().as_raw());
        let is_ours = |name: &std::ffi::OsStr| name.to_string_lossy().contains(&key);
        while fs::read_dir(&directory)
            .unwrap()
            .flatten()
            .any(|each| is_ours(&each.file_name()))
        {
            assert!(Instant::now() < end, "the rings of the last round stay");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn open_json(filename: &str) -> Value {
    json!({
        "handler": "logging.FileHandler",
        "arguments": {"filename": filename},
        "configured_at_s": 1.0,
    })
}

/// The connection of one ring.
struct Client {
    stream: UnixStream,
    inbox: Vec<u8>,
}

impl Client {
    fn attached(server: &Running, producer: &mut Producer, filename: &str) -> Self {
        let stream = UnixStream::connect(&server.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Self {
            stream,
            inbox: Vec::new(),
        };
        client.stream.write_all(b"HELLO 2.0\n").unwrap();
        client.stream.read_exact(&mut [0; 10]).unwrap();
        let mut open = open_json(filename);
        open["session"] = format!("{:032x}", u128::from_be_bytes(producer.name().id.0)).into();
        let uid = rustix::process::geteuid().as_raw();
        open["ring"] = json!({"name": producer.name().to_string(), "uid": uid});
        client.send(&Frame::Open {
            json: &open.to_string(),
        });
        let welcome: Value = client.receive(|frame| match frame {
            Frame::Welcome { json } => serde_json::from_str(json).unwrap(),
            other => panic!("{other:?}"),
        });
        let challenge = welcome["ring"]["challenge"].as_str().unwrap();
        producer.prove(u128::from_str_radix(challenge, 16).unwrap().to_be_bytes());
        client.send(&Frame::Attach);
        assert!(client.receive(|frame| frame == Frame::Attached { ok: true }));
        client
    }

    fn flush(&mut self) -> bool {
        let level = Level::Written;
        self.send(&Frame::Flush { token: 7, level });
        self.receive(|frame| matches!(frame, Frame::Done { token: 7, ok: true }))
    }

    fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    fn receive<T>(&mut self, read: impl Fn(Frame<'_>) -> T) -> T {
        loop {
            if let Some((frame, len)) = decode_first(&self.inbox).unwrap() {
                let result = read(frame.unwrap());
                self.inbox.drain(..len);
                return result;
            }
            let mut buffer = [0; 4096];
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the server has closed the connection");
            self.inbox.extend_from_slice(&buffer[..len]);
        }
    }
}
