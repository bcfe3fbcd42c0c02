"""Typed access to a CBOR map of the package format; every refusal names map, key and rule. Pure."""

from typing import Any

from twinslot.errors import PackageError
from twinslot.formats import cbor

_FIRST_IGNORED_KEY = 64


def loads(data: bytes, name: str) -> Any:
    """Read one CBOR item; `name` is for the sentence of a PackageError."""
    try:
        return cbor.loads(data)
    except cbor.CBORError as error:
        raise PackageError(f"{name}: {error}") from error


class Fields:
    """One map. `where` names it in every PackageError; `known`: its keys below 64."""

    def __init__(self, value: Any, where: str, known: range) -> None:
        if not isinstance(value, dict):
            raise PackageError(f"{where}: not a map")
        for key in value:
            if type(key) is not int or key < 0:
                raise PackageError(f"{where}: key {key!r} is not an unsigned number")
            if key < _FIRST_IGNORED_KEY and key not in known:
                raise PackageError(f"{where}: key {key} is not defined")
        self._value = value
        self._where = where

    def has(self, key: int) -> bool:
        """Whether the map has this key."""
        return key in self._value

    def get(self, key: int, name: str) -> Any:
        """Return a value. Raises PackageError where it is missing."""
        if key not in self._value:
            raise PackageError(f"{self._where}: {name} ({key}) is missing")
        return self._value[key]

    def uint(self, key: int, name: str, *, least: int = 0, most: int = 2**64 - 1) -> int:
        """Return a whole number in this range. Raises PackageError for any other value."""
        value = self.get(key, name)
        if type(value) is not int or not least <= value <= most:
            raise PackageError(
                f"{self._where}, {name} ({key}): {value!r} is no number from {least} to {most}"
            )
        return value

    def text(self, key: int, name: str) -> str:
        """Return a text of 1 to 32 bytes. Raises PackageError for any other value."""
        value = self.get(key, name)
        if not isinstance(value, str) or not 1 <= len(value.encode()) <= 32:
            raise PackageError(f"{self._where}, {name} ({key}): text of 1 to 32 bytes")
        return value
