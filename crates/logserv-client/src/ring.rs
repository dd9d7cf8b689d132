//! A session's ring: where it is made, how large, and what its reader must know that no record says.
//!
//! In: a session's configuration, encoded records. Out: records in shared memory, which survive this process; no system
//! call but for making, passing and removing the ring. Not here: who waits when it is full, and who wakes the reader.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use logserv_ring::{
    CreateError, Directory, DirectoryError, META_FORMATTER, META_OPEN, Producer, RingName, key_of,
    make_personal_directory, tcp_address, unix_address,
};

use crate::attach;
use crate::config::{Address, RingPlace, SessionConfig};
use crate::formatters::{forget_formatter, formatter_of};
use crate::left;
use crate::limits::{RING_DIVISORS, RING_LEN_MIN, RING_MARGIN_LEN, RING_OPENS_LEN_MAX};
use crate::shared::Common;
use crate::sys::{Kept, Passed};

/// Bytes of a record's head in the ring.
const RECORD_HEAD_LEN: usize = 8;
/// Bytes of an entry's head in the meta area, and of its longest padding.
const ENTRY_LEN: usize = 8 + 7;

/// See the file's head. Dropping it leaves the file, as a kill does, but for a sealed one, which is in no directory.
#[derive(Debug)]
pub(crate) struct Ring {
    producer: Producer,
    common: Arc<Common>,
    /// Formatters that stand in the meta area, and the last one asked for.
    told: HashSet<u32>,
    told_last: u32,
    /// Bytes of the meta area used for what the session asks for.
    opens_len: usize,
    /// A server may have begun to read it.
    is_known: bool,
    /// Its sealed file; `None`: it has a name in the directory.
    kept: Option<Kept>,
}

/// What came of the wish for a ring.
#[derive(Debug)]
pub(crate) enum Made {
    /// It is there.
    Ring(Box<Ring>),
    /// The server is elsewhere, or rings are not wanted.
    NotHere,
    /// There is no memory for it, for this reason.
    Failed(String),
}

/// Whether a server at this address could read our rings.
pub(crate) fn is_possible(config: &SessionConfig) -> bool {
    let is_local = match &config.address {
        Address::Unix(_) | Address::Personal(_) => true,
        Address::Tcp { host, .. } => loopback(host).is_some(),
    };
    is_local && config.ring_place != RingPlace::Nowhere
}

/// The loopback address that a host's name stands for, as far as one can tell without asking anybody.
fn loopback(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse::<IpAddr>()
        .ok()
        .filter(|ip| ip.to_canonical().is_loopback())
}

/// Makes a ring for `len` bytes of records, or a smaller one where memory is short.
pub(crate) fn make(common: &Arc<Common>, len: usize) -> Made {
    let config = &common.config;
    if !is_possible(config) {
        return Made::NotHere;
    }
    let address = match &config.address {
        Address::Unix(path) => unix_address(path),
        Address::Personal(personal) => match personal.path() {
            Ok(path) => {
                // Where links lead to it is known only when it is there. What is wrong with it is told at the start.
                let _ = make_personal_directory(&path);
                unix_address(&path)
            }
            Err(reason) => return Made::Failed(reason),
        },
        Address::Tcp { host, port } => match loopback(host) {
            Some(ip) => tcp_address(ip, *port),
            None => return Made::NotHere,
        },
    };
    let directory = match directory(&config.ring_place) {
        Ok(directory) => directory,
        Err(error) => return Made::Failed(error.to_string()),
    };
    let key = key_of(&address);
    if !left::is_room(&directory, key) {
        return Made::Failed(
            "too many ended processes have left records for it that nobody has come for".to_owned(),
        );
    }
    let producer = match largest(len, |len| Producer::create(&directory, key, len)) {
        Ok(producer) => producer,
        Err(error) => return Made::Failed(error.to_string()),
    };
    let mut ring = Ring::new(producer, common, None);
    if ring.describe() {
        Made::Ring(Box::new(ring))
    } else {
        ring.remove();
        Made::Failed(format!(
            "the handler's arguments are longer than {RING_OPENS_LEN_MAX} bytes"
        ))
    }
}

/// Opened for one use: whoever turns this process into a daemon closes every descriptor that it finds.
fn directory(place: &RingPlace) -> Result<Directory, DirectoryError> {
    match place {
        RingPlace::Below(base) => Directory::ensure_at(base),
        RingPlace::Usual | RingPlace::Nowhere => Directory::ensure(),
    }
}

/// Removes what dead processes have left empty that logged to the same server as `own`.
pub(crate) fn sweep(common: &Common, own: &RingName) {
    if let Ok(directory) = directory(&common.config.ring_place) {
        left::sweep(&directory, own.key);
    }
}

/// The largest ring that there is memory for.
fn largest<R>(len: usize, create: impl Fn(usize) -> Result<R, CreateError>) -> Result<R, CreateError> {
    let rounded = len.checked_next_multiple_of(RING_MARGIN_LEN).unwrap_or(len);
    let whole = rounded.saturating_add(RING_MARGIN_LEN);
    let mut last = whole;
    let mut result = create(whole);
    for divisor in RING_DIVISORS {
        let smaller = (whole / divisor).max(RING_LEN_MIN);
        if smaller < last && matches!(result, Err(CreateError::NoSpace { .. })) {
            last = smaller;
            result = create(smaller);
        }
    }
    result
}

