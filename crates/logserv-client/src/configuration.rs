//! What a session asks for when it opens its file: class, arguments, level; the newest that its handlers were given.
//!
//! In: what [`Session::reconfigure`](crate::Session::reconfigure) was told. Out: what the next connection says.
//! Without a lock, for a forked child needs it too. Different configurations are kept for the session's life.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::{Map, Value};

use crate::config::SessionConfig;
use crate::limits::CONFIGURATIONS_MAX;
use crate::sys;

/// One configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Configuration {
    pub(crate) handler_class: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) level: i32,
}

/// What came of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is older than the present one, or that very one, or there are too many: nothing.
    None,
    /// It says the same, later.
    Time,
    /// Another level, which only a server of 1.0 is told.
    Level,
    /// Another class or other arguments.
    File,
}

/// All of a session.
#[derive(Debug)]
pub(crate) struct Configurations {
    known: sys::AppendOnly<Configuration>,
    first: Configuration,
    /// Place of the present one in `known`, counted from 1; 0: the first one.
    current: AtomicUsize,
    /// The bits of an `f64`.
    configured_at_s: AtomicU64,
}

impl Configurations {
    pub(crate) fn new(config: &SessionConfig) -> Self {
        Self {
            known: sys::AppendOnly::new(),
            first: Configuration {
                handler_class: config.handler_class.clone(),
                arguments: config.arguments.clone(),
                level: config.level,
            },
            current: AtomicUsize::new(0),
            configured_at_s: AtomicU64::new(config.configured_at_s.to_bits()),
        }
    }

    /// The present one.
    pub(crate) fn current(&self) -> &Configuration {
        // Acquire: pairs with the release in `adopt`; the configuration is there before its place.
        let place = self.current.load(Ordering::Acquire);
        place
            .checked_sub(1)
            .and_then(|place| self.known.iter().nth(place))
            .unwrap_or(&self.first)
    }

    /// When it was made, in seconds since 1970.
    pub(crate) fn configured_at_s(&self) -> f64 {
        f64::from_bits(self.configured_at_s.load(Ordering::Relaxed)) // a number by itself
    }

    /// Makes `new` the present one, unless it is older.
    pub(crate) fn adopt(&self, new: &Configuration, configured_at_s: f64) -> Change {
        let old = self.current();
        if configured_at_s < self.configured_at_s()
            || old == new && configured_at_s.to_bits() == self.configured_at_s().to_bits()
        {
            return Change::None; // the very same is a handler that is used again, not a new one
        }
        let change = if (&old.handler_class, &old.arguments) != (&new.handler_class, &new.arguments) {
            Change::File
        } else if old.level != new.level {
            Change::Level
        } else {
            Change::Time
        };
        if change != Change::Time {
            let place = if *new == self.first {
                Some(0)
            } else if self.known.iter().count() < CONFIGURATIONS_MAX
                || self.known.iter().any(|each| each == new)
            {
                self.known.find_or_append(|each| each == new, || new.clone());
                self.known
                    .iter()
                    .position(|each| each == new)
                    .map(|place| place + 1)
            } else {
                None
            };
            let Some(place) = place else { return Change::None };
            self.current.store(place, Ordering::Release); // pairs with the acquire in `current`
        }
        self.configured_at_s
            .store(configured_at_s.to_bits(), Ordering::Relaxed);
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;

    fn configuration(number: usize, level: i32) -> Configuration {
        let mut arguments = Map::new();
        arguments.insert("filename".into(), "a".into());
        arguments.insert("maxBytes".into(), number.into());
        Configuration {
            handler_class: "c".into(),
            arguments,
            level,
        }
    }

    fn start() -> Configurations {
        let first = configuration(0, 10);
        let mut config = SessionConfig::new(Address::Unix("x".into()), "c", first.arguments);
        (config.level, config.configured_at_s) = (10, 5.0);
        Configurations::new(&config)
    }

    #[test]
    fn the_newest_configuration_wins_and_an_older_one_changes_nothing() {
        let all = start();
        assert_eq!(all.adopt(&configuration(1, 10), 6.0), Change::File);
        assert_eq!(all.adopt(&configuration(2, 10), 5.9), Change::None);
        assert_eq!(
            (all.current(), all.configured_at_s()),
            (&configuration(1, 10), 6.0)
        );
        assert_eq!(all.adopt(&configuration(1, 10), 7.0), Change::Time);
        assert_eq!(all.adopt(&configuration(1, 10), 7.0), Change::None);
        assert_eq!(all.adopt(&configuration(1, 20), 7.0), Change::Level);
        assert_eq!(all.adopt(&configuration(0, 10), 8.0), Change::File);
        assert_eq!(
            (all.current(), all.configured_at_s()),
            (&configuration(0, 10), 8.0)
        );
    }

    #[test]
    fn different_configurations_are_bounded_and_the_same_ones_may_alternate_for_ever() {
        let all = start();
        for round in 0..3 * CONFIGURATIONS_MAX {
            assert_eq!(
                all.adopt(&configuration(1 + round % 2, 10), 6.0 + round as f64),
                Change::File
            );
        }
        for number in 0..2 * CONFIGURATIONS_MAX {
            all.adopt(&configuration(10 + number, 10), 1e6);
        }
        assert_eq!(all.known.iter().count(), CONFIGURATIONS_MAX);
    }
}
