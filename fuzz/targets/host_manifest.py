"""The host's reader of a package's manifest."""

import _samples

from twinslot.errors import PackageError
from twinslot.formats import cbor, manifest

ALLOWED = (PackageError,)
COVERS = (
    "src/twinslot/formats/manifest.py: read_manifest Manifest",
    "src/twinslot/formats/component.py: read_component _stored"
    " _nothing_stored _digest _names Component.end padded",
    "src/twinslot/formats/fields.py",
    "src/twinslot/formats/trust_set.py: read_set _read_entry TrustSet.having",
)
_FIELDS = cbor.loads(_samples.manifest())
_FIRST = _FIELDS[7][0]
_STORED = {2: 1, 3: 4096, 7: bytes(32)}
_PUBLIC = bytes.fromhex(
    "32e422f30ba6fd767afefdac54395deff3c2164559db6ba7ed60355c84bb1c3d"
    "66f8cf074ffbc6284f0d90430b46bdbf2a8cd350d25df76854254c05b8b77bd0"
)
_KEY = {1: -7, 2: _PUBLIC, 3: 3}


def _with_keys(*keys: object, version: int = 1) -> bytes:
    plain = {key: value for key, value in _FIELDS.items() if key != 6}
    return cbor.dumps({**plain, 8: {1: version, 2: list(keys)}})


SEEDS = (
    _samples.manifest(),
    b"\xa0",
    b"\x80",
    cbor.dumps({**_FIELDS, 7: []}),
    cbor.dumps({**_FIELDS, 7: [_FIRST, _FIRST]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, 1: 1}]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, **_STORED}]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, **_STORED, 3: 4095}]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, **_STORED, 7: b""}]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, **_STORED, 8: bytes(32), 9: 7}]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, 8: bytes(32)}]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, 64: [7]}]}),
    _with_keys(_KEY),
    _with_keys(_KEY, version=0),
    _with_keys(),
    _with_keys(_KEY, _KEY),
    _with_keys({**_KEY, 3: 1}),
    _with_keys({**_KEY, 1: -8}),
    _with_keys({**_KEY, 2: b""}),
    _with_keys({**_KEY, 2: bytes(64)}),
    cbor.dumps({**_FIELDS, 6: 2**40, 8: {1: 1, 2: [_KEY]}}),
)


def run(data: bytes) -> None:
    """Read a manifest."""
    found = manifest.read_manifest(data)
    assert found.package_size > 0 and found.component(0) is not found
