"""The agent's extensions: which there are, what they consist of, and which a board gets.

The table is the firmware's own (`EXTENSIONS` in firmware/ota/phases.py), read and never repeated.
"""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from twinslot.errors import FleetError
from twinslot.firmware.sources import FIRMWARE

TABLE = FIRMWARE / "ota/phases.py"
_ALWAYS = ("console", "http")
# Extension -> the setting of a board that asks for it, and what that is by default.
ASKED_BY = {
    "json": ("stream_json", 0),
    "raw": ("raw_images", 0),
    "report": ("report", 0),
    "wide": ("wide_writes", 1),
}


class ExtensionError(FleetError):
    """There is no such extension, or the firmware has no table of them."""


def table() -> dict[str, tuple[str, ...]]:
    """Return every extension with the names of its modules. Raises ExtensionError."""
    try:
        tree = ast.parse(TABLE.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExtensionError(f"cannot read {TABLE}: {error.strerror}") from error
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "EXTENSIONS":
            found: dict[str, str] = ast.literal_eval(statement.value)
            return {name: tuple(modules.split()) for name, modules in found.items()}
    raise ExtensionError(f"{TABLE} has no table EXTENSIONS")


def everything() -> tuple[str, ...]:
    """Return the names of all extensions, sorted."""
    return tuple(sorted(table()))


def parse(text: str, usual: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the extensions that a person names: `none`, `all`, or names separated by commas.

    A `+` before the first name keeps the `usual` ones, which the board gets when nobody names any.
    Raises ExtensionError for an unknown name, with those that there are.
    """
    known = everything()
    if text == "none":
        return ()
    if text == "all":
        return known
    names = {name.strip() for name in text.removeprefix("+").split(",")}
    for name in sorted(names - {*known}):
        raise ExtensionError(
            f"there is no extension {name!r}; there are {', '.join(known)}; or say none, or all"
        )
    return tuple(sorted(names.union(usual) if text.startswith("+") else names))


def choose(text: str | None, usual: Iterable[str]) -> tuple[str, ...]:
    """Return the extensions that a person names, as `parse`; the usual ones where nobody does."""
    return tuple(sorted(usual)) if text is None else parse(text, usual)


def asked_for(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the extensions that a board gets when nobody names any.

    settings: the board's, as far as they are known. The console, HTTP, and what the settings ask
    for.
    """
    asked = [
        name for name, (setting, usual) in ASKED_BY.items() if settings.get(setting, usual) == 1
    ]
    return tuple(sorted([*_ALWAYS, *asked]))


def left_out(chosen: Iterable[str]) -> set[str]:
    """Return the modules of the extensions that are not chosen. Raises ExtensionError."""
    chosen = set(chosen)
    return {module for name, modules in table().items() if name not in chosen for module in modules}
