//! Dictionaries, read without a look-up: pair by pair, or not at all while nothing in them has changed.
//!
//! In: dictionaries that the caller holds, on a thread that is attached to the interpreter. The third room of `unsafe`.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{Borrowed, ffi};

/// Calls `see` with each key and value, in the dictionary's order, until it says `false`. `see` runs no Python code; what
/// it keeps, or needs after making a Python object, it takes a reference of: a collection may run a finalizer, which could
/// change the dictionary.
#[inline]
pub(crate) fn for_each_pair<'a, 'py>(
    dict: &'a Bound<'py, PyDict>,
    mut see: impl FnMut(Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>) -> bool,
) {
    let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    // SAFETY: a dictionary, and places for what it has; keys and values are borrowed from it and not null.
    unsafe {
        while ffi::PyDict_Next(dict.as_ptr(), &raw mut place, &raw mut key, &raw mut value) != 0 {
            let py = dict.py();
            if !see(Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, value)) {
                return;
            }
        }
    }
}

/// Counts changes of watched dictionaries. Wraps never.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// `PyDict_WatchCallback` of Python 3.12: told of a change before it is made.
extern "C" fn count_change(
    _event: c_int,
    _dict: *mut ffi::PyObject,
    _key: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> c_int {
    CHANGES.fetch_add(1, Ordering::Relaxed); // with the GIL
    0
}

type Callback = extern "C" fn(c_int, *mut ffi::PyObject, *mut ffi::PyObject, *mut ffi::PyObject) -> c_int;
type Watch = unsafe extern "C" fn(c_int, *mut ffi::PyObject) -> c_int;

/// The number of our watcher, and the function that sets it on a dictionary.
static WATCHER: OnceLock<Option<(c_int, Watch)>> = OnceLock::new();

fn watcher() -> Option<(c_int, Watch)> {
    type AddWatcher = unsafe extern "C" fn(Callback) -> c_int;
    *WATCHER.get_or_init(|| {
        // SAFETY: names of functions that have had these signatures since Python 3.12, and before it do not exist. The
        // callback is a function of this library, which Python never unloads. We are attached, and an error is cleared.
        unsafe {
            let find = |name: &CStr| libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
            let (add, watch) = (find(c"PyDict_AddWatcher"), find(c"PyDict_Watch"));
            if add.is_null() || watch.is_null() {
                return None;
            }
            let add = std::mem::transmute::<*mut c_void, AddWatcher>(add);
            let watch = std::mem::transmute::<*mut c_void, Watch>(watch);
            let id = add(count_change);
            ffi::PyErr_Clear();
            (id >= 0).then_some((id, watch))
        }
    })
}

/// Has changes of these dictionaries counted from now on. Returns whether it is so.
pub(crate) fn watch(all: &[&Bound<'_, PyDict>]) -> bool {
    let Some((id, watch)) = watcher() else {
        return false;
    };
    // SAFETY: our watcher, and dictionaries that live; an error is cleared.
    let are_watched = all.iter().all(|dict| unsafe { watch(id, dict.as_ptr()) } == 0);
    if !are_watched {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
    }
    are_watched
}

/// How many changes of watched dictionaries there have been.
#[inline]
pub(crate) fn changes() -> u64 {
    CHANGES.load(Ordering::Relaxed) // with the GIL
}

/// Where `ma_version_tag` stands in a dictionary, up to Python 3.11: behind the object's head and the number of items.
const VERSION_AT: usize = 24;

/// The number of a dictionary's present state in Python 3.11: unique in the process, another one after each change.
#[inline]
pub(crate) fn version(dict: &Bound<'_, PyDict>) -> u64 {
    // SAFETY: a dictionary is larger than that in every version of Python; the word is aligned.
    unsafe {
        dict.as_ptr()
            .cast::<u8>()
            .add(VERSION_AT)
            .cast::<u64>()
            .read_volatile()
    }
}
