"""The package: a signed 4096-byte head and sector-aligned components (docs: package format 1).

Pure: bytes in, values or PackageError out. `assemble` writes a package, `inspect` reads one and
checks everything that needs no key, `trailer` writes what the last sector of an OTA slot says about
the slot. `trust.signing` signs packages and checks signatures.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.errors import FleetError
from twinslot.formats import cbor
from twinslot.formats.chips import SECTOR

MAGIC = b"OTA\x01"
FORMAT = 1
ES256 = -7  # RFC 9053 2.1
COSE_SIGN1 = 18  # CBOR tag, RFC 9052 2
KID_LENGTH = 8  # bytes of a key id
SIGNATURE_LENGTH = 64  # bytes of an ES256 signature, r || s
MAX_COSE = 2000  # bytes
MAX_SEQUENCE = 2**31 - 1
FIRMWARE, APPLICATION = 0, 1
KINDS = {FIRMWARE: "firmware", APPLICATION: "application"}
RAW = 0

_FIRST_IGNORED_KEY = 64
_RECORDS_LENGTH = 4056
_DIRECTORY_LENGTH = 8
_FROZEN = 64  # key of a component that older boards ignore
_FROZEN_LENGTH = 700  # bytes of names
_ROOM = 65  # another one: of an application, what it takes of a board's file system


class PackageError(FleetError):
    """The bytes, or the values to write, break a rule of the format."""


@dataclass(frozen=True)
class Content:
    """What goes into a package: `kind` FIRMWARE or APPLICATION, `data` as it lies in the package.

    `encoding`: of the data; `size` and `sha256`: of what a board makes of them, the result, in
    bytes. `chip`: a firmware's chip_id. `frozen`: names of the modules frozen into a firmware, by
    which a board warns of files that hide them; nothing else depends on them. `room`: of an
    application, see there.
    """

    kind: int
    data: bytes
    encoding: int
    size: int
    sha256: bytes
    chip: int | None = None
    frozen: tuple[str, ...] = ()
    room: tuple[int | str, ...] = ()


def firmware(image: bytes, chip: int = 0, frozen: Iterable[str] = ()) -> Content:
    """An ESP32 application image for the chip with this chip_id (0 is the ESP32).

    `frozen`: names of its modules; of very many, as many as the head has room for.
    """
    names: list[str] = []
    for name in sorted(frozen):
        if sum(map(len, names)) + len(name) <= _FROZEN_LENGTH:
            names.append(name)
    return _raw(FIRMWARE, image, chip=chip, frozen=tuple(names))


def application(archive: bytes, room: Sequence[int | str] = ()) -> Content:
    """A whole application directory as an uncompressed ustar archive.

    `room`: blocks of a board's file system that the directory takes, then path and bytes of each of
    its largest files; a board judges by it, before anything is written. Without it a board has the
    archive's bytes to judge by.
    """
    return _raw(APPLICATION, archive, room=tuple(room))


def _raw(kind: int, data: bytes, **more: Any) -> Content:
    return Content(kind, data, RAW, len(data), hashlib.sha256(data).digest(), **more)


@dataclass(frozen=True)
class Component:
    """One component as the manifest describes it.

    `length`: bytes in the package, in this `encoding`; `size`: bytes of the result; `sha256`: of
    the result; `offset`: where it starts in the package.
    """

    kind: int
    encoding: int
    length: int
    size: int
    sha256: bytes
    chip: int | None
    offset: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the component's padding."""
        return self.offset + _padded(self.length)

    def of(self, data: bytes) -> bytes:
        """The component's bytes in a whole package, encoded as they lie there."""
        return data[self.offset : self.offset + self.length]

    def result(self, data: bytes) -> bytes:
        """What a board makes of the component in a whole package.

        Raises PackageError for an encoding that the host does not decode.
        """
        if self.encoding != RAW:
            raise PackageError(f"component, encoding (2): {self.encoding} is not decoded here")
        return self.of(data)


