"""All that `fleet` prints. Nothing else in the command prints.

Most of what is shown was written by strangers: packages, boards, endpoints, files' names. So every
text goes through `printable` here, whatever was checked before, and whoever signed it. A line end
in a stranger's text begins no line that looks like one of this program's.
"""

import json
import logging
import sys
from typing import Any

import click

from twinslot.text import printable


def say(line: str = "", *, err: bool = False) -> None:
    """Print one line; a line end inside it is escaped, too. err: to standard error."""
    _write(printable(line) + "\n", err=err)


def say_all(text: str) -> None:
    """Print a text of several lines, or a part of one; line ends and tabs stay."""
    _write(printable(text.replace("\r\n", "\n"), keep="\n\t"))


def say_json(value: Any) -> None:
    """Print a value as JSON in one line of ASCII, for scripts."""
    _write(json.dumps(value).replace("\x7f", "\\u007f") + "\n")


def say_error(text: str) -> None:
    """Print an error to standard error; a bar marks its second and every further line."""
    _write(_barred(f"fleet: {text}") + "\n", err=True)


def refused(error: click.ClickException) -> click.ClickException:
    """Return an error of usage with a message that click may show."""
    error.message = printable(error.message, keep="\n")  # type: ignore[misc]
    return error


class LogFormatter(logging.Formatter):
    """Formats the service's log: a record is one line, and a bar marks those of its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The lines of its traceback."""
        return "  | " + _barred(super().formatException(ei))


def _barred(text: str) -> str:
    return "\n  | ".join(map(printable, text.replace("\r\n", "\n").split("\n")))


def _write(text: str, *, err: bool = False) -> None:
    # A terminal may know fewer characters than a text has.
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, nl=False, err=err)
