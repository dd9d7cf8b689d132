//! The rings that this server reads: which there are, who speaks for them, and whether it may take one.
//!
//! In: the name of a ring from a client's Open, its descriptor where that is of no use to us, or found in shared memory.
//! Out: an [`Offer`] to be proved by its client, a [`RingHandle`] for its connection; the ring itself goes to the writer of
//! its file (`writer/rings.rs`). Authority comes from the file's owner, whom the kernel names, never from what stands in it.
//! Not here: reading records; rings whose producers have died (`orphans.rs`).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use logserv_ring::{Consumer, Directory, DirectoryError, Publisher, RingError, RingName};
use tokio::sync::Notify;

use crate::context::Peer;
use crate::files::FileRef;
use crate::limits::{PASSED_RINGS_MAX, PASSED_RINGS_OF_A_USER_MAX};
use crate::listen::Listeners;
use crate::pipeline::Refusal;
use crate::queue::Queue;

mod abandoned;
mod orphans;
mod passed;
mod watch;
pub(crate) use orphans::tend;

/// All rings of one server.
#[derive(Debug)]
pub struct Rings {
    /// Of the addresses that this server listens on.
    keys: Vec<Address>,
    /// Of dead producers, whose records are not written.
    orphans: AtomicUsize,
    table: Mutex<HashMap<RingName, Arc<RingState>>>,
}

/// An address that clients may name, and which other users could log to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) key: u64,
    pub(crate) access: Access,
}

/// Which other users could connect: theirs are the rings that may be taken when their producers are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody on this machine.
    Everybody,
    /// The group of this number.
    Group(u32),
    /// Nobody else.
    Owner,
}

/// One ring that is being read: what its connection, its writer and the registry know together.
#[derive(Debug)]
pub(crate) struct RingState {
    pub(crate) name: RingName,
    pub(crate) uid: u32,
    /// It was passed: its name says nothing here.
    pub(crate) is_passed: bool,
    /// Of the file that is read, once that is open.
    publisher: OnceLock<Publisher>,
    /// Connections that speak for it; 0 or 1, and 2 for a moment; or [`LET_GO`].
    connections: AtomicUsize,
    /// Somebody says that there is something to read.
    woken: AtomicBool,
    /// Somebody says that its producer may be dead.
    suspected: AtomicBool,
    /// Read by nobody any more; those who wait for it are told.
    ended: AtomicBool,
    end: Notify,
    /// Of its file; tells the file, too.
    queue: Arc<Queue>,
}

/// In the place of a number of connections: there will be none any more.
const LET_GO: usize = usize::MAX;

impl RingState {
    /// Whether a connection speaks for it.
    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.connections.load(Ordering::Acquire), 0 | LET_GO) // pairs with the changes below
    }

    /// Its reader stops, unless a connection speaks for it: whoever comes from now on attaches it anew. Returns whether it
    /// may.
    pub(crate) fn let_go(&self) -> bool {
        let free = self
            .connections
            .compare_exchange(0, LET_GO, Ordering::AcqRel, Ordering::Acquire); // pairs with `join`
        free.is_ok()
    }

    /// Whether it was woken since the last question.
    pub(crate) fn take_woken(&self) -> bool {
        // A load costs a fraction of what an exchange does. What is missed is poked for, too.
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel) // pairs with `wake`
    }

    /// Whether its producer was suspected to be dead since the last question.
    pub(crate) fn take_suspected(&self) -> bool {
        // As above: every ring is asked at every look.
        self.suspected.load(Ordering::Relaxed) && self.suspected.swap(false, Ordering::AcqRel) // pairs with the handle's drop
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release); // pairs with the loads in `attach_by` and `until_ended`
        self.end.notify_waiters();
    }

    async fn until_ended(&self) {
        loop {
            let end = self.end.notified();
            tokio::pin!(end);
            // Registered before the flag is read, so that an end between the two is not missed.
            end.as_mut().enable();
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            end.await;
        }
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Release); // pairs with `take_woken`
        self.queue.poke();
    }
}

/// A ring on its way to its file's writer. Dropped, it is read no more.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) consumer: Consumer,
    pub(crate) state: Arc<RingState>,
    /// Keeps the file open.
    pub(crate) _file: FileRef,
    registry: Weak<Rings>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.state.end();
        if let Some(rings) = self.registry.upgrade() {
            rings.forget(&self.state);
        }
    }
}

/// A connection's share in a ring.
#[derive(Debug)]
pub(crate) struct RingHandle {
    state: Arc<RingState>,
}

impl RingHandle {
    /// Comes back when the ring is read no more, though this connection speaks for it: it broke, or its writer has left.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let state = Arc::clone(&self.state);
        async move { state.until_ended().await }
    }

    /// There is something to read. Blocks: never.
    pub(crate) fn wake(&self) {
        self.state.wake();
    }
}

