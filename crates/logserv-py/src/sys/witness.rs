//! An object of a plain Python class, to be seen again as it was by a few comparisons of words: no call of the interpreter.
//!
//! In: an object that the caller holds. Out: whether its class and its attributes are what they were, and then what some of
//! them are. Believed only in an interpreter whose objects were seen to lie in memory as we think; in any other there are
//! no witnesses, and every look is a close one. The fourth room of `unsafe`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi};
use smallvec::SmallVec;

use super::dicts::for_each_pair;
use super::interpreter::{instance_dict, peek, version_tag};
use crate::{stamp, tags};

/// Where the words are that are read, in bytes, in CPython 3.11 to 3.13: of an object with a managed dictionary, of a
/// dictionary, and (3.13) of the values that such an object has in itself.
mod at {
    /// Before the object.
    pub(super) const MANAGED_DICT: usize = 24;
    pub(super) const DICT_USED: usize = 16;
    pub(super) const DICT_KEYS: usize = 32;
    pub(super) const DICT_VALUES: usize = 40;
    pub(super) const VALUES_CAPACITY: usize = 0;
    pub(super) const VALUES_FIRST: usize = 8;
}

/// `Py_TPFLAGS_MANAGED_DICT`.
const HAS_MANAGED_DICT: std::ffi::c_ulong = 1 << 4;

/// The most attributes that an object has in itself: `SHARED_KEYS_MAX_SIZE`.
const SLOTS_MAX: usize = 30;

/// Which values are kept alive, as another object in the same place could be taken for them. What is in lists, dictionaries and
/// followed objects is looked at, or does not matter; to keep these would keep whole hierarchies of loggers alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Numbers and texts, where nothing else matters by being the same object.
    Plain,
    /// Also functions and the like.
    AllButFollowed,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Witness {
    class: usize,
    tag: u32,
    dict: DictState,
    /// Values of the wanted attributes, 0 where there was none. They are the dictionary's, and alive while that is as it was.
    wanted: SmallVec<[usize; 8]>,
}

/// The dictionary of an object, as it was.
#[derive(Debug)]
pub(crate) struct DictState {
    address: usize,
    state: State,
    /// Values that nobody else may have meanwhile: what another object in the same place would be taken for.
    _kept: Vec<Py<PyAny>>,
}

#[derive(Debug)]
enum State {
    /// The interpreter tells of changes of objects: [`stamp`].
    Number(u64),
    /// It does not, and the values lie in the object: all of them are compared.
    Slots {
        keys: usize,
        first: usize,
        used: usize,
        words: SmallVec<[usize; 16]>,
    },
}

/// An object that is as it was.
pub(crate) struct Seen<'a, 'py> {
    py: Python<'py>,
    wanted: &'a [usize],
}

impl<'a, 'py> Seen<'a, 'py> {
    /// The wanted attribute of this number; `None`: it has none of that name.
    ///
    /// Whoever calls this runs no Python code before the last use of the answer, and so nothing can take it away.
    #[inline]
    pub(crate) fn get(&self, number: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        let value = *self.wanted.get(number)?;
        // SAFETY: 0, or a value of a dictionary that was just seen to be unchanged, and which its object keeps.
        unsafe { Borrowed::from_ptr_or_opt(self.py, value as *mut ffi::PyObject) }
    }
}

