"""Typed access to the tables of a TOML file; each error names the key as it stands there."""

import re
from pathlib import Path
from typing import Any

from twinslot.addresses import Address, parse_address, parse_host
from twinslot.errors import ConfigError


class Section:
    """One table. prefix: of its keys, for errors."""

    def __init__(self, values: dict[str, Any], prefix: str) -> None:
        self._values = values
        self._prefix = prefix
        self._asked: set[str] = set()

    def section(self, key: str) -> "Section":
        """The table at a key."""
        return Section(self._get(key, dict, "a table"), key + ".")

    def text(self, key: str, least: int = 0, most: int = 1024, default: str | None = None) -> str:
        """A text of so many bytes. default: where the key is missing, None if it must be there."""
        value: str = self._get(key, str, "text", default)
        if not least <= len(value.encode()) <= most:
            raise ConfigError(f"{self._prefix}{key}: text of {least} to {most} bytes")
        if "\0" in value:
            raise ConfigError(f"{self._prefix}{key}: {value!r} has a byte 0")
        return value

    def matching(self, key: str, pattern: str, form: str, default: str | None = None) -> str:
        """A text of this pattern; `form` says for people what that is."""
        value = self.text(key, default=default)
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ConfigError(f"{self._prefix}{key}: {value!r} is not {form}")
        return value

    def has(self, key: str) -> bool:
        """Say whether the table has a key."""
        return key in self._values

    def number(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within these limits."""
        value: int = self._get(key, int, "a whole number", default)
        if not least <= value <= most:
            raise ConfigError(f"{self._prefix}{key}: {value} is not within {least} to {most}")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value: bool = self._get(key, bool, "true or false")
        return value

    def address(self, key: str) -> Address:
        """HOST:PORT."""
        try:
            return parse_address(self.text(key))
        except ValueError as error:
            raise ConfigError(f"{self._prefix}{key}: {error}") from error

    def host(self, key: str) -> str:
        """A name or an address."""
        try:
            return parse_host(self.text(key))
        except ValueError as error:
            raise ConfigError(f"{self._prefix}{key}: {error}") from error

    def optional_path(self, key: str, folder: Path, default: str | None = None) -> Path | None:
        """A path in `folder`, None for an empty text."""
        value = self.text(key, default=default)
        return folder / value if value else None

    def refuse_unknown(self) -> None:
        """Raise ConfigError for a key that nobody has asked for."""
        for key in self._values:
            if key not in self._asked:
                raise ConfigError(f"{self._prefix}{key}: no such setting")

    def _get(self, key: str, kind: type, name: str, default: Any = None) -> Any:
        self._asked.add(key)
        if key not in self._values:
            if default is not None:
                return default
            raise ConfigError(f"{self._prefix}{key} is missing")
        value = self._values[key]
        if type(value) is not kind:
            raise ConfigError(f"{self._prefix}{key}: {value!r} is not {name}")
        return value
