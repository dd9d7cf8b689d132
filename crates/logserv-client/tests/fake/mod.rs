//! A model of the server for the tests: protocol 2.0 as PROTOCOL.md has it, and the servers of 2013 with their quirks.
//!
//! In: a [`Script`] of faults. Out: the records it has accepted, once each, as a server's file would have them.
#![allow(dead_code, reason = "each test file uses a part of this model")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a model in a test: whatever is unexpected fails the test"
)]

pub mod child;
mod rings;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use logserv_client::{Address, RingPlace, SessionConfig};
use logserv_ring::RingName;
use logserv_wire::frame::{Frame, Level, decode_first};
use logserv_wire::pickle::Unpickler;
use logserv_wire::record::{Record, split_first};
use serde_json::{Map, Value, json};

use rings::Rings;
#[allow(unused_imports, reason = "each test file uses a part of this model")]
pub use rings::{content, rings_of};

/// What the server is to do, changed at any time.
#[derive(Debug, Default)]
pub struct Script {
    /// Ends the next connections after so many bytes have come, or gone.
    pub cut_after_received: VecDeque<usize>,
    pub cut_after_sent: VecDeque<usize>,
    /// Answers Open with this Error.
    pub refuse: Option<Value>,
    /// Takes no notice of anything.
    pub is_mute: bool,
    /// Reads nothing.
    pub is_stuck: bool,
    /// Keeps acknowledgements of level 2 back.
    pub withholds_acks: bool,
    /// Answers Flush with no.
    pub says_no: bool,
    pub record_max_bytes: Option<usize>,
    /// Takes the rings that are offered.
    pub takes_rings: bool,
    /// Challenges the rings that are offered, and then takes none.
    pub denies_rings: bool,
    /// Finds no ring by its name: they must be passed.
    pub is_stranger: bool,
    /// Reads no ring.
    pub holds_rings: bool,
}

/// What the server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Highest number accepted, by session.
    pub sessions: HashMap<String, u64>,
    /// Accepted records, in order.
    pub records: Vec<Vec<u8>>,
    /// The JSON of every Open.
    pub opens: Vec<Value>,
    pub formatters: Vec<(u32, String)>,
    pub rollovers: Vec<usize>,
    pub flushes: usize,
    pub closes: usize,
    pub connections: usize,
    /// Connections that were cut by the script.
    pub cuts: usize,
    pub violations: Vec<String>,
    /// Rings taken, and words to their readers.
    pub attached: usize,
    /// Descriptors that came with Attach.
    pub passed: usize,
    pub wakes: usize,
    /// Records that came through rings, and the descriptions found in them.
    pub through_rings: usize,
    pub described: Vec<Value>,
    /// Lines of the conversation in 1.0.
    pub lines: Vec<String>,
}

impl Seen {
    pub fn messages(&self) -> Vec<String> {
        let message = |bytes: &Vec<u8>| Record::decode(bytes).unwrap().0.message.unwrap().to_owned();
        self.records.iter().map(message).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Two,
    /// 1.0, and FORMAT works.
    One,
    /// The server of 2013.
    Ancient,
}

pub struct Fake {
    pub address: Address,
    pub script: Arc<Mutex<Script>>,
    pub seen: Arc<Mutex<Seen>>,
    stop: Arc<Mutex<bool>>,
    open: Arc<Mutex<Vec<Conn>>>,
    rings: Arc<Rings>,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

enum Conn {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Conn {
    fn read(&mut self, into: &mut [u8], passed: &mut Option<OwnedFd>) -> io::Result<usize> {
        match self {
            Conn::Unix(stream) => rings::receive(stream, into, passed),
            Conn::Tcp(stream) => stream.read(into),
        }
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Conn::Unix(stream) => stream.write_all(bytes),
            Conn::Tcp(stream) => stream.write_all(bytes),
        }
    }
    fn shutdown(&self) {
        let _ = match self {
            Conn::Unix(stream) => stream.shutdown(Shutdown::Both),
            Conn::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
    fn again(&self) -> Conn {
        match self {
            Conn::Unix(stream) => Conn::Unix(stream.try_clone().unwrap()),
            Conn::Tcp(stream) => Conn::Tcp(stream.try_clone().unwrap()),
        }
    }
}

static NEXT_PATH: AtomicU64 = AtomicU64::new(0);

/// A name for a socket that no other test has.
pub fn socket_path() -> PathBuf {
    let number = NEXT_PATH.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("logserv-client-{}-{number}.sock", std::process::id()))
}

impl Fake {
    pub fn unix() -> Fake {
        Fake::unix_at(&socket_path(), Speaks::Two)
    }

    pub fn unix_at(path: &Path, speaks: Speaks) -> Fake {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        Fake::start(Listener::Unix(listener), Address::Unix(path.to_owned()), speaks)
    }

