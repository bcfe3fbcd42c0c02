"""The host's reader of deterministic CBOR."""

from twinslot.formats import cbor

ALLOWED = (cbor.CBORError,)
COVERS = ("src/twinslot/formats/cbor.py: loads _Reader",)
SEEDS = tuple(
    bytes.fromhex(text)
    for text in ("a10102", "d28443a10126a044a1010240", "8203190100", "613f", "a16161f5", "1bff" * 5)
)


def run(data: bytes) -> None:
    """Read an item; whatever is read is written as the same bytes, tags aside."""
    value = cbor.loads(data)
    if b"\xd2" not in data and _plain(value):
        assert cbor.dumps(value) == data


def _plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return not isinstance(value, cbor.Tagged)