@dataclass(frozen=True)
class Manifest:
    """What the signature covers. Times are Unix seconds."""

    product: str
    version: str
    sequence: int
    created: int
    expires: int | None
    components: tuple[Component, ...]

    @property
    def package_size(self) -> int:
        """Bytes of the whole package."""
        return self.components[-1].end

    def component(self, kind: int) -> Component | None:
        """The component of this kind, None where the package has none."""
        return next((found for found in self.components if found.kind == kind), None)


@dataclass(frozen=True)
class Head:
    """A package's head, read and checked but for its signature."""

    manifest: Manifest
    manifest_bytes: bytes
    protected: bytes
    kid: bytes
    signature: bytes
    record: bytes
    """Magic, length and COSE structure: what a slot trailer keeps."""

    @property
    def identity(self) -> bytes:
        """SHA-256 over the manifest: the same for every signature over it."""
        return hashlib.sha256(self.manifest_bytes).digest()

    @property
    def signed_bytes(self) -> bytes:
        """The Sig_structure of RFC 9052 4.4."""
        return signed_bytes(self.protected, self.manifest_bytes)


def manifest(
    components: Sequence[Content],
    product: str,
    version: str,
    sequence: int,
    created: int,
    expires: int | None = None,
) -> bytes:
    """Return the manifest of a package with these contents, as it is signed.

    `created` and `expires` are Unix seconds. Raises PackageError when a value breaks the format.
    The contents are described, not judged: `formats.image` knows what a firmware image is.
    """
    if not components:
        raise PackageError("a package has at least one component")
    fields: dict[int, Any] = {
        1: FORMAT,
        2: product,
        3: version,
        4: sequence,
        5: created,
        7: [_describe(content) for content in components],
    }
    if expires is not None:
        fields[6] = expires
    payload = cbor.dumps(fields)
    _read_manifest(payload)  # what is written must be readable
    return payload


def protected_header(kid: bytes) -> bytes:
    """Return the protected header of what the key with this id signs."""
    return cbor.dumps({1: ES256, 4: kid})


def signed_bytes(protected: bytes, payload: bytes) -> bytes:
    """Return the Sig_structure of RFC 9052 4.4: the bytes that are signed."""
    return cbor.dumps(["Signature1", protected, b"", payload])


def assemble(
    components: Sequence[Content], protected: bytes, payload: bytes, signature: bytes
) -> bytes:
    """Return the whole package. Raises PackageError when the head has too many bytes.

    payload: the manifest of these contents; signature: over `signed_bytes`.
    """
    cose = bytes([0xC0 + COSE_SIGN1]) + cbor.dumps([protected, {}, payload, signature])
    if len(cose) > MAX_COSE:
        raise PackageError(f"the signed head has {len(cose)} bytes, more than {MAX_COSE}")
    head = MAGIC + len(cose).to_bytes(4, "big") + cose
    return b"".join(_pad(part) for part in (head, *(content.data for content in components)))


def read_head(data: bytes) -> Head:
    """Read the head at the start of `data` (a package, or its first 4096 bytes).

    Raises PackageError, naming key and rule. The signature is not checked: see trust.signing.
    """
    if len(data) < SECTOR:
        raise PackageError(f"a package head has {SECTOR} bytes, these are {len(data)}")
    head = read_record(data[:SECTOR])
    if data[len(head.record) : SECTOR].strip(b"\xff"):
        raise PackageError("the head is not padded with 0xFF")
    return head


def read_record(data: bytes) -> Head:
    """Read one record (magic, length, COSE structure) at the start of `data`."""
    if data[:4] != MAGIC:
        raise PackageError("not a package: it does not begin with the magic bytes")
    length = int.from_bytes(data[4:8], "big")
    if not 1 <= length <= MAX_COSE:
        raise PackageError(f"the COSE structure has {length} bytes; allowed are 1 to {MAX_COSE}")
    if len(data) < 8 + length:
        raise PackageError(f"cut short: {length} bytes of COSE announced, {len(data) - 8} there")
    record = bytes(data[: 8 + length])
    item = _loads(record[8:], "COSE structure")
    if not isinstance(item, cbor.Tagged) or item.tag != COSE_SIGN1:
        raise PackageError(f"not a COSE_Sign1 structure (CBOR tag {COSE_SIGN1})")
    parts = item.value
    if not isinstance(parts, list) or len(parts) != 4:
        raise PackageError("COSE_Sign1 is an array of 4")
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise PackageError("protected header, payload and signature are byte strings")
    if unprotected != {}:
        raise PackageError("the unprotected header is not empty")
    kid = _read_protected(protected)
    if len(signature) != SIGNATURE_LENGTH:
        raise PackageError(f"an ES256 signature has {SIGNATURE_LENGTH} bytes")
    return Head(_read_manifest(payload), payload, protected, kid, signature, record)


