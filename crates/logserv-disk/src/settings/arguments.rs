//! The arguments of a handler class, read with their types; what does not fit is named.
//!
//! In: a JSON object from a client, and the names that the class takes. Out: typed values or a [`SettingsError`].

use serde_json::{Map, Value};

use super::sync::level_of;
use crate::error::{SettingsError, shown};

/// Edits between a mistyped name and the one that is proposed for it.
const EDITS_MAX: usize = 3;

pub(super) struct Arguments<'a> {
    class: &'static str,
    values: &'a Map<String, Value>,
}

impl<'a> Arguments<'a> {
    pub fn new(
        class: &'static str,
        known: &[&'static str],
        values: &'a Map<String, Value>,
    ) -> Result<Self, SettingsError> {
        match values.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(Self { class, values }),
            Some(unknown) => Err(SettingsError {
                expected: format!("arguments of {class}: {}", known.join(", ")),
                received: match nearest(unknown, known) {
                    Some(name) => format!("{} (did you mean {name}?)", shown(unknown)),
                    None => shown(unknown),
                },
            }),
        }
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, SettingsError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    pub fn required_text(&self, name: &str) -> Result<&'a str, SettingsError> {
        self.text(name)?.ok_or_else(|| SettingsError {
            expected: format!("the argument {name} of {}", self.class),
            received: "none".to_owned(),
        })
    }

    /// `true`, `false`, or 1 and 0, as older code writes them.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, SettingsError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::Number(number)) if number.as_u64() == Some(0) => Ok(Some(false)),
            Some(Value::Number(number)) if number.as_u64() == Some(1) => Ok(Some(true)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A whole number; also as a float (`1e6`), and negative for 0, as the library's comparisons take it.
    pub fn count(&self, name: &str, max: u64) -> Result<Option<u64>, SettingsError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let count = match value {
            Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => Some(0),
            Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
            _ => None,
        };
        match count {
            Some(count) if count <= max => Ok(Some(count)),
            _ => Err(self.wrong(name, "a whole number")),
        }
    }

    /// A number, `wanted` so.
    pub fn number(&self, name: &str, wanted: &str) -> Result<Option<f64>, SettingsError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(self.wrong(name, wanted)),
        }
    }

    /// A whole number, or else a text; `Some(Ok(-1))` stands for anything else.
    pub fn integer_or_text(&self, name: &str) -> Option<Result<i64, &'a str>> {
        Some(match self.value(name)? {
            Value::String(text) => Err(text),
            value => Ok(value.as_i64().unwrap_or(-1)),
        })
    }

    /// A level: a number, or one of Python's names.
    pub fn level(&self, name: &str) -> Result<Option<i32>, SettingsError> {
        let level = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
            Some(Value::String(text)) => level_of(text),
            Some(_) => None,
        };
        match level {
            Some(level) => Ok(Some(level)),
            None => Err(self.wrong(name, "a level's number, or a name such as \"ERROR\"")),
        }
    }

    /// The error for an argument whose value is not what is wanted.
    pub fn wrong(&self, name: &str, wanted: &str) -> SettingsError {
        let received = self
            .values
            .get(name)
            .map_or_else(|| "none".to_owned(), ToString::to_string);
        SettingsError {
            expected: format!("{wanted} for {name} of {}", self.class),
            received: cut(&received),
        }
    }
}

fn whole(number: f64) -> Option<u64> {
    // 2^53: every whole number below it is exact in a float.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    (number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

/// A JSON value is quoted already.
fn cut(text: &str) -> String {
    const MAX: usize = 200;
    if text.chars().count() <= MAX {
        text.to_owned()
    } else {
        text.chars().take(MAX).chain(['…']).collect()
    }
}

/// The known name that a mistyped one was probably meant to be.
fn nearest(unknown: &str, known: &[&'static str]) -> Option<&'static str> {
    if unknown.len() > 64 {
        return None;
    }
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let candidate = known
        .iter()
        .map(|name| (edits(&plain(unknown), &plain(name)), *name))
        .min()?;
    // A third of the letters may be wrong, not more: `mode` is not meant by `node_id`.
    (candidate.0 <= EDITS_MAX.min(candidate.1.len() / 3)).then_some(candidate.1)
}

/// Levenshtein's distance.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            before = replaced.min(*cell + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }

    #[test]
    fn a_mistyped_name_is_recognised_and_a_strange_one_is_not() {
        let known = &["filename", "maxBytes", "backupCount", "mode", "utc"];
        assert_eq!(nearest("maxbytes", known), Some("maxBytes"));
        assert_eq!(nearest("max_bytes", known), Some("maxBytes"));
        assert_eq!(nearest("backupcounts", known), Some("backupCount"));
        assert_eq!(nearest("fielname", known), Some("filename"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
