//! The few things of CPython that PyO3 has no safe face for: instance dictionaries, frames, types' version tags, methods
//! that take their arguments as a slice.
//!
//! In and out: objects that the caller holds, on a thread that is attached to the interpreter. The second room of
//! `unsafe` in this crate.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi, intern};

/// The object's `__dict__` as `object.__getattribute__` would give it, without asking its class, for objects whose class is
/// known not to override that. `None`: it has none.
#[inline]
pub(crate) fn instance_dict<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: a live object; the answer is a new reference, or null with an error set, which is taken here.
    let dict = unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), dict)
    };
    dict.ok()?.cast_into_exact::<PyDict>().ok()
}

/// Sets the object's `__dict__` as `object.__setattr__` would. Returns whether it could.
///
/// Not by `PyObject_GenericSetDict`, with which Python 3.13 goes on using the values of before.
#[inline]
pub(crate) fn set_instance_dict(object: &Bound<'_, PyAny>, dict: &Bound<'_, PyDict>) -> bool {
    let name = intern!(object.py(), "__dict__");
    // SAFETY: live objects; an error is cleared.
    unsafe {
        let is_set = ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), dict.as_ptr()) == 0;
        if !is_set {
            ffi::PyErr_Clear();
        }
        is_set
    }
}

/// What the dictionary has under this name, without a reference of its own.
///
/// Whoever calls this runs no Python code before the last use of the answer, and so nothing can take it away.
#[inline]
pub(crate) fn peek<'a, 'py>(
    dict: &'a Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
) -> Option<Borrowed<'a, 'py, PyAny>> {
    peek_any(dict, name.as_any())
}

/// The same for any key that is exactly a `str` or an `int`.
#[inline]
pub(crate) fn peek_any<'a, 'py>(
    dict: &'a Bound<'py, PyDict>,
    key: &Bound<'py, PyAny>,
) -> Option<Borrowed<'a, 'py, PyAny>> {
    // SAFETY: a dictionary and a key whose hash and comparison are the interpreter's own; the answer is borrowed from the
    // dictionary, which outlives `'a` and is changed by Python code only.
    unsafe {
        let value = ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        if value.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Borrowed::from_ptr(dict.py(), value))
    }
}

/// Puts `value` under this name.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub(crate) fn put(
    dict: &Bound<'_, PyDict>,
    name: &Bound<'_, PyString>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: a dictionary and live objects.
    if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr()) } == 0 {
        return Ok(());
    }
    Err(PyErr::fetch(dict.py()))
}

/// Whether the dictionary has exactly this object under this name.
#[inline]
pub(crate) fn holds(dict: &Bound<'_, PyDict>, name: &Bound<'_, PyString>, object: &Bound<'_, PyAny>) -> bool {
    peek(dict, name).is_some_and(|value| value.is(object))
}

/// A new object of this class, on which neither `__new__` nor `__init__` has run.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn bare_object<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the class is a plain Python class (its callers make sure of that), whose allocator this is.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
        Bound::from_owned_ptr_or_err(class.py(), object)
    }
}

/// Where `tp_version_tag` stands in a type object: behind `tp_del`, in all versions that `logserv.install` takes.
const VERSION_TAG_AT: usize = 384;

/// The number that CPython gives to the present state of a class and all its bases; 0: none. Whatever is set or deleted on
/// any of them makes it 0, until the next look-up of an attribute gives it another one. No two classes ever share one.
///
/// Believed only after [`crate::tags`] has seen it behave so in the interpreter that runs.
#[inline]
pub(crate) fn version_tag(class: &Bound<'_, PyType>) -> u32 {
    // SAFETY: a type object is larger than that in every version with the stable ABI of 3.11: `PyHeapTypeObject` is twice as
    // large, and static types end behind the tag. The word is aligned, and changes only with the GIL, which we hold.
    unsafe {
        class
            .as_ptr()
            .cast::<u8>()
            .add(VERSION_TAG_AT)
            .cast::<u32>()
            .read_volatile()
    }
}

/// The Python frame that runs in this thread; `None`: it has none.
#[inline]
pub(crate) fn current_frame(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the thread is attached; the answer is borrowed from the thread's state, or null without an error.
    unsafe { Borrowed::from_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) }.map(|frame| frame.to_owned())
}

