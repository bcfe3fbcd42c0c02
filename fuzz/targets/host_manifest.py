"""The host's reader of a package's manifest."""

import _samples

from twinslot.errors import PackageError
from twinslot.formats import cbor, manifest

ALLOWED = (PackageError,)
COVERS = (
    "src/twinslot/formats/manifest.py: read_manifest Manifest",
    "src/twinslot/formats/component.py: read_component Component.end padded",
    "src/twinslot/formats/fields.py",
)
_FIELDS = cbor.loads(_samples.manifest())
_FIRST = _FIELDS[7][0]
SEEDS = (
    _samples.manifest(),
    b"\xa0",
    b"\x80",
    cbor.dumps({**_FIELDS, 7: []}),
    cbor.dumps({**_FIELDS, 7: [_FIRST, _FIRST]}),
    cbor.dumps({**_FIELDS, 7: [{**_FIRST, 1: 1}]}),
)


def run(data: bytes) -> None:
    """Read a manifest."""
    found = manifest.read_manifest(data)
    assert found.package_size > 0 and found.component(0) is not found
