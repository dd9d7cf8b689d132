//! Collects a `LogRecord`'s attributes from its `__dict__`, each as what the wire has for it.
//!
//! In: the dictionary, and what the formatter needs of it. Out: [`Gathered`], which borrows the texts from Python.
//! Runs no user code. A standard attribute of an unusual type becomes an attribute like those of `extra`.
//! Not here: the message and the traceback, which user code makes (`encode.rs`).

use logserv_wire::record::Record;
use logserv_wire::value::Value;
use pyo3::Borrowed;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt};

use crate::clock;
use crate::names::{Found, Keys, Standard};
use crate::sys::dicts::for_each_pair;
use crate::sys::interpreter::small;
use crate::text::Text;
use crate::values::{self, Budget};

/// What a formatter wants to know of a record.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Bits of the standard attributes that it names.
    pub(crate) standard: u32,
    /// Names beyond the standard ones.
    pub(crate) others: Vec<String>,
}

impl Needs {
    /// Whether it names this standard attribute.
    pub(crate) fn has(&self, standard: Standard) -> bool {
        self.standard & standard.bit() != 0
    }
}

/// Attributes that do nothing but stand in a line.
const OTHERS: u32 = Standard::Name.bit()
    | Standard::LevelName.bit()
    | Standard::PathName.bit()
    | Standard::FileName.bit()
    | Standard::Module.bit()
    | Standard::LineNo.bit()
    | Standard::FuncName.bit()
    | Standard::RelativeCreated.bit()
    | Standard::Thread.bit()
    | Standard::ThreadName.bit()
    | Standard::Process.bit()
    | Standard::ProcessName.bit()
    | Standard::TaskName.bit();

/// The attributes of one record.
#[derive(Debug, Default)]
pub(crate) struct Gathered<'py> {
    /// Numbers only; the texts are put in when it is written.
    pub(crate) numbers: Record<'static>,
    pub(crate) name: Option<Text<'py>>,
    pub(crate) level_name: Option<Text<'py>>,
    pub(crate) path_name: Option<Text<'py>>,
    pub(crate) file_name: Option<Text<'py>>,
    pub(crate) module: Option<Text<'py>>,
    pub(crate) func_name: Option<Text<'py>>,
    pub(crate) thread_name: Option<Text<'py>>,
    pub(crate) process_name: Option<Text<'py>>,
    pub(crate) task_name: Option<Text<'py>>,
    /// These as the record has them, whatever they are.
    pub(crate) msg: Option<Bound<'py, PyAny>>,
    pub(crate) args: Option<Bound<'py, PyAny>>,
    pub(crate) exc_info: Option<Bound<'py, PyAny>>,
    pub(crate) exc_text: Option<Bound<'py, PyAny>>,
    pub(crate) stack_info: Option<Bound<'py, PyAny>>,
    /// Everything else, in the record's order.
    pub(crate) attributes: Vec<(Text<'py>, Value<'static>)>,
    /// Bits of the standard attributes that the record has.
    pub(crate) present: u32,
    /// Whether only Python knows what a format makes of this: a text had lone surrogates, whose escapes the server would
    /// count and quote as characters, or a name was no `str`.
    pub(crate) odd: bool,
    /// Whether an attribute was left out, for lack of room.
    pub(crate) left_out: bool,
    /// Whether the record brings a `getMessage` of its own.
    pub(crate) overrides: bool,
    /// Bytes that the attributes may still take.
    room: usize,
    /// Bytes that they take at most.
    pub(crate) used: usize,
}

impl<'py> Gathered<'py> {
    /// Reads `dict` into one in which there is nothing yet.
    ///
    /// `shown`: only what is in a line is wanted, and of attributes beyond the standard ones those whose name it says yes to.
    pub(crate) fn read(
        &mut self,
        dict: &Bound<'py, PyDict>,
        needs: &Needs,
        shown: Option<&dyn Fn(&str) -> bool>,
    ) {
        let gathered = self;
        // Most of a record is of this kind: it is passed over without a look at the value.
        let skipped = if shown.is_some() {
            OTHERS & !needs.standard
        } else {
            0
        };
        let keys = Keys::get(dict.py());
        let mut hint = 0;
        // Converting these may collect garbage and so run a finalizer: the dictionary is left before that begins.
        let mut others = Vec::new();
        for_each_pair(dict, |key, value| {
            if let Some(standard) = keys.expected(&key, &mut hint) {
                if skipped & standard.bit() != 0 {
                    gathered.present |= standard.bit();
                } else if !gathered.put_standard(standard, value, needs) {
                    others.push((Text::Static(standard.name()), value.to_owned()));
                }
                return true;
            }
            let (key, value) = (key.to_owned(), value.to_owned());
            match keys.search(key, &mut hint) {
                Found::Standard(standard) if skipped & standard.bit() != 0 => {
                    gathered.present |= standard.bit();
                }
                Found::Standard(standard) => {
                    if !gathered.put_standard(standard, value.as_borrowed(), needs) {
                        others.push((Text::Static(standard.name()), value));
                    }
                }
                Found::Other(key) => {
                    let text = key.to_str().ok();
                    gathered.overrides |= text == Some("getMessage");
                    if shown.is_none_or(|is_shown| text.is_some_and(is_shown)) {
                        others.push((Text::new(key), value));
                    }
                }
                // `{` and `$` raise on it, and a subclass may equal any name.
                Found::NoName => gathered.odd = true,
            }
            true
        });
        for (name, value) in others {
            gathered.put_attribute(name, &value);
        }
        gathered.numbers.utc_offset_s = clock::utc_offset_s(dict.py(), gathered.numbers.created);
    }

