"""The board's walker over CBOR of any encoding."""

from binascii import unhexlify

from ota import cbor

ALLOWED = (ValueError,)
COVERS = ("firmware/ota/cbor.py: Reader",)
SEEDS = tuple(
    [
        unhexlify(text)
        for text in (
            "a1616101",
            "bf61618101ff",
            "5f4101ff",
            "d28401",
            "f6",
            "1b0000000000000005",
            "c6c6c6c6c6c6c601",
            "",
        )
    ]
)


def run(data):
    """Step over the first item."""
    reader = cbor.Reader(data)
    reader.skip()
    assert 0 < reader.pos <= len(data)
    reader.at_break()
