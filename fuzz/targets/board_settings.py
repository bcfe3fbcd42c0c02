"""The board's readers of its own files: settings, trusted keys, and the journal in NVS."""

from binascii import b2a_base64

from ota import journal, settings, trust
from ota.errors import SettingsError

ALLOWED = (SettingsError,)
COVERS = (
    "firmware/ota/settings.py: load_settings require trusted_keys",
    "firmware/ota/trust.py: load_keys unwrapped",
    "firmware/ota/journal.py: Journal.__init__ Journal.history Journal.accepted _fits _read"
    " stored_trust",
)
_KEY = b"-----BEGIN PUBLIC KEY-----\n" + b2a_base64(trust.P256_SPKI + bytes(64))
SEEDS = (
    b'{"thing":"a","broker":{"host":"h"}}',
    b"[]",
    b"[",
    _KEY + b"-----END PUBLIC KEY-----\n",
    _KEY
    + b"-----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    _KEY,
    b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    _KEY
    + b"-----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    b'{"v":1,"phase":"RECEIVING","job":"j","next":5,"floor":7,"created":9,"result":{}}',
    b'{"v":1,"detail":"%s"}' % (b"long " * 110),
    b'{"v":2,"phase":5,"floor":"x"}',
    b'{"v":1,"result":{"job":"j"}}',
    b"\xff",
    b"",
)


class _Nvs:
    """NVS whose every blob has the input; an empty one is not there."""

    def __init__(self, data):
        self.data = data

    def get_blob(self, _key, buf):
        """Fill `buf`."""
        if not self.data:
            raise OSError(-4354)
        if len(self.data) > len(buf):
            raise OSError(-4364)
        buf[: len(self.data)] = self.data
        return len(self.data)


def run(data):
    """Read the input as each of these files."""
    _journal(data)
    before = settings.read_etc
    settings.read_etc = lambda _name, _what: bytes(data)
    try:
        try:
            found = settings.load_settings()
            settings.require(found, "thing")
            settings.require(found, "broker", "host")
        except SettingsError:
            pass
        trust.load_keys(settings.trusted_keys())
    finally:
        settings.read_etc = before


def _journal(data):
    before = journal.NVS
    journal.NVS = lambda _name: _Nvs(bytes(data))
    try:
        found = journal.Journal()
        assert isinstance(found.history(), list)
        assert isinstance(found.phase, type(journal.NONE))
        sequence, created = found.accepted()
        assert sequence >= 0 and created >= 0
    finally:
        journal.NVS = before