/// The frame's code. Only for what [`current_frame`] gave, or its `f_back`.
#[inline]
pub(crate) fn code_of<'py>(frame: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    // SAFETY: a frame; it always has a code object, given as a new reference.
    unsafe { Bound::from_owned_ptr(frame.py(), ffi::PyFrame_GetCode(frame.as_ptr().cast()).cast()) }
}

/// The instruction that the frame is at, in bytes from the start of its code. Only for what [`current_frame`] gave, or its
/// `f_back`.
#[inline]
pub(crate) fn instruction_of(frame: &Bound<'_, PyAny>) -> Option<i32> {
    type GetLasti = unsafe extern "C" fn(*mut ffi::PyObject) -> c_int;
    /// Not among what every version promises, and yet in all since 3.11.
    static GET_LASTI: OnceLock<Option<GetLasti>> = OnceLock::new();
    let get = (*GET_LASTI.get_or_init(|| {
        // SAFETY: a function of this name has this signature.
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"PyFrame_GetLasti".as_ptr());
            (!found.is_null()).then(|| std::mem::transmute::<*mut c_void, GetLasti>(found))
        }
    }))?;
    // SAFETY: a frame.
    Some(unsafe { get(frame.as_ptr()) })
}

/// The line that the frame is at, where it has one. Only for what [`current_frame`] gave, or its `f_back`.
#[inline]
pub(crate) fn line_of(frame: &Bound<'_, PyAny>) -> Option<u32> {
    // SAFETY: a frame.
    u32::try_from(unsafe { ffi::PyFrame_GetLineNumber(frame.as_ptr().cast()) }).ok()
}

/// The text's UTF-8, which the object keeps. `None`: it has lone surrogates.
#[inline]
pub(crate) fn utf8<'a>(text: Borrowed<'a, '_, PyString>) -> Option<&'a str> {
    let mut len = 0;
    // SAFETY: a `str`; the answer is its own UTF-8 of that length, as long as it lives, or null with an error set.
    unsafe {
        let start = ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut len);
        if start.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let bytes = std::slice::from_raw_parts(start.cast::<u8>(), len.cast_unsigned());
        Some(std::str::from_utf8_unchecked(bytes))
    }
}

/// The number, where it fits 64 bits.
#[inline]
pub(crate) fn small(number: Borrowed<'_, '_, PyInt>) -> Option<i64> {
    let mut overflow = 0;
    // SAFETY: an `int`, of which this raises nothing.
    let value = unsafe { ffi::PyLong_AsLongAndOverflow(number.as_ptr(), &raw mut overflow) };
    (overflow == 0).then_some(value)
}

/// `text % arguments`.
///
/// # Errors
/// What Python raises.
#[inline]
pub(crate) fn percent<'py>(
    text: &Bound<'py, PyString>,
    arguments: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a `str` and any object; the answer is a new reference, or null with an error set.
    unsafe {
        let result = ffi::PyUnicode_Format(text.as_ptr(), arguments.as_ptr());
        Bound::from_owned_ptr_or_err(text.py(), result)
    }
}

/// The exception that is being handled, as `sys.exc_info()[1]`.
pub(crate) fn handled_exception(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the answer is a new reference, or null without an error.
    unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyErr_GetHandledException()) }.filter(|it| !it.is_none())
}