impl Drop for RingHandle {
    fn drop(&mut self) {
        self.state.connections.fetch_sub(1, Ordering::AcqRel); // pairs with `is_connected`
        self.state.suspected.store(true, Ordering::Release); // pairs with `take_suspected`
        self.state.wake();
    }
}

/// A ring that could be read, if its client proves that it is its own.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) challenge: [u8; 16],
    name: RingName,
    uid: u32,
    /// As its name leads to it.
    found: Option<Consumer>,
    /// Whether its client could pass it.
    can_pass: bool,
}

impl Offer {
    /// Whether we cannot open it ourselves, and its client can help. One that is being read needs no help, yet might be let go
    /// of before it is attached.
    pub(crate) fn is_to_be_passed(&self) -> bool {
        self.found.is_none() && self.can_pass
    }
}

/// How a ring is opened.
#[derive(Debug)]
enum Way {
    Named,
    Passed(OwnedFd),
}

impl Way {
    fn open(&self, name: &RingName, uid: u32) -> Result<Consumer, RingError> {
        match self {
            Self::Named => match Directory::open(uid) {
                Ok(Some(directory)) => Consumer::open(&directory, name),
                Ok(None) | Err(DirectoryError::Refused { .. }) => Err(RingError::Gone),
                Err(DirectoryError::Io { doing, source, .. }) => Err(RingError::Io { doing, source }),
            },
            Self::Passed(descriptor) => passed::open(descriptor, name, uid),
        }
    }
}

impl Rings {
    /// For a server on these listeners. `is_personal`: whatever its sockets' modes, nobody but its user logs to it.
    #[must_use]
    pub fn new(listeners: &Listeners, is_personal: bool) -> Arc<Self> {
        let mut keys = listeners.ring_addresses();
        if is_personal {
            keys.iter_mut().for_each(|address| address.access = Access::Owner);
        }
        Arc::new(Self {
            keys,
            orphans: AtomicUsize::new(0),
            table: Mutex::default(),
        })
    }

    /// The address of that key, if this server listens there.
    pub(crate) fn address(&self, key: u64) -> Option<&Address> {
        self.keys.iter().find(|address| address.key == key)
    }

    /// Whether the ring is being read.
    pub(crate) fn is_known(&self, name: &RingName) -> bool {
        self.table().contains_key(name)
    }

    /// How many of dead producers wait for their file to be opened.
    pub(crate) fn orphans(&self) -> usize {
        self.orphans.load(Ordering::Relaxed) // a number, told as it is found
    }

    /// How many are being read.
    pub(crate) fn count(&self) -> usize {
        self.table().len()
    }

    /// Looks whether the ring that a client names can be read here, by its name or (`can_pass`) through a descriptor. `None`: it
    /// is another machine's, or another user's; its client then uses the socket. Blocks: for a few system calls in memory.
    ///
    /// # Errors
    /// It could not be looked at now, for want of descriptors or memory: its client must not take that for "never".
    pub(crate) fn offer(
        &self,
        name: &RingName,
        uid: u32,
        peer: &Peer,
        can_pass: bool,
    ) -> Result<Option<Offer>, Refusal> {
        let is_local = match peer {
            Peer::Unix { uid: peer_uid, .. } => *peer_uid == uid,
            Peer::Tcp { address } => address.ip().to_canonical().is_loopback(),
        };
        let is_known = is_local && self.table().get(name).is_some_and(|known| known.uid == uid);
        let found = if is_local && self.address(name.key).is_some() {
            match Way::Named.open(name, uid) {
                Ok(consumer) => Some(consumer),
                Err(error) if is_known || is_lasting(&error) => {
                    tracing::debug!("ring {name} of uid {uid} is not found: {error}");
                    None
                }
                Err(error) => {
                    return Err(Refusal::passing(
                        "means to open the client's ring",
                        error.to_string(),
                    ));
                }
            }
        } else {
            None
        };
        // A ring that is passed need not have the name that our address gives it: its client knows where it has connected.
        // It survives one death less than one that is found.
        let uid = match peer {
            Peer::Unix { uid: peer_uid, .. } if can_pass && found.is_none() => *peer_uid,
            _ if found.is_some() || is_known => uid,
            _ => return Ok(None),
        };
        let challenge =
            challenge().ok_or_else(|| Refusal::passing("random numbers from the kernel", "none"))?;
        Ok(Some(Offer {
            challenge,
            name: name.clone(),
            uid,
            found,
            can_pass: can_pass && matches!(peer, Peer::Unix { .. }),
        }))
    }

