"""The board's readers of a set of keys: out of a manifest, and as NVS and its copy keep it."""

import json
from binascii import unhexlify

from ota import cbor, keyset, package
from ota.errors import PackageError

ALLOWED = (PackageError, ValueError)
COVERS = ("firmware/ota/keyset.py: parse of_stored _values _is_number _on_curve kid_of stored",)
_PUBLIC = (
    unhexlify(
        "32e422f30ba6fd767afefdac54395deff3c2164559db6ba7ed60355c84bb1c3d"
        "66f8cf074ffbc6284f0d90430b46bdbf2a8cd350d25df76854254c05b8b77bd0"
    ),
    unhexlify(
        "fa9c7057cd2440c0fb1691c79b06702be26ead0499390275e69d9c040e07e8aa"
        "d075e52ee0eb7c0119f64beec0ebc498863da4a1f6f46d4e236b181bb2c505fb"
    ),
)


def _map(*pairs):
    out = bytearray([0xA0 | len(pairs)])
    for key, value in pairs:
        cbor.dump(out, key)
        if isinstance(value, bytearray):
            out.extend(value)
        elif isinstance(value, list):
            out.append(0x80 | len(value))
            for item in value:
                out.extend(item)
        else:
            cbor.dump(out, value)
    return out


def _key(public, roles, algorithm=-7):
    return _map((1, algorithm), (2, public), (3, roles))


_BOTH = _key(_PUBLIC[0], 3)
_SET = _map((1, 1), (2, [_BOTH, _key(_PUBLIC[1], 0)]))
_STORED = (
    b'{"v":1,"set":1,"keys":"%s","digest":"00","floor":1,"created":1}'
    % json.dumps(keyset.stored(keyset.following(keyset.of_files({}, ""), package.loads(_SET), ())))
    .split('"keys": "')[1]
    .split('"')[0]
    .encode()
)
SEEDS = (
    bytes(_SET),
    _STORED,
    _STORED.replace(b'"v":1', b'"v":2'),
    _STORED.replace(b'"floor":1', b'"floor":-1'),
    _STORED.replace(b'"keys"', b'"key"'),
    b'{"v":1}',
    b"[]",
    b"{",
    b"\x01",
    bytes(_map((1, 0), (2, [_BOTH]))),
    bytes(_map((1, 1), (2, []))),
    bytes(_map((1, 1), (2, 5))),
    bytes(_map((1, 1), (2, [_BOTH, _BOTH]))),
    bytes(_map((1, 1), (2, [_key(_PUBLIC[0], 1)]))),
    bytes(_map((1, 1), (2, [_key(_PUBLIC[0], 3, -8)]))),
    bytes(_map((1, 1), (2, [_key(_PUBLIC[0], 4)]))),
    bytes(_map((1, 1), (2, [_key(bytes(64), 3)]))),
    bytes(_map((1, 1), (2, [_key(b"", 3)]))),
    bytes(_map((1, 1), (2, [_BOTH]), (3, 1))),
    bytes(_map((1, 1), (2, [_BOTH]), (64, 1))),
)


def run(data):
    """Read the input as a set, and as what is stored."""
    if data[:1] in (b"{", b"["):
        found = keyset.of_stored(json.loads(bytes(data)))
        if found:
            assert found.version > 0 and keyset.of_stored(keyset.stored(found)) == found
        return
    item = package.loads(data)
    version, entries = keyset.parse(item)
    assert version > 0 and entries
    before = keyset.of_files({keyset.kid_of(_PUBLIC[1]): _PUBLIC[1]}, "")
    after = keyset.following(before, item, before.keys)
    assert after.version == version