impl Witness {
    /// What the object is now; `wanted`: the names that [`Seen::get`] is asked for. `None`: it cannot be followed.
    ///
    /// Take it before the close look that it is to stand for: what changes meanwhile then makes it void.
    pub(crate) fn take(
        object: &Bound<'_, PyAny>,
        wanted: &[&Bound<'_, PyString>],
        keep: Keep,
    ) -> Option<Self> {
        let py = object.py();
        can_be(py).then_some(())?;
        let class = object.get_type();
        let tag = tags::of(&class)?;
        let dict = managed_dict(object, &class)?;
        let value = |name: &&Bound<'_, PyString>| peek(&dict, name).map_or(0, |value| value.as_ptr().addr());
        Some(Self {
            class: class.as_ptr().addr(),
            tag,
            dict: DictState::take(&dict, keep)?,
            wanted: wanted.iter().map(value).collect(),
        })
    }

    /// The object, where it is as it was. Runs no Python code.
    #[inline]
    pub(crate) fn see<'a, 'py>(&'a self, object: Borrowed<'a, 'py, PyAny>) -> Option<Seen<'a, 'py>> {
        let py = object.py();
        // SAFETY: a live object, whose class is live, too, and a type object.
        let tag = unsafe {
            let class = ffi::Py_TYPE(object.as_ptr());
            if class.addr() != self.class {
                return None;
            }
            version_tag(&Borrowed::from_ptr(py, class.cast()).cast_unchecked::<PyType>())
        };
        if tag != self.tag {
            return None;
        }
        // SAFETY: the class has the flag, as `take` has seen, which no change of a class takes away; and the dictionary that
        // is found is the object's own, and so alive.
        let is_same = unsafe {
            word(object.as_ptr().cast::<u8>().sub(at::MANAGED_DICT)) == self.dict.address
                && self.dict.is_unchanged(py)
        };
        is_same.then_some(Seen {
            py,
            wanted: &self.wanted,
        })
    }
}

impl DictState {
    /// As it is now. `None`: it cannot be followed.
    pub(crate) fn take(dict: &Bound<'_, PyDict>, keep: Keep) -> Option<Self> {
        let py = dict.py();
        let mut kept = Vec::new();
        let state = if stamp::can_follow_objects(py) {
            State::Number(stamp::take(py, &[dict])?)
        } else {
            can_be(py).then_some(())?;
            let values = dict.values();
            kept.extend(values.iter().filter(|value| keep.keeps(value)).map(Bound::unbind));
            // SAFETY: a dictionary, in an interpreter that was tried out.
            unsafe { slots_of(dict) }?
        };
        Some(Self {
            address: dict.as_ptr().addr(),
            state,
            _kept: kept,
        })
    }

    /// Whether it is this one, and as it was. Runs no Python code.
    #[inline]
    pub(crate) fn holds(&self, dict: &Bound<'_, PyDict>) -> bool {
        // SAFETY: it is the dictionary that is given here, and so alive.
        dict.as_ptr().addr() == self.address && unsafe { self.is_unchanged(dict.py()) }
    }

    /// Whether it is as it was.
    ///
    /// # Safety
    /// The address is that of a live dictionary.
    #[inline]
    unsafe fn is_unchanged(&self, py: Python<'_>) -> bool {
        let dict = self.address as *mut ffi::PyObject;
        match &self.state {
            State::Number(number) => {
                // SAFETY: our caller's.
                let dict = unsafe { Borrowed::from_ptr(py, dict).cast_unchecked::<PyDict>() };
                stamp::is(py, *number, &[&dict])
            }
            State::Slots {
                keys,
                first,
                used,
                words,
            } => {
                let dict = dict.cast::<u8>();
                // SAFETY: a dictionary is that long. Where it has the same keys and values, these still have the capacity
                // that they had: both are of the object's making.
                unsafe {
                    word(dict.add(at::DICT_KEYS)) == *keys
                        && word(dict.add(at::DICT_VALUES)) + at::VALUES_FIRST == *first
                        && word(dict.add(at::DICT_USED)) == *used
                        && std::slice::from_raw_parts(*first as *const usize, words.len()) == words.as_slice()
                }
            }
        }
    }
}

/// Whether the list is one of exactly these objects.
#[inline]
pub(crate) fn is_list_of(list: Borrowed<'_, '_, PyAny>, items: &[usize]) -> bool {
    // SAFETY: what is exactly a list is asked for items that it has; they are only compared.
    list.is_exact_instance_of::<PyList>()
        && unsafe {
            ffi::PyList_Size(list.as_ptr()).cast_unsigned() == items.len()
                && items
                    .iter()
                    .zip(0..)
                    .all(|(item, place)| ffi::PyList_GetItem(list.as_ptr(), place).addr() == *item)
        }
}

/// The list's items as they are, without references of their own. Whoever calls this runs no Python code before the last
/// use of them. `None`: it is no list.
#[inline]
pub(crate) fn items<'a, 'py>(
    list: Borrowed<'a, 'py, PyAny>,
) -> Option<impl Iterator<Item = Borrowed<'a, 'py, PyAny>> + use<'a, 'py>> {
    list.is_exact_instance_of::<PyList>().then_some(())?;
    // SAFETY: exactly a list, asked for what it has.
    let len = unsafe { ffi::PyList_Size(list.as_ptr()) };
    Some((0..len).map_while(move |place| {
        // SAFETY: as above; an answer is borrowed from the list.
        unsafe { Borrowed::from_ptr_or_opt(list.py(), ffi::PyList_GetItem(list.as_ptr(), place)) }
    }))
}

/// The object's dictionary, where it is one that the interpreter manages.
fn managed_dict<'py>(object: &Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: a type object.
    let flags = unsafe { ffi::PyType_GetFlags(class.as_ptr().cast()) };
    if flags & HAS_MANAGED_DICT == 0 {
        return None;
    }
    let dict = instance_dict(object)?;
    // SAFETY: an object of a class with this flag has three words before it.
    let found = unsafe { word(object.as_ptr().cast::<u8>().sub(at::MANAGED_DICT)) };
    (found == dict.as_ptr().addr()).then_some(dict)
}

