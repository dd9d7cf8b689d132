//! Whether a few dictionaries are what they were, without looking at what is in them.
//!
//! In: dictionaries. Out: "unchanged since", where Python tells: 3.12 and later call us before a watched one is changed,
//! 3.11 numbers a dictionary's states. Where neither is found to work the answer is always no.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::sys::dicts;

/// See the file's head.
pub(crate) struct Changes {
    dicts: Vec<Py<PyDict>>,
    way: Way,
    /// The sum that stood for the state at the last look; 0: there was none.
    seen: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Watched,
    Numbered,
    Unknown,
}

impl Changes {
    /// Of these dictionaries; for one set of them in a process.
    pub(crate) fn of(py: Python<'_>, dicts: Vec<Bound<'_, PyDict>>) -> Self {
        let way = if py.version_info() < (3, 12) {
            if are_numbered(py).unwrap_or(false) { Way::Numbered } else { Way::Unknown }
        } else if dicts::watch(&dicts) {
            Way::Watched
        } else {
            Way::Unknown
        };
        Self {
            dicts: dicts.into_iter().map(Bound::unbind).collect(),
            way,
            seen: AtomicU64::new(0),
        }
    }

    /// Whether nothing has changed since [`note`](Self::note) was called with what `state` said then.
    #[inline]
    pub(crate) fn are_none(&self, py: Python<'_>) -> bool {
        self.way != Way::Unknown && self.state(py) == self.seen.load(Ordering::Relaxed) // with the GIL
    }

    /// The present state, to be taken before a look and noted after it, if the look was to one's liking.
    #[inline]
    pub(crate) fn state(&self, py: Python<'_>) -> u64 {
        match self.way {
            Way::Watched => dicts::changes() + 1,
            // Each change of any of them makes the sum larger: numbers only grow.
            Way::Numbered => self.dicts.iter().map(|dict| dicts::version(dict.bind(py))).fold(1, u64::wrapping_add),
            Way::Unknown => 0,
        }
    }

    /// What was found at `state` holds until something changes.
    pub(crate) fn note(&self, state: u64) {
        self.seen.store(state, Ordering::Relaxed);
    }

    /// Nothing holds.
    pub(crate) fn forget(&self) {
        self.note(0);
    }
}

/// Changes a dictionary of our own, and looks at what its number does.
fn are_numbered(py: Python<'_>) -> PyResult<bool> {
    let (first, second) = (PyDict::new(py), PyDict::new(py));
    let mut seen = Vec::new();
    for number in 0..3 {
        for dict in [&first, &second] {
            dict.set_item("key", number)?;
            let version = dicts::version(dict);
            if dict.get_item("key")?.is_none() || dicts::version(dict) != version {
                return Ok(false);
            }
            seen.push(version);
        }
    }
    first.del_item("key")?;
    seen.push(dicts::version(&first));
    Ok(seen.is_sorted_by(|before, after| before < after))
}
