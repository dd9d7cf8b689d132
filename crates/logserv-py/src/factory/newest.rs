//! What the factory knows of the record that it has made last, for the handler that gets it next: it need not read the record
//! then, as long as nobody has changed it.
//!
//! In: a record and its attributes. Out: the same as [`Gathered::read`] would find, if this is the newest record, as it was
//! made, and nothing of it is wanted that is not known here.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::places::{self, Found};
use crate::gather::{Gathered, Needs};
use crate::moment::Moment;
use crate::names::{Keys, Standard};
use crate::sys::dicts::pair_at;
use crate::sys::gil::WithGil;
use crate::{clock, stamp};

#[derive(Debug, Clone, Copy)]
struct Newest {
    /// Addresses: nothing is kept alive by being the newest.
    record: usize,
    dict: usize,
    state: u64,
    found: Found,
    moment: Moment,
}

static NEWEST: WithGil<Option<Newest>> = WithGil::new(None);

/// Attributes whose values are not known here.
const UNKNOWN: u32 = Standard::ExcInfo.bit()
    | Standard::ExcText.bit()
    | Standard::StackInfo.bit()
    | Standard::Msg.bit()
    | Standard::Args.bit()
    | Standard::TaskName.bit();

/// This is the newest. It has neither exception nor stack.
#[inline]
pub(super) fn remember(record: &Bound<'_, PyAny>, dict: &Bound<'_, PyDict>, found: Found, moment: Moment) {
    let py = record.py();
    let newest = stamp::take_one(py, dict).map(|state| Newest {
        record: record.as_ptr().addr(),
        dict: dict.as_ptr().addr(),
        state,
        found,
        moment,
    });
    NEWEST.try_with(py, |place| *place = newest);
}

/// What [`Gathered::read`] would read for a formatter that shows `needs` and no more. `None`: nothing was done.
#[inline]
pub(crate) fn gather<'py>(
    record: &Bound<'py, PyAny>,
    dict: &Bound<'py, PyDict>,
    needs: &Needs,
    gathered: &mut Gathered<'py>,
) -> Option<()> {
    let py = record.py();
    if needs.standard & UNKNOWN != 0 || !needs.others.is_empty() {
        return None;
    }
    let newest = NEWEST.try_with(py, |newest| *newest).flatten()?;
    if newest.record != record.as_ptr().addr()
        || newest.dict != dict.as_ptr().addr()
        || !stamp::is_one(py, newest.state, dict)
    {
        return None;
    }
    let (msg, args) = (value_at(dict, Standard::Msg)?, value_at(dict, Standard::Args)?);
    if places::gather(py, newest.found, needs, gathered).is_none() {
        gathered.clear();
        return None;
    }
    let numbers = &mut gathered.numbers;
    numbers.created = newest.moment.created;
    numbers.msecs = newest.moment.msecs;
    numbers.relative_created = newest.moment.relative_created;
    numbers.utc_offset_s = clock::utc_offset_s(py, newest.moment.created);
    gathered.msg = Some(msg);
    gathered.args = Some(args);
    let none = py.None().into_bound(py);
    gathered.exc_text = Some(none.clone());
    gathered.stack_info = Some(none);
    Some(())
}

/// The value of an attribute that stands where `LogRecord.__init__` puts it.
fn value_at<'py>(dict: &Bound<'py, PyDict>, standard: Standard) -> Option<Bound<'py, PyAny>> {
    let (key, value) = pair_at(dict, standard as usize)?;
    Keys::get(dict.py()).is(standard, &key).then(|| value.to_owned())
}
