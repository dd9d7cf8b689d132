//! Dictionaries, read without a look-up: pair by pair, or not at all while nothing in them has changed.
//!
//! In: dictionaries that the caller holds, on a thread that is attached to the interpreter. The third room of `unsafe`.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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

/// The pair at this place, where the dictionary has no gaps before it; else that of another place, or none. As in
/// [`for_each_pair`].
#[inline]
pub(crate) fn pair_at<'a, 'py>(
    dict: &'a Bound<'py, PyDict>,
    place: usize,
) -> Option<(Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
    let mut place = ffi::Py_ssize_t::try_from(place).ok()?;
    let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: as above; it looks at any place first whether there is one.
    unsafe {
        if ffi::PyDict_Next(dict.as_ptr(), &raw mut place, &raw mut key, &raw mut value) == 0 {
            return None;
        }
        let py = dict.py();
        Some((Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, value)))
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

/// The number of a watcher of ours, and the function that sets it on a dictionary.
type Watcher = Option<(c_int, Watch)>;

fn watcher() -> Watcher {
    static WATCHER: OnceLock<Watcher> = OnceLock::new();
    *WATCHER.get_or_init(|| new_watcher(count_change))
}

fn new_watcher(callback: Callback) -> Watcher {
    type AddWatcher = unsafe extern "C" fn(Callback) -> c_int;
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
        let id = add(callback);
        ffi::PyErr_Clear();
        (id >= 0).then_some((id, watch))
    }
}

/// Has changes of these dictionaries counted from now on. Returns whether it is so.
pub(crate) fn watch(all: &[&Bound<'_, PyDict>]) -> bool {
    let Some((id, watch)) = watcher() else {
        return false;
    };
    all.iter().all(|dict| watch_by(dict, id, watch))
}

#[inline]
fn watch_by(dict: &Bound<'_, PyDict>, id: c_int, watch: Watch) -> bool {
    // SAFETY: a watcher of ours, and a dictionary that lives.
    let is_watched = unsafe { watch(id, dict.as_ptr()) } == 0;
    if !is_watched {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
    }
    is_watched
}

/// Counts changes of `sys.modules`, which is to make nothing else void.
static MODULE_CHANGES: AtomicU64 = AtomicU64::new(0);

/// As [`count_change`], of that one.
extern "C" fn count_module_change(
    _event: c_int,
    _dict: *mut ffi::PyObject,
    _key: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> c_int {
    MODULE_CHANGES.fetch_add(1, Ordering::Relaxed); // with the GIL
    0
}

/// As [`watch`], of `sys.modules`.
pub(crate) fn watch_modules(modules: &Bound<'_, PyDict>) -> bool {
    static WATCHER: OnceLock<Watcher> = OnceLock::new();
    WATCHER
        .get_or_init(|| new_watcher(count_module_change))
        .is_some_and(|(id, watch)| watch_by(modules, id, watch))
}

/// As [`changes`], of `sys.modules`.
#[inline]
pub(crate) fn module_changes() -> u64 {
    MODULE_CHANGES.load(Ordering::Relaxed) // with the GIL
}

/// The address of the dictionary that [`watch_one`] was last told of, until it changes; else 0.
static UNCHANGED: AtomicUsize = AtomicUsize::new(0);

/// As [`count_change`], of that one.
extern "C" fn notice_change(
    _event: c_int,
    dict: *mut ffi::PyObject,
    _key: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> c_int {
    if UNCHANGED.load(Ordering::Relaxed) == dict.addr() {
        UNCHANGED.store(0, Ordering::Relaxed); // both with the GIL
    }
    0
}

/// Has it noticed whether this dictionary changes, instead of the last one. Returns whether that can be.
#[inline]
pub(crate) fn watch_one(dict: &Bound<'_, PyDict>) -> bool {
    static WATCHER: OnceLock<Watcher> = OnceLock::new();
    let is_watched = WATCHER
        .get_or_init(|| new_watcher(notice_change))
        .is_some_and(|(id, watch)| watch_by(dict, id, watch));
    let address = if is_watched { dict.as_ptr().addr() } else { 0 };
    UNCHANGED.store(address, Ordering::Relaxed); // with the GIL
    is_watched
}

/// Whether this is the dictionary that [`watch_one`] was last told of, and has not changed since.
#[inline]
pub(crate) fn is_unchanged(dict: &Bound<'_, PyDict>) -> bool {
    UNCHANGED.load(Ordering::Relaxed) == dict.as_ptr().addr() // with the GIL
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
