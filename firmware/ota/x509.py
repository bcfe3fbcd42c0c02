"""The public key in an X.509 certificate (RFC 5280), and the certificate's dates. Pure.

A strict reader of DER (X.690): each tag, length and end is checked. The certificate is trusted
because it lies in the board's folder, so its names, extensions and signature are not read. Every
fault is a ValueError with a sentence.
"""

from .compat import const
from .trust import P256_SPKI, unwrapped

_INTEGER = const(0x02)
_BITS = const(0x03)
_UTC_TIME = const(0x17)
_TIME = const(0x18)
_SEQUENCE = const(0x30)
_VERSION = const(0xA0)

# AlgorithmIdentifier of rsaEncryption (RFC 8017, A.1), without its tag and length.
_RSA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
# Bytes of a modulus (2048 to 4096 bits), and of an exponent at most.
_MIN_RSA = const(256)
_MAX_RSA = const(512)
_MAX_EXPONENT = const(8)


def parse(data):
    """Read a certificate. data: bytes of a file, PEM (its first certificate) or DER.

    Returns (key, not before, not after): the key of P-256 as bytes (64, x || y), one of RSA as
    (modulus, exponent), which are bytes, big-endian, and int; Unix seconds. Raises ValueError.
    """
    if data[:1] != b"\x30":
        found = unwrapped(str(data, "utf-8"), "CERTIFICATE")
        if not found:
            raise ValueError("there is no certificate in it")
        data = found[0]
    outer = Der(data)
    certificate = outer.enter(_SEQUENCE)
    outer.ends()
    signed = certificate.enter(_SEQUENCE)
    certificate.enter(_SEQUENCE)
    certificate.enter(_BITS)
    certificate.ends()
    if signed.tag == _VERSION:
        signed.enter(_VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
        signed.enter(tag)
    validity = signed.enter(_SEQUENCE)
    before, after = _time(validity), _time(validity)
    validity.ends()
    signed.enter(_SEQUENCE)  # subject
    return _key(signed), before, after


def ecdsa_signature(data):
    """Return r || s (64 bytes) of a signature (RFC 3279, 2.2.3). Raises ValueError."""
    outer = Der(data)
    pair = outer.enter(_SEQUENCE)
    outer.ends()
    numbers = [pair.number(), pair.number()]
    pair.ends()
    if max(len(number) for number in numbers) > 32:
        raise ValueError("a number is too large for P-256")
    return b"".join([bytes(32 - len(number)) + number for number in numbers])


class Der:
    """Elements of DER, one after the other. data: bytes; at, end: where they begin and end."""

    def __init__(self, data, at=0, end=None):
        self._data = data
        self._at = at
        self._end = len(data) if end is None else end

    @property
    def tag(self):
        """Return the tag of the next element, -1 behind the last."""
        return self._data[self._at] if self._at < self._end else -1

    def enter(self, tag):
        """Step over the next element. Returns its content, a Der."""
        data, at = self._data, self._at + 2
        if self.tag != tag or at > self._end:
            raise ValueError("DER has no element 0x%02x at byte %d" % (tag, self._at))
        length = data[at - 1]
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : min(at + count, self._end)], "big")
            at += count
            if not 1 <= count <= 2 or length < (0x80 if count == 1 else 0x100):
                raise ValueError("DER has an impossible length at byte %d" % self._at)
        if length > self._end - at:
            raise ValueError("DER ends too early: an element at byte %d is longer" % self._at)
        self._at = at + length
        return Der(data, at, self._at)

    def ends(self):
        """Check that nothing follows."""
        if self._at != self._end:
            raise ValueError("DER goes on behind its end at byte %d" % self._at)

    def rest(self):
        """Return the next value, as bytes."""
        return self._data[self._at : self._end]

    def number(self):
        """Step over a positive INTEGER. Returns it as bytes, big-endian, without leading zeros."""
        data = self.enter(_INTEGER).rest()
        number = data.lstrip(b"\x00")
        if not number or len(data) != len(number) + (number[0] >> 7):
            raise ValueError("DER has a number that is not positive, or spelled too long")
        return number


def _time(validity):
    """Step over a date (RFC 5280, 4.1.2.5). Returns Unix seconds."""
    if validity.tag == _UTC_TIME:
        text = validity.enter(_UTC_TIME).rest()
        text = (b"19" if text >= b"5" else b"20") + text
    else:
        text = validity.enter(_TIME).rest()
    if len(text) != 15 or text[14:] != b"Z" or not text[:14].isdigit():
        raise ValueError("a date is not of the form YYYYMMDDHHMMSSZ")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    year -= month < 3
    days = 365 * year + year // 4 - year // 100 + year // 400
    days += (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
    return ((days * 24 + int(text[8:10])) * 60 + int(text[10:12])) * 60 + int(text[12:14])


def _key(signed):
    """Step over a SubjectPublicKeyInfo (RFC 5480, RFC 3279). Returns its key as `parse` does."""
    spki = signed.rest()
    info = signed.enter(_SEQUENCE)
    if spki.startswith(P256_SPKI):
        return info.rest()[-64:]
    if info.enter(_SEQUENCE).rest() != _RSA:
        raise ValueError("its key is neither of P-256, uncompressed, nor of RSA")
    bits = info.enter(_BITS)
    info.ends()
    if bits.tag != 0:
        raise ValueError("its key is not whole bytes")
    key = Der(bits.rest(), 1)
    numbers = key.enter(_SEQUENCE)
    key.ends()
    modulus, exponent = numbers.number(), numbers.number()
    numbers.ends()
    if not _MIN_RSA <= len(modulus) <= _MAX_RSA or modulus[0] < 0x80:
        raise ValueError("its RSA key has not 2048 to 4096 bits")
    if len(exponent) > _MAX_EXPONENT or exponent == b"\x01" or not exponent[-1] & 1:
        raise ValueError("the exponent of its RSA key is even, 1 or above 64 bits")
    return modulus, int.from_bytes(exponent, "big")
