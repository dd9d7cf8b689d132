//! The fields of one line in their order, as Python's `dict` keeps them: a later value of the same name takes the earlier one's place.
//!
//! In: names and values. Out: the same, each name once. A producer with very many attributes costs no more than they are long.
//! Not here: how they are written (`value.rs`).

use std::borrow::Cow;
use std::collections::HashMap;

use logserv_wire::value::Value;

/// Fields up to this number are looked for one by one, which is faster than hashing.
const SEARCHED_MAX: usize = 16;

/// Where a field's value comes from.
#[derive(Debug, Clone)]
pub(super) enum Source<'s> {
    Null,
    Value(Cow<'s, Value<'s>>),
    Text(Cow<'s, str>),
    /// A text as a list of its lines.
    Lines(Cow<'s, str>),
    /// Type and message of an exception, and its traceback.
    Exception(Option<Value<'s>>, Option<Value<'s>>, Box<Source<'s>>),
    /// JSON already.
    Json(Cow<'s, str>),
    Nested(Table<'s>),
}

/// See the file's head.
#[derive(Debug, Clone, Default)]
pub(super) struct Table<'s> {
    fields: Vec<(Cow<'s, str>, Source<'s>)>,
    /// Where each name is; filled from [`SEARCHED_MAX`] fields on.
    places: HashMap<Cow<'s, str>, usize>,
}

impl<'s> Table<'s> {
    /// Sets a field.
    pub(super) fn put(&mut self, name: Cow<'s, str>, source: Source<'s>) {
        let place = self.find(&name);
        if let Some((_, value)) = place.and_then(|place| self.fields.get_mut(place)) {
            *value = source;
            return;
        }
        if self.fields.len() >= SEARCHED_MAX {
            if self.places.is_empty() {
                let known = self.fields.iter().enumerate();
                self.places = known.map(|(place, (name, _))| (name.clone(), place)).collect();
            }
            self.places.insert(name.clone(), self.fields.len());
        }
        self.fields.push((name, source));
    }

    /// Whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<usize> {
        if self.places.is_empty() {
            self.fields.iter().position(|(known, _)| known == name)
        } else {
            self.places.get(name).copied()
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Cow<'s, str>, Source<'s>)> {
        self.fields.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_takes_the_place_of_the_first_however_many_there_are() {
        for count in [3, 100] {
            let mut table = Table::default();
            for round in ["first", "last"] {
                for number in 0..count {
                    table.put(format!("f{number}").into(), Source::Text(round.into()));
                }
            }
            assert_eq!(table.iter().count(), count);
            for (number, (name, source)) in table.iter().enumerate() {
                assert_eq!(*name, format!("f{number}"));
                assert!(matches!(source, Source::Text(text) if text == "last"));
            }
            assert!(table.has("f2") && !table.has("f100"));
        }
    }
}
