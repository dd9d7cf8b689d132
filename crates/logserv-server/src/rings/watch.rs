//! Word of new files in the directories of rings, so that nobody has to look for them.
//!
//! In: the kernel's inotify. Out: "something has changed". Where there is no inotify, never; who waits sets a limit.

use logserv_ring::Directory;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// Bytes of events read at once; what they say does not matter, only that they came.
const EVENTS_LEN: usize = 4096;

#[derive(Debug)]
pub(super) struct Watch {
    /// An inotify descriptor is read like a pipe's end.
    events: Option<Receiver>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .ok()
            .and_then(|events| Receiver::from_owned_fd_unchecked(events).ok());
        let watch = Self { events };
        watch.watch_all();
        watch
    }

    /// Waits until something may have changed. Cancellation-safe.
    pub(super) async fn changed(&mut self) {
        let Some(events) = &self.events else {
            return std::future::pending().await;
        };
        if events.readable().await.is_ok() {
            let mut buffer = [0; EVENTS_LEN];
            while events.try_read(&mut buffer).is_ok_and(|len| len > 0) {}
        }
        self.watch_all();
    }

    /// Watches the directory above, for new users, and those that are there. Watching one again changes nothing.
    fn watch_all(&self) {
        let Some(events) = &self.events else { return };
        let mine = rustix::process::geteuid().as_raw();
        let own = Directory::path_of(mine);
        if let Some(above) = own.parent() {
            let _ = inotify::add_watch(events, above, WatchFlags::CREATE | WatchFlags::ONLYDIR);
        }
        let mut users = vec![mine];
        if mine == 0 {
            users.extend(Directory::users().unwrap_or_default());
        }
        for uid in users {
            let flags =
                WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
            let _ = inotify::add_watch(events, Directory::path_of(uid), flags);
        }
    }
}
