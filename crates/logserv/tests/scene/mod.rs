//! Servers as processes of their own, and clients that speak to them in bytes.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on shall fail"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use logserv_wire::frame::{Frame, Level, decode_first};
use logserv_wire::pickle;
use logserv_wire::record::Record;
use rustix::process::{Pid, Signal, kill_process};

/// The program under test.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_logserv"))
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = program().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Waits for something to become true; says what if it does not.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory for one test: sockets, root, the servers' logs.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts a server on the socket `s.sock` with the place as its root, and waits until it says so.
    pub fn serve(&self, more: &[&str]) -> Server {
        let mut command = program();
        command
            .arg("serve")
            .arg("--unix")
            .arg(self.path("s.sock"))
            .arg("--root")
            .arg(self.0.path())
            .args(more);
        self.start(command)
    }

    pub fn start(&self, mut command: Command) -> Server {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.path(&format!("server-{number}.stderr"));
        let child = command
            .stderr(File::create(&log).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server {
            child,
            log,
            socket: self.path("s.sock"),
        };
        eventually("the server is ready", || {
            assert!(server.child.try_wait().unwrap().is_none(), "{}", server.log());
            server.log().contains("listens on")
        });
        server
    }
}

/// A running server; killed at the end of the test.
pub struct Server {
    pub child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Server {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server has left", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Drains it, and holds it to its promise.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.end();
        assert_eq!(
            (status.code(), status.signal()),
            (Some(0), None),
            "{}",
            self.log()
        );
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Opens a session of protocol 2.0 for a plain file.
    pub fn session(&self, filename: &str) -> Session {
        let mut session = Session {
            stream: self.connect(),
            received: Vec::new(),
            next_seq: 1,
        };
        session.stream.write_all(b"HELLO 2.0\n").unwrap();
        let id: [u8; 16] = std::array::from_fn(|_| rand_byte());
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let filename = serde_json::Value::from(filename);
        let json = format!(
            r#"{{"session":"{id}","handler":"logging.FileHandler","arguments":{{"filename":{filename}}},"configured_at_s":1.0}}"#
        );
        session.write(&Frame::Open { json: &json });
        session
    }

    /// What `logserv status --json` says.
    pub fn status(&self) -> serde_json::Value {
        let (code, text, error) = run(&["status", "--json", "--unix", self.socket.to_str().unwrap()]);
        assert_eq!(code, 0, "{error}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of protocol 2.0.
pub struct Session {
    pub stream: UnixStream,
    received: Vec<u8>,
    next_seq: u64,
}

impl Session {
    fn write(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Sends records with these messages; does not wait.
    pub fn send(&mut self, messages: &[String]) {
        let mut records = Vec::new();
        for message in messages {
            Record {
                message: Some(message),
                level_no: 20,
                created: 1e9,
                ..Record::default()
            }
            .encode(&mut records);
        }
        let count = u32::try_from(messages.len()).unwrap();
        let first_seq = self.next_seq;
        self.next_seq += u64::from(count);
        self.write(&Frame::Batch {
            first_seq,
            count,
            records: &records,
        });
    }

    /// Waits until everything sent is acknowledged as written.
    pub fn written(&mut self) {
        while self.next_ack() < self.next_seq - 1 {}
    }

    /// The next acknowledgement; skips the rest.
    fn next_ack(&mut self) -> u64 {
        loop {
            let mut line = 0;
            if self.received.starts_with(b"HELLO") {
                let Some(end) = self.received.iter().position(|byte| *byte == b'\n') else {
                    self.read();
                    continue;
                };
                line = end + 1;
            }
            self.received.drain(..line);
            match decode_first(&self.received).unwrap() {
                Some((frame, len)) => {
                    let ack = match frame {
                        Some(Frame::Ack {
                            seq,
                            level: Level::Written,
                        }) => Some(seq),
                        Some(Frame::Error { json }) => panic!("{json}"),
                        _ => None,
                    };
                    self.received.drain(..len);
                    if let Some(seq) = ack {
                        return seq;
                    }
                }
                None => self.read(),
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        let len = self.stream.read(&mut buffer).unwrap();
        assert!(len > 0, "the server has closed the connection");
        self.received.extend_from_slice(&buffer[..len]);
    }
}

/// What a `SocketHandler` sends for one record.
pub fn socket_handler_frame(message: &str) -> Vec<u8> {
    let record = Record {
        name: Some("n"),
        message: Some(message),
        level_no: 20,
        created: 1e9,
        ..Record::default()
    };
    let mut pickled = Vec::new();
    pickle::write(&record, &mut pickled);
    let mut frame = u32::try_from(pickled.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(pickled);
    frame
}

fn rand_byte() -> u8 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
        .to_le_bytes()[0]
}

/// The path as an argument.
pub fn argument(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Processor time of a process so far, in clock ticks of 10 ms.
pub fn ticks(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: state, …; user and system time are the 12th and 13th.
    let fields = text.rsplit(')').next().unwrap().split_ascii_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
}
