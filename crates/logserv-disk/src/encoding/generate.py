"""Writes tables.rs and names.rs from the codecs of the Python that runs it (3.11 and later agree).

Run by hand, when Python gains or changes a codec: python3 generate.py && cargo fmt -p logserv-disk
"""

from __future__ import annotations

import codecs
import encodings
import pkgutil
from encodings.aliases import aliases
from pathlib import Path

HERE = Path(__file__).parent
UNDEFINED = "\ufffd"
WIDE = {
    "utf_8": "Codec::Utf8 { mark: false }",
    "utf_8_sig": "Codec::Utf8 { mark: true }",
    "utf_16": "Codec::Utf16 { big: false, mark: true }",
    "utf_16_le": "Codec::Utf16 { big: false, mark: false }",
    "utf_16_be": "Codec::Utf16 { big: true, mark: false }",
    "utf_32": "Codec::Utf32 { big: false, mark: true }",
    "utf_32_le": "Codec::Utf32 { big: false, mark: false }",
    "utf_32_be": "Codec::Utf32 { big: true, mark: false }",
    "ascii": "Codec::Ascii",
    "latin_1": "Codec::Latin1",
    "iso8859_1": "Codec::Latin1",
}


def upper_half(codec: str) -> str | None:
    """The 128 characters above ASCII, or None for a codec that is not one byte a character on top of ASCII."""
    characters = []
    for byte in range(256):
        try:
            character = bytes([byte]).decode(codec)
        except UnicodeDecodeError:
            character = UNDEFINED
        except (LookupError, UnicodeError):
            return None
        if len(character) != 1 or (byte < 128 and character != chr(byte)):
            return None
        characters.append(character)
    for number in range(0x110000):
        if 0xD800 <= number < 0xE000:
            continue
        try:
            encoded = chr(number).encode(codec)
        except UnicodeError:
            continue
        # mac_arabic writes a space as 0xa0: not what we call ASCII.
        if (
            len(encoded) != 1
            or characters[encoded[0]] != chr(number)
            or (number < 128 and encoded[0] != number)
        ):
            return None
    return "".join(characters[128:])


def main() -> None:
    """Writes both files."""
    modules = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))
    tables: dict[str, str] = {}
    for name in modules:
        if name in WIDE or name in ("aliases", "oem", "mbcs", "charmap", "undefined", "idna", "punycode"):
            continue
        try:
            codecs.lookup(name)
        except LookupError:
            continue
        half = upper_half(name)
        if half is not None:
            tables[name] = half
    codes = dict(WIDE)
    codes.update({name: f"Codec::SingleByte({index})" for index, name in enumerate(tables)})
    known = dict(codes)
    known.update({alias: codes[name] for alias, name in aliases.items() if name in codes})

    lines = [
        "//! One table for each of Python's codecs of one byte a character on top of ASCII. Written by `generate.py`.",
        "",
        "/// The characters of the bytes 0x80 to 0xff; U+FFFD stands for none.",
        "pub(super) struct Table(&'static str);",
        "",
        "impl Table {",
        "    /// The byte of a character.",
        "    pub fn byte(&self, character: char) -> Option<u8> {",
        "        if character.is_ascii() || character == char::REPLACEMENT_CHARACTER {",
        "            return u8::try_from(character).ok().filter(u8::is_ascii);",
        "        }",
        "        // Where two bytes stand for one character, Python's tables give the later.",
        "        let place = self.0.chars().rev().position(|known| known == character)?;",
        "        u8::try_from(0xff - place).ok()",
        "    }",
        "}",
        "",
        "/// In the order of their names.",
        "pub(super) const SINGLE_BYTE: &[Table] = &[",
    ]
    for name, half in tables.items():
        lines.append(f"    // {name}")
        for start in range(0, 128, 16):
            part = "".join(f"\\u{{{ord(character):x}}}" for character in half[start : start + 16])
            lines.append(f'    {"Table(concat!(" if start == 0 else "    "}"{part}",')
        lines.append("    )),")
    lines.append("];")
    (HERE / "tables.rs").write_text("\n".join(lines) + "\n", encoding="utf-8")

    lines = [
        "//! Python's names for codecs, with their aliases. Written by `generate.py`.",
        "",
        "use super::Codec;",
        "",
        "/// Finds a codec as Python does: case does not matter, and every other sign is as good as an underscore.",
        "pub(super) fn find(name: &str) -> Option<Codec> {",
        "    let name = normal(name);",
        "    let place = NAMES.binary_search_by(|(known, _)| (*known).cmp(&name)).ok()?;",
        "    NAMES.get(place).map(|(_, codec)| *codec)",
        "}",
        "",
        "fn normal(name: &str) -> String {",
        "    let words = name.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '.');",
        "    let words = words.filter(|word| !word.is_empty());",
        '    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()',
        "}",
        "",
        "const NAMES: &[(&str, Codec)] = &[",
    ]
    lines += [f'    ("{name}", {code}),' for name, code in sorted(known.items())]
    lines.append("];")
    (HERE / "names.rs").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
