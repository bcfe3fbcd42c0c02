"""Packages in encoding 1 for the agent's tests, made by the tests' own plain encoder."""

from __future__ import annotations

import hashlib
import sys
import zlib
from dataclasses import dataclass, field
from typing import Any

from agent_bench import KEY, PRODUCT

from tools.interpreters import ON_BOARD
from twinslot.formats import cbor
from twinslot.formats.head import PACKAGE_MAGIC
from twinslot.trust import keys

if str(ON_BOARD) not in sys.path:
    sys.path.append(str(ON_BOARD))

from segments_bytes import Encoder, chained

FIRMWARE, APPLICATION = 0, 1


def deflated(data: bytes) -> bytes:
    """Return a raw deflate stream with a window of 512 bytes, which every prologue allows."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -9, 9)
    return maker.compress(data) + maker.flush()


@dataclass
class Coded:
    """A component: `result` by encoding 1, over `base` where that is not empty.

    payload: another one than the right one; keys: of its map, which go before the right ones, None
    for a key that is absent; blocks: another number of stored blocks.
    """

    kind: int
    result: bytes
    base: bytes = b""
    alignments: tuple[int, ...] = (0,)
    keys: dict[int, Any] = field(default_factory=dict)
    payload: bytes | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def made(self) -> tuple[dict[int, Any], bytes]:
        """Return the map, and the bytes of the component."""
        options = {"deflated": deflated, "bits": 9, **self.options}
        if self.base:
            options = {"alignments": self.alignments, **options}
        payload = self.payload
        if payload is None:
            payload = Encoder(self.result, self.base, **options).payload()
        blocks, first = chained(payload)
        found: dict[int, Any] = {
            1: self.kind,
            2: 1,
            3: len(blocks),
            4: len(self.result),
            5: hashlib.sha256(self.result).digest(),
            7: first,
        }
        if self.kind == FIRMWARE:
            found[6] = 0
        if self.base:
            found[8] = hashlib.sha256(self.base).digest()
            found[9] = len(self.base)
        found.update(self.keys)
        return {key: found[key] for key in sorted(found) if found[key] is not None}, blocks


@dataclass
class Plain:
    """A component as it is."""

    kind: int
    result: bytes

    def made(self) -> tuple[dict[int, Any], bytes]:
        """Return the map, and the bytes of the component."""
        size, digest = len(self.result), hashlib.sha256(self.result).digest()
        found: dict[int, Any] = {1: self.kind, 2: 0, 3: size, 4: size, 5: digest}
        if self.kind == FIRMWARE:
            found[6] = 0
        return found, self.result


def package(version: str, sequence: int, *components: Coded | Plain) -> bytes:
    """Return a signed package of these components, however wrong they are."""
    made = [component.made() for component in components]
    manifest = {
        1: 1, 2: PRODUCT, 3: version, 4: sequence, 5: 1_790_000_000, 7: [one[0] for one in made]
    }  # fmt: skip
    payload, protected = cbor.dumps(manifest), cbor.dumps({1: -7, 4: keys.kid(KEY.public_key())})
    signature = keys.sign(KEY, cbor.dumps(["Signature1", protected, b"", payload]))
    cose = b"\xd2" + cbor.dumps([protected, {}, payload, signature])
    head = PACKAGE_MAGIC + len(cose).to_bytes(4, "big") + cose
    rest = b"".join(data.ljust(-(-len(data) // 4096) * 4096, b"\xff") for _, data in made)
    return head.ljust(4096, b"\xff") + rest
