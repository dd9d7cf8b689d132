//! Reads the directives of a `strftime` format: which of them depend on the producer's surroundings, which are doubtful.
//!
//! In: a `datefmt` or `default_time_format`. Out: [`Directives`], or why only Python can render it. Pure.
//! Not here: strftime itself; that is libc's (`sys.rs`), as it is in CPython.

use crate::limits::{DATE_WIDTH_MAX, DATEFMT_LEN_MAX};
use crate::text::leading_number;

/// What a date format refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Directives {
    /// `%Z`: the name of a zone, of which the wire carries only the offset.
    pub(crate) zone_name: bool,
    /// `%s`: computed back from the local time by the rules of the zone.
    pub(crate) epoch: bool,
    /// Names and orders that `LC_TIME` chooses.
    pub(crate) locale_names: bool,
}

/// Conversions of ISO C, POSIX and glibc.
const KNOWN: &str = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ";

/// Those that differ between locales; `E` and `O` before any conversion do so too.
const OF_LOCALE: &str = "aAbBchpPrxX";

/// Reads all directives of `format`.
pub(crate) fn directives(format: &str) -> Result<Directives, String> {
    if format.len() > DATEFMT_LEN_MAX {
        return Err(format!(
            "a date format of {} bytes, expected at most {DATEFMT_LEN_MAX}",
            format.len()
        ));
    }
    if format.contains('\0') {
        return Err("NUL in a date format, where Python's versions differ".to_owned());
    }
    let mut found = Directives::default();
    let mut rest = format;
    while let Some((_, behind)) = rest.split_once('%') {
        if behind.is_empty() {
            break; // strftime writes a `%` at the end as it stands
        }
        rest = directive(behind, &mut found)?;
    }
    Ok(found)
}

fn directive<'f>(text: &'f str, found: &mut Directives) -> Result<&'f str, String> {
    let unflagged = text.trim_start_matches(['_', '-', '0', '^', '#']);
    let (width, unsized_) = leading_number(unflagged).unwrap_or((0, unflagged));
    let bare = unsized_.strip_prefix(['E', 'O']).unwrap_or(unsized_);
    if width > DATE_WIDTH_MAX {
        return Err(format!(
            "a width of {width} in a date format, expected at most {DATE_WIDTH_MAX}"
        ));
    }
    let mut characters = bare.chars();
    let letter = characters.next().unwrap_or('\0');
    let is_simple = bare.len() == text.len();
    match letter {
        '%' if is_simple => {}
        's' => found.epoch = true,
        'Z' => found.zone_name = true,
        _ if KNOWN.contains(letter) => {}
        // glibc writes an unknown directive as it stands, CPython's `%f` among them; other libraries write nothing.
        _ if is_simple && letter.is_ascii_alphabetic() && cfg!(target_env = "gnu") => {}
        _ => return Err(format!("directive {:?} in a date format", format!("%{text}"))),
    }
    found.locale_names |= bare.len() != unsized_.len() || OF_LOCALE.contains(letter);
    Ok(characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_nothing() {
        for format in [
            "",
            "%Y-%m-%d %H:%M:%S",
            "%z",
            "%-d.%_m.%5Y",
            "50%% at %H",
            "%f%",
            "100%",
            "%j %U",
        ] {
            assert_eq!(directives(format), Ok(Directives::default()), "{format}");
        }
    }

    #[test]
    fn names_of_zones_and_locales_are_told() {
        assert!(directives("%H %Z").unwrap().zone_name);
        assert!(directives("%^Z").unwrap().zone_name);
        assert!(directives("%s").unwrap().epoch);
        for format in [
            "%a", "%A", "%b", "%B", "%c", "%x", "%X", "%p", "%r", "%h", "%Ey", "%Od", "%-5B", "%^a",
        ] {
            assert!(directives(format).unwrap().locale_names, "{format}");
        }
    }

    #[test]
    fn the_doubtful_is_refused() {
        for format in [
            "%é", "%+4Y", "%9999d", "%-", "%5", "%E", "%-f", "%.3S", "%:z", "a\0b", "% d", "%^%",
        ] {
            assert!(directives(format).is_err(), "{format}");
        }
    }
}
