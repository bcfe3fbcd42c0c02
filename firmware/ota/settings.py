"""The board's settings: read from `/etc/settings.json`, completed by defaults, checked."""

import json

from .errors import SettingsError
from .stream import MAX_REQUEST

ROOT = "/"

# name: (default, lowest, highest, meaning)
AGENT = {
    "block_size": (4096, 256, 16384, "bytes of a stream block, a power of two"),
    "window": (8, 1, 32, "blocks asked for at once"),
    "request_ms": (2500, 100, 60000, "silence before a request is repeated"),
    "retry_max_ms": (60000, 1000, 3600000, "longest pause between repeated requests"),
    "momentum": (32, 1, 1000, "silent stream requests, while jobs are answered, before giving up"),
    "status_blocks": (64, 1, 65536, "blocks between progress reports"),
    "checkpoint_blocks": (32, 1, 65536, "blocks between checkpoints in NVS"),
    "wide_writes": (1, 0, 1, "1: flash is written 64 KB at a time where memory allows"),
}


def etc(name):
    """Return the path of a file in the board's settings folder."""
    return ROOT + "etc/" + name


def read_etc(name, what):
    """Return the bytes of a file there; `what` says what it holds. Raises SettingsError."""
    try:
        with open(etc(name), "rb") as file:
            return file.read()
    except OSError:
        raise SettingsError("%s is missing: it must hold %s" % (etc(name), what))


def load_settings():
    """Return the settings of this board as a dict. Raises SettingsError naming file and fault."""
    try:
        settings = json.loads(read_etc("settings.json", "the board's settings"))
    except ValueError:
        raise SettingsError("%s is not JSON" % etc("settings.json"))
    if not isinstance(settings, dict):
        raise SettingsError("%s does not hold a JSON object" % etc("settings.json"))
    return settings


def require(settings, *names):
    """Return a text found by names, one inside the other. Raises SettingsError naming it."""
    value = settings
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise SettingsError("setting %s is missing or not a text" % ".".join(names))
    return value


def agent_settings(settings):
    """Return every setting of AGENT as given or by default. Raises SettingsError."""
    chosen = {}
    for name in AGENT:
        default, lowest, highest, meaning = AGENT[name]
        value = settings.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise SettingsError(
                "setting %s (%s) must be a number from %d to %d" % (name, meaning, lowest, highest)
            )
        chosen[name] = value
    if chosen["block_size"] & (chosen["block_size"] - 1):
        raise SettingsError("setting block_size must be a power of two")
    if chosen["window"] * chosen["block_size"] > MAX_REQUEST:
        raise SettingsError("settings window times block_size must be at most %d" % MAX_REQUEST)
    return chosen


def trusted_keys():
    """Return the text of the trusted keys' file. Raises SettingsError."""
    return str(read_etc("trusted_keys.pem", "the public keys this board trusts"), "utf-8")
