"""The board's readers of stream messages, in CBOR and in JSON."""

from binascii import unhexlify

from ota import stream_cbor, stream_json
from ota.errors import BlockError

ALLOWED = (BlockError,)
COVERS = (
    "firmware/ota/stream_cbor.py: Data parse_rejected",
    "firmware/ota/stream_json.py: Data parse_rejected _decode _fields _number",
)
SEEDS = (
    unhexlify("bf616600616900616c0461704401020304ff"),
    unhexlify("a46166006169016170420102616ca0"),
    unhexlify("a2616f6141617a01"),
    unhexlify("bf64636f64656142ff"),
    b'{"f":0,"i":1,"l":3,"p":"AQID"}',
    b'{"f":0,"i":1,"l":2,"p":"AQI=","x":"y"}',
    b'{"f":00,"i":1,"l":3,"p":"AQID"}',
    b'{"o":"x"}',
    b'{"code":"y"}',
    b'{"f":0,"i":1,"l":300,"p":"' + b"AQID" * 100 + b'"}',
)


def run(data):
    """Read a block and a refusal, in each form."""
    for module in (stream_cbor, stream_json):
        assert isinstance(module.parse_rejected(data), str)
        # The buffer is longer than the message, as the board's is.
        buffer = bytearray(data) + b"\x00" * 64
        block = module.Data()
        try:
            block.read(buffer, len(data))
        except BlockError:
            continue
        assert block.file_id >= 0 and block.index >= 0
        assert 0 <= block.start <= block.end <= len(data)
