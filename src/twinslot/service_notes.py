"""The notes of a running `fleet serve` in the fleet's state folder, for other commands."""

import json
from dataclasses import dataclass
from pathlib import Path

from twinslot import disk
from twinslot.config import Config, first_line
from twinslot.errors import UnreachableError

DATABASE_NOTE = "database"
"""File in the state folder that says where the database of the last `fleet serve` is."""


@dataclass(frozen=True)
class Endpoint:
    """Where a running `fleet serve` listens: base URLs, broker as HOST:PORT, process id."""

    control: str
    data: str
    broker: str
    pid: int


def endpoint_file(config: Config) -> Path:
    """The file through which other commands find the running service."""
    return config.state / "endpoint.json"


def note_database(config: Config, place: str) -> None:
    """Keep where the database of this fleet's service is: its URL without a password.

    Raises FileError.
    """
    disk.replace(_database_file(config), f"{place}\n".encode(), disk.SECRET)


def noted_database(config: Config) -> str | None:
    """Return where the database of the last service of this fleet is; None if none was noted.

    Raises FileError, ConfigError.
    """
    path = _database_file(config)
    return first_line(path, "the note") if path.exists() else None


def _database_file(config: Config) -> Path:
    return config.state / DATABASE_NOTE


def find_endpoint(config: Config) -> Endpoint:
    """Where the `fleet serve` of this folder listens. Raises UnreachableError if none runs."""
    path = endpoint_file(config)
    try:
        return endpoint_of(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise UnreachableError(
            "no service runs for this folder: start `fleet serve`, or set endpoint in fleet.toml"
        ) from error
    except OSError as error:
        raise UnreachableError(f"cannot read {path}: {error.strerror}") from error


def endpoint_of(data: bytes, path: Path) -> Endpoint:
    """The Endpoint that a running service wrote into `path`. Raises UnreachableError."""
    try:
        endpoint = Endpoint(**json.loads(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreachableError(f"cannot read {path}: {error}; start `fleet serve` again") from error
    for name, kind in (("control", str), ("data", str), ("broker", str), ("pid", int)):
        if type(getattr(endpoint, name)) is not kind:
            raise UnreachableError(
                f"{path}: {name} is no {kind.__name__}; start `fleet serve` again"
            )
    return endpoint
