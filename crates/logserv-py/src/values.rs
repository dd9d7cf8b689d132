//! A Python object as a wire value: the JSON-like types, exactly; everything else is opaque.
//!
//! In: any object. Out: a [`Value`] that owns its text. Calls no method that a user could have written: a subclass of
//! `int` may print itself as it likes, so it is opaque and the client renders the lines that show it.

use logserv_wire::limits::{VALUE_DEPTH_MAX, VALUE_NODES_MAX};
use logserv_wire::value::Value;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::text::Text;

/// What one attribute may cost, and what was noticed on the way.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    given: usize,
    nodes: usize,
    /// Whether a text had lone surrogates.
    pub(crate) escaped: bool,
}

impl Budget {
    /// Room for `bytes` of text and digits.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            given: bytes,
            nodes: VALUE_NODES_MAX,
            escaped: false,
        }
    }

    /// Bytes that the value takes on the wire at most.
    pub(crate) fn used(&self) -> usize {
        self.given - self.bytes
    }

    fn take(&mut self, len: usize) -> Option<()> {
        self.bytes = self.bytes.checked_sub(len)?;
        Some(())
    }
}

/// `object` as a value; opaque where its type, its depth or its size does not fit the wire.
pub(crate) fn from_python(object: &Bound<'_, PyAny>, budget: &mut Budget) -> Value<'static> {
    convert(object, budget, 0).unwrap_or_else(|| opaque(object))
}

fn convert(object: &Bound<'_, PyAny>, budget: &mut Budget, depth: usize) -> Option<Value<'static>> {
    if depth > VALUE_DEPTH_MAX {
        return None;
    }
    budget.nodes = budget.nodes.checked_sub(1)?;
    budget.take(9)?; // tag and count or number
    if object.is_none() {
        return Some(Value::None);
    }
    if let Ok(text) = object.cast_exact::<PyString>() {
        budget.take(text.len().ok()?)?;
        let text = Text::new(text.clone());
        budget.escaped |= text.is_escaped();
        return Some(Value::Str(text.as_str().to_owned().into()));
    }
    if let Ok(value) = object.cast_exact::<PyBool>() {
        return Some(Value::Bool(value.is_true()));
    }
    if let Ok(number) = object.cast_exact::<PyInt>() {
        return integer(number, budget);
    }
    if let Ok(number) = object.cast_exact::<PyFloat>() {
        return Some(Value::Float(number.value()));
    }
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        budget.take(bytes.as_bytes().len())?;
        return Some(Value::Bytes(bytes.as_bytes().to_vec().into()));
    }
    if let Ok(items) = object.cast_exact::<PyList>() {
        return items
            .iter()
            .map(|item| convert(&item, budget, depth + 1))
            .collect::<Option<_>>()
            .map(Value::List);
    }
    if let Ok(items) = object.cast_exact::<PyTuple>() {
        return items
            .iter()
            .map(|item| convert(&item, budget, depth + 1))
            .collect::<Option<_>>()
            .map(Value::Tuple);
    }
    if let Ok(pairs) = object.cast_exact::<PyDict>() {
        // Converting may collect garbage and so run a finalizer: the dict is left before that begins.
        let pairs: Vec<_> = pairs.iter().collect();
        let pair = |(key, value)| {
            Some((
                convert(&key, budget, depth + 1)?,
                convert(&value, budget, depth + 1)?,
            ))
        };
        return pairs
            .into_iter()
            .map(pair)
            .collect::<Option<_>>()
            .map(Value::Dict);
    }
    None
}

fn integer(number: &Bound<'_, PyInt>, budget: &mut Budget) -> Option<Value<'static>> {
    if let Ok(small) = number.extract::<i64>() {
        return Some(Value::Int(small));
    }
    // Fails beyond `sys.get_int_max_str_digits()`, as rendering it in Python would.
    let digits = number.str().ok()?;
    let digits = digits.to_str().ok()?;
    budget.take(digits.len())?;
    Some(Value::BigInt(digits.to_owned().into()))
}

/// The text that stands for an object that does not travel.
pub(crate) fn opaque(object: &Bound<'_, PyAny>) -> Value<'static> {
    let name = object
        .get_type()
        .qualname()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string());
    Value::Opaque(format!("<{name}>").into())
}
