//! Asks libc what the Python process would see: the local time zone and the locale of time; and to be told of forks.
//! Asks Python which interpreter runs.
//!
//! In: seconds since 1970. Out: seconds east of UTC; whether `LC_TIME` has the names of the C locale.
//! A room of `unsafe`; the others are in `sys/`. Nothing here changes the process.
#![expect(
    unsafe_code,
    reason = "localtime_r, setlocale, pthread_atfork and the zone globals of glibc have no safe face, nor has PyInterpreterState_GetID"
)]

pub(crate) mod dicts;
pub(crate) mod gil;
pub(crate) mod interpreter;
pub(crate) mod utf8;
pub(crate) mod witness;

use std::ffi::{CStr, c_char, c_int, c_long};
use std::ptr;

use pyo3::{Python, ffi};

// POSIX names; `daylight` and `timezone` are set by tzset(3), which `time.tzset` and `time.localtime` call.
unsafe extern "C" {
    static mut tzname: [*mut c_char; 2];
    static mut timezone: c_long;
    static mut daylight: c_int;
}

/// What glibc holds about the zone in force, its names, `timezone` and `daylight`: equal marks, same zone. Costs four loads.
#[inline]
pub(crate) fn zone_mark() -> [i64; 4] {
    // SAFETY: aligned words that glibc owns for the life of the process. tzset(3) in another thread may write them
    // meanwhile, so they are read as volatile words and never followed; a torn mark only makes the next look fresh.
    unsafe {
        let names = ptr::addr_of!(tzname).cast::<usize>();
        [
            names.read_volatile().cast_signed() as i64,
            names.add(1).read_volatile().cast_signed() as i64,
            ptr::addr_of!(timezone).read_volatile(),
            i64::from(ptr::addr_of!(daylight).read_volatile()),
        ]
    }
}

/// Seconds since 1970, by a clock that takes no system call.
#[inline]
pub(crate) fn now_s() -> i64 {
    // SAFETY: a null pointer asks for the answer alone.
    unsafe { libc::time(ptr::null_mut()) }
}

/// Seconds east of UTC in the local zone at `seconds` since 1970; `None` where libc knows none (year out of range).
pub(crate) fn utc_offset_s(seconds: i64) -> Option<i32> {
    // SAFETY: all-zero is a valid `tm`, whose only pointer (`tm_zone`) may be null.
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call; the result is null or the second one.
    let result = unsafe { libc::localtime_r(&raw const seconds, &raw mut broken_down) };
    if result.is_null() {
        return None;
    }
    i32::try_from(broken_down.tm_gmtoff).ok()
}

/// Whether month and day names, `%c`, `%x` and `%p` are those of the C locale.
pub(crate) fn time_locale_is_c() -> bool {
    // SAFETY: a null locale only asks; the answer is a static string or one that lives until the next setlocale(3),
    // which Python calls under the GIL that our caller holds.
    let name = unsafe { libc::setlocale(libc::LC_TIME, ptr::null()) };
    if name.is_null() {
        return false;
    }
    // SAFETY: not null, and NUL-terminated as setlocale(3) promises.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    matches!(name, b"C" | b"POSIX" | b"C.UTF-8" | b"C.utf8")
}

/// Has these called by a thread that forks, from Python or C: before, and after it in both processes.
pub(crate) fn at_fork(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: functions of this library, which Python never unloads; what they do is safe Rust. Without memory for the
    // entry a fork is as safe as it would be without us.
    let _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// The number of the thread that runs, as `threading.get_ident` gives it.
#[inline]
pub(crate) fn thread_id() -> u64 {
    // SAFETY: has no conditions.
    unsafe { libc::pthread_self() }
}

/// Whether the caller runs in the process's first interpreter, of which there is always one.
pub(crate) fn is_main_interpreter(_attached: Python<'_>) -> bool {
    // SAFETY: the caller is attached to an interpreter, so there is a current one, and it lives during the call.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) == 0 }
}
