"""The agent's settings and their limits, and its version. Loaded while an agent is made."""

from . import errors
from .window import MAX_REQUEST

# name: (default, lowest, highest); docs/settings.md says what each means.
AGENT = {
    "block_size": (4096, 256, 16384),
    "window": (8, 1, 32),
    "request_ms": (2500, 100, 60000),
    "retry_max_ms": (60000, 1000, 3600000),
    "stream_json": (0, 0, 1),
    "momentum": (8, 1, 1000),
    "prefer_http": (0, 0, 1),
    "min_rate": (100, 0, 1000000),
    "silence_s": (900, 60, 86400),
    "clock_days": (3650, 1, 36500),
    "source_tries": (8, 1, 1000),
    "status_blocks": (64, 1, 65536),
    "checkpoint_blocks": (32, 1, 65536),
    "report": (0, 0, 1),
    "raw_images": (0, 0, 1),
    "unload": (1, 0, 1),
    "wide_writes": (1, 0, 1),
}
# What main.py, boot.py and the link read beside them, and what two of these consist of.
_OTHERS = "thing product self_test_s ntp wifi broker"
_PARTS = {
    "wifi": "ssid password ifconfig",
    "broker": "host port tls user password keepalive",
}


def doubts(settings, own):
    """Return a sentence for each setting that nobody reads. own: names the application reads."""
    found = _unknown(settings, list(AGENT) + _OTHERS.split() + list(own), "")
    for group in _PARTS:
        value = settings.get(group)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found += _unknown(one, _PARTS[group].split(), group + ".")
    return found


def _unknown(given, known, prefix):
    found = []
    for name in given:
        if name in known:
            continue
        said = "setting %s%s is unknown" % (prefix, name)
        nearest = max(known, key=lambda other: _likeness(name, other))
        if 2 * _likeness(name, nearest) + 1 >= len(name):
            said += ": is %s%s meant?" % (prefix, nearest)
        found.append(said)
    return found


def _likeness(name, other):
    """Count the pairs of letters that two names share, less what one is longer."""
    pairs = [name[at : at + 2] for at in range(len(name) - 1)]
    return sum([pair in other for pair in pairs]) - abs(len(name) - len(other))


def version_word(version):
    """Return a version, "MAJOR.MINOR.BUILD", as FreeRTOS packs it: 8, 8 and 16 bits.

    Raises SettingsError.
    """
    parts = version.split(".") if isinstance(version, str) else ()
    try:
        major, minor, build = [int(part) for part in parts if not part.strip("0123456789")]
        if len(parts) == 3 and major < 256 and minor < 256 and build < 65536:
            return major << 24 | minor << 16 | build
    except ValueError:
        pass  # not three numbers
    raise errors.SettingsError("version must be as 0.9.1: up to 255.255.65535")


def agent_settings(settings):
    """Return every setting of AGENT as given or by default. Raises SettingsError.

    The dict also has `message_size`: the bytes that a block has in a message of the stream; and
    `tls`: whether the broker is verified.
    """
    chosen = {}
    for name in AGENT:
        default, lowest, highest = AGENT[name]
        value = settings.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise errors.SettingsError(
                "setting %s must be a number from %d to %d" % (name, lowest, highest)
            )
        chosen[name] = value
    if chosen["block_size"] & (chosen["block_size"] - 1):
        raise errors.SettingsError("setting block_size must be a power of two")
    if chosen["window"] * chosen["block_size"] > MAX_REQUEST:
        raise errors.SettingsError(
            "settings window times block_size must be at most %d" % MAX_REQUEST
        )
    broker = settings.get("broker")
    chosen["tls"] = isinstance(broker, dict) and bool(broker.get("tls"))
    size = chosen["block_size"]
    chosen["message_size"] = (size + 2) // 3 * 4 if chosen["stream_json"] else size
    return chosen
