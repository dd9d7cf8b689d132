//! Whether a few dictionaries are what they were, without looking at what is in them.
//!
//! In: dictionaries. Out: a number that stands for their state: the same number, the same state. Python 3.12 and later call us
//! before a watched dictionary is changed, 3.11 numbers a dictionary's states; where neither is found to work there is no
//! number, and every look is a close one. 3.13 does not tell of attributes that are set on an object: for those see
//! [`can_follow_objects`] and [`take_one`], for everything else it works.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::sys::dicts;
use crate::sys::interpreter::{instance_dict, set_instance_dict};

/// How this interpreter tells of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A change of any watched dictionary changes the number of all.
    Watched,
    Numbered,
    Unknown,
}

fn way(py: Python<'_>) -> Way {
    static WAY: PyOnceLock<Way> = PyOnceLock::new();
    *WAY.get_or_init(py, || {
        let (way, works) = if py.version_info() >= (3, 12) {
            (Way::Watched, are_watched(py))
        } else {
            (Way::Numbered, are_numbered(py))
        };
        if works.unwrap_or(false) { way } else { Way::Unknown }
    })
}

/// Whether the dictionaries of objects can be followed, too.
#[inline]
pub(crate) fn can_follow_objects(py: Python<'_>) -> bool {
    static CAN: PyOnceLock<bool> = PyOnceLock::new();
    *CAN.get_or_init(py, || try_object(py, |_| true).unwrap_or(false))
}

/// Gives the object a copy of its dictionary: it shares nothing with its object then, and Python 3.13 tells of its changes.
fn give_dict(object: &Bound<'_, PyAny>) -> bool {
    let copy = instance_dict(object).and_then(|dict| dict.copy().ok());
    copy.is_some_and(|copy| set_instance_dict(object, &copy))
}

/// Changes an object of a class of our own in all ways, and looks at what its number does.
fn try_object(py: Python<'_>, prepare: impl FnOnce(&Bound<'_, PyAny>) -> bool) -> PyResult<bool> {
    let class = py
        .get_type::<PyType>()
        .call1(("probe", PyTuple::empty(py), PyDict::new(py)))?;
    let object = class.call0()?;
    object.setattr("first", 1)?;
    if !prepare(&object) {
        return Ok(false);
    }
    let Some(dict) = instance_dict(&object) else {
        return Ok(false);
    };
    let mut follows = true;
    let mut is_noticed = |change: &dyn Fn() -> PyResult<()>| -> PyResult<()> {
        let number = take(py, &[&dict]);
        follows &= number.is_some_and(|number| is(py, number, &[&dict]));
        change()?;
        follows &= number.is_some_and(|number| !is(py, number, &[&dict]));
        Ok(())
    };
    is_noticed(&|| object.setattr("first", 2))?;
    is_noticed(&|| object.setattr("second", 1))?;
    is_noticed(&|| object.delattr("second"))?;
    is_noticed(&|| dict.set_item("first", 3))?;
    is_noticed(&|| dict.del_item("first"))?;
    is_noticed(&|| object.setattr("first", 4))?;
    Ok(follows)
}

/// The number of the present state of these, which are followed from now on. Never 0.
pub(crate) fn take(py: Python<'_>, all: &[&Bound<'_, PyDict>]) -> Option<u64> {
    match way(py) {
        Way::Watched => dicts::watch(all).then(|| dicts::changes() + 1),
        Way::Numbered => Some(sum(all)),
        Way::Unknown => None,
    }
}

/// Whether these, which have been [taken](take), are still in the state of this number.
#[inline]
pub(crate) fn is(py: Python<'_>, number: u64, all: &[&Bound<'_, PyDict>]) -> bool {
    match way(py) {
        Way::Watched => dicts::changes() + 1 == number,
        Way::Numbered => sum(all) == number,
        Way::Unknown => false,
    }
}

/// As [`take`], of `sys.modules`, whose changes leave the numbers of all else as they are.
pub(crate) fn take_modules(py: Python<'_>, modules: &Bound<'_, PyDict>) -> Option<u64> {
    match way(py) {
        Way::Watched => dicts::watch_modules(modules).then(dicts::module_changes),
        Way::Numbered => Some(dicts::version(modules)),
        Way::Unknown => None,
    }
}

/// As [`is`], of `sys.modules`.
#[inline]
pub(crate) fn are_modules(py: Python<'_>, number: u64, modules: &Bound<'_, PyDict>) -> bool {
    match way(py) {
        Way::Watched => dicts::module_changes() == number,
        Way::Numbered => dicts::version(modules) == number,
        Way::Unknown => false,
    }
}

/// Notes the state of a dictionary that its object was given ([`set_instance_dict`]), until the next one's is noted. `None`: it
/// cannot be told whether that changes.
#[inline]
pub(crate) fn take_one(py: Python<'_>, dict: &Bound<'_, PyDict>) -> Option<u64> {
    static CAN: PyOnceLock<bool> = PyOnceLock::new();
    let can = *CAN.get_or_init(py, || {
        can_follow_objects(py) || try_object(py, give_dict).unwrap_or(false)
    });
    match way(py) {
        Way::Watched if can => dicts::watch_one(dict).then_some(0),
        Way::Numbered if can => Some(dicts::version(dict)),
        _ => None,
    }
}

/// Whether this dictionary, whose state was the last to be [noted](take_one), is still in it.
#[inline]
pub(crate) fn is_one(py: Python<'_>, number: u64, dict: &Bound<'_, PyDict>) -> bool {
    match way(py) {
        Way::Watched => dicts::is_unchanged(dict),
        Way::Numbered => dicts::version(dict) == number,
        Way::Unknown => false,
    }
}

/// Each change of any of them makes it larger: the numbers of a process only grow.
#[inline]
fn sum(all: &[&Bound<'_, PyDict>]) -> u64 {
    all.iter()
        .map(|dict| dicts::version(dict))
        .fold(1, u64::wrapping_add)
}

/// Changes a dictionary of our own, and looks whether we are told of it.
fn are_watched(py: Python<'_>) -> PyResult<bool> {
    let dict = PyDict::new(py);
    if !dicts::watch(&[&dict]) {
        return Ok(false);
    }
    let mut seen = vec![dicts::changes()];
    dict.set_item("key", 1)?;
    seen.push(dicts::changes());
    dict.set_item("key", 2)?;
    seen.push(dicts::changes());
    dict.del_item("key")?;
    seen.push(dicts::changes());
    Ok(seen.is_sorted_by(|before, after| before < after))
}

/// Changes dictionaries of our own, and looks at what their numbers do.
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