/// The arguments of a call as the interpreter passes them: positional ones, then those of the keywords.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a, 'py> {
    py: Python<'py>,
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    /// A tuple of `str`; null: there are none.
    keywords: *mut ffi::PyObject,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// The interpreter that the caller is attached to.
    #[inline]
    pub(crate) fn py(&self) -> Python<'py> {
        self.py
    }

    /// How many are positional.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.positional
    }

    /// A positional one.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        let value = *self.values.get(place).filter(|_| place < self.positional)?;
        // SAFETY: the caller's references live during the call.
        Some(unsafe { Borrowed::from_ptr(self.py, value) })
    }

    /// Whether there are keywords.
    #[inline]
    pub(crate) fn has_keywords(&self) -> bool {
        !self.keywords.is_null()
    }

    /// The keywords with their values.
    pub(crate) fn keywords(
        &self,
    ) -> impl Iterator<Item = (Bound<'py, PyAny>, Borrowed<'a, 'py, PyAny>)> + use<'a, 'py> {
        let (py, values, positional) = (self.py, self.values, self.positional);
        // SAFETY: null, or a tuple that lives during the call.
        let names = unsafe { Borrowed::from_ptr_or_opt(py, self.keywords) };
        let names = names.and_then(|names| names.to_owned().cast_into::<PyTuple>().ok());
        let count = names.as_ref().map_or(0, |names| names.len());
        (0..count).filter_map(move |place| {
            let name = names.as_ref()?.get_item(place).ok()?;
            // SAFETY: as in `get`.
            let value = unsafe { Borrowed::from_ptr(py, *values.get(positional + place)?) };
            Some((name, value))
        })
    }

    /// The positional ones from this place on, as a tuple.
    #[inline]
    pub(crate) fn tuple_from(&self, place: usize) -> PyResult<Bound<'py, PyTuple>> {
        if place >= self.positional {
            return Ok(PyTuple::empty(self.py));
        }
        let values = self.values.get(place..self.positional).unwrap_or_default();
        // SAFETY: as in `get`.
        let values = values
            .iter()
            .map(|value| unsafe { Borrowed::from_ptr(self.py, *value) });
        PyTuple::new(self.py, values)
    }

    /// The object and the positional ones as a tuple.
    fn with(&self, object: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let mut all = vec![object.to_owned()];
        all.extend((0..self.positional).filter_map(|place| Some(self.get(place)?.to_owned())));
        PyTuple::new(self.py, all)
    }

    /// The keywords as a dictionary, where there are any.
    pub(crate) fn keyword_dict(&self) -> PyResult<Option<Bound<'py, PyDict>>> {
        if !self.has_keywords() {
            return Ok(None);
        }
        let dict = PyDict::new(self.py);
        for (name, value) in self.keywords() {
            dict.set_item(name, value)?;
        }
        Ok(Some(dict))
    }
}

/// What a native method does with its object (a function: with `None`) and its arguments; `None`: nothing, and the library's own
/// is to be called.
pub(crate) type Body =
    for<'a, 'py> fn(Borrowed<'a, 'py, PyAny>, Arguments<'a, 'py>) -> PyResult<Option<Bound<'py, PyAny>>>;

/// Finds the library's own method, as a function.
pub(crate) type Library = for<'py> fn(Python<'py>) -> PyResult<Bound<'py, PyAny>>;

/// The C function of a method: what CPython calls. It may be unwound: so a daemon thread ends that comes back from waiting
/// when the interpreter is gone, up to Python 3.13.
pub(crate) type Entry = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// What is to be done when Rust has done its part.
enum Rest {
    Return(*mut ffi::PyObject),
    /// Function, arguments, keywords: references of our own.
    Call(*mut ffi::PyObject, *mut ffi::PyObject, *mut ffi::PyObject),
}

/// Runs the body of a method for CPython, or the library's method. A panic becomes a `SystemError`.
///
/// # Safety
/// Called by CPython as a `METH_FASTCALL | METH_KEYWORDS` method: attached, with live objects and arrays of the given length.
pub(crate) unsafe fn enter(
    object: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
    body: Body,
    library: Library,
) -> *mut ffi::PyObject {
    // SAFETY: as our caller says.
    match unsafe { run(object, values, positional, keywords, body, library) } {
        Rest::Return(result) => result,
        // Nothing of Rust is alive here that would have to be dropped, and nothing catches: this call may take any time, and
        // its thread may be ended in it.
        Rest::Call(function, arguments, keywords) => {
            // SAFETY: a function, a tuple, and a dictionary or null; all references are ours.
            unsafe {
                let result = ffi::PyObject_Call(function, arguments, keywords);
                ffi::Py_DecRef(function);
                ffi::Py_DecRef(arguments);
                ffi::Py_DecRef(keywords); // null is fine
                result
            }
        }
    }
}