    /// Takes everything back, where no attribute has been put.
    pub(crate) fn clear(&mut self) {
        *self = Self::of_attributes(self.room);
    }

    /// Nothing yet, with room for attributes of so many bytes: all beyond the standard texts and numbers together take no more.
    pub(crate) fn of_attributes(attributes_max: usize) -> Self {
        Gathered {
            room: attributes_max,
            ..Gathered::default()
        }
    }

    /// Returns `false` where it is of an unusual type, or is to travel as an attribute.
    #[inline]
    fn put_standard(&mut self, standard: Standard, value: Borrowed<'_, 'py, PyAny>, needs: &Needs) -> bool {
        self.present |= standard.bit();
        match standard {
            Standard::Name => put_text(&mut self.name, value, &mut self.odd),
            Standard::LevelName => put_text(&mut self.level_name, value, &mut self.odd),
            Standard::PathName => put_text(&mut self.path_name, value, &mut self.odd),
            Standard::FileName => put_text(&mut self.file_name, value, &mut self.odd),
            Standard::Module => put_text(&mut self.module, value, &mut self.odd),
            Standard::FuncName => put_text(&mut self.func_name, value, &mut self.odd),
            Standard::ThreadName => put_text(&mut self.thread_name, value, &mut self.odd),
            Standard::ProcessName => put_text(&mut self.process_name, value, &mut self.odd),
            Standard::TaskName => put_text(&mut self.task_name, value, &mut self.odd),
            Standard::LevelNo => put_integer(&mut self.numbers.level_no, value),
            Standard::LineNo => put_integer(&mut self.numbers.line_no, value),
            Standard::Created => put_float(&mut self.numbers.created, value),
            Standard::Msecs => put_float(&mut self.numbers.msecs, value),
            Standard::RelativeCreated => put_float(&mut self.numbers.relative_created, value),
            Standard::Thread => put_optional(&mut self.numbers.thread, value),
            Standard::Process => put_optional(&mut self.numbers.process, value),
            Standard::ExcInfo => {
                self.exc_info = Some(value.to_owned());
                !needs.has(standard)
            }
            Standard::ExcText => {
                self.exc_text = Some(value.to_owned());
                true
            }
            Standard::StackInfo => {
                self.stack_info = Some(value.to_owned());
                true
            }
            // Both are in the message already, and may be large: they travel only if a format names them.
            Standard::Msg => {
                self.msg = Some(value.to_owned());
                !needs.has(standard)
            }
            Standard::Args => {
                self.args = Some(value.to_owned());
                !needs.has(standard)
            }
            // Made anew for every line.
            Standard::Message | Standard::AscTime => true,
        }
    }

    /// Adds an attribute; one that is too large becomes opaque, and is left out where not even that has room.
    pub(crate) fn put_attribute(&mut self, name: Text<'py>, value: &Bound<'_, PyAny>) {
        const HEAD_LEN: usize = 6; // field head and length of the name
        if self.room == 0 {
            self.left_out = true;
            return;
        }
        let name_len = name.as_str().len();
        let mut budget = Budget::new(self.room.saturating_sub(HEAD_LEN + name_len));
        let value = values::from_python(value, &mut budget);
        self.odd |= budget.escaped || name.is_escaped();
        let Some(room) = self
            .room
            .checked_sub(HEAD_LEN + name_len + encoded_len_max(&value, &budget))
        else {
            self.left_out = true;
            return;
        };
        self.used += self.room - room;
        self.room = room;
        self.attributes.push((name, value));
    }
}

fn encoded_len_max(value: &Value<'_>, budget: &Budget) -> usize {
    match value {
        Value::Opaque(text) => 5 + text.len(),
        _ => budget.used(),
    }
}

/// Puts a `str` or `None` into its place; `false`: it is of another type.
fn put_text<'py>(place: &mut Option<Text<'py>>, value: Borrowed<'_, 'py, PyAny>, odd: &mut bool) -> bool {
    if value.is_none() {
        return true;
    }
    *place = Text::exact(&value);
    if let Some(text) = place {
        *odd |= text.is_escaped();
    }
    place.is_some()
}

/// Raises nothing, here and below: the value is borrowed, and making an exception may run a finalizer.
fn put_integer<T: TryFrom<i64>>(place: &mut T, value: Borrowed<'_, '_, PyAny>) -> bool {
    let number = value.cast_exact::<PyInt>().ok().and_then(small);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.map(|number| *place = number).is_some()
}

fn put_optional<T: TryFrom<i64>>(place: &mut Option<T>, value: Borrowed<'_, '_, PyAny>) -> bool {
    if value.is_none() {
        return true;
    }
    let number = value.cast_exact::<PyInt>().ok().and_then(small);
    *place = number.and_then(|number| T::try_from(number).ok());
    place.is_some()
}

fn put_float(place: &mut f64, value: Borrowed<'_, '_, PyAny>) -> bool {
    if let Ok(number) = value.cast_exact::<PyFloat>() {
        *place = number.value();
        return true;
    }
    // Good enough for rotation by time; what a format shows is the attribute.
    if let Ok(number) = value.cast_exact::<PyInt>() {
        #[expect(clippy::cast_precision_loss, reason = "a time in seconds, as Python does")]
        let seconds = small(number).map_or(0.0, |number| number as f64);
        *place = seconds;
    }
    false
}
