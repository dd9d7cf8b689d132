//! Rings whose producers have died: while this server was away, or before they could connect.
//!
//! In: the files in shared memory, word of changes there (`watch.rs`). Out: their records, written once by the writers of the
//! files they name; then the rings are gone. One whose file is refused is kept for [`ORPHAN_AGE_MAX`], all such together up to
//! [`ORPHANS_LEN_MAX`] or the [`ORPHANS_SHARE`]th part of the memory; what is given up then is counted and said.
//! Not here: rings of living producers; their connections bring them (`ingest/opening.rs`). Rings for other servers
//! (`abandoned.rs`).

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use logserv_ring::{Consumer, Directory, Entry, META_OPEN, RingError, RingName, Space};
use logserv_wire::record::Record;
use rustix::fs::{AtFlags, Timespec, Timestamps};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::abandoned::Abandoned;
use super::watch::Watch;
use super::{Access, Rings};
use crate::counters::{Counters, DropReason};
use crate::files::Files;
use crate::limits::{
    ABANDONED_AGE_MAX, ORPHAN_AGE_MAX, ORPHAN_GRACE, ORPHAN_LOOK, ORPHAN_PATIENCE, ORPHAN_RETRY_FIRST,
    ORPHAN_RETRY_MAX, ORPHANS_AT_ONCE_MAX, ORPHANS_LEN_MAX, ORPHANS_SHARE, RING_CHECK_EVERY, RING_READ_LEN,
};
use crate::pipeline::OpenRequest;

/// A ring that nobody reads.
#[derive(Debug)]
struct Found {
    uid: u32,
    name: RingName,
    /// Nobody will add to it.
    is_dead: bool,
}

/// A dead ring whose file was refused.
#[derive(Debug)]
struct Refused {
    uid: u32,
    next_try: Instant,
    /// From there to the try behind it.
    pause: Duration,
}

/// What came of the wish to have a dead ring's records written.
#[derive(Debug)]
struct Adopted {
    uid: u32,
    name: RingName,
    result: Result<(), String>,
}

/// What a producer has written of its file into its ring.
#[derive(Debug, Deserialize)]
struct Open {
    handler: String,
    arguments: Map<String, Value>,
    configured_at_s: f64,
}

/// Looks after orphans for ever. Never blocks the thread; a file that is not to be opened or written keeps the records of its
/// own orphans waiting, and no others'.
pub(crate) async fn tend(rings: Arc<Rings>, files: Files, counters: Arc<Counters>) {
    let mut watch = Watch::new();
    let mut tending = Tending::default();
    let mut abandoned = Abandoned::default();
    loop {
        let looking = Arc::clone(&rings);
        let found = tokio::task::spawn_blocking(move || looking.unread()).await;
        abandoned = sweep(abandoned, &rings, &counters).await;
        let mut someone_lives = false;
        for one in found.unwrap_or_default() {
            someone_lives |= !one.is_dead;
            if one.is_dead && !rings.is_known(&one.name) {
                tending.begin(one, &rings, &files);
            }
        }
        bound(&mut tending.refused, &counters);
        tending.count(&rings);
        let usual = if someone_lives {
            RING_CHECK_EVERY
        } else {
            ORPHAN_LOOK
        };
        let due = [tending.next_try_in(), abandoned.due_in(Instant::now())];
        let due = due.into_iter().flatten().min();
        let pause = due.map_or(usual, |due| due.max(ORPHAN_RETRY_FIRST).min(usual));
        if tending.wait(&mut watch, pause, &rings).await {
            // Those who have just begun connect by themselves.
            tokio::time::sleep(ORPHAN_GRACE).await;
        }
    }
}

