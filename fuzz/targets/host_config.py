"""The host's readers of fleet.toml, credentials, endpoint.json and a board's settings.json."""

from pathlib import Path

from twinslot import config
from twinslot.board import files
from twinslot.errors import ConfigError, UnreachableError

ALLOWED = (ConfigError, UnreachableError, files.FilesError)
COVERS = (
    "src/twinslot/config.py: parse _Section parse_address credentials_of endpoint_of",
    "src/twinslot/board/files.py: settings_of",
)
_TOML = config.template(
    product="p", chip="esp32", slot_size=0x1B0000, broker=config.Address("h", 1), tls=False
)
SEEDS = (
    _TOML.encode(),
    _TOML.replace('boards = ""', 'boards = "h:5"').encode(),
    _TOML.replace('data_url = ""', 'data_url = "http://h"').encode(),
    b"[default]\naws_access_key_id = a\naws_secret_access_key = b\n",
    b'{"control":"http://h","data":"d","broker":"b","pid":1}',
    b"a = " + b"[" * 3000,
    b"a = " + b"9" * 5000,
    _TOML.replace('"p"', '"\\u0000"').encode(),
    b'{"control":5,"data":"d","broker":"b","pid":1}',
)


def run(data: bytes) -> None:
    """Read the input as each of them."""
    path = Path("it")
    for read in (config.credentials_of, config.endpoint_of, files.settings_of):
        try:
            read(data, path)
        except ALLOWED:
            continue
    config.parse(data, path)
