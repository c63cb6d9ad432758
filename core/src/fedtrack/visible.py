"""Visible: text of sites, jobs and backends, as it can be printed: nothing in it controls the terminal.

A name or an error text can hold a sequence that clears the screen, changes the title of the window, or turns the
direction of the text around, so that a line says something else than its bytes. Such characters are shown as escapes.
"""

from __future__ import annotations

_CONTROL = [code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"]

#: Marks of direction, characters without width, separators of lines, and halves of a character, which no encoding has.
_FORMAT = [
    *(0xAD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFFF9, 0xFFFC),
    *range(0xD800, 0xE000),
    *range(0xE0000, 0xE0080),
]


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ESCAPES = {code: _escape(code) for code in (*_CONTROL, *_FORMAT)}


def visible(text: str) -> str:
    """Return ``text`` with an escape in the place of each character that could change what a terminal shows.

    Ends of lines and tabs stay.
    """
    if text.isprintable():
        return text
    return "\r\n".join(part.translate(_ESCAPES) for part in text.split("\r\n"))
