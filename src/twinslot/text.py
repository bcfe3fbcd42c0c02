"""Text that others wrote: read from bytes, and made fit for a terminal and for a log. Pure."""

import codecs
import re

from twinslot.errors import FleetError

# UTF-32's mark of little-endian files begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
_DIGITS = re.compile(r"([0-9]+)")
_SAVE = "save it as UTF-8"


class TextError(FleetError):
    """The bytes of a file are no text that can be read."""

    exit_code = 3


def decoded(data: bytes, name: object) -> str:
    r"""The text of a file called `name`, with line ends as `\n`.

    A byte order mark says how it is encoded, as editors and shells of Windows write it: UTF-8,
    UTF-16 or UTF-32; without one it is UTF-8. Raises TextError, which names the file and the place.
    """
    encoding = next((_MARKS[mark] for mark in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        said = encoding.removesuffix("-sig").upper()
        line = data.count(b"\n", 0, error.start) + 1
        raise TextError(
            f"{name} is not text in {said}: byte {error.start} (line {line}) does not fit; {_SAVE}"
        ) from error
    if "\0" in text:
        raise TextError(
            f"{name} is not text in UTF-8: it has bytes 0, as UTF-16 without a byte order mark has "
            f"them; {_SAVE}"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts names as people count: board-2 before board-10."""
    parts = _DIGITS.split(name)  # every second part is a number
    return [(at % 2 == 1, int(part) if at % 2 else 0, part) for at, part in enumerate(parts)]


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character that a terminal might obey, or that nobody sees, as `\x1b`.

    That is all but letters, marks, digits, signs and the plain space: control characters (C0, C1,
    line ends), overrides of the direction of writing, separators, private and unassigned ones.
    keep: characters to leave as they are. Text that went through here comes out the same again.
    """
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)
