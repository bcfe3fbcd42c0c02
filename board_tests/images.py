"""Other images out of a board's own one: the same code, another build time in the descriptor."""

import hashlib

from twinslot.formats import image

_TIME = slice(112, 128)  # esp_app_desc_t.time, from the start of the image


def retimed(data: bytes, text: str) -> bytes:
    """Return an application image with another time text; checksum and SHA-256 are made again.

    data: a whole image; text: 1 to 15 ASCII characters. Raises ImageError for what is no image.
    """
    found = image.parse(data)
    out = bytearray(data[: found.length])
    before = out[_TIME]
    out[_TIME] = text.encode("ascii").ljust(16, b"\0")
    digest_at = found.length - 32
    for old, new in zip(before, out[_TIME], strict=True):
        out[digest_at - 1] ^= old ^ new  # the checksum XORs all segment bytes together
    out[digest_at:] = hashlib.sha256(out[:digest_at]).digest()
    image.parse(bytes(out))
    return bytes(out)
