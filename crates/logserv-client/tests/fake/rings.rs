//! How the model of a server reads rings: one thread for all of them, which sleeps on purpose wherever it may.
//!
//! In: rings that clients attach. Out: their records among those seen, once each. A reader that sleeps is not looked at
//! again until it is woken, so that a forgotten Wake shows.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logserv_client::Address;
use logserv_ring::{Consumer, Directory, Entry, META_FORMATTER, META_OPEN, RingName, key_of, unix_address};
use logserv_wire::record::Record;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{Script, Seen, ring_base};

/// How long nothing must have come before the reader sleeps; short, so that it happens in every test.
const IDLE: Duration = Duration::from_millis(30);

/// All rings of a server.
#[derive(Default)]
pub struct Rings {
    open: Mutex<Option<HashMap<RingName, Reader>>>,
}

struct Reader {
    consumer: Consumer,
    consumed: u64,
    formatters: Vec<u32>,
    active: Instant,
    is_asleep: bool,
}

impl Rings {
    pub fn start(script: Arc<Mutex<Script>>, seen: Arc<Mutex<Seen>>) -> Arc<Rings> {
        let _ = ring_base(); // here, and not first in a forked child
        let rings = Arc::new(Rings {
            open: Mutex::new(Some(HashMap::new())),
        });
        let shared = Arc::clone(&rings);
        std::thread::spawn(move || {
            while shared.read_all(&script, &seen) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        rings
    }

    /// Takes a ring if its producer has copied the challenge; goes on where it was if it is known. `passed`: only by the
    /// descriptor that has come, or has not.
    pub fn attach(&self, name: &RingName, challenge: &[u8; 16], passed: Option<Option<OwnedFd>>) -> bool {
        let mut open = self.open.lock().unwrap();
        let Some(open) = open.as_mut() else { return false };
        if !open.contains_key(name) {
            let opened = match passed {
                None => Consumer::open(&Directory::ensure_at(ring_base()).unwrap(), name).ok(),
                Some(passed) => passed.map(|file| Consumer::from_fd(file, name).unwrap()),
            };
            let Some(consumer) = opened else { return false };
            let reader = Reader {
                consumed: consumer.publisher().consumed().unwrap(),
                consumer,
                formatters: vec![0],
                active: Instant::now(),
                is_asleep: false,
            };
            open.insert(name.clone(), reader);
        }
        open[name].consumer.has_proof(challenge).unwrap()
    }

    /// Looks at all rings, also at those whose reader sleeps. Returns whether the server still lives.
    pub fn wake(&self) {
        for reader in self.open.lock().unwrap().iter_mut().flat_map(HashMap::values_mut) {
            reader.wake();
        }
    }

    fn read_all(&self, script: &Mutex<Script>, seen: &Mutex<Seen>) -> bool {
        let mut open = self.open.lock().unwrap();
        let Some(open) = open.as_mut() else { return false };
        if !script.lock().unwrap().holds_rings {
            for reader in open.values_mut().filter(|reader| !reader.is_asleep) {
                reader.read(seen);
                reader.sleep_if_idle();
            }
        }
        true
    }

    /// Everything committed to this ring is read now.
    pub fn drain(&self, name: &RingName, seen: &Mutex<Seen>) {
        let mut open = self.open.lock().unwrap();
        if let Some(reader) = open.as_mut().and_then(|open| open.get_mut(name)) {
            reader.wake();
            while reader.read(seen) {}
        }
    }

    /// From here on no ring is touched, as by a killed server.
    pub fn kill(&self) {
        self.open.lock().unwrap().take();
    }
}

impl Reader {
    fn wake(&mut self) {
        if std::mem::take(&mut self.is_asleep) {
            self.consumer.set_sleeping(false).unwrap();
        }
        self.active = Instant::now();
    }

    fn sleep_if_idle(&mut self) {
        if self.active.elapsed() > IDLE {
            self.consumer.set_sleeping(true).unwrap();
            self.is_asleep = self.consumer.poll().unwrap() == 0;
            if !self.is_asleep {
                self.consumer.set_sleeping(false).unwrap();
            }
        }
    }

    fn read(&mut self, seen: &Mutex<Seen>) -> bool {
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        self.consumer.read(4096, &mut entries, &mut bytes).unwrap();
        let Some(last) = entries.last() else { return false };
        self.active = Instant::now();
        let mut seen = seen.lock().unwrap();
        for (kind, bytes) in self.consumer.meta().unwrap() {
            match kind {
                META_FORMATTER => {
                    let id = u32::from_le_bytes(bytes[..4].try_into().unwrap());
                    self.formatters.push(id);
                    seen.formatters
                        .push((id, String::from_utf8(bytes[4..].to_vec()).unwrap()));
                }
                META_OPEN => seen.described.push(serde_json::from_slice(&bytes).unwrap()),
                other => seen.violations.push(format!("meta {other}")),
            }
        }
        for entry in &entries {
            let record = bytes[entry.start..entry.start + entry.len].to_vec();
            let formatter = Record::decode(&record).unwrap().0.formatter;
            if !self.formatters.contains(&formatter) {
                seen.violations.push(format!("unknown formatter {formatter}"));
            }
            seen.records.push(record);
        }
        seen.through_rings += entries.len();
        self.consumed += entries.len() as u64;
        let publisher = self.consumer.publisher();
        publisher.publish(last.end, self.consumed).unwrap();
        true
    }
}

/// Reads bytes, and keeps a descriptor that comes with them.
pub fn receive(stream: &UnixStream, into: &mut [u8], passed: &mut Option<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream, &mut [IoSliceMut::new(into)], &mut ancillary, flags)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            *passed = descriptors.last();
        }
    }
    Ok(received.bytes)
}

/// The rings for this socket.
pub fn rings_of(address: &Address) -> Vec<RingName> {
    let Address::Unix(path) = address else {
        unreachable!()
    };
    let key = key_of(&unix_address(path));
    let directory = Directory::ensure_at(ring_base()).unwrap();
    let all = directory.rings().unwrap();
    all.into_iter().filter(|name| name.key == key).collect()
}

/// What lies unread in a ring.
pub fn content(name: &RingName) -> Vec<String> {
    let directory = Directory::ensure_at(ring_base()).unwrap();
    let mut reader = Consumer::open(&directory, name).unwrap();
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    while reader.poll().unwrap() > 0 {
        reader.read(1 << 20, &mut entries, &mut bytes).unwrap();
    }
    let message = |record: &[u8]| Record::decode(record).unwrap().0.message.unwrap().to_owned();
    let one = |it: &Entry| message(&bytes[it.start..it.start + it.len]);
    entries.iter().map(one).collect()
}
