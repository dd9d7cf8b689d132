//! A compiled format: literal texts and fields, whichever of the three styles it was written in.
//!
//! In: the text of a format. Out: a list of [`Piece`]s; a line when they are pushed. Pure.
//! Not here: the time, exceptions and stacks (`formatter.rs`).

use crate::attribute::{NameId, Names, Scope};
use crate::brace::Field;
use crate::formatter::RenderError;
use crate::percent::{self, Conversion, Kind, Part};
use crate::percent_render;
use crate::repr::{self, Text};

/// One piece of a compiled format.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Text as it stands.
    Literal(Box<str>),
    /// `str()` of an attribute: `%(x)s`, `{x}`, `$x`.
    Plain(NameId),
    /// A `%` conversion of an attribute.
    Percent(NameId, Conversion),
    /// A `{}` field with more than a name.
    Brace(Box<Field>),
}

/// Compiles a format of the `%` style.
pub(crate) fn compile_percent(format: &str, names: &mut Names) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    percent::parse(format, |part| {
        match part {
            Part::Literal(text) => push_literal(&mut pieces, text),
            // Whether it is one character is not known before the line is rendered.
            Part::Field(
                Some("asctime"),
                Conversion {
                    kind: Kind::Character,
                    ..
                },
            ) => {
                return Err("%c of asctime".to_owned());
            }
            Part::Field(Some(key), conversion) => {
                let id = names.id(key);
                let plain = conversion.is_plain();
                pieces.push(if plain {
                    Piece::Plain(id)
                } else {
                    Piece::Percent(id, conversion)
                });
            }
            Part::Field(None, _) => return Err("a conversion without a key".to_owned()),
        }
        Ok(())
    })?;
    Ok(pieces)
}

/// Appends `text`, to the literal before it if there is one.
pub(crate) fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if let Some(Piece::Literal(before)) = pieces.last_mut() {
        let mut joined = std::mem::take(before).into_string();
        joined.push_str(text);
        *before = joined.into();
    } else if !text.is_empty() {
        pieces.push(Piece::Literal(text.into()));
    }
}

impl Piece {
    /// Appends this piece to `out`.
    ///
    /// # Errors
    /// `Missing`, `Unsupported`.
    pub(crate) fn push(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), RenderError> {
        match self {
            Self::Literal(text) => {
                match text.as_bytes() {
                    // What mostly stands between fields; a call for one byte costs as much as for a hundred.
                    [byte] => out.push(char::from(*byte)),
                    _ => out.push_str(text),
                }
                Ok(())
            }
            Self::Plain(id) => match scope.text(*id) {
                Some(text) => {
                    out.push_str(text);
                    Ok(())
                }
                None => repr::push(&*scope.get(*id)?, Text::Str, scope.doubt, out),
            },
            Self::Percent(id, conversion) => push_percent(scope, *id, conversion, out),
            Self::Brace(field) => field.push(scope, out),
        }
    }
}

/// A conversion of an attribute: what most lines are made of is looked at first, and needs no [`Value`](logserv_wire::value::Value).
fn push_percent(
    scope: &Scope<'_>,
    id: NameId,
    conversion: &Conversion,
    out: &mut String,
) -> Result<(), RenderError> {
    if conversion.is_plain_decimal() {
        if let Some(number) = scope.whole(id) {
            percent_render::push_decimal(number, conversion, out);
            return Ok(());
        }
    } else if conversion.kind == Kind::Text(Text::Str)
        && let Some(text) = scope.text(id)
    {
        percent_render::push_padded(text, conversion, out);
        return Ok(());
    }
    percent_render::push(&*scope.get(id)?, conversion, scope.doubt, out)
}
