"""The host's readers of fleet.toml, credentials, endpoint.json and a board's settings.json."""

from pathlib import Path

from twinslot import config, service_notes
from twinslot.addresses import Address
from twinslot.board import files
from twinslot.errors import ConfigError, UnreachableError
from twinslot.text import TextError

ALLOWED = (ConfigError, UnreachableError, TextError, files.FilesError)
COVERS = (
    "src/twinslot/config.py: parse credentials_of",
    "src/twinslot/account.py: account_of",
    "src/twinslot/tables.py: Section",
    "src/twinslot/addresses.py: parse_address parse_host",
    "src/twinslot/service_notes.py: endpoint_of",
    "src/twinslot/text.py: decoded",
    "src/twinslot/board/files.py: settings_of",
)
_TOML = config.template(
    product="p", chip="esp32", slot_size=0x1B0000, broker=Address("h", 1), tls=False
)
_AWS = (
    '\n[aws]\nregion = "eu-central-1"\nbucket = "my-packages"\n'
    'role = "arn:aws:iam::123456789012:role/r"\n'
)
SEEDS = (
    f"{_TOML}{_AWS}".encode(),
    f"{_TOML}{_AWS.replace('my-packages', 'My_Packages')}".encode(),
    _TOML.encode(),
    _TOML.replace('boards = ""', 'boards = "h:5"').encode(),
    _TOML.replace('data_url = ""', 'data_url = "http://h"').encode(),
    b"[default]\naws_access_key_id = a\naws_secret_access_key = b\n",
    b'{"control":"http://h","data":"d","broker":"b","pid":1}',
    b"a = " + b"[" * 3000,
    b"a = " + b"9" * 5000,
    _TOML.replace('"p"', '"\\u0000"').encode(),
    _TOML.replace('data = "127.0.0.1:0"', 'data = "http://h:1"').encode(),
    _TOML.replace('"127.0.0.1:0"', '"[::1]:0"').encode("utf-16"),
    *(_TOML.replace('host = "h"', f'host = "{host}"').encode() for host in ("m://h", "h:1", "a b")),
    b"[\0",
    b'{"broker":{"host":"h"}}',
    b'{"broker":{"host":"h:1"}}',
    b'{"control":5,"data":"d","broker":"b","pid":1}',
)


def run(data: bytes) -> None:
    """Read the input as each of them."""
    path = Path("it")
    for read in (config.credentials_of, service_notes.endpoint_of, files.settings_of):
        try:
            read(data, path)
        except ALLOWED:
            continue
    config.parse(data, path)
    config.parse(data, path, to_aws=True)
