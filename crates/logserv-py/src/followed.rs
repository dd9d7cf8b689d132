//! The dictionary of an object, to be seen again as it was.
//!
//! In: an object's attributes. Out: whether they are the same objects under the same names: by the number of the
//! dictionary's state where Python has one for it, else pair by pair. Python 3.13 has none for a dictionary that shares its
//! values with its object, as all do at first; [`make_own`] gives such an object one that does not.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::sender::Sender;
use crate::stamp;
use crate::sys::dicts::{self, for_each_pair};

/// See the file's head. Keeps what was in the dictionary where it has to be compared.
#[derive(Debug)]
pub(crate) enum Followed {
    /// Its address, and the number.
    Number(usize, u64),
    /// Without values that are a [`Sender`]: it is the one that keeps this, and would never be freed.
    Pairs(Vec<(Py<PyAny>, Option<Py<PyAny>>)>),
}

impl Followed {
    /// As it is now.
    pub(crate) fn take(py: Python<'_>, dict: &Bound<'_, PyDict>) -> Self {
        if (stamp::can_follow_objects(py) || dicts::is_own(dict))
            && let Some(number) = stamp::take(py, &[dict])
        {
            return Self::Number(dict.as_ptr().addr(), number);
        }
        let keep =
            |value: Bound<'_, PyAny>| (!value.is_exact_instance_of::<Sender>()).then(|| value.unbind());
        let pairs = dict.iter().map(|(key, value)| (key.unbind(), keep(value)));
        Self::Pairs(pairs.collect())
    }

    /// Whether it is as it was. Runs no Python code.
    #[inline]
    pub(crate) fn holds(&self, py: Python<'_>, dict: &Bound<'_, PyDict>) -> bool {
        match self {
            Self::Number(address, number) => {
                dict.as_ptr().addr() == *address && stamp::is(py, *number, &[dict])
            }
            Self::Pairs(pairs) => {
                let mut pairs = pairs.iter();
                let mut are_same = dict.len() == pairs.len();
                if are_same {
                    for_each_pair(dict, |key, value| {
                        are_same = pairs.next().is_some_and(|(name, then)| {
                            key.is(name) && then.as_ref().is_none_or(|then| value.is(then))
                        });
                        are_same
                    });
                }
                are_same
            }
        }
    }
}

/// [`make_own`] of a handler of ours.
#[pyfunction]
pub(crate) fn follow(handler: &Bound<'_, PyAny>) {
    make_own(handler);
}

/// Has changes of the object's attributes told, where Python does so for a dictionary that shares nothing with its object: it
/// gets a copy of its dictionary for its own. Only where nobody but the object holds the old one, and so nobody can tell.
pub(crate) fn make_own(object: &Bound<'_, PyAny>) {
    let py = object.py();
    if !stamp::can_follow_objects(py) && stamp::can_follow_own(py) {
        dicts::make_own(object);
    }
}