    pub fn tcp() -> Fake {
        Fake::tcp_at(0, Speaks::Two)
    }

    pub fn tcp_at(port: u16, speaks: Speaks) -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Fake::start(
            Listener::Tcp(listener),
            Address::Tcp {
                host: "127.0.0.1".into(),
                port,
            },
            speaks,
        )
    }

    fn start(listener: Listener, address: Address, speaks: Speaks) -> Fake {
        let (script, seen) = (Arc::default(), Arc::default());
        let fake = Fake {
            address,
            rings: Rings::start(Arc::clone(&script), Arc::clone(&seen)),
            script,
            seen,
            stop: Arc::default(),
            open: Arc::default(),
        };
        let rings = Arc::clone(&fake.rings);
        let (script, seen) = (Arc::clone(&fake.script), Arc::clone(&fake.seen));
        let (stop, open) = (Arc::clone(&fake.stop), Arc::clone(&fake.open));
        match &listener {
            Listener::Unix(it) => it.set_nonblocking(true).unwrap(),
            Listener::Tcp(it) => it.set_nonblocking(true).unwrap(),
        }
        std::thread::spawn(move || {
            while !*stop.lock().unwrap() {
                let accepted = match &listener {
                    Listener::Unix(it) => it.accept().map(|(stream, _)| {
                        stream.set_nonblocking(false).unwrap();
                        Conn::Unix(stream)
                    }),
                    Listener::Tcp(it) => it.accept().map(|(stream, _)| {
                        stream.set_nonblocking(false).unwrap();
                        Conn::Tcp(stream)
                    }),
                };
                let Ok(connection) = accepted else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                seen.lock().unwrap().connections += 1;
                open.lock().unwrap().push(connection.again());
                let receive_left = script.lock().unwrap().cut_after_received.pop_front();
                let send_left = script.lock().unwrap().cut_after_sent.pop_front();
                let mut served = Served {
                    connection,
                    script: Arc::clone(&script),
                    seen: Arc::clone(&seen),
                    rings: Arc::clone(&rings),
                    passed: None,
                    receive_left,
                    send_left,
                };
                std::thread::spawn(move || {
                    match speaks {
                        Speaks::Two => served.serve_two(),
                        Speaks::One => served.serve_one(true),
                        Speaks::Ancient => served.serve_one(false),
                    }
                    .unwrap_or_default();
                    served.connection.shutdown();
                });
            }
        });
        fake
    }