/// Removes rings for servers that there are no more.
async fn sweep(mut abandoned: Abandoned, rings: &Arc<Rings>, counters: &Counters) -> Abandoned {
    let rings = Arc::clone(rings);
    let sweeping = move || {
        let directory = Directory::open(rustix::process::geteuid().as_raw())
            .ok()
            .flatten();
        let is_own = |key| rings.address(key).is_some();
        let lost = directory.map_or(0, |directory| abandoned.sweep(&directory, is_own, Instant::now()));
        (abandoned, lost)
    };
    let Ok((abandoned, lost)) = tokio::task::spawn_blocking(sweeping).await else {
        return Abandoned::default();
    };
    if lost > 0 {
        counters.discard(DropReason::ServerGone, lost);
        let age = ABANDONED_AGE_MAX.as_secs() / 3600;
        tracing::warn!(
            "{lost} records of dead processes for another server are dropped: it has not come for {age} h"
        );
    }
    abandoned
}

/// What is being done about dead rings.
#[derive(Debug, Default)]
struct Tending {
    refused: HashMap<RingName, Refused>,
    /// Of which the files are being opened.
    begun: HashSet<RingName>,
    tasks: JoinSet<Adopted>,
}

impl Tending {
    /// Has a ring's file opened, unless that is being done, or is to be tried later only, or enough others are.
    fn begin(&mut self, one: Found, rings: &Arc<Rings>, files: &Files) {
        let Found { uid, name, .. } = one;
        let is_due = self
            .refused
            .get(&name)
            .is_none_or(|refused| refused.next_try <= Instant::now());
        if !is_due || self.begun.len() >= ORPHANS_AT_ONCE_MAX || !self.begun.insert(name.clone()) {
            return;
        }
        let (rings, files) = (Arc::clone(rings), files.clone());
        self.tasks.spawn(async move {
            let adopting = rings.adopt(uid, &name, &files);
            let result = tokio::time::timeout(ORPHAN_PATIENCE, adopting)
                .await
                .unwrap_or_else(|_| Err("its file's writer takes nothing in".to_owned()));
            Adopted { uid, name, result }
        });
    }

    /// Waits for news of rings, or `pause`; takes in what is done meanwhile. Returns whether there is news.
    async fn wait(&mut self, watch: &mut Watch, pause: Duration, rings: &Rings) -> bool {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = watch.changed() => return true,
                () = tokio::time::sleep_until(until) => return false,
                Some(done) = self.tasks.join_next() => {
                    let was_full = self.begun.len() >= ORPHANS_AT_ONCE_MAX;
                    match done {
                        Ok(adopted) => self.note(adopted),
                        Err(error) => tracing::error!("a fault with a ring, please report it: {error}"),
                    }
                    if self.tasks.is_empty() {
                        self.begun.clear();
                    }
                    self.count(rings);
                    if was_full {
                        return false; // there were more of them
                    }
                }
            }
        }
    }

    fn count(&self, rings: &Rings) {
        let count = self.begun.union(&self.refused.keys().cloned().collect()).count();
        rings.orphans.store(count, Ordering::Relaxed); // a number, told as it is found
    }

    fn note(&mut self, adopted: Adopted) {
        let Adopted { uid, name, result } = adopted;
        self.begun.remove(&name);
        match result {
            Ok(()) => drop(self.refused.remove(&name)),
            Err(why) => {
                let known = self.refused.get(&name).map(|refused| refused.pause);
                let pause = known.unwrap_or(ORPHAN_RETRY_FIRST);
                let refused = Refused {
                    uid,
                    next_try: Instant::now() + pause,
                    pause: (2 * pause).min(ORPHAN_RETRY_MAX),
                };
                self.refused.insert(name.clone(), refused);
                if known.is_none() {
                    if let Ok(Some(directory)) = Directory::open(uid) {
                        begin_age(&directory, &name);
                    }
                } else if pause == 2 * ORPHAN_RETRY_FIRST {
                    // Twice is no passing trouble, and is said once.
                    let keep = ORPHAN_AGE_MAX.as_secs() / 3600;
                    tracing::warn!("records of a dead process of uid {uid} are kept for {keep} h: {why}");
                }
            }
        }
    }

    /// When a refused ring is to be tried again.
    fn next_try_in(&self) -> Option<Duration> {
        let next_try = self.refused.values().map(|refused| refused.next_try).min()?;
        Some(next_try.saturating_duration_since(Instant::now()))
    }
}

