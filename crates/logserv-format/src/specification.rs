//! What a client announces about a formatter: the attributes of a `logging.Formatter`, as JSON.
//!
//! In: JSON of a peer (protocol 1.0's `FORMAT` line is a subset). Out: a [`Specification`], or what is wrong with it.
//! Keys: `fmt`, `datefmt`, `style` (`"%"`, `"{"`, `"$"`), `defaults`, `default_time_format`, `default_msec_format`, `utc`, `json`.
//! Not here: what the format means; that is `formatter.rs`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Map;

use crate::json::JsonSpecification;

/// Which of Python's three ways a format is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Style {
    /// `%(message)s`, `logging.PercentStyle`.
    #[default]
    #[serde(rename = "%")]
    Percent,
    /// `{message}`, `logging.StrFormatStyle`.
    #[serde(rename = "{")]
    Brace,
    /// `$message`, `logging.StringTemplateStyle`.
    #[serde(rename = "$")]
    Dollar,
}

/// A `logging.Formatter`: everything that its `format` looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Specification {
    /// The format; `None` and the empty text are the style's default, the message alone.
    pub fmt: Option<String>,
    /// Format of `asctime`, as for `time.strftime`; `None` and the empty text: the two defaults below.
    pub datefmt: Option<String>,
    /// How `fmt` is written.
    #[serde(deserialize_with = "null_is_default")]
    pub style: Style,
    /// Values of attributes that a record does not have, in their order. JSON has no tuples, bytes or NaN: a client with
    /// such defaults renders itself.
    #[serde(deserialize_with = "null_is_default")]
    pub defaults: Map<String, serde_json::Value>,
    /// `Formatter.default_time_format`.
    pub default_time_format: String,
    /// `Formatter.default_msec_format`; `None`: no milliseconds.
    pub default_msec_format: Option<String>,
    /// Whether `converter` is `time.gmtime` instead of `time.localtime`.
    pub utc: bool,
    /// A `logserv.formatters.JsonFormatter`: the line is JSON, `fmt`, `style` and `defaults` are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonSpecification>,
}

impl Default for Specification {
    fn default() -> Self {
        Self {
            fmt: None,
            datefmt: None,
            style: Style::Percent,
            defaults: Map::new(),
            default_time_format: "%Y-%m-%d %H:%M:%S".to_owned(),
            default_msec_format: Some("%s,%03d".to_owned()),
            utc: false,
            json: None,
        }
    }
}

/// What is wrong with a specification, or why Python has to render it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecificationError {
    /// Not JSON, not an object, or a key of the wrong type.
    #[error("malformed formatter specification: {why}")]
    Malformed {
        /// In words.
        why: String,
    },
    /// A key that this version does not know, where that is an error (protocol 1.0).
    #[error("unknown key in formatter specification: expected one of {}, received {received}", KEYS.join(", "))]
    UnknownKey {
        /// The key.
        received: String,
    },
    /// A text over its limit.
    #[error("{what} too long: expected at most {limit} bytes, received {received}")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// Its length in bytes.
        received: usize,
    },
    /// A format on which Python raises, or which only Python can render: nobody's fault, the client renders it.
    #[error("only Python can render this format: {why}")]
    Unsupported {
        /// In words, with the text concerned.
        why: String,
    },
}

/// `json` is of 2.0 only.
const KEYS: [&str; 7] = [
    "fmt",
    "datefmt",
    "style",
    "defaults",
    "default_time_format",
    "default_msec_format",
    "utc",
];

impl Specification {
    /// Reads a specification; unknown keys are skipped (protocol 2.0).
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_json(json: &str) -> Result<Self, SpecificationError> {
        let object: Map<String, serde_json::Value> = serde_json::from_str(json).map_err(malformed)?;
        serde_json::from_value(object.into()).map_err(malformed)
    }

    /// Reads a specification; an unknown key is an error (protocol 1.0's `FORMAT` line).
    ///
    /// # Errors
    /// `Malformed`, `UnknownKey`.
    pub fn from_json_strict(json: &str) -> Result<Self, SpecificationError> {
        let object: Map<String, serde_json::Value> = serde_json::from_str(json).map_err(malformed)?;
        if let Some(received) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(SpecificationError::UnknownKey {
                received: received.clone(),
            });
        }
        serde_json::from_value(object.into()).map_err(malformed)
    }

    /// The specification as JSON, all keys, always in the same order.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn malformed(error: serde_json::Error) -> SpecificationError {
    SpecificationError::Malformed {
        why: error.to_string(),
    }
}

/// `null` is what Python sends for an argument left out.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_default() {
        assert_eq!(Specification::from_json("{}").unwrap(), Specification::default());
        let nulls = r#"{"fmt": null, "datefmt": null, "style": null, "defaults": null}"#;
        assert_eq!(Specification::from_json(nulls).unwrap(), Specification::default());
    }

    #[test]
    fn a_specification_comes_back() {
        let json = r#"{"fmt":"{a}","datefmt":"%H","style":"{","defaults":{"b":[1,null,"x"],"a":1.5},"default_time_format":"%Y","default_msec_format":null,"utc":true}"#;
        let specification = Specification::from_json(json).unwrap();
        assert_eq!(specification.default_msec_format, None);
        assert_eq!(specification.to_json(), json);
    }

    #[test]
    fn a_json_specification_comes_back() {
        let json = r#"{"json": {"fields": ["a"], "rename": [["a", "b"]], "static": {"x": [1]}, "timestamp_format": "epoch_ms"}}"#;
        let specification = Specification::from_json(json).unwrap();
        assert!(specification.json.is_some());
        assert_eq!(
            Specification::from_json(&specification.to_json()).unwrap(),
            specification
        );
        assert!(!Specification::default().to_json().contains("json"));
    }

    #[test]
    fn an_unknown_key_is_skipped_in_2_0_and_named_in_1_0() {
        let json = r#"{"fmt": "%(message)s", "format": "x"}"#;
        assert!(Specification::from_json(json).is_ok());
        let error = Specification::from_json_strict(json).unwrap_err();
        assert!(error.to_string().ends_with("received format"), "{error}");
        assert!(Specification::from_json_strict(r#"{"json": {}}"#).is_err());
        assert!(Specification::from_json_strict(r#"{"fmt": "a", "datefmt": null, "style": "{"}"#).is_ok());
    }

    #[test]
    fn a_wrong_type_or_style_is_malformed() {
        for json in [
            "",
            "3",
            "[]",
            r#"{"fmt": 3}"#,
            r#"{"style": "x"}"#,
            r#"{"utc": 1}"#,
            r#"{"defaults": []}"#,
        ] {
            let error = Specification::from_json(json).unwrap_err();
            assert!(
                matches!(error, SpecificationError::Malformed { .. }),
                "{json}: {error}"
            );
        }
    }
}
