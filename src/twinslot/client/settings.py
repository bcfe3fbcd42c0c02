"""The settings of a board as they lie in its folder on the host (boards/BOARD/settings.json)."""

import json
from pathlib import Path
from typing import Any

from twinslot import disk
from twinslot.errors import ConfigError
from twinslot.text import decoded

NAME = "settings.json"


def read(folder: Path) -> dict[str, Any]:
    """The settings in a board's folder; {} where there are none. Raises ConfigError, FileError."""
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        found = json.loads(decoded(disk.read(path, "the settings"), path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("broker", {}), dict):
        raise ConfigError(f"{path} does not hold a board's settings")
    return found


def broker_host(folder: Path) -> str:
    """Where a board looks for its broker; "" where its folder does not say."""
    host = read(folder).get("broker", {}).get("host", "")
    return host if isinstance(host, str) else ""