def inspect(data: bytes) -> Head:
    """Read a whole package: head, layout, padding and the digest of every component.

    Raises PackageError. The signature is not checked: see trust.signing.
    """
    head = read_head(data)
    manifest = head.manifest
    if len(data) != manifest.package_size:
        raise PackageError(
            f"the manifest says {manifest.package_size} bytes, there are {len(data)}"
        )
    for component in manifest.components:
        name = KINDS[component.kind]
        if data[component.offset + component.length : component.end].strip(b"\xff"):
            raise PackageError(f"the {name} component is not padded with 0xFF")
        if hashlib.sha256(component.result(data)).digest() != component.sha256:
            raise PackageError(f"the {name} component does not have the SHA-256 of the manifest")
    return head


def trailer(records: Sequence[bytes], directory: str = "") -> bytes:
    """The last 4096 bytes of an OTA slot.

    `records`: one or two, newest first, each as Head.record or longer (a head, a package).
    `directory`: the application directory that goes with the slot, "" for none.
    """
    if not 1 <= len(records) <= 2:
        raise PackageError(f"a trailer holds one or two records, not {len(records)}")
    name = directory.encode("ascii", "replace")
    if len(name) > _DIRECTORY_LENGTH or b"?" in name or b"\0" in name:
        raise PackageError(f"directory {directory!r}: at most {_DIRECTORY_LENGTH} ASCII characters")
    body = b"".join(read_record(record).record for record in records)
    body = body.ljust(_RECORDS_LENGTH, b"\xff") + name.ljust(_DIRECTORY_LENGTH, b"\0")
    return body + hashlib.sha256(body).digest()


