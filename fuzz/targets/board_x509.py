"""The board's readers of certificates, of ECDSA signatures in DER, and of RSA signatures."""

from binascii import b2a_base64

from ota import rsa, trust, x509

ALLOWED = (ValueError,)
COVERS = ("firmware/ota/x509.py", "firmware/ota/rsa.py")


def _der(tag, *parts):
    data = b"".join(parts)
    length = len(data)
    if length < 128:
        return bytes([tag, length]) + data
    if length < 256:
        return bytes([tag, 0x81, length]) + data
    return bytes([tag, 0x82]) + length.to_bytes(2, "big") + data


def _certificate(key, before=b"260101000000Z", after=None, version=b"\x02"):
    times = _der(0x17, before), after or _der(0x18, b"20991231235959Z")
    signed = _der(
        0x30,
        _der(0xA0, _der(0x02, version)) if version else b"",
        _der(0x02, b"\x05"),
        _der(0x30),
        _der(0x30),
        _der(0x30, *times),
        _der(0x30),
        key,
    )
    return _der(0x30, signed, _der(0x30), _der(0x03, b"\x00"))


def _rsa_key(modulus, exponent=b"\x01\x00\x01"):
    numbers = _der(0x30, _der(0x02, modulus), _der(0x02, exponent))
    kind = _der(0x30, x509._RSA)
    return _der(0x30, kind, _der(0x03, b"\x00" + numbers))


_MODULUS = b"\x00" + b"\xc1" * 256
_EC = _certificate(trust.P256_SPKI + bytes(64))
SEEDS = (
    _EC,
    b"-----BEGIN CERTIFICATE-----\n" + b2a_base64(_EC) + b"-----END CERTIFICATE-----\n",
    _certificate(_rsa_key(_MODULUS), b"490101000000Z"),
    _certificate(_rsa_key(_MODULUS, b"\x02")),
    _certificate(_rsa_key(_MODULUS), version=b""),
    _certificate(_rsa_key(_MODULUS[:100])),
    _certificate(_der(0x30, _der(0x30, b"x"))),
    _der(0x30, _der(0x02, b"\x05"), _der(0x02, b"\x00\x80" + bytes(31))),
    b"\x03" + b"\xc1" * 70 + b"\x05" * 70,
    b"x",
)


def run(data):
    """Read the input as each of these."""
    _rsa(data)
    try:
        assert len(x509.ecdsa_signature(data)) == 64
    except ValueError:
        pass
    key, before, after = x509.parse(data)
    assert isinstance(before, int) and isinstance(after, int)
    if isinstance(key, bytes):
        assert len(key) == 64
    else:
        assert rsa.verify(key, bytes(32), bytes(data[-len(key[0]) :])) in (True, False)


def _rsa(data):
    """Verify with a key and a signature of the input: exponent, then two halves."""
    if len(data) < 3:
        return
    half = 1 + (len(data) - 1) // 2
    key = bytes(data[1:half]), data[0]
    assert rsa.verify(key, bytes(32), bytes(data[half : 2 * half - 1])) in (True, False)
