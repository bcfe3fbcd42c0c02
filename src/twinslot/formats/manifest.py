"""The manifest of a package: what the signature covers (package format 1). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twinslot.errors import PackageError
from twinslot.formats import cbor
from twinslot.formats.chips import SECTOR
from twinslot.formats.component import KINDS, Component, Content, described, read_component
from twinslot.formats.fields import Fields, loads
from twinslot.formats.trust_set import TrustSet, described_set, read_set

FORMAT = 1
MAX_SEQUENCE = 2**31 - 1


@dataclass(frozen=True)
class Manifest:
    """The fields that the signature covers. Times are Unix seconds.

    trust: the set of keys that holds from the package's acceptance on, None for the one before.
    """

    product: str
    version: str
    sequence: int
    created: int
    expires: int | None
    components: tuple[Component, ...]
    trust: TrustSet | None = None

    @property
    def package_size(self) -> int:
        """Bytes of the whole package."""
        return self.components[-1].end

    def component(self, kind: int) -> Component | None:
        """The component of this kind, None where the package has none."""
        return next((found for found in self.components if found.kind == kind), None)


def write_manifest(
    components: Sequence[Content],
    product: str,
    version: str,
    sequence: int,
    created: int,
    expires: int | None = None,
    trust: TrustSet | None = None,
) -> bytes:
    """Return the manifest of a package with these contents, as it is signed.

    `created` and `expires` are Unix seconds; `trust`: the set of keys that it brings. Raises
    PackageError when a value breaks the format.
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
        7: [described(content) for content in components],
    }
    if expires is not None:
        fields[6] = expires
    if trust is not None:
        fields[8] = described_set(trust)
    payload = cbor.dumps(fields)
    read_manifest(payload)  # what is written must be readable
    return payload


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest. Raises PackageError, naming key and rule."""
    fields = Fields(loads(data, "manifest"), "manifest", known=range(1, 9))
    if fields.uint(1, "format") != FORMAT:
        raise PackageError(f"manifest, format (1): only {FORMAT} is defined")
    product = fields.text(2, "product")
    version = fields.text(3, "version")
    sequence = fields.uint(4, "sequence", least=1, most=MAX_SEQUENCE)
    created = fields.uint(5, "created")
    expires = fields.uint(6, "expires", least=created + 1) if fields.has(6) else None
    maps = fields.get(7, "components")
    if not isinstance(maps, list) or not 1 <= len(maps) <= 4:
        raise PackageError("manifest, components (7): an array of 1 to 4 maps")
    components: list[Component] = []
    offset = SECTOR
    for item in maps:
        component = read_component(item, offset)
        if any(component.kind == other.kind for other in components):
            raise PackageError(
                f"manifest, components (7): more than one of kind {KINDS[component.kind]}"
            )
        components.append(component)
        offset = component.end
    trust = read_set(fields.get(8, "set of keys")) if fields.has(8) else None
    if trust is not None and expires is not None:
        raise PackageError(
            "manifest, expires (6): a package with a set of keys (8) does not expire, as boards "
            "that come back late need it"
        )
    return Manifest(product, version, sequence, created, expires, tuple(components), trust)
