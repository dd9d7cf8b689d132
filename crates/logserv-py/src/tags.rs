//! Whether a class is still what it was when somebody looked closely: one comparison instead of a dozen look-ups.
//!
//! In: a class. Out: the number that CPython gives to its present state and that of its bases, once this interpreter was
//! seen to keep such numbers as we believe; where it does not, there are none, and every look is a close one.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::sys::interpreter::version_tag;

/// The number of the class's present state; `None`: it has none now.
#[inline]
pub(crate) fn of(class: &Bound<'_, PyType>) -> Option<u32> {
    if !are_kept(class.py()) {
        return None;
    }
    Some(version_tag(class)).filter(|tag| *tag != 0)
}

/// States of classes that were looked at closely, and found to be as they should.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    tags: [AtomicU32; SEEN_MAX],
    next: AtomicUsize,
}

/// More classes than one program has for one purpose; with still more, some are looked at closely again.
const SEEN_MAX: usize = 8;

impl Seen {
    /// Whether `class` is as `look` would find it to be; `look` is asked where that is not known.
    #[inline]
    pub(crate) fn is_good(&self, class: &Bound<'_, PyType>, look: impl FnOnce() -> bool) -> bool {
        // Relaxed, here and below: written and read with the GIL.
        if of(class).is_some_and(|tag| self.tags.iter().any(|seen| seen.load(Ordering::Relaxed) == tag)) {
            return true;
        }
        let is_good = look();
        if is_good && let Some(tag) = of(class) {
            let place = self.next.fetch_add(1, Ordering::Relaxed) % SEEN_MAX;
            if let Some(seen) = self.tags.get(place) {
                seen.store(tag, Ordering::Relaxed);
            }
        }
        is_good
    }
}

fn are_kept(py: Python<'_>) -> bool {
    static ARE_KEPT: PyOnceLock<bool> = PyOnceLock::new();
    *ARE_KEPT.get_or_init(py, || try_out(py).unwrap_or(false))
}

/// Makes a class and a subclass, and looks at what their numbers do.
fn try_out(py: Python<'_>) -> PyResult<bool> {
    let version = py.version_info();
    if !((3, 11)..(3, 14)).contains(&(version.major, version.minor)) {
        return Ok(false);
    }
    let base = make(PyTuple::empty(py))?;
    let class = make(PyTuple::new(py, [&base])?)?;
    let number = |class: &Bound<'_, PyType>| {
        let _ = class.getattr("probed"); // a look-up gives it one
        version_tag(class)
    };
    let (of_base, of_class) = (number(&base), number(&class));
    let mut seen = vec![of_base, of_class];
    for _ in 0..2 {
        if number(&class) != of_class {
            return Ok(false);
        }
    }
    class.setattr("probed", 1)?;
    let is_lost = version_tag(&class) != of_class;
    seen.push(number(&class));
    base.setattr("probed", 2)?;
    let is_lost = is_lost && version_tag(&class) != seen[2] && version_tag(&base) != of_base;
    seen.extend([number(&class), number(&base)]);
    base.delattr("probed")?;
    seen.extend([number(&class), number(&base)]);
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    Ok(is_lost && seen.len() == all && !seen.contains(&0))
}

fn make(bases: Bound<'_, PyTuple>) -> PyResult<Bound<'_, PyType>> {
    let py = bases.py();
    let class = py.get_type::<PyType>().call1(("probe", bases, PyDict::new(py)))?;
    Ok(class.cast_into::<PyType>()?)
}
