//! The table of socket sessions: how far each one's records are written. Bounded; the one unused for longest makes room.
//!
//! In: ids and sequence numbers. Out: the same, also after the death of the server. Every change is ordered so that a
//! death in the middle leaves the old entry, the new one, or a free place.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::layout::{SESSION_LEN, SESSIONS_AT};
use crate::limits::STATE_SESSIONS_MAX;
use crate::sys::View;

/// Where each session of the table stands.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    places: HashMap<[u8; 16], usize>,
    free: Vec<usize>,
}

/// Offsets within an entry.
const SEQ: usize = 16;
const LAST_USE: usize = 24;

impl Sessions {
    /// What the table of a file says.
    pub(super) fn load(view: View<'_>) -> Self {
        let mut sessions = Self::default();
        for index in (0..STATE_SESSIONS_MAX).rev() {
            let at = SESSIONS_AT + index * SESSION_LEN;
            let mut id = [0; 16];
            if view.load(at + LAST_USE, Ordering::Relaxed) != 0 && view.read(at, &mut id) {
                sessions.places.insert(id, at);
            } else {
                sessions.free.push(at);
            }
        }
        sessions
    }

    pub(super) fn get(&self, view: View<'_>, id: &[u8; 16]) -> Option<u64> {
        let at = *self.places.get(id)?;
        Some(view.load(at + SEQ, Ordering::Relaxed))
    }

    pub(super) fn set(&mut self, view: View<'_>, id: [u8; 16], seq: u64, now_s: u64) {
        // Release, here and below: no reader in this process; only the order of the stores counts, for after a death.
        let at = match self.places.get(&id) {
            Some(at) => *at,
            None => {
                let Some(at) = self.free.pop().or_else(|| self.evict(view)) else {
                    return; // a table without a place does not exist
                };
                view.store(at + LAST_USE, 0, Ordering::Release);
                view.write(at, &id);
                self.places.insert(id, at);
                at
            }
        };
        view.store(at + SEQ, seq, Ordering::Release);
        view.store(at + LAST_USE, now_s.max(1), Ordering::Release);
    }

    pub(super) fn forget(&mut self, view: View<'_>, id: &[u8; 16]) {
        if let Some(at) = self.places.remove(id) {
            view.store(at + LAST_USE, 0, Ordering::Release);
            self.free.push(at);
        }
    }

    pub(super) fn all(&self, view: View<'_>) -> Vec<([u8; 16], u64)> {
        let seq = |at: usize| view.load(at + SEQ, Ordering::Relaxed);
        self.places.iter().map(|(id, at)| (*id, seq(*at))).collect()
    }

    fn evict(&mut self, view: View<'_>) -> Option<usize> {
        let last_use = |at: usize| view.load(at + LAST_USE, Ordering::Relaxed);
        let oldest = self.places.iter().min_by_key(|(_, at)| last_use(**at));
        let (id, at) = oldest.map(|(id, at)| (*id, *at))?;
        self.places.remove(&id);
        Some(at)
    }
}
