//! What a client announces about a `logserv.formatters.JsonFormatter`, as JSON.
//!
//! In and out: the key `json` of a [`Specification`](crate::Specification). Made by `python/logserv/formatters.py`.
//! Not here: what it means for a line; that is `json.rs`.

use serde::{Deserialize, Serialize};
use serde_json::Map;

/// How the field for the record's time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// `datetime.isoformat()` in UTC, with microseconds unless they are 0.
    #[default]
    IsoUtc,
    /// The same in the producer's zone, with its offset.
    IsoLocal,
    /// UTC with three digits of milliseconds and a `Z`.
    IsoZ,
    /// `created` itself.
    EpochS,
    /// `created` in milliseconds, rounded, an integer.
    EpochMs,
}

/// A `JsonFormatter`: everything that its `format` looks at, but for the format of `asctime`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonSpecification {
    /// Attributes that are fields, in their order.
    pub fields: Vec<String>,
    /// Pairs of a field and the name that it has in the line.
    pub rename: Vec<(String, String)>,
    /// Whether renamed fields that are not there are null.
    pub keep_missing: bool,
    /// Fields with the same value in every line.
    #[serde(rename = "static")]
    pub static_fields: Map<String, serde_json::Value>,
    /// Values of fields that a record lacks.
    pub defaults: Map<String, serde_json::Value>,
    /// Attributes that do not belong to `extra`.
    pub skipped: Vec<String>,
    /// Text in front of the object.
    pub prefix: String,
    /// The name of a field for the record's time.
    pub timestamp: Option<String>,
    /// How that is written.
    pub timestamp_format: TimestampFormat,
    /// The name of one field for all of `extra`.
    pub extra_key: Option<String>,
    /// Whether a traceback is a list of lines.
    pub exc_info_as_array: bool,
    /// Whether an exception is an object of type, message and traceback.
    pub exc_info_as_object: bool,
    /// Whether a stack is a list of lines.
    pub stack_info_as_array: bool,
    /// Whether characters beyond ASCII are escaped.
    pub ensure_ascii: bool,
}

impl Default for JsonSpecification {
    fn default() -> Self {
        Self {
            fields: vec!["message".to_owned()],
            rename: Vec::new(),
            keep_missing: false,
            static_fields: Map::new(),
            defaults: Map::new(),
            skipped: Vec::new(),
            prefix: String::new(),
            timestamp: None,
            timestamp_format: TimestampFormat::IsoUtc,
            extra_key: None,
            exc_info_as_array: false,
            exc_info_as_object: false,
            stack_info_as_array: false,
            ensure_ascii: true,
        }
    }
}
