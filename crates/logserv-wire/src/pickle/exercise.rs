//! Puts any bytes through the reader, the conversion and the writer, and tells what they promise but did not keep.
//!
//! In: foreign bytes, from a fuzzer or a corpus. Out: nothing, or the promise that was broken, in words.

use super::{Conversion, PickleError, Unpickler, write};
use crate::bytes::Reader;
use crate::limits::RECORD_LEN_MAX_DEFAULT;
use crate::record::Record;
use crate::value;

/// Reads `frame` as a value and as a record, reads what comes out, pickles the record and reads that; compares what
/// the two ways to read a record make of it.
///
/// Blocks: never. A refused frame is no broken promise.
///
/// # Errors
/// What was expected and what came, in words.
pub fn exercise(frame: &[u8]) -> Result<(), String> {
    let mut unpickler = Unpickler::new();
    let mut encoded = b"before".to_vec();
    match unpickler.to_value(frame, &mut encoded) {
        Ok(()) => {
            let mut reader = Reader::new(encoded.get(6..).unwrap_or_default(), "value");
            value::decode(&mut reader).map_err(|error| format!("expected a wire value, received {error}"))?;
            if !reader.is_empty() {
                return Err("expected nothing behind the wire value".into());
            }
        }
        Err(_) if encoded == b"before" => {}
        Err(error) => return Err(format!("expected no output beside {error}")),
    }

    let Some((first, is_whole)) = record(&mut unpickler, frame)? else {
        return Ok(());
    };
    if !is_whole {
        return Ok(());
    }
    let Some((second, _)) = record(&mut unpickler, &pickled(&first)?)? else {
        return Ok(());
    };
    let (before, after) = (decoded(&first)?, decoded(&second)?);
    if before.message != after.message || before.created.to_bits() != after.created.to_bits() {
        return Err(format!("expected {before:?} to come back, received {after:?}"));
    }
    // What stood for an object has become text, and stays as it is from now on.
    let Some((third, _)) = record(&mut unpickler, &pickled(&second)?)? else {
        return Ok(());
    };
    if second != third {
        return Err(format!(
            "expected {after:?} to come back, received {:?}",
            decoded(&third)?
        ));
    }
    Ok(())
}

/// The wire record of `frame`, and whether nothing of it was over a limit.
fn record(unpickler: &mut Unpickler, frame: &[u8]) -> Result<Option<(Vec<u8>, bool)>, String> {
    let (mut out, mut by_machine) = (Vec::new(), Vec::new());
    let converted = unpickler.to_record(frame, &Conversion::default(), &mut out);
    let expected = unpickler.record_by_machine(frame, &Conversion::default(), &mut by_machine);
    if converted != expected || out != by_machine {
        return Err(format!(
            "expected {expected:?}, {by_machine:x?}, received {converted:?}, {out:x?}"
        ));
    }
    let converted = match converted {
        Ok(converted) => converted,
        Err(_) if out.is_empty() => return Ok(None),
        Err(error) => return Err(format!("expected no output beside {error}")),
    };
    if converted.record_len != out.len() || out.len() > RECORD_LEN_MAX_DEFAULT {
        return Err(format!(
            "expected a record of {} bytes, at most {RECORD_LEN_MAX_DEFAULT}, received {}",
            converted.record_len,
            out.len()
        ));
    }
    if decoded(&out)?.level_no != converted.level_no {
        return Err("expected the level of the record".into());
    }
    Ok(Some((
        out,
        converted.cut_bytes == 0 && converted.elided_attributes == 0,
    )))
}

fn decoded(bytes: &[u8]) -> Result<Record<'_>, String> {
    match Record::decode(bytes) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(format!(
            "expected nothing behind the record, received {} bytes",
            rest.len()
        )),
        Err(error) => Err(format!("expected a wire record, received {error}")),
    }
}

fn pickled(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut pickle = Vec::new();
    write(&decoded(bytes)?, &mut pickle);
    // The writer's pickles are sound, whatever is in them; only sharing can have made them too large.
    match Unpickler::new().to_value(&pickle, &mut Vec::new()) {
        Ok(()) | Err(PickleError::OverLimit { .. } | PickleError::TooLong { .. }) => Ok(pickle),
        Err(error) => Err(format!(
            "expected the written pickle to be read, received {error}"
        )),
    }
}