impl Rings {
    /// The rings for this server that nobody reads. Blocks: for a few system calls a ring.
    fn unread(&self) -> Vec<Found> {
        let mine = rustix::process::geteuid().as_raw();
        let mut users = vec![mine];
        if mine == 0 {
            // Only root may look into the directories of others.
            users.extend(Directory::users().unwrap_or_default());
            users.sort_unstable();
            users.dedup();
        }
        let mut found = Vec::new();
        for uid in users {
            let Ok(Some(directory)) = Directory::open(uid) else {
                continue;
            };
            for name in directory.rings().unwrap_or_default() {
                let Some(address) = self.address(name.key) else {
                    continue;
                };
                if self.is_known(&name) || !may_log(address.access, mine, uid, &name) {
                    continue;
                }
                let is_dead = match Consumer::open(&directory, &name) {
                    // A server that cannot tell leaves it to the connection.
                    Ok(consumer) => consumer.producer_is_gone().unwrap_or(false),
                    // Not for ever: it is looked at again.
                    Err(RingError::Io { .. }) => false,
                    Err(_) => continue, // no ring at all
                };
                found.push(Found { uid, name, is_dead });
            }
        }
        found
    }

    /// Has a dead ring's records written, or removes it where there are none.
    async fn adopt(self: &Arc<Self>, uid: u32, name: &RingName, files: &Files) -> Result<(), String> {
        let directory = match Directory::open(uid) {
            Ok(Some(directory)) => directory,
            _ => return Ok(()),
        };
        let mut consumer = match Consumer::open(&directory, name) {
            Ok(consumer) => consumer,
            Err(error @ RingError::Io { .. }) => return Err(error.to_string()),
            Err(_) => return Ok(()),
        };
        let request = request_of(&mut consumer, uid);
        if consumer.poll().is_ok_and(|unread| unread == 0) {
            let _ = directory.remove(name);
            return Ok(());
        }
        let request = request.ok_or("it does not say which file they are for")?;
        drop(consumer);
        let file = files.open(request).await.map_err(|refusal| refusal.to_string())?;
        // The handle is dropped at once: no connection speaks for it.
        self.attach(name, uid, &file)
            .await
            .map(drop)
            .ok_or_else(|| "its file's writer leaves".to_owned())
    }
}

/// Whether a process of `uid` could have logged over the address: its own user, or whom its socket lets in.
fn may_log(access: Access, mine: u32, uid: u32, name: &RingName) -> bool {
    match access {
        _ if uid == mine => true,
        Access::Everybody => true,
        // A user can give a file to no group but his own.
        Access::Group(gid) => {
            std::fs::symlink_metadata(path_of(uid, name)).is_ok_and(|metadata| metadata.gid() == gid)
        }
        Access::Owner => false,
    }
}

fn path_of(uid: u32, name: &RingName) -> PathBuf {
    Directory::path_of(uid).join(name.to_string())
}

/// The last configuration that the producer has written down.
fn request_of(consumer: &mut Consumer, uid: u32) -> Option<OpenRequest> {
    let entries = consumer.meta().ok()?;
    let (_, json) = entries.iter().rev().find(|(kind, _)| *kind == META_OPEN)?;
    let open: Open = serde_json::from_slice(json).ok()?;
    let now_s = logserv_disk::Clock::system().now_s();
    open.configured_at_s.is_finite().then(|| OpenRequest {
        handler_class: open.handler,
        arguments: open.arguments,
        configured_at_s: open.configured_at_s.min(now_s),
        first: false,
        peer: format!("a process of uid {uid} that has ended"),
    })
}

