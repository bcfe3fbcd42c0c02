"""The board's settings folder, its files, and paths at the top of the file system."""

import json
import os

from . import errors

ROOT = "/"
# The application directories; a slot's trailer names one of them, or none.
DIRECTORIES = ("app_0", "app_1")
# How the name of one begins that is to be removed; a number follows.
OLD = ".old_"


def absolute(name):
    """Return the absolute path of the entry `name` at the top of the file system."""
    return ROOT + name


def is_there(name):
    """Say whether there is such a file or directory, a path from the top without its slash."""
    try:
        os.stat(absolute(name))
        return True
    except OSError:
        return False


def free():
    """Return the free bytes; too few, even below 0, as littlefs counts directories twice."""
    found = os.statvfs(absolute(""))
    blocks = found[3]
    if blocks >= 1 << 31:  # it has no sign there
        blocks -= 1 << 32
    return found[1] * blocks


def etc(name):
    """Return the path of a file in the board's settings folder."""
    return absolute("etc/" + name)


def read_etc(name, what):
    """Return the bytes of a file there; `what` names its content. Raises SettingsError."""
    try:
        with open(etc(name), "rb") as file:
            return file.read()
    except OSError:
        raise errors.SettingsError("%s is missing: it must hold %s" % (etc(name), what))


def load_settings():
    """Return the settings of this board as a dict. Raises SettingsError naming file and fault."""
    data = read_etc("settings.json", "the board's settings")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise errors.SettingsError("%s is UTF-16: save it as UTF-8" % etc("settings.json"))
    try:
        settings = json.loads(data[3:] if data[:3] == b"\xef\xbb\xbf" else data)
    except ValueError:
        raise errors.SettingsError("%s is not JSON" % etc("settings.json"))
    if not isinstance(settings, dict):
        raise errors.SettingsError("%s does not hold a JSON object" % etc("settings.json"))
    return settings


def require(settings, *names):
    """Return a text found by names, one inside the other. Raises SettingsError naming it."""
    value = settings
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise errors.SettingsError("setting %s is missing or not a text" % ".".join(names))
    return value


def trusted_keys():
    """Return the text of the trusted keys' file. Raises SettingsError."""
    data = read_etc("trusted_keys.pem", "the public keys this board trusts")
    try:
        return str(data, "utf-8")
    except UnicodeError:
        raise errors.SettingsError("%s is no text: it must be PEM" % etc("trusted_keys.pem"))