/// Where the values are, and what.
///
/// # Safety
/// In an interpreter that [`can_be`] was, or is being, tried out in.
unsafe fn slots_of(dict: &Bound<'_, PyDict>) -> Option<State> {
    let start = dict.as_ptr().cast::<u8>();
    // SAFETY: a dictionary is that long; where it has values they begin with their capacity, and are as many.
    unsafe {
        let values = word(start.add(at::DICT_VALUES)) as *const u8;
        if values.is_null() {
            return None;
        }
        let capacity = usize::from(values.add(at::VALUES_CAPACITY).read());
        if capacity == 0 || capacity > SLOTS_MAX {
            return None;
        }
        let first = values.add(at::VALUES_FIRST).cast::<usize>();
        Some(State::Slots {
            keys: word(start.add(at::DICT_KEYS)),
            first: first.addr(),
            used: word(start.add(at::DICT_USED)),
            words: SmallVec::from_slice(std::slice::from_raw_parts(first, capacity)),
        })
    }
}

impl Keep {
    fn keeps(self, value: &Bound<'_, PyAny>) -> bool {
        if value.is_exact_instance_of::<PyString>()
            || value.is_exact_instance_of::<PyInt>()
            || value.is_exact_instance_of::<PyFloat>()
        {
            return true;
        }
        let class = value.get_type();
        // SAFETY: a type object.
        let flags = unsafe { ffi::PyType_GetFlags(class.as_ptr().cast()) };
        self == Self::AllButFollowed
            && flags & HAS_MANAGED_DICT == 0
            && !value.is_exact_instance_of::<PyList>()
            && !value.is_exact_instance_of::<PyDict>()
    }
}

/// # Safety
/// An aligned word that may be read.
#[inline]
unsafe fn word(place: *const u8) -> usize {
    // SAFETY: our caller's. Volatile, as it is the interpreter that changes it.
    unsafe { place.cast::<usize>().read_volatile() }
}

/// Whether this interpreter's objects are as we think.
fn can_be(py: Python<'_>) -> bool {
    static CAN: PyOnceLock<bool> = PyOnceLock::new();
    *CAN.get_or_init(py, || try_out(py).unwrap_or(false))
}

/// Changes an object of a class of our own in all ways, and looks at its words.
fn try_out(py: Python<'_>) -> PyResult<bool> {
    let version = py.version_info();
    if !((3, 11)..(3, 14)).contains(&(version.major, version.minor)) {
        return Ok(false);
    }
    let class = py
        .get_type::<PyType>()
        .call1(("probe", PyTuple::empty(py), PyDict::new(py)))?
        .cast_into::<PyType>()?;
    let object = class.call0()?;
    for name in ["first", "second", "third"] {
        object.setattr(name, PyList::empty(py))?;
    }
    let Some(dict) = managed_dict(&object, &class) else {
        return Ok(false);
    };
    if !stamp::can_follow_objects(py) && !shows_changes(&object, &dict)? {
        return Ok(false);
    }
    object.setattr("__dict__", PyDict::new(py))?;
    Ok(managed_dict(&object, &class).is_some_and(|other| !other.is(&dict)))
}

/// Whether the words of an object with three attributes are their values, and change with them.
fn shows_changes(object: &Bound<'_, PyAny>, dict: &Bound<'_, PyDict>) -> PyResult<bool> {
    let py = object.py();
    let is_shown = || {
        let mut values = Vec::new();
        for_each_pair(dict, |_, value| {
            values.push(value.as_ptr().addr());
            true
        });
        // SAFETY: we are trying it out, with a dictionary that has values of its own in every version that comes here.
        match unsafe { slots_of(dict) } {
            Some(State::Slots { used, words, .. }) => {
                let mut shown: Vec<usize> = words.into_iter().filter(|word| *word != 0).collect();
                shown.sort_unstable();
                values.sort_unstable();
                used == values.len() && shown == values
            }
            _ => false,
        }
    };
    let mut are_all = is_shown();
    object.setattr("first", PyList::empty(py))?;
    are_all &= is_shown();
    object.delattr("second")?;
    are_all &= is_shown();
    object.setattr("fourth", PyList::empty(py))?;
    are_all &= is_shown();
    object.setattr("second", PyList::empty(py))?;
    are_all &= is_shown();
    Ok(are_all)
}
