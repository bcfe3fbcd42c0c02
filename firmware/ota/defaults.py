"""The agent's settings and their limits, and its version. Loaded while an agent is made."""

from . import errors
from .window import MAX_REQUEST

# name: (default, lowest, highest, meaning)
AGENT = {
    "block_size": (4096, 256, 16384, "bytes of a stream block, a power of two"),
    "window": (8, 1, 32, "blocks asked for at once"),
    "request_ms": (2500, 100, 60000, "silence before a request is repeated"),
    "retry_max_ms": (60000, 1000, 3600000, "longest pause between repeated requests"),
    "stream_json": (0, 0, 1, "1: blocks are asked for in JSON, as base64, instead of CBOR"),
    "momentum": (32, 1, 1000, "silent stream requests, while jobs are answered, before giving up"),
    "prefer_http": (0, 0, 1, "1: a job that offers MQTT and HTTP is fetched over HTTP"),
    "source_tries": (8, 1, 1000, "failed reads of a file or server before giving it up"),
    "status_blocks": (64, 1, 65536, "blocks between progress reports"),
    "checkpoint_blocks": (32, 1, 65536, "blocks between checkpoints in NVS"),
    "report": (0, 0, 1, "1: the board reports what it runs, in the named shadow ota"),
    "raw_images": (0, 0, 1, "1: raw images, signed in their job, are taken beside packages"),
    "unload": (1, 0, 1, "1: without a job, what only an update needs is unloaded"),
    "wide_writes": (1, 0, 1, "1: flash is written 64 KB at a time where memory allows"),
}


def version_word(version):
    """Return a version, "MAJOR.MINOR.BUILD", as FreeRTOS packs it: 8, 8 and 16 bits.

    Raises SettingsError.
    """
    parts = version.split(".") if isinstance(version, str) else ()
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        major, minor, build = [int(part) for part in parts]
        if major < 256 and minor < 256 and build < 65536:
            return major << 24 | minor << 16 | build
    raise errors.SettingsError("version must be as 0.9.1: up to 255.255.65535")


def agent_settings(settings):
    """Return every setting of AGENT as given or by default. Raises SettingsError.

    The dict also has `message_size`: the bytes that a block has in a message of the stream.
    """
    chosen = {}
    for name in AGENT:
        default, lowest, highest, meaning = AGENT[name]
        value = settings.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise errors.SettingsError(
                "setting %s (%s) must be a number from %d to %d" % (name, meaning, lowest, highest)
            )
        chosen[name] = value
    if chosen["block_size"] & (chosen["block_size"] - 1):
        raise errors.SettingsError("setting block_size must be a power of two")
    if chosen["window"] * chosen["block_size"] > MAX_REQUEST:
        raise errors.SettingsError(
            "settings window times block_size must be at most %d" % MAX_REQUEST
        )
    size = chosen["block_size"]
    chosen["message_size"] = (size + 2) // 3 * 4 if chosen["stream_json"] else size
    return chosen
