//! A server with a real socket and real memory, and clients that have rings.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall fail"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use logserv_ring::{Directory, META_OPEN, Producer, RingName, key_of, unix_address};
use logserv_server::{Config, Control, Listeners, Server};
use logserv_wire::frame::{Frame, Level, decode_first};
use logserv_wire::record::Record;
use serde_json::{Value, json};

/// A server in a directory of its own, with a runtime of its own.
pub struct World {
    pub directory: tempfile::TempDir,
    /// After how long without a client it leaves; `None` is never.
    pub idle_exit: Option<Duration>,
    running: Option<Running>,
}

struct Running {
    control: Control,
    thread: std::thread::JoinHandle<()>,
}

impl World {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            idle_exit: None,
            running: None,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s.sock")
    }

    pub fn start(&mut self) {
        let mut config = Config::default();
        config.listen.unix = vec![self.socket()];
        let root = self.directory.path().join("logs");
        fs::create_dir_all(&root).unwrap();
        config.sink.roots = vec![root];
        config.server.idle_exit = self.idle_exit;
        let listeners = Listeners::bind(&config.listen, false).unwrap();
        let control = Control::default();
        let thread = std::thread::spawn({
            let control = control.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    Server::start(&config, listeners, &control)
                        .await
                        .unwrap()
                        .serve()
                        .await;
                });
            }
        });
        self.running = Some(Running { control, thread });
    }

    /// Whether it has left by itself.
    pub fn has_left(&self) -> bool {
        self.running
            .as_ref()
            .is_none_or(|running| running.thread.is_finished())
    }

    pub fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.control.drain();
        running.thread.join().unwrap();
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("logs").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A ring for `filename`, as a client of this server makes it.
    pub fn ring(&self, filename: &str) -> Producer {
        self.ring_in(&Directory::ensure().unwrap(), filename)
    }

    /// The same in another directory than that in which a server of this user looks.
    pub fn ring_in(&self, directory: &Directory, filename: &str) -> Producer {
        let mut producer = Producer::create(directory, self.key(), 1 << 20).unwrap();
        describe(&mut producer, filename);
        producer
    }

    /// One that is passed.
    pub fn sealed_ring(&self, filename: &str) -> (Producer, OwnedFd) {
        let (mut producer, file) = Producer::create_sealed(self.key(), 1 << 20).unwrap();
        describe(&mut producer, filename);
        (producer, file)
    }

    fn key(&self) -> u64 {
        key_of(&unix_address(&self.socket()))
    }
}

fn describe(producer: &mut Producer, filename: &str) {
    let open = json!({
        "handler": "logging.FileHandler",
        "arguments": {"filename": filename},
        "configured_at_s": 1.0,
    });
    assert!(producer.append_meta(META_OPEN, &[open.to_string().as_bytes()]));
}

impl Drop for World {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
    }
}

pub fn is_there(name: &RingName) -> bool {
    path_of(name).exists()
}

/// The file of a ring of this user.
pub fn path_of(name: &RingName) -> PathBuf {
    Directory::path_of(rustix::process::geteuid().as_raw()).join(name.to_string())
}

pub fn push(producer: &mut Producer, message: &str, created: f64, formatter: u32) {
    let mut bytes = Vec::new();
    Record {
        message: Some(message),
        level_no: 20,
        created,
        formatter,
        ..Record::default()
    }
    .encode(&mut bytes);
    assert!(producer.push(&bytes));
}

/// A client that speaks 2.0 and has a ring.
pub struct Client {
    pub stream: UnixStream,
    inbox: Vec<u8>,
}

impl Client {
    /// Opens a session with the ring; returns the Welcome's JSON, too.
    pub fn open(world: &World, producer: &Producer, filename: &str) -> (Self, Value) {
        let stream = UnixStream::connect(world.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut client = Self {
            stream,
            inbox: Vec::new(),
        };
        client.stream.write_all(b"HELLO 2.0\n").unwrap();
        let mut hello = [0; 10];
        client.stream.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"HELLO 2.0\n");
        let open = json!({
            "session": format!("{:032x}", u128::from_be_bytes(producer.name().id.0)),
            "handler": "logging.FileHandler",
            "arguments": {"filename": filename},
            "configured_at_s": 1.0,
            "ring": {"name": producer.name().to_string(), "uid": rustix::process::geteuid().as_raw()},
        })
        .to_string();
        client.send(&Frame::Open { json: &open });
        let welcome = client.receive(|frame| match frame {
            Frame::Welcome { json } => serde_json::from_str(json).unwrap(),
            other => panic!("{other:?}"),
        });
        (client, welcome)
    }

    /// Opens, proves and attaches.
    pub fn attached(world: &World, producer: &mut Producer, filename: &str) -> Self {
        let (mut client, welcome) = Self::open(world, producer, filename);
        let challenge = welcome["ring"]["challenge"].as_str().expect("an offer");
        producer.prove(u128::from_str_radix(challenge, 16).unwrap().to_be_bytes());
        assert!(client.attach());
        client
    }

    pub fn attach(&mut self) -> bool {
        self.send(&Frame::Attach);
        self.receive(|frame| match frame {
            Frame::Attached { ok } => ok,
            other => panic!("{other:?}"),
        })
    }

    pub fn flush(&mut self) -> bool {
        self.send(&Frame::Flush {
            token: 7,
            level: Level::Written,
        });
        self.receive(|frame| match frame {
            Frame::Done { token: 7, ok } => ok,
            other => panic!("{other:?}"),
        })
    }

    pub fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn receive<T>(&mut self, read: impl Fn(Frame<'_>) -> T) -> T {
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
