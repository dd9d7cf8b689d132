//! libc's broken-down times and `strftime`: the only unsafe code of this crate.
//!
//! In: seconds since 1970, a zone, a format. Out: a [`Calendar`], text appended to a string. Always in the C locale,
//! whatever the process has set. Blocks: never, but for libc's lock around the zone's table.
//! Not here: which formats are rendered (`datefmt.rs`), caching (`clock.rs`).
#![expect(
    unsafe_code,
    reason = "libc's strftime is what CPython calls, so its text is the same to the byte"
)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::sync::{Once, OnceLock};

unsafe extern "C" {
    fn tzset();
}

/// A broken-down time, as libc has it.
pub(crate) struct Calendar(libc::tm);

impl Calendar {
    /// `time.gmtime(second)`.
    pub(crate) fn utc(second: i64) -> Option<Self> {
        let mut calendar = MaybeUninit::uninit();
        // SAFETY: both pointers are valid; gmtime_r fills the structure whenever it returns non-null.
        unsafe {
            let filled = libc::gmtime_r(&second, calendar.as_mut_ptr());
            (!filled.is_null()).then(|| Self(calendar.assume_init()))
        }
    }

    /// `time.localtime(second)` in a zone that is `offset_s` seconds east of UTC, of unknown name.
    pub(crate) fn at_offset(second: i64, offset_s: i32) -> Option<Self> {
        let mut calendar = Self::utc(second.checked_add(offset_s.into())?)?;
        calendar.0.tm_gmtoff = offset_s.into();
        calendar.0.tm_zone = c"".as_ptr();
        Some(calendar)
    }

    /// `time.localtime(second)` in this process's own zone, as it was when the process first asked.
    pub(crate) fn local(second: i64) -> Option<Self> {
        static ZONE: Once = Once::new();
        // POSIX does not promise that localtime_r does it.
        // SAFETY: it reads the environment, which nobody changes while threads run (`set_var` is unsafe for that reason).
        ZONE.call_once(|| unsafe { tzset() });
        let mut calendar = MaybeUninit::uninit();
        // SAFETY: both pointers are valid; localtime_r fills the structure whenever it returns non-null.
        unsafe {
            let filled = libc::localtime_r(&second, calendar.as_mut_ptr());
            (!filled.is_null()).then(|| Self(calendar.assume_init()))
        }
    }
}

/// The C locale, made once and never freed.
struct CLocale(libc::locale_t);
// SAFETY: a locale object is not changed after its creation; POSIX lets all threads use it.
unsafe impl Send for CLocale {}
// SAFETY: as above.
unsafe impl Sync for CLocale {}

fn c_locale() -> Option<libc::locale_t> {
    static LOCALE: OnceLock<CLocale> = OnceLock::new();
    let locale = LOCALE.get_or_init(|| {
        // SAFETY: a valid name and no base; the result may be null, which is looked at below.
        CLocale(unsafe { libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), std::ptr::null_mut()) })
    });
    (!locale.0.is_null()).then_some(locale.0)
}

/// Calls `strftime` in the C locale and returns what it writes; `None` where that is empty or over `len_max` bytes.
pub(crate) fn strftime(format: &CStr, calendar: &Calendar, len_max: usize) -> Option<Vec<u8>> {
    let locale = c_locale()?;
    let mut capacity = 128;
    loop {
        let mut written = Vec::<u8>::with_capacity(capacity);
        // SAFETY: strftime writes at most `capacity` bytes into the vector and returns how many of them, without the
        // NUL, are filled; `format` is NUL-terminated; `calendar` is a whole `tm` whose zone name outlives the call.
        unsafe {
            let len = libc::strftime_l(
                written.as_mut_ptr().cast(),
                capacity,
                format.as_ptr(),
                &raw const calendar.0,
                locale,
            );
            written.set_len(len.min(capacity));
        }
        if !written.is_empty() {
            return Some(written);
        }
        if capacity >= len_max {
            return None;
        }
        capacity = (capacity * 4).min(len_max);
    }
}