impl Ring {
    fn new(producer: Producer, common: &Arc<Common>, kept: Option<Kept>) -> Self {
        Self {
            producer,
            common: Arc::clone(common),
            told: HashSet::new(),
            told_last: 0,
            opens_len: 0,
            is_known: false,
            kept,
        }
    }

    /// An empty one of the same size, whose file may be put into other hands: nobody can cut it short, which would end this
    /// process.
    ///
    /// # Errors
    /// There is no memory, or no descriptor, for it.
    pub(crate) fn sealed(&self) -> io::Result<Box<Self>> {
        let made = Producer::create_sealed(self.name().key, self.capacity());
        let (producer, file) = made.map_err(|error| match error {
            CreateError::NoSpace { source, .. } | CreateError::Io { source, .. } => source,
        })?;
        let mut ring = Self::new(producer, &self.common, Some(Kept::new(file)?));
        if ring.describe() {
            Ok(Box::new(ring))
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }

    /// Whether it is such a one.
    pub(crate) fn is_sealed(&self) -> bool {
        self.kept.is_some()
    }

    /// Its descriptor. `None`: it must not be passed, or the application has closed it.
    pub(crate) fn to_pass(&self) -> Option<Passed> {
        self.kept.as_ref()?.to_pass()
    }

    /// Its name, for the server.
    pub(crate) fn name(&self) -> &RingName {
        self.producer.name()
    }

    /// Whether a record of `len` bytes has space while no more than `limit` bytes are in use. One longer than the limit
    /// has it when nothing else is there.
    pub(crate) fn fits(&self, len: usize, limit: usize) -> bool {
        self.producer.fits(len)
            && (self.producer.pending_len_at_most().saturating_add(len) <= limit || {
                let pending_len = self.producer.pending_len();
                pending_len == 0 || pending_len.saturating_add(len) <= limit
            })
    }

    /// Bytes of the longest record that ever has space.
    pub(crate) fn longest(&self) -> usize {
        self.producer.capacity().saturating_sub(RECORD_HEAD_LEN)
    }

    /// Bytes for records.
    pub(crate) fn capacity(&self) -> usize {
        self.producer.capacity()
    }

    /// Commits one record. Returns whether it had space.
    pub(crate) fn push(&mut self, record: &[u8]) -> bool {
        let formatter = formatter_of(record);
        if formatter == 0 || formatter == self.told_last || self.tell(formatter) {
            return self.producer.push(record);
        }
        // A number that nobody gave: a defect of the record's maker.
        let mut plain = record.to_vec();
        forget_formatter(&mut plain);
        self.producer.push(&plain)
    }

    /// Makes sure that the reader of the next record knows this formatter.
    fn tell(&mut self, formatter: u32) -> bool {
        if !self.told.contains(&formatter) {
            let Some(json) = self.common.formatters.get(formatter) else {
                return false;
            };
            let number = formatter.to_le_bytes();
            if !self
                .producer
                .append_meta(META_FORMATTER, &[&number, json.as_bytes()])
            {
                return false;
            }
            self.told.insert(formatter);
        }
        self.told_last = formatter;
        true
    }

    /// Writes down what the session asks for now, for a reader that never meets us. `false`: there is no room left.
    pub(crate) fn describe(&mut self) -> bool {
        let json = attach::description(&self.common).to_string();
        let len = self.opens_len + json.len() + ENTRY_LEN;
        if len > RING_OPENS_LEN_MAX || !self.producer.append_meta(META_OPEN, &[json.as_bytes()]) {
            return false;
        }
        self.opens_len = len;
        true
    }

    /// Gives it the name by which the server at this socket finds it. One that is passed has none that counts.
    pub(crate) fn move_to(&mut self, socket: &Path) {
        let key = key_of(&unix_address(socket));
        if key != self.name().key
            && !self.is_sealed()
            && let Ok(directory) = directory(&self.common.config.ring_place)
        {
            // A name that stays leads the server that it belongs to here, which writes what is in it when it can.
            let _ = self.producer.move_to(&directory, key);
        }
    }

    /// Copies the server's challenge into the ring.
    pub(crate) fn prove(&mut self, challenge: [u8; 16]) {
        self.is_known = true;
        self.producer.prove(challenge);
    }

    /// Whether a server may have begun to read it.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether the reader must be woken for what was pushed before.
    pub(crate) fn reader_sleeps(&self) -> bool {
        self.producer.consumer_sleeps()
    }

    /// Records committed.
    pub(crate) fn pushed(&self) -> u64 {
        self.producer.pushed_records()
    }

    /// Records that the server has written.
    pub(crate) fn written(&self) -> u64 {
        self.producer.consumed_records()
    }

    /// Bytes in use.
    pub(crate) fn pending_len(&self) -> usize {
        self.producer.pending_len()
    }

    /// What the server has not written, one record behind the other.
    pub(crate) fn unread(&self) -> Vec<u8> {
        self.producer.unread()
    }

    /// Everything before this position is written, though the ring does not say so.
    pub(crate) fn released(&self, position: u64) {
        self.producer.released(position);
    }

    /// Removes it, whatever is in it. System calls: some five.
    pub(crate) fn remove(self) {
        // One that is in no directory goes with its mapping.
        if self.is_sealed() {
            return;
        }
        match directory(&self.common.config.ring_place) {
            Ok(directory) => self.producer.remove(&directory),
            Err(_) => self.producer.withdraw(),
        }
    }
}

#[cfg(test)]
mod tests;
