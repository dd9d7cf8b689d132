//! The dictionary of an object, to be seen again as it was.
//!
//! In: an object's attributes. Out: whether they are the same objects under the same names: by the state of the dictionary
//! where that can be seen (`sys/witness.rs`), else pair by pair.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::sender::Sender;
use crate::sys::dicts::for_each_pair;
use crate::sys::witness::{DictState, Keep};

/// See the file's head. Keeps what was in the dictionary where it has to be compared.
#[derive(Debug)]
pub(crate) enum Followed {
    State(DictState),
    /// Without values that are a [`Sender`]: it is the one that keeps this, and would never be freed.
    Pairs(Vec<(Py<PyAny>, Option<Py<PyAny>>)>),
}

impl Followed {
    /// As it is now.
    pub(crate) fn take(dict: &Bound<'_, PyDict>, keep: Keep) -> Self {
        if let Some(state) = DictState::take(dict, keep) {
            return Self::State(state);
        }
        let keep =
            |value: Bound<'_, PyAny>| (!value.is_exact_instance_of::<Sender>()).then(|| value.unbind());
        let pairs = dict.iter().map(|(key, value)| (key.unbind(), keep(value)));
        Self::Pairs(pairs.collect())
    }

    /// Whether it is as it was. Runs no Python code.
    #[inline]
    pub(crate) fn holds(&self, dict: &Bound<'_, PyDict>) -> bool {
        match self {
            Self::State(state) => state.holds(dict),
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
