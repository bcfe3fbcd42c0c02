"""S3's checksums of objects and parts: CRC32 and SHA-256, looked at and kept."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twinslot.service.codec import ApiError

COMPOSITE, FULL_OBJECT = "COMPOSITE", "FULL_OBJECT"

_SUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: binascii.crc32(data).to_bytes(4, "big"),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
MEMBERS = frozenset(f"Checksum{name}" for name in _SUMS)
"""The parameters that carry one."""


def checked(parameters: Mapping[str, Any], data: bytes, algorithm: str = "") -> dict[str, str]:
    """The checksums that a request gives for its body, and that of `algorithm`.

    Raises ApiError BadDigest for one that the body has not, also for its Content-MD5.
    """
    md5 = parameters.get("ContentMD5")
    if md5 is not None and md5 != _text(hashlib.md5(data, usedforsecurity=False).digest()):
        raise _bad("Content-MD5")
    found: dict[str, str] = {}
    for name, summed in _SUMS.items():
        given = parameters.get(f"Checksum{name}")
        if given is None and name != algorithm:
            continue
        found[f"Checksum{name}"] = _text(summed(data))
        if given not in (None, found[f"Checksum{name}"]):
            raise _bad(f"Checksum{name}")
    return found


def of_parts(algorithm: str, kind: str, parts: Sequence[bytes]) -> dict[str, str]:
    """The checksums of an object that came in parts, {} without an algorithm.

    COMPOSITE: the checksum of the parts' checksums, and their number (S3 user guide, "Checking
    object integrity").
    """
    if not algorithm:
        return {}
    summed = _SUMS[algorithm]
    if kind == FULL_OBJECT:
        return {f"Checksum{algorithm}": _text(summed(b"".join(parts)))}
    whole = summed(b"".join(summed(part) for part in parts))
    return {f"Checksum{algorithm}": f"{_text(whole)}-{len(parts)}"}


def check_algorithm(algorithm: str, kind: str) -> None:
    """Raise ApiError for an upload's checksum that is not here, or not S3's."""
    if algorithm and algorithm not in _SUMS:
        raise ApiError("NotImplemented", f"checksum {algorithm} is not implemented here", 501)
    if algorithm == "SHA256" and kind == FULL_OBJECT:
        raise ApiError("InvalidRequest", "SHA256 of an upload in parts is COMPOSITE", 400)


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _bad(name: str) -> ApiError:
    return ApiError("BadDigest", f"{name} is not that of the body", 400)