/// Gives up refused rings that are too old, and the oldest of those that are too many.
fn bound(refused: &mut HashMap<RingName, Refused>, counters: &Counters) {
    let mut all: Vec<(Duration, u64, RingName)> = Vec::new();
    let now = SystemTime::now();
    refused.retain(|name, one| {
        let Ok(metadata) = std::fs::symlink_metadata(path_of(one.uid, name)) else {
            return false;
        };
        all.push((age(&metadata, now), metadata.len(), name.clone()));
        true
    });
    all.sort_by_key(|(age, ..)| *age);
    let one = refused.values().next().map(|one| one.uid);
    let directory = one.and_then(|uid| Directory::open(uid).ok().flatten());
    let len_max = len_max(directory.and_then(|directory| directory.space()));
    let mut total_len = 0;
    for (age, len, name) in all {
        total_len += len;
        if age <= ORPHAN_AGE_MAX && total_len <= len_max {
            continue;
        }
        let Some(one) = refused.remove(&name) else {
            continue;
        };
        let Ok(Some(directory)) = Directory::open(one.uid) else {
            continue;
        };
        let lost = Consumer::open(&directory, &name)
            .ok()
            .map_or(0, |mut consumer| count(&mut consumer));
        let _ = directory.remove(&name);
        counters.discard(DropReason::Refused, lost);
        tracing::warn!(
            "{lost} records of a dead process of uid {} are dropped: their file was refused for too long, or too many wait so",
            one.uid
        );
    }
}

/// Bytes of refused rings, all together, in a memory of that space; `None`: it has no limit.
fn len_max(space: Option<Space>) -> u64 {
    space.map_or(ORPHANS_LEN_MAX, |space| {
        ORPHANS_LEN_MAX.min(space.total / ORPHANS_SHARE)
    })
}

/// How old a ring is, as its file says. `None`: it is gone.
pub(super) fn age_of(directory: &Directory, name: &RingName, now: SystemTime) -> Option<Duration> {
    let metadata = std::fs::symlink_metadata(directory.location().join(name.to_string())).ok()?;
    Some(age(&metadata, now))
}

fn age(metadata: &Metadata, now: SystemTime) -> Duration {
    let modified = metadata.modified().ok();
    modified
        .and_then(|modified| now.duration_since(modified).ok())
        .unwrap_or_default()
}

/// Counts a ring's time from its newest record, where its file looks older: its producer's stores do not change the file's
/// time. That survives this server, as the file does.
pub(super) fn begin_age(directory: &Directory, name: &RingName) {
    let path = directory.location().join(name.to_string());
    let Ok(metadata) = std::fs::symlink_metadata(&path) else {
        return;
    };
    let newest_s = Consumer::open(directory, name).map_or(0.0, |mut consumer| newest_s(&mut consumer));
    let modified_s = metadata.mtime() as f64;
    let now_s = logserv_disk::Clock::system().now_s();
    if newest_s.min(now_s) > modified_s {
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds are enough")]
        let seconds = newest_s.min(now_s) as i64;
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let _ = rustix::fs::utimensat(rustix::fs::CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// The greatest time of the records in a ring, in seconds since 1970.
fn newest_s(consumer: &mut Consumer) -> f64 {
    let mut newest = 0.0_f64;
    each_part(consumer, |entries, bytes| {
        for entry in entries {
            let created = bytes
                .get(entry.start..entry.start + entry.len)
                .and_then(|record| Record::decode(record).ok())
                .map_or(0.0, |(record, _)| record.created);
            if created.is_finite() {
                newest = newest.max(created);
            }
        }
    });
    newest
}

/// How many records wait in a ring.
pub(super) fn count(consumer: &mut Consumer) -> u64 {
    let mut count = 0;
    each_part(consumer, |entries, _| count += entries.len() as u64);
    count
}

/// Reads all there is in a ring, part by part.
fn each_part(consumer: &mut Consumer, mut see: impl FnMut(&[Entry], &[u8])) {
    while consumer.poll().is_ok_and(|unread| unread > 0) {
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        let read = consumer.read(RING_READ_LEN, &mut entries, &mut bytes);
        see(&entries, &bytes);
        if read.is_err() || entries.is_empty() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_rings_take_a_quarter_of_a_small_memory_and_64_mib_of_a_large_one() {
        let of = |total| len_max(Some(Space { total, free: 0 }));
        assert_eq!(of(64 << 20), 16 << 20); // a container's
        assert_eq!(of(8 << 30), 64 << 20);
        assert_eq!(len_max(None), 64 << 20);
    }
}