def read_trailer(data: bytes) -> tuple[tuple[Head, ...], str]:
    """The records and the directory of a slot trailer of 4096 bytes.

    Raises PackageError when it is none. Signatures are not checked: see trust.signing.
    """
    if len(data) != SECTOR:
        raise PackageError(f"a slot trailer has {SECTOR} bytes, these are {len(data)}")
    body, digest = data[:-32], data[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise PackageError("no slot trailer: its SHA-256 does not match")
    heads, rest = [read_record(body[:_RECORDS_LENGTH])], body[:_RECORDS_LENGTH]
    rest = rest[len(heads[0].record) :]
    if rest[:4] == MAGIC:
        heads.append(read_record(rest))
        rest = rest[len(heads[1].record) :]
    if rest.strip(b"\xff"):
        raise PackageError("the slot trailer is not padded with 0xFF")
    return tuple(heads), body[_RECORDS_LENGTH:].rstrip(b"\0").decode("ascii")


def _describe(content: Content) -> dict[int, Any]:
    described: dict[int, Any] = {
        1: content.kind,
        2: content.encoding,
        3: len(content.data),
        4: content.size,
        5: content.sha256,
    }
    if content.chip is not None:
        described[6] = content.chip
    if content.frozen:
        described[_FROZEN] = list(content.frozen)
    if content.room:
        described[_ROOM] = list(content.room)
    return described


def _padded(length: int) -> int:
    return -(-length // SECTOR) * SECTOR


def _pad(data: bytes) -> bytes:
    return data.ljust(_padded(len(data)), b"\xff")


def _loads(data: bytes, name: str) -> Any:
    try:
        return cbor.loads(data)
    except cbor.CBORError as error:
        raise PackageError(f"{name}: {error}") from error


def _read_protected(data: bytes) -> bytes:
    header = _loads(data, "protected header")
    if not isinstance(header, dict) or set(header) != {1, 4}:
        raise PackageError("the protected header is a map of exactly alg (1) and kid (4)")
    if header[1] != ES256 or isinstance(header[1], bool):
        raise PackageError(f"protected header, alg (1): {header[1]!r} is not ES256 ({ES256})")
    kid = header[4]
    if not isinstance(kid, bytes) or len(kid) != KID_LENGTH:
        raise PackageError(f"protected header, kid (4): {KID_LENGTH} bytes")
    return kid


def _read_manifest(data: bytes) -> Manifest:
    fields = _Fields(_loads(data, "manifest"), "manifest", known=range(1, 8))
    if fields.uint(1, "format") != FORMAT:
        raise PackageError(f"manifest, format (1): only {FORMAT} is defined")
    product = fields.text(2, "product")
    version = fields.text(3, "version")
    sequence = fields.uint(4, "sequence", least=1, most=MAX_SEQUENCE)
    created = fields.uint(5, "created")
    expires = fields.uint(6, "expires", least=created + 1) if fields.has(6) else None
    described = fields.get(7, "components")
    if not isinstance(described, list) or not 1 <= len(described) <= 4:
        raise PackageError("manifest, components (7): an array of 1 to 4 maps")
    components: list[Component] = []
    offset = SECTOR
    for item in described:
        component = _read_component(item, offset)
        if any(component.kind == other.kind for other in components):
            raise PackageError(
                f"manifest, components (7): more than one of kind {KINDS[component.kind]}"
            )
        components.append(component)
        offset = component.end
    return Manifest(product, version, sequence, created, expires, tuple(components))


def _read_component(item: Any, offset: int) -> Component:
    fields = _Fields(item, "component", known=range(1, 7))
    kind = fields.uint(1, "kind")
    if kind not in KINDS:
        raise PackageError(f"component, kind (1): {kind} is not defined")
    encoding = fields.uint(2, "encoding")
    if encoding != RAW:
        raise PackageError(f"component, encoding (2): {encoding} is not defined")
    length = fields.uint(3, "length", least=1)
    size = fields.uint(4, "size")
    if size != length:
        raise PackageError(f"component, size (4): {size}, but a raw component has length {length}")
    digest = fields.get(5, "sha256")
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise PackageError("component, sha256 (5): 32 bytes")
    if kind != FIRMWARE and fields.has(6):
        raise PackageError("component, chip (6): for firmware only")
    chip = fields.uint(6, "chip", most=0xFFFF) if kind == FIRMWARE else None
    return Component(kind, encoding, length, size, digest, chip, offset)


class _Fields:
    """Typed access to a CBOR map; every refusal names map, key and rule."""

    def __init__(self, value: Any, where: str, known: range) -> None:
        if not isinstance(value, dict):
            raise PackageError(f"{where}: not a map")
        for key in value:
            if type(key) is not int or key < 0:
                raise PackageError(f"{where}: key {key!r} is not an unsigned number")
            if key < _FIRST_IGNORED_KEY and key not in known:
                raise PackageError(f"{where}: key {key} is not defined")
        self._value = value
        self._where = where

    def has(self, key: int) -> bool:
        return key in self._value

    def get(self, key: int, name: str) -> Any:
        if key not in self._value:
            raise PackageError(f"{self._where}: {name} ({key}) is missing")
        return self._value[key]

    def uint(self, key: int, name: str, *, least: int = 0, most: int = 2**64 - 1) -> int:
        value = self.get(key, name)
        if type(value) is not int or not least <= value <= most:
            raise PackageError(
                f"{self._where}, {name} ({key}): {value!r} is no number from {least} to {most}"
            )
        return value

    def text(self, key: int, name: str) -> str:
        value = self.get(key, name)
        if not isinstance(value, str) or not 1 <= len(value.encode()) <= 32:
            raise PackageError(f"{self._where}, {name} ({key}): text of 1 to 32 bytes")
        return value
