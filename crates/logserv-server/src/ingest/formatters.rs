//! From the JSON of a formatter's specification to a compiled formatter.
//!
//! In: the JSON of 1.0's FORMAT or of 2.0's Formatter frame. Out: a [`Formatter`], or what is wrong with it.
//! Not here: which keys 1.0 allows (`logserv_wire::handshake`), rendering (`logserv-format`).

use std::sync::Arc;

use logserv_format::{Formatter, Specification, SpecificationError};
use logserv_wire::handshake::ProtocolError;

/// Compiles 1.0's specification: a key that is not known is an error, as an unknown argument was in 2013.
///
/// # Errors
/// What a `logging.Formatter` would not take either, or the server cannot render.
pub(super) fn compile_strict(json: &str) -> Result<Arc<Formatter>, ProtocolError> {
    compile(Specification::from_json_strict(json), json)
}

/// Compiles 2.0's specification: a key that is not known is of a later version, and skipped.
///
/// # Errors
/// As [`compile_strict`].
pub(crate) fn compile_lenient(json: &str) -> Result<Arc<Formatter>, ProtocolError> {
    compile(Specification::from_json(json), json)
}

fn compile(
    specification: Result<Specification, SpecificationError>,
    json: &str,
) -> Result<Arc<Formatter>, ProtocolError> {
    specification
        .and_then(|specification| Formatter::compile(&specification))
        .map(Arc::new)
        .map_err(|error| ProtocolError::new(format!("valid formatter parameters ({error})"), json))
}