/// The part of Rust.
///
/// # Safety
/// As [`enter`].
unsafe fn run(
    object: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
    body: Body,
    library: Library,
) -> Rest {
    // SAFETY: the caller is attached.
    let py = unsafe { Python::assume_attached() };
    let positional = usize::try_from(positional).unwrap_or_default();
    let named = if keywords.is_null() {
        0
    } else {
        // SAFETY: what is not null is a tuple.
        let len = unsafe { ffi::PyTuple_Size(keywords) };
        usize::try_from(len).unwrap_or_default()
    };
    let values = if values.is_null() {
        &[]
    } else {
        // SAFETY: CPython passes so many.
        unsafe { std::slice::from_raw_parts(values, positional + named) }
    };
    let arguments = Arguments {
        py,
        values,
        positional,
        keywords,
    };
    let is_function = object.is_null();
    // SAFETY: it lives during the call; a function has none, and `None` lives for ever.
    let object = unsafe {
        let object = if is_function { ffi::Py_None() } else { object };
        Borrowed::from_ptr(py, object)
    };
    let rest = catch_unwind(AssertUnwindSafe(|| {
        if let Some(result) = body(object, arguments)? {
            return Ok(Rest::Return(result.into_ptr()));
        }
        let function = library(py)?;
        let all = if is_function {
            arguments.tuple_from(0)?
        } else {
            arguments.with(object)?
        };
        let keywords = arguments.keyword_dict()?.map_or(ptr::null_mut(), Bound::into_ptr);
        Ok(Rest::Call(function.into_ptr(), all.into_ptr(), keywords))
    }));
    let error: PyErr = match rest {
        Ok(Ok(rest)) => return rest,
        Ok(Err(error)) => error,
        Err(_) => PySystemError::new_err("logserv: an internal error in a native method"),
    };
    error.restore(py);
    Rest::Return(ptr::null_mut())
}

/// Defines the C function of a [`Body`].
macro_rules! entry {
    ($name:ident, $body:path, $library:path) => {
        #[expect(unsafe_code, reason = "CPython calls it")]
        unsafe extern "C-unwind" fn $name(
            object: *mut pyo3::ffi::PyObject,
            values: *const *mut pyo3::ffi::PyObject,
            positional: pyo3::ffi::Py_ssize_t,
            keywords: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            // SAFETY: it is CPython that calls, as the definition of the method says.
            unsafe { $crate::sys::interpreter::enter(object, values, positional, keywords, $body, $library) }
        }
    };
}
pub(crate) use entry;

/// A method descriptor for objects of `class` and its subclasses. Its definition is never freed, as its methods may live
/// as long as the process.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn method<'py>(
    class: &Bound<'py, PyType>,
    name: &'static CStr,
    documentation: &'static CStr,
    entry: Entry,
) -> PyResult<Bound<'py, PyAny>> {
    let definition = definition(name, documentation, entry);
    // SAFETY: a class, and a definition that lives for ever.
    unsafe {
        let method = ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition);
        Bound::from_owned_ptr_or_err(class.py(), method)
    }
}

/// A function of the module, with a definition as that of a [`method`].
///
/// # Errors
/// `MemoryError`.
pub(crate) fn function<'py>(
    module: &Bound<'py, PyModule>,
    name: &'static CStr,
    documentation: &'static CStr,
    entry: Entry,
) -> PyResult<Bound<'py, PyAny>> {
    let definition = definition(name, documentation, entry);
    let module_name = module.name()?;
    // SAFETY: a definition that lives for ever, and a `str`. Without an object: it is no method, and is pickled by its name.
    unsafe {
        let function = ffi::PyCFunction_NewEx(definition, ptr::null_mut(), module_name.as_ptr());
        Bound::from_owned_ptr_or_err(module.py(), function)
    }
}

fn definition(name: &'static CStr, documentation: &'static CStr, entry: Entry) -> *mut ffi::PyMethodDef {
    Box::into_raw(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            // SAFETY: the same signature; that it may be unwound is none of the caller's affair.
            PyCFunctionFastWithKeywords: unsafe {
                std::mem::transmute::<Entry, ffi::PyCFunctionFastWithKeywords>(entry)
            },
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS as c_int,
        ml_doc: documentation.as_ptr(),
    }))
}