    /// Has the file's writer read a ring whose client has proved that it is its own. `None`: it has not, what it has passed is
    /// no ring of its user, the ring is read for another file, or the writer has left.
    pub(crate) async fn attach_proved(
        self: &Arc<Self>,
        offer: Offer,
        descriptor: Option<OwnedFd>,
        file: &FileRef,
    ) -> Option<RingHandle> {
        let Offer {
            challenge,
            name,
            uid,
            found,
            can_pass: _,
        } = offer;
        let way = match (found, descriptor) {
            (Some(consumer), _) => {
                consumer.has_proof(&challenge).ok().filter(|has| *has)?;
                Way::Named
            }
            (None, Some(descriptor)) => {
                let consumer = passed::open(&descriptor, &name, uid)
                    .inspect_err(|error| tracing::debug!("what uid {uid} has passed is not taken: {error}"))
                    .ok()?;
                consumer.has_proof(&challenge).ok().filter(|has| *has)?;
                Way::Passed(descriptor)
            }
            // We still read it: its client must not read it as well.
            (None, None) => return self.join_proved(&name, uid, &challenge, file),
        };
        self.attach_by(way, &name, uid, file).await
    }

    /// Joins a ring that is being read, if the client has proved that it is its own.
    fn join_proved(
        &self,
        name: &RingName,
        uid: u32,
        challenge: &[u8; 16],
        file: &FileRef,
    ) -> Option<RingHandle> {
        let known = self.table().get(name).map(Arc::clone)?;
        let is_proved = known.publisher.get()?.has_proof(challenge).unwrap_or(false);
        let is_same = known.uid == uid && Arc::ptr_eq(&known.queue, file.queue());
        if is_proved && is_same { join(&known) } else { None }
    }

    /// Has the file's writer read the ring of that name; or joins, where it does already.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        name: &RingName,
        uid: u32,
        file: &FileRef,
    ) -> Option<RingHandle> {
        self.attach_by(Way::Named, name, uid, file).await
    }

    async fn attach_by(
        self: &Arc<Self>,
        way: Way,
        name: &RingName,
        uid: u32,
        file: &FileRef,
    ) -> Option<RingHandle> {
        let is_passed = matches!(way, Way::Passed(_));
        let (state, handle) = {
            let mut table = self.table();
            let queue = file.queue();
            if let Some(known) = table.get(name)
                && !known.ended.load(Ordering::Acquire)
            {
                if known.uid != uid || !Arc::ptr_eq(&known.queue, queue) {
                    return None;
                }
                // Let go in this moment: nothing is left in it, and its end is not awaited.
                if let Some(handle) = join(known) {
                    return Some(handle);
                }
            }
            if is_passed && !has_room(&table, uid) {
                tracing::debug!("what uid {uid} has passed is one too many");
                return None;
            }
            let state = Arc::new(RingState {
                name: name.clone(),
                uid,
                is_passed,
                publisher: OnceLock::new(),
                connections: AtomicUsize::new(0),
                woken: AtomicBool::new(true),
                suspected: AtomicBool::new(false),
                ended: AtomicBool::new(false),
                end: Notify::new(),
                queue: Arc::clone(queue),
            });
            table.insert(name.clone(), Arc::clone(&state));
            let handle = join(&state)?;
            (state, handle)
        };
        // Only now, for until a moment ago another writer may have moved its tail.
        let Ok(consumer) = way.open(name, uid) else {
            state.end(); // for whoever has joined meanwhile
            self.forget(&state);
            return None;
        };
        drop(way);
        let _ = state.publisher.set(consumer.publisher());
        let attached = Attached {
            consumer,
            state,
            _file: file.clone(),
            registry: Arc::downgrade(self),
        };
        file.attach(attached).await.then_some(handle)
    }

    fn forget(&self, state: &Arc<RingState>) {
        let mut table = self.table();
        if table
            .get(&state.name)
            .is_some_and(|known| Arc::ptr_eq(known, state))
        {
            table.remove(&state.name);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<RingName, Arc<RingState>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether looking again will find the same.
fn is_lasting(error: &RingError) -> bool {
    match error {
        RingError::Io { source, .. } => {
            matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
        }
        _ => true,
    }
}

/// Whether one more ring of this user may be passed.
fn has_room(table: &HashMap<RingName, Arc<RingState>>, uid: u32) -> bool {
    let passed = || table.values().filter(|ring| ring.is_passed);
    passed().count() < PASSED_RINGS_MAX
        && passed().filter(|ring| ring.uid == uid).count() < PASSED_RINGS_OF_A_USER_MAX
}

/// A share in the ring; `None`: its reader has let it go.
fn join(state: &Arc<RingState>) -> Option<RingHandle> {
    let joined = state
        .connections
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |connections| {
            (connections != LET_GO).then(|| connections + 1) // pairs with `is_connected` and `let_go`
        });
    joined.ok()?;
    state.wake();
    Some(RingHandle {
        state: Arc::clone(state),
    })
}

/// Sixteen bytes that nobody could have guessed.
fn challenge() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let len = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
    (len == bytes.len()).then_some(bytes)
}