    /// Ends the listener and all connections, as a killed server does.
    pub fn kill(&self) {
        *self.stop.lock().unwrap() = true;
        self.rings.kill();
        std::thread::sleep(Duration::from_millis(10));
        self.cut();
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Ends all connections.
    pub fn cut(&self) {
        for connection in self.open.lock().unwrap().drain(..) {
            connection.shutdown();
        }
    }

    pub fn config(&self) -> SessionConfig {
        config(self.address.clone())
    }

    pub fn messages(&self) -> Vec<String> {
        self.seen.lock().unwrap().messages()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Served {
    connection: Conn,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Seen>>,
    rings: Arc<Rings>,
    /// The last descriptor that came.
    passed: Option<OwnedFd>,
    receive_left: Option<usize>,
    send_left: Option<usize>,
}

impl Served {
    /// More bytes; `None` at the end.
    fn receive(&mut self, inbox: &mut Vec<u8>) -> Option<()> {
        while self.script.lock().unwrap().is_stuck {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut buffer = [0; 4096];
        let room = self.receive_left.unwrap_or(buffer.len()).min(buffer.len());
        if room == 0 {
            self.seen.lock().unwrap().cuts += 1;
            return None;
        }
        let len = self
            .connection
            .read(&mut buffer[..room], &mut self.passed)
            .ok()
            .filter(|len| *len > 0)?;
        if let Some(left) = &mut self.receive_left {
            *left -= len;
        }
        inbox.extend_from_slice(&buffer[..len]);
        Some(())
    }

    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        if let Some(left) = &mut self.send_left {
            let len = bytes.len().min(*left);
            let _ = self.connection.write_all(&bytes[..len]);
            *left -= len;
            if len < bytes.len() {
                self.seen.lock().unwrap().cuts += 1;
                return None;
            }
            return Some(());
        }
        self.connection.write_all(bytes).ok()
    }

    fn line(&mut self, inbox: &mut Vec<u8>) -> Option<String> {
        loop {
            if let Some(end) = inbox.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&inbox[..end]).into_owned();
                inbox.drain(..=end);
                self.seen.lock().unwrap().lines.push(line.clone());
                return Some(line);
            }
            self.receive(inbox)?;
        }
    }

    fn serve_two(&mut self) -> Option<()> {
        let mut inbox = Vec::new();
        let hello = self.line(&mut inbox)?;
        assert_eq!(hello, "HELLO 2.0");
        while self.script.lock().unwrap().is_mute {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.send(b"HELLO 2.0\n")?;
        let mut session = String::new();
        let mut formatters = vec![0];
        let mut offered: Option<RingName> = None;
        let challenge: [u8; 16] = std::array::from_fn(|n| (self.seen.lock().unwrap().connections + n) as u8);
        let mut is_attached = false;
        loop {
            let mut at = 0;
            loop {
                let decoded = decode_first(&inbox[at..]).unwrap();
                let Some((frame, len)) = decoded else { break };
                at += len;
                let mut out = Vec::new();
                match frame.unwrap() {
                    Frame::Open { json } => {
                        let open: Value = serde_json::from_str(json).unwrap();
                        session = open["session"].as_str().unwrap().to_owned();
                        offered = open["ring"]["name"].as_str().map(|name| name.parse().unwrap());
                        let script = self.script.lock().unwrap();
                        let mut seen = self.seen.lock().unwrap();
                        seen.opens.push(open);
                        if let Some(error) = &script.refuse {
                            Frame::Error {
                                json: &error.to_string(),
                            }
                            .encode(&mut out);
                            drop((script, seen));
                            self.send(&out);
                            return None;
                        }
                        let written_seq = *seen.sessions.entry(session.clone()).or_default();
                        let mut welcome = json!({"written_seq": written_seq, "server": {"pid": 1}});
                        if let Some(len) = script.record_max_bytes {
                            welcome["record_max_bytes"] = len.into();
                        }
                        if offered.is_some() && (script.takes_rings || script.denies_rings) {
                            let digits: String = challenge.iter().map(|byte| format!("{byte:02x}")).collect();
                            welcome["ring"] = json!({"challenge": digits, "pass": script.is_stranger});
                        }
                        Frame::Welcome {
                            json: &welcome.to_string(),
                        }
                        .encode(&mut out);
                    }
                    Frame::Attach => {
                        let (takes, denies, is_stranger) = {
                            let script = self.script.lock().unwrap();
                            (script.takes_rings, script.denies_rings, script.is_stranger)
                        };
                        let passed = is_stranger.then(|| self.passed.take());
                        self.seen.lock().unwrap().passed += usize::from(passed.iter().flatten().count() > 0);
                        let has_proof =
                            !denies && takes && self.rings.attach(offered.as_ref()?, &challenge, passed);
                        is_attached = has_proof;
                        let mut seen = self.seen.lock().unwrap();
                        seen.attached += usize::from(has_proof);
                        if takes && !denies && !is_stranger && !has_proof {
                            seen.violations.push("no proof".to_owned());
                        }
                        Frame::Attached { ok: has_proof }.encode(&mut out);
                    }
                    Frame::Wake => {
                        let mut seen = self.seen.lock().unwrap();
                        seen.wakes += 1;
                        if !is_attached {
                            seen.violations.push("Wake without a ring".to_owned());
                        }
                        drop(seen);
                        self.rings.wake();
                    }
                    Frame::Batch { .. } if is_attached => {
                        let mut seen = self.seen.lock().unwrap();
                        seen.violations.push("a batch beside the ring".to_owned());
                        return None;
                    }
                    Frame::Formatter { id, json } => {
                        formatters.push(id);
                        self.seen.lock().unwrap().formatters.push((id, json.to_owned()));
                    }
                    Frame::Batch {
                        first_seq,
                        count,
                        records,
                    } => {
                        self.take(&session, first_seq, count, records, &formatters);
                        let script = self.script.lock().unwrap();
                        let seen = self.seen.lock().unwrap();
                        let seq = seen.sessions[&session];
                        Frame::Ack {
                            seq,
                            level: Level::Received,
                        }
                        .encode(&mut out);
                        if !script.withholds_acks {
                            Frame::Ack {
                                seq,
                                level: Level::Written,
                            }
                            .encode(&mut out);
                        }
                    }
                    Frame::Flush { token, .. } => {
                        self.drain(&offered, is_attached);
                        self.seen.lock().unwrap().flushes += 1;
                        let ok = !self.script.lock().unwrap().says_no;
                        Frame::Done { token, ok }.encode(&mut out);
                    }
                    Frame::Rollover { token } => {
                        self.drain(&offered, is_attached);
                        let mut seen = self.seen.lock().unwrap();
                        let count = seen.records.len();
                        seen.rollovers.push(count);
                        Frame::Done { token, ok: true }.encode(&mut out);
                    }
                    Frame::Close => self.seen.lock().unwrap().closes += 1,
                    other => panic!("{other:?}"),
                }
                self.send(&out)?;
            }
            inbox.drain(..at);
            self.receive(&mut inbox)?;
        }
    }

    fn drain(&self, ring: &Option<RingName>, is_attached: bool) {
        if let Some(ring) = ring.as_ref().filter(|_| is_attached)
            && !self.script.lock().unwrap().holds_rings
        {
            self.rings.drain(ring, &self.seen);
        }
    }

    fn take(&self, session: &str, first_seq: u64, count: u32, records: &[u8], formatters: &[u32]) {
        let mut seen = self.seen.lock().unwrap();
        let accepted = seen.sessions[session];
        if first_seq > accepted + 1 {
            seen.violations.push(format!("gap: {first_seq} after {accepted}"));
        }
        let mut rest = records;
        let mut seq = first_seq;
        while !rest.is_empty() {
            let (record, behind) = split_first(rest).unwrap();
            rest = behind;
            let formatter = Record::decode(record).unwrap().0.formatter;
            if !formatters.contains(&formatter) {
                seen.violations.push(format!("unknown formatter {formatter}"));
            }
            if seq > seen.sessions[session] {
                seen.records.push(record.to_vec());
                seen.sessions.insert(session.to_owned(), seq);
            }
            seq += 1;
        }
        if seq != first_seq + u64::from(count) {
            seen.violations.push("count of a batch".to_owned());
        }
    }

    fn serve_one(&mut self, is_conforming: bool) -> Option<()> {
        let mut inbox = Vec::new();
        for expected in ["HELLO ", "IDENTIFY ", "LOG"] {
            let line = self.line(&mut inbox)?;
            if !line.starts_with(expected) || !inbox.is_empty() {
                // As 2013 has it: two lines at once are an error, and the reply has no newline.
                self.seen
                    .lock()
                    .unwrap()
                    .violations
                    .push(format!("{line} {inbox:?}"));
                return self.send(b"ERROR EXPECTED a single-line message, received more");
            }
            let refuse = self.script.lock().unwrap().refuse.clone();
            if let Some(error) = refuse.filter(|_| expected == "IDENTIFY ") {
                self.send(error.as_str().unwrap().as_bytes());
                std::thread::sleep(Duration::from_millis(300));
                return None;
            }
            self.send(if expected == "HELLO " {
                b"HELLO 1.0\n"
            } else {
                b"OK\n"
            })?;
        }
        let mut unpickler = Unpickler::new();
        let mut is_messaging = false;
        loop {
            if inbox.len() < 4 {
                self.receive(&mut inbox)?;
                continue;
            }
            let len = u32::from_be_bytes(inbox[..4].try_into().unwrap()) as usize;
            if len == 0 || is_messaging {
                let mut rest = if is_messaging {
                    inbox.clone()
                } else {
                    inbox[4..].to_vec()
                };
                let line = self.line(&mut rest)?;
                inbox = rest;
                if line == "QUIT" {
                    self.seen.lock().unwrap().closes += 1;
                    return None;
                }
                if line.starts_with("FORMAT ") {
                    self.send(b"OK\n")?;
                } else {
                    self.send(b"ERROR EXPECTED One of 'FORMAT' or 'QUIT', received something")?;
                }
                is_messaging = !is_conforming;
                continue;
            }
            if inbox.len() < 4 + len {
                self.receive(&mut inbox)?;
                continue;
            }
            let mut record = Vec::new();
            unpickler
                .to_record(&inbox[4..4 + len], &Default::default(), &mut record)
                .unwrap();
            inbox.drain(..4 + len);
            self.seen.lock().unwrap().records.push(record);
        }
    }
}

/// A configuration with quiet stderr manners for tests.
pub fn config(address: Address) -> SessionConfig {
    let mut arguments = Map::new();
    arguments.insert("filename".into(), "a.log".into());
    let mut config = SessionConfig::new(address, "logging.handlers.RotatingFileHandler", arguments);
    config.ring_place = RingPlace::Below(ring_base().to_owned());
    config
}

/// Where this process's rings are made: not in the user's own directory, where a real server would find them.
pub fn ring_base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let (shm, prefix) = (Path::new("/dev/shm"), "logserv-client-test-");
        // What earlier tests left that could not clean up.
        for entry in std::fs::read_dir(shm).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(pid) = name.strip_prefix(prefix)
                && !Path::new("/proc").join(pid).exists()
            {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let base = shm.join(format!("{prefix}{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        base
    })
}

/// A record with this message, of the default formatter.
pub fn record(message: &str) -> Vec<u8> {
    record_of(message, 0)
}

pub fn record_of(message: &str, formatter: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record {
        formatter,
        level_no: 20,
        created: 1_700_000_000.0,
        name: Some("app"),
        level_name: Some("INFO"),
        message: Some(message),
        ..Record::default()
    }
    .encode(&mut bytes);
    bytes
}

/// How much later than it is due a call may return on a machine that is busy. What the tests tell apart is further apart.
pub const LATE: Duration = Duration::from_millis(500);

/// Waits until it is so; panics after 30 s.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
